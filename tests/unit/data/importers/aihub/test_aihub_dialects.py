"""AI-Hub's dialects: what was said is the text, not its translation; marks are told and are no words."""

import json

import numpy as np
import pytest
import soundfile
from conftest import ok, refused

from asr_lab.data import manifest
from asr_lab.data.text import TextNormalizer

FORM, DIALECT, STANDARD = "(머라카노)/(뭐라고 하니) 니", "머라카노 니", "뭐라고 하니 너"


def put(root, name, label):
    audio, text = root / "원천데이터" / f"{name}.wav", root / "라벨링데이터" / f"{name}.json"
    for path in (audio, text):
        path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(audio, np.random.default_rng(len(name)).normal(0, 0.1, 48000), 16000)
    text.write_text(json.dumps(label, ensure_ascii=False), encoding="utf-8")


def talk(*forms):
    spoken = [{"start": n * 0.5, "end": n * 0.5 + 0.4, "speaker_id": "SP22", **form} for n, form in enumerate(forms)]
    return {"speaker": [{"id": "SP22", "dialect": "경상"}], "utterance": spoken}


def imported(tmp_path, label):
    put(tmp_path / "in", "t", label)
    said = ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    return [manifest.text(cut) for cut in manifest.read(tmp_path / "out" / "all.jsonl.gz")], said


@pytest.mark.parametrize(
    "form",
    [
        {"dialect_form": DIALECT, "standard_form": STANDARD, "form": FORM},
        {"standard_form": STANDARD, "form": FORM, "dialect_form": DIALECT},
        {"standard_form": STANDARD, "form": FORM},
        {"standard_form": STANDARD, "form": DIALECT},
        {"standard_form": STANDARD, "dialect_form": FORM},
        {"standard_form": STANDARD, "dialect_form": "", "form": FORM},
        {"standard": STANDARD, "dialect": DIALECT},
        {"standardForm": STANDARD, "dialectForm": DIALECT, "text": STANDARD},
    ],
)
def test_what_was_said_is_the_dialect(tmp_path, form):
    texts, said = imported(tmp_path / "talk", talk(form))
    assert texts == [DIALECT]
    assert "translations" not in said
    put(tmp_path / "one", "t", {"speaker_id": "SP22", **form})
    ok("data", "import", "aihub", tmp_path / "one", tmp_path / "out")
    assert [manifest.text(cut) for cut in manifest.read(tmp_path / "out" / "all.jsonl.gz")] == [DIALECT]


def test_a_recording_with_its_words_beside_it_is_of_the_dialect(tmp_path):
    words = [{"startTime": 0, "endTime": 0.2, "start": 0, "dialect": "머라카노", "standard": "뭐라고 하니"}]
    label = {"speaker": {"speakerId": "k1", "dialect": "경상"}}
    label["transcription"] = {"standard": STANDARD, "dialect": DIALECT, "segments": words}
    assert imported(tmp_path, label)[0] == [DIALECT]


def test_a_translation_alone_is_marked_and_reported(tmp_path):
    texts, said = imported(tmp_path, talk({"standard_form": STANDARD}, {"standard_form": "너", "form": "니"}))
    assert texts == [STANDARD, "니"]
    assert "1 text is translated from dialect" in said
    assert "the texts of 1 of 2 utterances are guessed" in said


def test_where_somebody_is_from_is_no_text(tmp_path):
    put(tmp_path / "in", "t", {"speaker_id": "k1", "dialect": "경상"})
    assert "no text in the label" in refused("data", "import", "aihub", tmp_path / "in", tmp_path / "out")


def test_two_readings_of_another_corpus_stay_for_the_setting_to_choose(tmp_path):
    texts, said = imported(tmp_path, talk({"form": "(3개)/(세 개) 줘"}))
    assert texts == ["(3개)/(세 개) 줘"]
    assert "1 transcript holds two readings" in said


def test_marks_are_reported_and_what_holds_no_word_is_left_out(tmp_path):
    forms = ["{laughing} 네 &name1&", "{laughing}", "((xx)).", "네 {foo}", "(NO:)"]
    texts, said = imported(tmp_path, talk(*({"form": form} for form in forms)))
    assert [TextNormalizer()(text) for text in texts] == ["네", "네 foo"]
    assert "3 utterances have no words but marks and signs: left out" in said
    assert "words were said that the transcripts do not spell: &name1& in 1" in said
    assert "look like marks and are none that is known, kept: {foo} in 1" in said
    assert "{foo} in 1" in ok("data", "stats", tmp_path / "out" / "all.jsonl.gz")


def test_a_corpus_of_sounds_is_refused(tmp_path):
    put(tmp_path / "in", "t", talk({"form": "{laughing}"}))
    said = refused("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert "no utterance has words" in said
    assert not (tmp_path / "out").exists()
