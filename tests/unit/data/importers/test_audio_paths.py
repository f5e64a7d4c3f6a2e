"""The audio file that a table names: in another normal form, with backslashes, without a suffix."""

import corpora
import pytest
from imported import read

from asr_lab.data import manifest
from asr_lab.data.importers.import_report import ImportRefusedError


@pytest.mark.parametrize(("disk", "table"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_names_in_another_normal_form_are_the_same(tmp_path, disk, table):
    (cut,) = read("csv", corpora.names_in_nfd(tmp_path / "n", on_disk=disk, in_table=table)).splits["all"]
    assert cut.id == "녹음-첫째"
    assert manifest.field(cut, "speaker") == "미나"


def test_names_without_a_suffix_and_with_backslashes(tmp_path):
    corpora.sound(tmp_path / "wav" / "a.wav")
    source = corpora.text(tmp_path / "t.csv", "audio,text,speaker\nwav\\a,가,x\n")
    assert len(read("csv", source).splits["all"]) == 1
    corpora.sound(tmp_path / "wav" / "a.flac")
    with pytest.raises(ImportRefusedError) as error:
        read("csv", source)
    assert "a.flac, a.wav" in error.value.hint
