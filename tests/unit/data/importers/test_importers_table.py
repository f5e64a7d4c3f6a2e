"""Tables with one row per utterance: encodings, separators, quotes, and columns that are kept."""

import json
import re

import corpora
import pytest
from conftest import ok, refused
from imported import cuts_of, faults, jsonl, kaldi, read, recordings, table, texts

from asr_lab.data import manifest
from asr_lab.errors import AsrLabError


def test_a_quote_in_a_table_with_tabs_glues_no_rows(tmp_path):
    for name in "ab":
        corpora.sound(tmp_path / f"{name}.wav")
    source = corpora.text(tmp_path / "t.tsv", 'audio\ttext\tspeaker\na.wav\t"그는\tx\nb.wav\t웃었다"\ty\n')
    assert texts(read("csv", source)) == {"all": ['"그는', '웃었다"']}


ROWS = {"파일명": "a.wav", "내용": "그는 웃었다", "화자": "미나"}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "utf-8-sig", "utf-8"])
def test_tables_as_excel_saves_them_in_korea(tmp_path, encoding, separator):
    corpora.sound(tmp_path / "a.wav")
    lines = f"{separator.join(ROWS)}\r\n{separator.join(ROWS.values())}\r\n{separator * 2}\r\n"
    source = corpora.text(tmp_path / "table.csv", lines, encoding)
    columns = "audio=파일명,text=내용,speaker=화자"
    printed = ok("data", "import", "csv", source, tmp_path / "out", "--columns", columns)
    assert ("read as" in printed) == (encoding in ("cp949", "utf-16"))
    (cut,) = manifest.read(tmp_path / "out" / "all.jsonl.gz")
    assert [manifest.field(cut, name) for name in ("text", "speaker")] == ["그는 웃었다", "미나"]


def test_a_first_line_of_excel_names_the_separator_and_lines_are_counted_from_it(tmp_path):
    source = corpora.text(tmp_path / "t.csv", "sep=|\r\naudio|text|speaker\r\na.wav|가, 나; 다|x\r\nnone.wav|라|x\r\n")
    corpora.sound(tmp_path / "a.wav")
    assert faults("csv", source) == [(4, "no such audio file")]
    assert texts(read("csv", source, skip_faulty=True)) == {"all": ["가, 나; 다"]}


@pytest.mark.parametrize(
    "content",
    [
        "audio,text\na.wav,caf\xe9 na\xefve\n".encode("latin-1"),
        b"a\0u\0d\0i\0o\0",
        b"\xef\xbb\xbfaudio,text,speaker\na.wav,\xb0\xa1,x\n",
        "audio,text".encode("utf-16") + b"\n",
    ],
)
def test_other_encodings_are_refused(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(AsrLabError) as error:
        read("csv", tmp_path / "t.csv")
    assert "UTF-8" in error.value.allowed + error.value.hint


def test_the_columns_of_another_kind_name_its_command(tmp_path):
    source = corpora.nemo(tmp_path / "n").rename(tmp_path / "n" / "m.jsonl")
    with pytest.raises(AsrLabError) as error:
        read("jsonl", source)
    assert error.value.next_command.startswith(f"asr-lab data import nemo {source} ")


@pytest.fixture
def folder(tmp_path):
    return recordings(tmp_path)


@pytest.mark.parametrize(
    "start",
    ["<html><table>", '\ufeff<!DOCTYPE html PUBLIC "-">', '<?xml version="1.0"?>\n<Workbook>', " <TABLE border=1>"],
)
def test_a_page_of_a_web_site_under_the_name_of_a_table_is_called_so(folder, start):
    path = folder / "목록.xls"
    path.write_text(f"{start}<tr><td>audio</td><td>text</td></tr></table>", encoding="utf-8")
    for words in (("import", path), ("import", "csv", path)):
        message = refused("data", *words, folder / "out")
        assert re.search("HTML|XML", message)
        assert ".xlsx" in message


def test_columns_that_are_only_kept_are_reported(folder):
    source = table(folder, "audio,text,speaker,mood\na.wav,cab,ann,glad\n")
    assert "columns understood: audio, text, speaker; only kept as fields: mood\n" in ok(
        "data", "import", "csv", source, folder / "out"
    )


ODD = "one\u2028two\u2029three\u0085four\x0cfive\x1csix"


def test_separators_of_unicode_are_text(folder):
    source = jsonl(folder, {"text": ODD, "id": "x"}, {"id": "y", "audio": "a.wav"})
    assert [manifest.text(cut) for cut in cuts_of("jsonl", source)] == [ODD, "a b"]
    source = table(folder, f'audio,text,speaker\r\na.wav,"{ODD}, z",x\r\nb.wav,"two\nlines",y\r\n')
    assert [manifest.text(cut) for cut in cuts_of("csv", source)] == [f"{ODD}, z", "two\nlines"]
    transcripts = folder / "transcripts.txt"
    transcripts.write_text("a.wav\t가\u2028나\t1\nb.wav\t다\t2\n", encoding="utf-8")
    assert [manifest.text(cut) for cut in cuts_of("kospeech", transcripts)] == ["가\u2028나", "다"]
    kaldi(folder, text="u1 one\u0085two\nu2 three\n")
    assert [manifest.text(cut) for cut in cuts_of("kaldi", folder)] == ["one\u0085two", "three"]


def test_a_row_is_named_by_its_first_line(folder):
    source = table(folder, 'audio,text,speaker\na.wav,"two\nlines",x\n\nnone.wav,"and\nagain",y\n')
    assert faults("csv", source) == [(5, "no such audio file")]


def test_tables_with_tabs_or_semicolons(folder):
    source = table(folder, 'audio\ttext\tspeaker\na.wav\t"Hello, he said\tx\nb.wav\tfine "yes"\ty\n', "t.tsv")
    assert [manifest.text(cut) for cut in cuts_of("csv", source)] == ['"Hello, he said', 'fine "yes"']
    source = table(folder, "audio;text;speaker\na.wav;well, yes;x\n")
    assert [manifest.text(cut) for cut in cuts_of("csv", source)] == ["well, yes"]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_is_a_table_whose_faults_have_their_lines(folder, indent):
    rows = [{"audio": f"{name}.wav", "text": f"말 {name}", "speaker": "kim"} for name in ("a", "b", "none")]
    source = folder / "t.json"
    source.write_text("\n" + json.dumps(rows[:2], ensure_ascii=False, indent=indent), encoding="utf-8")
    assert "2 imported" in ok("data", "import", source, folder / "out")
    source.write_text(json.dumps(rows, ensure_ascii=False, indent=indent)[:-1], encoding="utf-8")
    line = 12 if indent else 1
    assert faults("jsonl", source)[-1] == (line, "no such audio file")
    assert "not JSON" in [kind for _, kind in faults("jsonl", source)]


@pytest.mark.parametrize(("encoding", "end"), [("utf-8", "\r"), ("utf-32", "\n"), ("cp949", "\r")])
def test_tables_of_old_macs_and_in_utf_32_are_recognised(folder, encoding, end):
    text = end.join(["audio,text,speaker", "a.wav,하나 둘,미나", "b.wav,셋,주노", ""])
    (folder / "t.csv").write_bytes(text.encode(encoding))
    assert "2 utterances of 2 speakers" in ok("data", "import", folder / "t.csv", folder / "out")
