"""Tables in workbooks of Excel."""

import sys

import corpora
import pytest
from conftest import ok, refused

from asr_lab.data import manifest
from asr_lab.data.text_files import read_table
from asr_lab.errors import AsrLabError

HEADER = ["파일명", "내용", "화자", "나이"]
ROWS = [["0.wav", '그는, "웃었다"', "미나", 7], ["1", "둘째\n문장", "", 8.0], ["2.wav", "셋째", "주노", 9]]


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        corpora.sound(tmp_path / "in" / f"{number}.wav", seed=number)
    return tmp_path / "in"


def test_a_sheet_is_a_table_also_with_a_title_and_merged_cells(folder):
    pytest.importorskip("python_calamine")
    sheets = {"자료": [["녹음 목록"], [], HEADER, *ROWS], "설명": [["2026년에 녹음함"]]}
    source = corpora.workbook(folder / "목록.xlsx", sheets, merged="C4:C5")
    said = ok("data", "import", source, folder.parent / "out")
    assert "the sheet 자료, with the header in row 3" in said
    cuts = manifest.read(folder.parent / "out" / "all.jsonl.gz")
    found = [[cut.id, *(manifest.field(cut, name) for name in ("text", "speaker", "age"))] for cut in cuts]
    assert found == [["0", ROWS[0][1], "미나", 7], ["1", ROWS[1][1], "미나", 8], ["2", "셋째", "주노", 9]]


def test_faults_of_a_sheet_have_its_row_and_of_several_sheets_one_is_named(folder):
    pytest.importorskip("python_calamine")
    rows = [ROWS[0], [*ROWS[2][:2], "미나", 9]]
    source = corpora.workbook(folder / "둘.xlsx", {"가": [HEADER, *ROWS], "나": [HEADER, *rows]})
    said = refused("data", "import", source, folder.parent / "out")
    assert "--sheet '가'" in said
    columns = ["--columns", "audio=파일명,text=내용,speaker=화자"]
    assert "row 3" in refused("data", "import", "csv", source, folder.parent / "out", "--sheet", "가", *columns)
    assert "2 imported" in ok("data", "import", "csv", source, folder.parent / "out", "--sheet", "나", *columns)
    with pytest.raises(AsrLabError, match="no sheet 다"):
        read_table(source, sheet="다")


def test_a_workbook_that_is_cut_off_is_one_message_and_a_text_named_so_is_a_table(folder):
    pytest.importorskip("python_calamine")
    (folder / "a.xls").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(100))
    with pytest.raises(AsrLabError, match="cannot be read"):
        read_table(folder / "a.xls")
    corpora.text(folder / "b.xls", "audio\ttext\tspeaker\n0.wav\t하나\t미나\n", "cp949")
    assert "1 imported" in ok("data", "import", folder / "b.xls", folder.parent / "out")


def test_without_the_extra_the_message_names_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    source = corpora.workbook(folder / "a.xlsx", {"가": [HEADER, *ROWS]})
    with pytest.raises(AsrLabError) as error:
        read_table(source)
    assert "asr_lab[excel]" in error.value.allowed
