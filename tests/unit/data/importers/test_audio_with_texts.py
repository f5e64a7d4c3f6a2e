"""A folder of audio with a text beside each recording, or the transcripts of all in one file."""

import shutil
from unicodedata import normalize

import corpora
import pytest
from imported import faults, guessed, read, speakers, texts

from asr_lab.data import manifest
from asr_lab.data.importers.recognition import recognize
from asr_lab.errors import AsrLabError


def test_a_text_beside_each_recording(tmp_path):
    result = read("folder", corpora.texts_beside(tmp_path / "t"))
    assert [manifest.text(cut) for cut in result.splits["all"]] == ["그는 1 번 웃었다", "그는 2 번 웃었다"] * 2
    assert (speakers(result), guessed(result)) == ({"mina", "juno"}, {"speaker"})
    assert "2 text files are read as CP949" in result.report.notes
    (tmp_path / "t" / "mina" / "2.txt").rename(tmp_path / "t" / "mina" / "2.LAB")
    assert len(read("folder", tmp_path / "t").splits["all"]) == 4
    (tmp_path / "t" / "mina" / "1.txt").unlink()
    assert [kind for _, kind in faults("folder", tmp_path / "t")] == ["no text file beside it"]


@pytest.mark.parametrize("form", ["kss", "ljspeech", "tabs", "spaces", "colons"])
def test_the_transcripts_of_all_in_one_file(tmp_path, form):
    result = read("folder", corpora.one_file_of_texts(tmp_path / "t", form), one_speaker="kss")
    expected = {"kss": "1번 웃었다.", "ljspeech": "1 times"}
    assert manifest.text(result.splits["all"][0]) == expected.get(form, "그는 1 번 웃었다")
    assert any("more than two columns" in note for note in result.report.notes) == (form in expected)


def test_recordings_without_a_transcript_and_lines_without_a_recording_are_named(tmp_path):
    source = corpora.one_file_of_texts(tmp_path / "t", "tabs")
    corpora.sound(source / "1" / "1_0003.wav")
    with (source / "transcript.txt").open("a", encoding="utf-8") as file:
        file.write("1/none.wav\t없다\n")
    assert faults("folder", source) == [(3, "no audio file of that name"), (0, "no transcript")]


@pytest.mark.parametrize(
    "line",
    ["1/1_{n:04}.wav|{n}|그는 웃었다", "1/1_{n:04}.wav\tmina\t그는 웃었다", "1/1_{n:04}.wav,그는 웃었다,mina"],
)
def test_columns_that_may_be_speakers_are_not_taken_for_texts(tmp_path, line):
    source = corpora.one_file_of_texts(tmp_path / "t", "tabs")
    rows = "\n".join(line.format(n=n) for n in (1, 2))
    corpora.text(source / "transcript.txt", rows)
    with pytest.raises(AsrLabError, match="it has 3 columns, and no header"):
        read("folder", source)
    corpora.text(source / "transcript.txt", f"path,text\n{rows}" if "," in line else f"path\ttext\n{rows}")
    with pytest.raises(AsrLabError) as error:
        read("folder", source)
    assert "import csv" in error.value.next_command


@pytest.mark.parametrize(
    ("line", "encoding"),
    [
        ("소리{0}\t말 {0}\n", "utf-8-sig"),
        ("말 {0} (소리{0})\n", "cp949"),
        ("C:\\rec\\소리{0}.wav | 말 {0}\n", "utf-16"),
    ],
)
def test_names_without_suffix_or_of_another_machine_are_no_header(tmp_path, line, encoding):
    for number in range(3):
        corpora.sound(tmp_path / "in" / f"{normalize('NFD', '소리')}{number}.wav")
    (tmp_path / "in" / "transcript.txt").write_text("".join(map(line.format, range(3))), encoding=encoding)
    assert recognize(tmp_path / "in", tmp_path / "out").kind == "folder"
    assert texts(read("folder", tmp_path / "in")) == {"all": ["말 0", "말 1", "말 2"]}


def test_two_files_that_may_hold_the_transcripts_must_be_distinguished(tmp_path):
    source = corpora.one_file_of_texts(tmp_path / "t", "tabs")
    shutil.copy(source / "transcript.txt", source / "old.txt")
    with pytest.raises(AsrLabError) as error:
        read("folder", source)
    assert "--transcripts" in error.value.hint
    assert len(read("folder", source, transcripts=source / "old.txt").splits["all"]) == 2
