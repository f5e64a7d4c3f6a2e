"""Synthetic learners: error rates, labels equal to the speech, audible changes, reproducible bytes."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import ok, run

from asr_lab.data import arpabet, identity, manifest
from asr_lab.data.features import filter_bank
from asr_lab.data.pronunciation import DELETED, check_pronunciations, pronunciation
from asr_lab.data.synthesis import learner_corpus as l2
from asr_lab.data.synthesis.accents import ACCENTS, accent
from asr_lab.data.synthesis.espeak import Engine, Voice
from asr_lab.data.synthesis.learner_corpus import L2Spec, label, plan_l2, synthesize_l2
from asr_lab.data.synthesis.learner_voices import PARTS, VOICES
from asr_lab.data.synthesis.mispronunciation import Utterance, mispronounce, scale
from asr_lab.data.synthesis.phonemize import Sound, read, spoken_phonemes, to_espeak
from asr_lab.data.synthesis.sentences import Sentences
from asr_lab.errors import AsrLabError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None,
    reason="eSpeak NG is not installed: pip install 'asr_lab[demo]'",
)
ADAM = Voice(name="adam", voice="en-us")
FEW = tuple(next(each for each in VOICES if each.part == part) for part in PARTS)


def _spoken(engine, text, voice=ADAM):
    samples, phones = engine.synthesize(text, voice, as_phonemes=True)
    return samples, [(phone.symbol, phone.start_s, phone.duration_s) for phone in phones]


def _bytes(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file() and identity.FOLDER not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list]]:
    """A corpus with one voice per part, made by the command."""
    folder = tmp_path_factory.mktemp("l2") / "corpus"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(l2, "VOICES", FEW)
        done = run("data", "synth", folder, "--l2", "Vietnamese", "--utterances", 9)
    assert done.exit_code == 0, done.output
    assert f"{folder}/test-hard.jsonl.gz: 6 utterances of 1 speaker" in done.output.replace("\n", "")
    return folder, {part: list(manifest.read(folder / f"{part}.jsonl.gz")) for part in PARTS}


def test_each_part_has_its_own_speakers_and_sentences(corpus):
    _, parts = corpus
    assert [len(parts[part]) for part in PARTS] == [9, 3, 6, 6]
    speakers = [{manifest.supervision(cut).speaker for cut in cuts} for cuts in parts.values()]
    assert speakers == [{"vietnamese-01"}, {"vietnamese-02"}, {"vietnamese-03"}, {"vietnamese-04"}]
    texts = [manifest.supervision(cut).text for cuts in parts.values() for cut in cuts]
    assert len(set(texts)) == len(texts)
    assert {manifest.field(cut, "l1") for cuts in parts.values() for cut in cuts} == {"vietnamese"}


def test_labels_hold_each_other_and_the_times_the_audio(corpus):
    for part, cuts in corpus[1].items():
        check_pronunciations(cuts, part)
        assert any(not any(pronunciation(cut).errors) for cut in corpus[1]["train"])
        assert any(any(pronunciation(cut).errors) for cut in cuts)
        for cut in cuts:
            found = pronunciation(cut)
            assert found.errors == tuple(int(a != b) for a, b in zip(found.canonical, found.perceived, strict=True))
            assert [time is None for time in found.phone_times] == [each == DELETED for each in found.perceived]
            times = [time for time in found.phone_times if time]
            assert all(start < end for start, end in times)
            assert all(now[1] <= after[0] + 2e-3 for now, after in pairwise(times))
            assert times[-1][1] <= cut.duration + 2e-3
            alignment = manifest.supervision(cut).alignment["phone"]
            assert tuple(each.symbol for each in alignment) == found.spoken
            assert len(set(found.words)) == len(manifest.supervision(cut).text.split())


def test_stats_and_check_tell_of_pronunciation(corpus, tmp_path):
    folder, parts = corpus
    path = folder / "train.jsonl.gz"
    said = [pronunciation(cut) for cut in parts["train"]]
    (row,) = json.loads(ok("data", "stats", path, "--by", "l1", "--format", "json"))
    assert row["phonemes"] == sum(len(each.canonical) for each in said)
    assert row["error_rate"] == pytest.approx(sum(sum(each.errors) for each in said) / row["phonemes"])
    assert row["deleted"] == sum(each.perceived.count(DELETED) for each in said) > 0
    assert row["substituted"] + row["deleted"] == sum(sum(each.errors) for each in said)
    confused = Counter((a, b) for each in said for a, b in zip(each.canonical, each.perceived, strict=True) if a != b)
    ((wanted, heard_), number) = confused.most_common(1)[0]
    told = ok("data", "stats", path)
    assert f"{wanted}>{heard_} {number}" in told
    assert "vietnamese" in told
    assert "the pronunciation labels of 9 utterances are consistent" in " ".join(ok("data", "check", path).split())
    broken = list(parts["train"])
    manifest.supervision(broken[0]).custom["errors"] = [0]
    manifest.write(broken, tmp_path / "broken.jsonl.gz")
    done = run("data", "check", tmp_path / "broken.jsonl.gz")
    assert done.exit_code == 1
    assert "errors and canonical differ in length: 1 utterance, vietnamese-01-0000" in " ".join(done.output.split())


def test_the_hard_part_may_be_noisy_and_the_same_specification_makes_the_same_bytes(
    corpus, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(l2, "VOICES", FEW)
    made = synthesize_l2(tmp_path / "again", L2Spec(languages=("vietnamese",), utterances=9), workers=1)
    assert _bytes(tmp_path / "again") == _bytes(corpus[0])
    assert set(made.manifests) == set(PARTS)
    assert any(each.snr_db is not None for each in VOICES if each.part == "test-hard")


def test_what_was_spoken_otherwise_than_asked_is_left_out_and_reported(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(l2, "VOICES", FEW)
    merged = ("her red cup is big", "the doctor ran to the river")  # eSpeak makes one of the two R
    texts = (*merged, "the key is here", "we need two cups", "peter took the book", "the boy is quiet")
    made = synthesize_l2(tmp_path / "l2", L2Spec(languages=("korean",), utterances=6, error_scale=0, texts=texts))
    kept = [cut for path in made.manifests.values() for cut in manifest.read(path)]
    left = [id for ids in made.dropped.values() for id in ids]
    assert {manifest.supervision(cut).text for cut in kept} == set(texts) - set(merged)
    assert len(made.dropped["train"]) == 2
    assert len(kept) + len(left) == 6 + 2 + 4 + 4
    assert len(list((tmp_path / "l2" / "audio").rglob("*.flac"))) == len(kept)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("...", "0 words"),
        ("so " * 81, "81 words"),
        ("a loch", "'x', which is no English"),
        ("안녕", "letters that are not English"),
    ],
)
def test_texts_that_are_no_english_sentence_are_refused(text, what):
    with pytest.raises(AsrLabError, match=what):
        read(text)


def test_words_stay_apart():
    assert [" ".join(s.phoneme for s in word) for word in read("is it in the car")] == [
        "IH Z", "IH T", "IH N", "DH AH", "K AA R"
    ]  # fmt: skip


@pytest.mark.parametrize("l1", ACCENTS)
def test_a_first_language_has_the_share_of_errors_of_its_table(l1):
    words = [read(text) for text in Sentences("en-phonemic", 3).take(200)]
    number = sum(len(word) for each in words for word in each)
    spoken = accent(l1)
    factor = scale(spoken, words, spoken.error_rate, number)
    draw = random.Random(0)
    said = [mispronounce(each, spoken, factor, draw) for each in words]
    canonical = [sound.phoneme for each in words for word in each for sound in word]
    answers = [answer for each in said for answer in each.realized]
    wrong = [(a, b[:1]) for a, b in zip(canonical, answers, strict=True) if b[:1] != (a,)]
    assert len(wrong) / number == pytest.approx(spoken.error_rate, rel=0.12)
    known = {(each.canonical, each.realized[:1]) for each in spoken.confusions}
    assert set(wrong) <= known
    assert len({a for a, _ in wrong}) >= 12
    assert any(not said for said in answers)
    assert 0 < sum(len(each) > 1 for each in answers) < 0.15 * len(wrong)


def test_a_plan_keeps_the_rate_in_each_part_with_whole_sentences_right():
    learners = plan_l2(L2Spec(languages=("korean", "arabic"), utterances=12, error_scale=1.2, correct=0.3))
    errors: Counter[str] = Counter()
    number: Counter[str] = Counter()
    untouched = 0
    for each in learners:
        canonical = [sound.phoneme for word in each.utterance.words for sound in word]
        wrong = sum(b[:1] != (a,) for a, b in zip(canonical, each.utterance.realized, strict=True))
        errors[each.l1] += wrong
        number[each.l1] += len(canonical)
        untouched += all(b == (a,) for a, b in zip(canonical, each.utterance.realized, strict=True))
    assert 0.25 < untouched / len(learners) < 0.5
    for l1 in ("korean", "arabic"):
        assert errors[l1] / number[l1] == pytest.approx(1.2 * ACCENTS[l1].error_rate, rel=0.15)
    voices = {each.planned.speaker.name: each.planned.manifest for each in learners}
    assert Counter(voices.values()) == {"train": 18, "val": 6, "test": 6, "test-hard": 6}


def test_every_phoneme_is_said_as_it_is_written_by_every_voice_and_is_frequent():
    engine = Engine()
    counted = Counter(p.phoneme for text in Sentences("en-phonemic", 0).take(300) for w in read(text) for p in w)
    assert set(counted) == set(arpabet.PHONEMES)
    assert min(counted.values()) >= 10
    for voice in {each.voice: each for each in VOICES}.values():
        speaker = voice.speaker("x").voice
        for phoneme in arpabet.PHONEMES:
            vowel = phoneme in arpabet.VOWELS
            word = (Sound("B"), Sound("IY", "'"), Sound("D")) if not vowel else (Sound("B"), Sound("D"))
            word = (word[0], Sound(phoneme, "'" if vowel else ""), *word[1:])
            asked = [sound.phoneme for sound in word]
            _, spoken = _spoken(engine, to_espeak([word], rhotic=speaker.voice == "en-us"), speaker)
            assert [each.phoneme for each in spoken_phonemes(spoken)] == asked, (voice.voice, phoneme)


def test_a_changed_phoneme_sounds_other_than_the_same_said_twice():
    engine, draw = Engine(), random.Random(1)
    changed, same = [], []
    for text in Sentences("en-phonemic", 7).take(12):
        words = read(text)
        right = tuple((sound.phoneme,) for word in words for sound in word)
        place = draw.randrange(len(right))
        vowel = right[place][0] in arpabet.VOWELS
        others = [p for p in arpabet.PHONEMES if (p in arpabet.VOWELS) == vowel and (p,) != right[place]]
        wrong = (*right[:place], (draw.choice(others),), *right[place + 1 :])
        spans = []
        for said in (right, right, wrong):
            utterance = Utterance(words, said)
            samples, spoken = _spoken(engine, to_espeak(utterance.spoken_words()))
            if label(utterance, spoken) is None:
                break
            sound = spoken_phonemes(spoken)[place]
            start, end = (round(second * engine.sample_rate) for second in (sound.start_s - 0.01, sound.end_s + 0.02))
            frames = filter_bank(_at_16k(samples[max(0, start) : end], engine.sample_rate))
            spans.append(np.asarray(frames).mean(0))
        else:
            same.append(np.sqrt(np.mean((spans[0] - spans[1]) ** 2)))
            changed.append(np.sqrt(np.mean((spans[0] - spans[2]) ** 2)))
    assert len(changed) >= 9
    assert min(changed) > np.median(same)
    assert np.median(changed) > 4 * np.median(same)


def _at_16k(samples, rate):
    import soxr

    return soxr.resample(samples, rate, 16000)


def test_an_r_behind_a_vowel_is_audible_when_spoken_and_absent_when_not():
    engine = Engine()
    (word,) = read("car")
    with_r, spoken = _spoken(engine, to_espeak([word]))
    without, _ = _spoken(engine, to_espeak(Utterance((word,), (("K",), ("AA",), ())).spoken_words()))
    assert [each.phoneme for each in spoken_phonemes(spoken)] == ["K", "AA", "R"]
    assert len(with_r) > 1.1 * len(without)
    assert "A@" in to_espeak([word])  # spelled `A:|r` it would hardly be heard


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--l2", "korea"], "did you mean korean"),
        (["--l2", "korean,korean"], "none twice"),
        (["--l2", "all", "--snr", "10"], "--snr has no effect with --l2"),
        (["--l2", "korean", "--error-scale", "4"], "errors of korean learners cannot reach"),
        (["--l2", "korean", "--correct", "1"], "0 to < 1"),
        (["--error-scale", "2"], "no effect without --l2"),
    ],
)
def test_what_cannot_be_made_is_reported_before_anything_is(arguments, message, tmp_path):
    done = run("data", "synth", tmp_path / "l2", *arguments, "--utterances", 2)
    assert done.exit_code == 1
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "l2").exists()


def test_a_plan_refuses_what_it_has_no_voices_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(l2, "VOICES", FEW)
    with pytest.raises(AsrLabError, match="more than voices"):
        L2Spec(languages=("korean", "arabic"))
