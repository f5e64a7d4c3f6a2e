"""Common Voice of any release, by its folder and by one table."""

import corpora
import pytest
from imported import read

from asr_lab.data import manifest
from asr_lab.data.importers.registry import import_corpus
from asr_lab.errors import AsrLabError


@pytest.mark.parametrize("release", corpora.COMMON_VOICE)
def test_common_voice_of_any_release(tmp_path, release):
    result = read("commonvoice", corpora.common_voice(tmp_path / "ko", release))
    assert {part: len(cuts) for part, cuts in result.splits.items()} == {"train": 2, "val": 1, "test": 1}
    cut = result.splits["train"][0]
    assert manifest.text(cut) == '그는 "1" 번 웃었다'
    assert [manifest.field(cut, name) for name in ("gender", "age_group")] == ["female", "20-29"]
    assert manifest.field(cut, "language") == (None if release == "2019" else "ko")


def test_common_voice_by_its_folder_and_by_one_table(tmp_path):
    source = corpora.common_voice(tmp_path / "cv" / "ko")
    assert set(import_corpus("commonvoice", tmp_path / "cv", tmp_path / "out").splits) == {"train", "val", "test"}
    assert len(import_corpus("commonvoice", source / "validated.tsv", tmp_path / "out").splits["all"]) == 4
    corpora.common_voice(tmp_path / "cv" / "en")
    with pytest.raises(AsrLabError, match="several languages: en, ko"):
        import_corpus("commonvoice", tmp_path / "cv", tmp_path / "out")
