"""Rows of any table as utterances: what counts as a transcript and a speaker, and one text for one audio."""

import pytest
from conftest import ok
from imported import cuts_of, faults, jsonl, recordings

from asr_lab.data import manifest


@pytest.fixture
def folder(tmp_path):
    return recordings(tmp_path)


@pytest.mark.parametrize("text", ["nan", "NULL", "N/A", "#N/A", "<NA>", "None", "-"])
def test_what_software_writes_for_nothing_is_no_transcript_unless_it_is_spoken(folder, text):
    assert faults("jsonl", jsonl(folder, {"text": text})) == [(1, "the transcript is missing")]
    (cut,) = cuts_of("jsonl", jsonl(folder, {"text": f"{text}x."}))
    assert manifest.text(cut) == f"{text}x."
    (cut,) = cuts_of("jsonl", jsonl(folder, {"text": "없음"}))
    assert manifest.text(cut) == "없음"


def test_speakers_who_are_not_known_are_one_who_is_marked_as_guessed(folder):
    rows = [{"audio": f"{name}.wav", "speaker": name_of} for name, name_of in zip("ab", ("없음", "NA"), strict=True)]
    printed = ok("data", "import", "jsonl", jsonl(folder, {}, *rows), folder / "out")
    assert "'없음' 1 times" in printed
    cuts = manifest.read(folder / "out" / "all.jsonl.gz")
    assert [manifest.field(cut, "speaker") for cut in cuts] == ["ann", "unknown", "unknown"]
    assert [manifest.field(cut, "guessed") for cut in cuts] == [None, "speaker", "speaker"]


def test_transcripts_of_marks_alone_are_left_out_and_counted(folder):
    rows = ({}, {"audio": "a.wav", "text": "{laughing} ..."}, {"audio": "b.wav", "text": "b/ ((xx))"})
    printed = ok("data", "import", "jsonl", jsonl(folder, *rows), folder / "out")
    assert "3 utterances read, 1 imported, 2 left out (no words but marks and signs: 2)" in printed


def test_one_file_with_two_texts_is_no_two_utterances(folder):
    rows = ({"id": "u1", "t0": 0.5}, {"id": "u2", "t0": 2, "text": "c d"}, {"id": "u3", "start": 3, "text": "e f"})
    assert faults("jsonl", jsonl(folder, *rows)) == [(2, "another text for the same audio")]
    assert len(cuts_of("jsonl", jsonl(folder, {"id": "u1"}, {"id": "u2", "audio": "a.wav", "text": "c d"}))) == 2
