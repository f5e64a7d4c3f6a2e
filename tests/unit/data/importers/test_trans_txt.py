"""LibriSpeech and Zeroth-Korean: splits, speakers, and lines without audio."""

import json
import shutil

import corpora
import pytest
from imported import faults, guessed, read, speakers

from asr_lab.data import manifest
from asr_lab.data.importers.registry import import_corpus


def test_zeroth_in_its_published_layout(tmp_path):
    result = read("zeroth", corpora.zeroth(tmp_path / "z"))
    assert {part: len(cuts) for part, cuts in result.splits.items()} == {"train": 4, "test": 2}
    assert speakers(result) == {"106", "107", "201"}
    assert guessed(result) == {None}
    genders = {manifest.field(cut, "speaker"): manifest.field(cut, "gender") for cut in result.splits["train"]}
    assert genders == {"106": "female", "107": "male"}
    assert "Made" not in json.dumps(
        [cut.to_dict() for cut in result.splits["train"]]
    )  # people's names stay where they are


@pytest.mark.parametrize(
    ("inner", "splits"),
    [
        ("", {"train": 4, "val": 2}),
        ("train-clean-100", {"train": 2}),
        ("dev-clean/84", {"val": 2}),
        ("train-other-500/26/208", {"train": 2}),
    ],
)
def test_librispeech_from_any_level(tmp_path, inner, splits):
    result = import_corpus("librispeech", corpora.librispeech(tmp_path / "LibriSpeech") / inner, tmp_path / "out")
    assert {part: len(cuts) for part, cuts in result.splits.items()} == splits
    assert all(manifest.field(cut, "gender") for cuts in result.splits.values() for cut in cuts)


def test_several_test_sets_of_librispeech_stay_apart(tmp_path):
    source = corpora.librispeech(tmp_path / "LibriSpeech")
    shutil.copytree(source / "dev-clean", source / "dev-other")
    assert set(read("librispeech", source).splits) == {"train", "dev-clean", "dev-other"}


def test_a_line_of_librispeech_without_audio_is_named(tmp_path):
    source = corpora.zeroth(tmp_path / "z")
    (source / "train_data_01" / "003" / "106" / "106_003_0002.flac").unlink()
    assert faults("zeroth", source) == [(2, "no such audio file")]
    assert read("zeroth", source, skip_faulty=True).summary.startswith("6 utterances read, 5 imported, 1 left out")
