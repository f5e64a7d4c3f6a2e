"""Files of transcripts: what readers of each format find in them."""

import json

import pytest
from praatio import textgrid

from asr_lab.reports.transcript_files import LINES, cues, write_textgrid


def word(text: str, start_s: float, end_s: float) -> dict:
    return {"text": text, "start_s": start_s, "end_s": end_s, "confidence": 0.5}


WORDS = [word("one", 0.5, 0.9), word("two", 1.0, 1.25), word("<b>three", 3600.0, 3600.5)]
ROW = {"file": "a b/c.d.wav", "text": "one two <b>three", "duration_s": 3601.0, "words": WORDS, "error": ""}
BAD = {"file": "x.wav", "text": "", "duration_s": 0.0, "words": [], "error": "not an audio file"}


def content(suffix: str) -> str:
    return "".join(LINES[suffix]([ROW, BAD]))


def test_text_and_json():
    assert content(".txt") == "a b/c.d.wav\tone two <b>three\n"
    assert [json.loads(line) for line in content(".jsonl").splitlines()] == [ROW, BAD]


def test_ctm_has_six_fields_whatever_the_name():
    lines = [line.split() for line in content(".ctm").splitlines()]
    assert lines[1] == ["a_b/c.d", "1", "1.000", "0.250", "two", "0.5000"]
    assert {len(line) for line in lines} == {6}


def test_ctm_has_the_whole_id_of_an_utterance():
    rows = [ROW | {"file": name, "words": WORDS[:1]} for name in ("speaker.1.2", "speaker.1.3", "x/speaker.1.WAV")]
    lines = "".join(LINES[".ctm"](rows)).splitlines()
    assert [line.split()[0] for line in lines] == ["speaker.1.2", "speaker.1.3", "x/speaker.1"]


@pytest.mark.parametrize("mark", ["\t", "\n", "\r\n", "\x85", "\u2028"])
def test_a_name_of_several_lines_is_one_line_of_text(mark):
    assert "".join(LINES[".txt"]([ROW | {"file": f"a{mark}b.wav"}])) == "a b.wav\tone two <b>three\n"


def test_subtitles():
    first, second = "00:00:00,500 --> 00:00:01,250", "01:00:00,000 --> 01:00:00,500"
    assert content(".srt") == f"1\n{first}\none two\n\n2\n{second}\n<b>three\n\n"
    assert content(".vtt").startswith("WEBVTT\n\n00:00:00.500 --> ")
    assert "&lt;b&gt;three" in content(".vtt")


@pytest.mark.parametrize("step", [0.3, 2.0])
def test_cues_are_short_and_hold_every_word_once(step):
    spoken = [word(f"word{number}", number * step, number * step + 0.25) for number in range(100)]
    made = list(cues(spoken))
    assert " ".join(text for _, _, text in made).split() == [one["text"] for one in spoken]
    assert all(end_s - start_s <= 6 and len(text) <= 84 for start_s, end_s, text in made)
    edges = [edge for start_s, end_s, _ in made for edge in (start_s, end_s)]
    assert edges == sorted(edges)


def test_nothing_recognised_is_an_empty_file():
    silent = ROW | {"text": "", "words": []}
    assert "".join(LINES[".srt"]([silent])) == ""
    assert list(cues([])) == []


@pytest.mark.parametrize("words", [WORDS, []])
def test_praat_reads_the_words(tmp_path, words):
    write_textgrid(ROW | {"words": words}, tmp_path / "a.TextGrid")
    grid = textgrid.openTextgrid(str(tmp_path / "a.TextGrid"), includeEmptyIntervals=False)
    read = [(entry.start, entry.end, entry.label) for entry in grid.getTier("words").entries]
    assert read == [(one["start_s"], one["end_s"], one["text"]) for one in words]
    assert grid.maxTimestamp == 3601
