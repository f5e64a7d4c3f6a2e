"""What the first bytes of a file say it is."""

import corpora
import pytest
from imported import read

from asr_lab.data.importers.import_report import ImportRefusedError
from asr_lab.errors import AsrLabError


def test_git_lfs_pointers_are_called_so(tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n"
    corpora.text(tmp_path / "a.wav", pointer)
    source = corpora.text(tmp_path / "t.csv", "audio,text,speaker\na.wav,가,x\n")
    with pytest.raises(ImportRefusedError) as error:
        read("csv", source)
    assert "git lfs pull" in error.value.report.faults[0].hint
    with pytest.raises(AsrLabError, match="a Git LFS pointer"):
        read("csv", corpora.text(tmp_path / "p.csv", pointer))
