"""Labels of AI-Hub for several recordings."""

import corpora
from imported import faults, read, speakers, texts

from asr_lab.data import manifest


def test_one_label_of_ai_hub_for_two_recordings(tmp_path):
    result = read("aihub", corpora.aihub_command(tmp_path / "c"))
    assert {part: len(cuts) for part, cuts in result.splits.items()} == {"train": 4, "val": 4}
    assert sorted(cut.id for cut in result.splits["train"])[:2] == ["T-CMD-001-N", "T-CMD-001-S"]
    assert speakers(result) == {"T001", "T002", "V001", "V002"}
    assert "a label without audio" not in result.report.left_out


def test_recordings_of_one_label_that_differ_in_length_are_faults(tmp_path):
    source = corpora.aihub_command(tmp_path / "c")
    corpora.sound(next(source.rglob("T-CMD-001-N.wav")), 1.5)
    assert [kind for _, kind in faults("aihub", source)] == ["the recordings of one label differ in length"] * 2


def test_a_label_of_ai_hub_that_is_a_list_of_readings(tmp_path):
    result = read("aihub", corpora.aihub_reading(tmp_path / "r"))
    assert texts(result) == {"train": ["1 번 웃었다", "2 번 웃었다"] * 2, "val": ["1 번 웃었다", "2 번 웃었다"] * 2}
    assert speakers(result) == {"10", "20", "11", "21"}
    assert {manifest.field(cut, "age") for cut in result.splits["val"]} == {41}
