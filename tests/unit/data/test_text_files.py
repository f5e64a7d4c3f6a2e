"""Lines of text files, and quotes in tables."""

import pytest
from imported import recordings, table

from asr_lab.data.text_files import lines, read_table
from asr_lab.errors import AsrLabError


@pytest.fixture
def folder(tmp_path):
    return recordings(tmp_path)


ODD = "one\u2028two\u2029three\u0085four\x0cfive\x1csix"


def test_lines_end_with_line_feeds_only():
    assert lines(f"{ODD}\r\nb\n\nc") == [ODD, "b", "", "c"]
    assert lines("a\n") == ["a"]
    assert lines("") == []


def test_a_quote_that_is_not_closed_glues_no_rows(folder):
    source = table(folder, 'audio,text,speaker\na.wav,fine,x\na.wav,"Hello he said,x\nb.wav,fine,y\n')
    with pytest.raises(AsrLabError) as error:
        read_table(source)
    assert "line 3" in error.value.what
    with pytest.raises(AsrLabError, match="several columns are named text"):
        read_table(table(folder, "audio,text,text\na.wav,b,c\n"))
