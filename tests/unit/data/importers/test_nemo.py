"""Manifests of NeMo: offsets, durations, paths, and a folder of them."""

import shutil

import corpora
from imported import faults, guessed, read, speakers, texts

from asr_lab.data import manifest


def test_nemo_manifests_are_cut_by_offset_and_duration(tmp_path):
    result = read("nemo", corpora.nemo(tmp_path / "n"))
    assert [(round(cut.start, 3), round(cut.duration, 3)) for cut in result.splits["all"]] == [
        (0.5, 1.2), (1.9, 1.0), (0.0, 0.8),
    ]  # fmt: skip
    assert texts(result) == {"all": ["첫 문장", "둘째 문장", "셋째"]}
    assert (speakers(result), guessed(result)) == ({"unknown"}, {"speaker"})
    assert {manifest.field(cut, "language") for cut in result.splits["all"]} == {"ko"}


def test_a_duration_without_an_offset_is_the_start_of_the_file_as_in_nemo(tmp_path):
    corpora.sound(tmp_path / "a.wav", 2.0)
    source = corpora.lines_of_json(tmp_path / "m.json", {"audio_filepath": "a.wav", "duration": 0.7, "text": "가"})
    (cut,) = read("nemo", source, one_speaker="미나").splits["all"]
    assert (cut.start, cut.duration, manifest.field(cut, "speaker")) == (0.0, 0.7, "미나")


def test_nemo_paths_may_start_from_the_working_folder(tmp_path, monkeypatch):
    corpora.sound(tmp_path / "audio" / "a.wav")
    source = corpora.lines_of_json(tmp_path / "m" / "m.json", {"audio_filepath": "audio/a.wav", "text": "가"})
    assert faults("nemo", source) == [(1, "no such audio file")]
    monkeypatch.chdir(tmp_path)
    assert texts(read("nemo", source)) == {"all": ["가"]}


def test_a_folder_of_nemo_manifests_is_read_by_split(tmp_path):
    source = corpora.nemo(tmp_path / "n").parent
    shutil.copy(source / "train_manifest.json", source / "dev_manifest.json")
    assert {part: len(cuts) for part, cuts in read("nemo", source).splits.items()} == {"train": 3, "val": 3}
