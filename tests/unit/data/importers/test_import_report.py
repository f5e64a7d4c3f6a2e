"""What an import leaves out: counted by kind, and listed in `faults.tsv`."""

import csv

import corpora
import pytest
from conftest import ok, refused
from corpora import sound
from imported import cuts_of, faults, jsonl, recordings

from asr_lab.data import manifest


def test_one_odd_file_among_many_is_left_out_and_listed(tmp_path):
    for number in range(30):
        corpora.sound(tmp_path / "t" / f"{number}.wav", 0.1)
        corpora.text(tmp_path / "t" / f"{number}.txt", "가")
    (tmp_path / "t" / "7.wav").write_bytes(b"RIFF")
    out = tmp_path / "out"
    assert "7.wav" in refused("data", "import", "folder", tmp_path / "t", out, "--one-speaker", "미나")
    printed = ok("data", "import", "folder", tmp_path / "t", out, "--one-speaker", "미나", "--skip-faulty")
    assert "30 utterances read, 29 imported, 1 left out" in printed
    with (out / "faults.tsv").open(encoding="utf-8", newline="") as file:
        assert [row["utterance"] for row in csv.DictReader(file, delimiter="\t")] == ["7.wav"]


@pytest.fixture
def folder(tmp_path):
    return recordings(tmp_path)


def test_rows_that_are_faulty_are_left_out_counted_and_listed(folder):
    source = jsonl(folder, {"id": "x"}, {"audio": "none.wav"}, {"id": "z", "text": ""}, {"id": "w", "speaker": ""})
    source.write_text(source.read_text() + "\n{bad\n")
    assert "4 faults, nothing was imported" in refused("data", "import", "jsonl", source, folder / "out")
    assert not (folder / "out").exists()
    printed = ok("data", "import", "jsonl", source, folder / "out", "--skip-faulty")
    assert "5 utterances read, 1 imported, 4 left out" in printed
    with (folder / "out" / "faults.tsv").open(encoding="utf-8", newline="") as file:
        rows = {row["utterance"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert {name: row["fault"].partition(":")[0] for name, row in rows.items()} == {
        "none.wav": "no such audio file",
        "z": "the transcript is missing",
        "w": "the speaker is missing",
        "line 5": "not JSON",
    }
    assert rows["line 5"]["file"] == f"{source}, line 5"


def test_odd_files_of_other_corpora_are_left_out_too(folder):
    sound(folder / "digits" / "1_ann_0.wav", 0.5)
    (folder / "digits" / "2_ann_0.wav").write_bytes(b"RIFF")
    sound(folder / "digits" / "hello.wav", 0.5)
    assert len(faults("fsdd", folder / "digits")) == 2
    assert [cut.id for cut in cuts_of("fsdd", folder / "digits", skip_faulty=True)] == ["fsdd-ann-1-00"]
    transcripts = folder / "transcripts.txt"
    transcripts.write_text("a.wav\t가\nnone.wav\t나\na.wav\t다\nb.wav\n", encoding="utf-8")
    assert len(faults("kospeech", transcripts)) == 3
    assert [manifest.text(cut) for cut in cuts_of("kospeech", transcripts, skip_faulty=True)] == ["가"]
