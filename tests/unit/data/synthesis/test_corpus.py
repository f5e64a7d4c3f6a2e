"""Synthetic corpora: reproducible bytes, requested SNR, disjoint sentences, no partial output."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr_lab.data import manifest
from asr_lab.data import noise as background
from asr_lab.data.noise import Kind
from asr_lab.data.synthesis import corpus as synth
from asr_lab.data.synthesis.corpus import PERSONS, SPEAKERS, SynthSpec, plan, plan_demo, synthesize
from asr_lab.data.synthesis.espeak import Voice
from asr_lab.data.synthesis.sentences import MAX_WORDS, MIN_WORDS, Sentences, vocabulary
from asr_lab.data.synthesis.worker import Job, Utterance
from asr_lab.data.synthesis.worker_pool import speak_all
from asr_lab.errors import AsrLabError

have_espeak = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None,
    reason="eSpeak NG is not installed: pip install 'asr_lab[demo]'",
)
SMALL = SynthSpec(speakers=("adam", "julia", "simon"), utterances=3, seed=3)


def _bytes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth") / "clean"
    synthesize(folder, SMALL, workers=2)
    return folder


@have_espeak
def test_same_seed_same_bytes_whatever_the_workers(clean: Path, tmp_path: Path) -> None:
    time.sleep(1.1)  # eSpeak would seed its breath noise (julia has some) by the clock, in whole seconds
    synthesize(tmp_path / "again", SMALL, workers=1)
    assert _bytes(tmp_path / "again") == _bytes(clean)
    assert len(_bytes(clean)) == 9 + 2


@have_espeak
def test_another_seed_says_other_sentences(clean: Path) -> None:
    other = {each.utterance.text for each in plan(SynthSpec(speakers=SMALL.speakers, utterances=3, seed=4))}
    assert other.isdisjoint(each.utterance.text for each in plan(SMALL))


@have_espeak
def test_the_manifests_say_what_was_made(clean: Path) -> None:
    planned = {each.utterance.id: each for each in plan(SMALL)}
    train, test = (manifest.read(clean / f"{part}.jsonl.gz") for part in ("train", "test"))
    assert [len(train), len(test)] == [6, 3]
    for cut in [*train, *test]:
        said = manifest.supervision(cut)
        assert said.text == planned[cut.id].utterance.text
        assert said.gender == ("female" if said.speaker == "julia" else "male")
        assert (said.language, manifest.field(cut, "corpus")) == ("en", "synth")
        assert manifest.field(cut, "age") == SPEAKERS[said.speaker].age
        info = soundfile.info(cut.recording.sources[0].source)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")


@have_espeak
def test_alignments_are_monotone_and_cover_the_speech(clean: Path) -> None:
    for cut in manifest.read(clean / "train.jsonl.gz"):
        phones = manifest.supervision(cut).alignment["phone"]
        assert all(now.end <= after.start + 1e-6 for now, after in pairwise(phones))
        assert phones[0].start < 0.05
        assert phones[-1].end <= cut.duration + 1e-3
        samples, rate = soundfile.read(cut.recording.sources[0].source)
        inside = np.zeros(len(samples), dtype=bool)
        for phone in phones:
            inside[round(phone.start * rate) : round(phone.end * rate)] = True
        assert (samples[inside] ** 2).sum() > 0.98 * (samples**2).sum()


@have_espeak
def test_the_snr_is_the_one_asked_for(clean: Path, tmp_path: Path) -> None:
    spec = SynthSpec(speakers=("adam", "julia"), utterances=3, seed=3, snr_db=(5.0, 20.0))
    paths = synthesize(tmp_path / "noisy", spec, workers=2)
    asked = []
    for cut in manifest.read(paths["train"]):
        quiet, _ = soundfile.read(clean / "audio" / cut.supervisions[0].speaker / f"{cut.id}.flac")
        loud, _ = soundfile.read(cut.recording.sources[0].source)
        noise = loud - quiet
        measured = 10 * np.log10((quiet**2).mean() / (noise**2).mean())
        asked.append(manifest.field(cut, "snr_db"))
        assert measured == pytest.approx(asked[-1], abs=0.3)
    assert len(set(asked)) > 3
    assert all(5 <= snr <= 20 for snr in asked)


@pytest.mark.parametrize("noise", ["pink", "white"])
def test_loud_noise_is_turned_down_with_the_speech(noise: Kind) -> None:
    speech = np.zeros(32_000, dtype=np.float32)
    speech[::160] = 0.9  # clicks: hardly alike to any noise, so their gain in the mixture can be measured
    mixed = background.mix(speech, background.generate(noise, len(speech), np.random.default_rng(1)), -5.0)
    gain = float(mixed @ speech / (speech @ speech))
    left = mixed - gain * speech
    assert np.abs(mixed).max() == pytest.approx(0.99, abs=1e-6)
    assert 10 * np.log10((gain * speech) @ (gain * speech) / (left @ left)) == pytest.approx(-5, abs=0.5)
    power = np.abs(np.fft.rfft(left)) ** 2
    low, high = power[500:2000].mean(), power[8000:14_000].mean()  # 250-1000 Hz, 4-7 kHz
    assert (low / high > 4) == (noise == "pink")


@have_espeak
def test_korean_speech(tmp_path: Path) -> None:
    spec = SynthSpec(language="ko", speakers=("jihoon",), utterances=2)
    (cut, _) = manifest.read(synthesize(tmp_path / "ko", spec)["train"])
    said = manifest.supervision(cut)
    assert said.language == "ko"
    assert all("가" <= letter <= "힣" or letter == " " for letter in said.text)
    assert len(said.alignment["phone"]) > 5


@pytest.mark.parametrize("language", ["en", "ko"])
def test_sentences_are_short_words_of_a_small_vocabulary(language: str) -> None:
    sentences = Sentences(language, seed=0).take(1500)
    words = [sentence.split(" ") for sentence in sentences]
    assert len(set(sentences)) == 1500
    assert {word for sentence in words for word in sentence} <= vocabulary(language)
    assert 120 <= len(vocabulary(language)) <= 250
    assert all(MIN_WORDS <= len(sentence) <= MAX_WORDS for sentence in words)
    assert all(word.isalpha() and word == word.lower() for word in vocabulary(language))


def test_no_sentence_of_the_demo_is_spoken_twice_and_no_word_occurs_first_in_a_test() -> None:
    planned = plan_demo(seed=0)
    texts = [each.utterance.text for each in planned]
    assert len(set(texts)) == len(texts)
    assert len({each.utterance.id for each in planned}) == len(texts)
    known = {word for each in planned if each.manifest == "train" for word in each.utterance.text.split()}
    assert {word for text in texts for word in text.split()} <= known
    of_persons = {f"persons/{name}/{part}" for name in synth.PERSONS for part in ("train", "test")}
    assert {each.manifest for each in planned} == {"train", "val", "test"} | of_persons


def test_the_speakers_of_the_demo_are_in_one_part_each_and_their_voices_differ() -> None:
    voices = {
        (each.voice.voice, each.voice.variant, each.voice.pitch, each.voice.rate)
        for each in [*SPEAKERS.values(), *PERSONS.values()]
    }
    assert len(voices) >= len(SPEAKERS) + len(PERSONS) - 1  # minho and jihoon: one voice, two languages
    assert set(SPEAKERS).isdisjoint(PERSONS)
    heard, tested = (
        {each.voice.variant for each in SPEAKERS.values() if each.part == part} for part in ("train", "test")
    )
    assert heard.isdisjoint(tested)


def test_a_script_needs_no_main_guard_and_no_torch_to_speak() -> None:
    code = "import sys, asr_lab.data.synthesis.worker; print(*{'torch', 'lhotse'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@have_espeak
def test_a_making_that_failed_leaves_nothing_that_looks_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "demo"
    spec = SynthSpec(speakers=("adam",), utterances=2)

    def stop(made: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize(out, spec, progress=stop)
    assert not list(tmp_path.iterdir())
    for left in (".demo.123.writing", "demo.making"):  # by makings that were killed, the latter of an earlier version
        (tmp_path / left).mkdir()
        (tmp_path / left / "leftover").write_text("of the killed making")
        os.utime(tmp_path / left, (0, 0))
    counts: list[tuple[int, int]] = []
    synthesize(out, spec, progress=lambda made, total: counts.append((made, total)))
    assert counts == [(1, 2), (2, 2)]
    assert not (out / "leftover").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


@have_espeak
def test_what_a_speaking_process_complains_of_reaches_the_user(tmp_path: Path) -> None:
    said = Utterance(id="x-0", text="hello", path="x-0.flac")
    nobody = Job(voice=Voice(name="x", voice="en-uz"), folder=str(tmp_path), utterances=[said])
    with pytest.raises(AsrLabError, match="no voice 'en-uz'"):
        speak_all([nobody], None, workers=1)


@have_espeak
def test_what_is_there_already_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(AsrLabError, match="not empty"):
        synthesize(tmp_path, SMALL)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (SynthSpec(speakers=("adan",)), "did you mean adam"),
        (SynthSpec(speakers=("adam",), language="ko"), "do not speak language 'ko': adam"),
        (SynthSpec(language="fr"), "allowed: en, ko"),
    ],
)
def test_a_wrong_specification_is_reported_before_anything_is_made(spec: SynthSpec, message: str) -> None:
    with pytest.raises(AsrLabError) as caught:
        plan(spec)
    assert message in str(caught.value)
