"""What a user gives to `asr-lab data import` is recognised by its layout, or refused with the next command."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from unicodedata import normalize

import corpora
import pytest
from conftest import ok, refused, run

from asr_lab.data import manifest
from asr_lab.data.importers.recognition import recognize
from asr_lab.errors import AsrLabError

ROWS = [("001.wav", "안녕하세요", "kim"), ("002.wav", "만나서 반갑습니다", "lee"), ("003.wav", "또 봐요", "kim")]


def kaldi(root: Path) -> Path:
    for name in ("a1", "a2"):
        corpora.sound(root / f"{name}.wav")
    corpora.text(root / "wav.scp", f"a1 {root}/a1.wav\na2 {root}/a2.wav\n")
    corpora.text(root / "text", "a1 첫 문장\na2 둘째 문장\n")
    corpora.text(root / "utt2spk", "a1 kim\na2 kim\n")
    return root


def kospeech(root: Path) -> Path:
    for name in ("a/1.wav", "b/2.wav"):
        corpora.sound(root / name)
    corpora.text(root / "transcripts.txt", "a/1.wav\t가 나\t3 4 5\nb/2.wav\t나 다\t4 5 6\n")
    return root


def fsdd(root: Path) -> Path:
    for name in ("0_jackson_0", "1_jackson_0", "0_nicolas_1"):
        corpora.sound(root / f"{name}.wav")
    return root


def speechocean762(root: Path) -> Path:
    corpora.text(root / "resource" / "text-phone", "1.0 DH AH0\n")
    corpora.text(root / "train" / "wav.scp", "1 WAVE/1.WAV\n")
    corpora.text(root / "train" / "text", "1 THE\n")
    return root


def l2_arctic(root: Path) -> Path:
    corpora.sound(root / "ABA" / "wav" / "arctic_a0001.wav")
    corpora.text(root / "ABA" / "annotation" / "arctic_a0001.TextGrid", "File type")
    corpora.text(root / "ABA" / "transcript" / "arctic_a0001.txt", "author")
    return root


def l2_json(root: Path) -> Path:
    row = {"wrd": "a", "canonical_aligned": "ah", "perceived_train_target": "ah"}
    corpora.label(root / "train.json", {"ABA/wav/a.wav": row})
    return root


def cuts(root: Path) -> Path:
    audio = corpora.sound(root / "a.wav")
    cut = manifest.utterance(id="a", audio=audio, text="가", speaker="kim")
    return corpora.lines_of_json(root / "cuts.jsonl", cut.to_dict())


def json_lines(root: Path) -> Path:
    for name, _, _ in ROWS:
        corpora.sound(root / name)
    return corpora.lines_of_json(root / "mine.jsonl", *({"path": a, "sentence": t, "spk": s} for a, t, s in ROWS))


def table(root: Path, content: str = "", name: str = "목록.csv", encoding: str = "utf-8") -> Path:
    for audio, _, _ in ROWS:
        corpora.sound(root / "wav" / audio)
    rows = "".join(f"wav/{audio},{text},{speaker}\n" for audio, text, speaker in ROWS)
    return corpora.text(root / name, content or f"파일명,내용,화자\n{rows}", encoding)


LAYOUTS = {
    "csv": table,
    "jsonl": json_lines,
    "folder": corpora.texts_beside,
    "nemo": corpora.nemo,
    "kaldi": kaldi,
    "huggingface": corpora.audio_folder,
    "cuts": cuts,
    "librispeech": corpora.librispeech,
    "zeroth": corpora.zeroth,
    "commonvoice": corpora.common_voice,
    "ksponspeech": corpora.ksponspeech,
    "kospeech": kospeech,
    "aihub": corpora.aihub_command,
    "speechocean762": speechocean762,
    "l2-arctic": l2_arctic,
    "l2-json": l2_json,
    "fsdd": fsdd,
}
OTHERS = {
    "aihub/reading": corpora.aihub_reading,
    "aihub/medical": corpora.aihub_medical,
    "huggingface/jsonl": lambda root: corpora.audio_folder(root, "metadata.jsonl"),
    "huggingface/parquet": corpora.parquet,
    "huggingface/saved": corpora.saved_to_disk,
    "folder/one file": corpora.one_file_of_texts,
    "ksponspeech/without lists": lambda root: corpora.ksponspeech(root, scripts=False),
}
IMPORTED = {kind for kind in LAYOUTS if kind not in ("speechocean762", "l2-arctic", "l2-json")}
"""Those of which the layout here is a whole corpus."""


@pytest.mark.parametrize("name", [*LAYOUTS, *OTHERS])
def test_each_layout_is_recognised_as_its_kind(name, tmp_path):
    source = (LAYOUTS | OTHERS)[name](tmp_path / "in")
    found = recognize(source, tmp_path / "out")
    assert found.kind == name.partition("/")[0]
    assert found.reading.evidence


def test_every_importer_but_lhotse_is_recognised():
    from asr_lab.data.importers.registry import IMPORTERS

    assert set(IMPORTERS) - set(LAYOUTS) == {"lhotse"}
    assert [kind for kind, importer in IMPORTERS.items() if not importer.recognizer] == ["lhotse"]


@pytest.mark.parametrize("name", [*sorted(IMPORTED), *OTHERS])
def test_the_command_that_is_printed_imports_the_same(name, tmp_path):
    source = (LAYOUTS | OTHERS)[name](tmp_path / "in")
    more = ["--speaker", "me"] if name in ("aihub/medical", "nemo") else []
    more += ["--skip-faulty"] if "without lists" in name else []  # its test data have none
    said = ok("data", "import", source, tmp_path / "out", *more)
    command = re.search(r"^  as  asr-lab (.*)$", said, re.MULTILINE)[1]
    assert command.split()[2] == name.partition("/")[0]
    recognized = {path.name: list(manifest.read(path).ids) for path in (tmp_path / "out").glob("*.gz")}
    assert sum(map(len, recognized.values())) > 0
    shutil.rmtree(tmp_path / "out")
    ok(*shlex.split(command))
    assert {path.name: list(manifest.read(path).ids) for path in (tmp_path / "out").glob("*.gz")} == recognized
    assert re.search(r"^  next  asr-lab ", said, re.MULTILINE)


def imported(source, out, *options) -> dict[str, tuple[str, str]]:
    ok("data", "import", source, out, *options)
    rows = manifest.read(Path(out) / "all.jsonl.gz")
    return {
        Path(cut.recording.sources[0].source).name: (manifest.text(cut), cut.supervisions[0].speaker) for cut in rows
    }


EXPECTED = {audio: (text, speaker) for audio, text, speaker in ROWS}


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("파일명,내용,화자", "wav/{0}.wav,{1},{2}"),
        ("번호;파일명;내용;화자", "7;{0}.wav;{1};{2}"),
        ("화자\t파일이름\t전사", "{2}\t{0}\t{1}"),
        ("파일 경로,대본,이름", "C:\\Users\\김\\녹음\\wav\\{0}.wav,{1},{2}"),
        ("wav_path,sentence,speaker_id", "/home/kim/data/wav/{0}.wav,{1},{2}"),
        ("파일명,내용,화자", "wav\\{0}.wav,{1},{2}"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
def test_tables_as_people_make_them(head, row, encoding, tmp_path):
    rows = "\n".join(row.format(audio.removesuffix(".wav"), text, speaker) for audio, text, speaker in ROWS)
    source = table(tmp_path / "내 녹음", f"{head}\n{rows}\n", encoding=encoding)
    assert imported(source, tmp_path / "out") == EXPECTED


def test_names_in_nfd_are_those_in_nfc(tmp_path):
    source = table(tmp_path / normalize("NFD", "내 녹음"), name=normalize("NFD", "목록.csv"))
    for number, (audio, _, _) in enumerate(ROWS):
        path = source.parent / "wav" / audio
        path.rename(path.with_name(normalize("NFD", f"녹음{number}.wav")))
    source.write_text(
        normalize("NFD", "파일명,내용,화자\n")
        + "".join(f"녹음{number}.wav,{text},{speaker}\n" for number, (_, text, speaker) in enumerate(ROWS))
    )
    found = imported(source, tmp_path / "out")
    assert {normalize("NFC", name): row for name, row in found.items()} == {
        f"녹음{number}.wav": (text, speaker) for number, (_, text, speaker) in enumerate(ROWS)
    }


def test_a_folder_with_one_table_is_that_table(tmp_path):
    source = table(tmp_path / "in")
    corpora.text(tmp_path / "in" / "notes.txt", "recorded in May\n")
    assert imported(source.parent, tmp_path / "out") == EXPECTED


def test_a_table_without_speakers_takes_one_from_the_option(tmp_path):
    rows = "".join(f"wav/{audio},{text}\n" for audio, text, _ in ROWS)
    source = table(tmp_path / "in", f"파일명,내용\n{rows}")
    said = refused("data", "import", source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    command = re.search(r"try: asr-lab (.*)", said)[1]
    assert command.endswith("--speaker NAME")
    ok(*shlex.split(command.replace("NAME", "me")))
    shutil.rmtree(tmp_path / "out")
    assert {speaker for _, speaker in imported(source, tmp_path / "out", "--speaker", "me").values()} == {"me"}


def test_columns_that_a_user_names_take_precedence(tmp_path):
    rows = "".join(f"wav/{audio},{text}?,{text},{speaker}\n" for audio, text, speaker in ROWS)
    source = table(tmp_path / "in", f"파일명,내용,고친 내용,화자\n{rows}")
    assert imported(source, tmp_path / "out", "--columns", "text=고친 내용") == EXPECTED


def test_forms_that_toolkits_write_are_recognised(tmp_path):
    """`Dataset.to_json` of Hugging Face, `data.list` of WeNet, suffixes in capitals, tabs in `*.trans.txt`."""
    for name in "ab":
        corpora.sound(tmp_path / "hf" / f"{name}.wav")
        corpora.sound(tmp_path / "beside" / f"{name}.WAV")
        corpora.text(tmp_path / "beside" / f"{name}.TXT", f"말 {name}")
        corpora.sound(tmp_path / "z" / "106" / f"106_003_000{name}.flac")
    audio = {name: {"path": f"{name}.wav", "sampling_rate": 16000} for name in "ab"}
    rows = [{"audio": audio[name], "sentence": f"말 {name}", "speaker": "k"} for name in "ab"]
    assert "2 imported" in ok("data", "import", corpora.lines_of_json(tmp_path / "hf/t.jsonl", *rows), tmp_path / "o1")
    rows = [{"key": name, "wav": f"{name}.wav", "txt": f"말 {name}", "speaker": "k"} for name in "ab"]
    source = corpora.lines_of_json(tmp_path / "hf" / "data.list", *rows)
    assert "2 imported" in ok("data", "import", source, tmp_path / "o2")
    assert "2 imported" in ok("data", "import", tmp_path / "beside", tmp_path / "o3")
    lines = "".join(f"106_003_000{name}\t그는 웃었다\n" for name in "ab")
    corpora.text(tmp_path / "z" / "106" / "106_003.trans.txt", lines)
    assert "2 imported" in ok("data", "import", "zeroth", tmp_path / "z", tmp_path / "o4")


def test_two_paths_of_another_machine_with_the_same_end_are_refused(tmp_path):
    table(tmp_path / "in")
    source = corpora.text(tmp_path / "in" / "b.csv", "audio,text,speaker\nC:\\a\\001.wav,x,k\nC:\\b\\001.wav,y,k\n")
    assert "001.wav" in refused("data", "import", "csv", source, tmp_path / "out", "--audio", tmp_path / "in" / "wav")


def test_a_source_with_two_readings_is_refused_with_both_commands(tmp_path):
    source = table(tmp_path / "in")
    shutil.copy(source, source.with_name("second.csv"))
    with pytest.raises(AsrLabError) as error:
        recognize(source.parent, tmp_path / "out")
    commands = [line.strip() for line in error.value.next_command.splitlines()]
    assert [command.split()[4].rpartition("/")[2] for command in commands] == ["second.csv", "목록.csv"]
    for audio, text, _ in ROWS:
        corpora.text(tmp_path / "in" / "wav" / audio.replace(".wav", ".txt"), text)
    with pytest.raises(AsrLabError) as error:
        recognize(source.parent, tmp_path / "out")
    assert "data import folder" in error.value.next_command


def test_folders_within_a_folder_are_named(tmp_path):
    for name in ("train", "test"):
        kaldi(tmp_path / "data" / name)
    with pytest.raises(AsrLabError) as error:
        recognize(tmp_path / "data", tmp_path / "out")
    assert f"asr-lab data import kaldi {tmp_path}/data/train {tmp_path}/out/train" in error.value.next_command


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("mine.zip", "unzip"),
        ("mine.tar.gz", "tar -xf"),
        ("mine.hwp", "data import {}/mine.csv"),
        ("mine.wav", "asr-lab init"),
        ("base.yaml", "asr-lab train {}/base.yaml"),
        ("nowhere", "--help"),
    ],
)
def test_what_has_to_become_something_else_first(name, command, tmp_path):
    if name != "nowhere":
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(AsrLabError) as error:
        recognize(tmp_path / name, tmp_path / "out")
    assert command.format(tmp_path) in error.value.next_command


@pytest.mark.parametrize(
    ("name", "content", "why", "command"),
    [
        ("title.csv", "녹음 목록,,\naudio,text,speaker\na.wav,안녕,kim\n".encode(), "녹음 목록", "data import csv {}"),
        ("unmarked.csv", "audio,text,speaker\na.wav,안녕,kim\n".encode("utf-16-le"), "NUL bytes", ""),
        ("mixed.tsv", "audio\ttext\n가\t나\n".encode() + "다\t라\n".encode("cp949"), "line 3", ""),
        ("workbook.csv", b"PK\x03\x04\0\0", "ZIP", ""),
        ("array.json", b"[[1, 2], [3]]", "array", "data import jsonl {}"),
        ("bare.csv", "a.wav,안녕\nb.wav,네\n".encode(), "without a header", "--transcripts {}"),
    ],
)
def test_a_table_that_is_none_is_refused_for_its_own_reason(name, content, why, command, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AsrLabError) as error:
        recognize(tmp_path / name, tmp_path / "out")
    assert why in error.value.what
    assert command.format(tmp_path / name) in error.value.next_command


def test_a_folder_of_archives_names_the_command_that_unpacks_one(tmp_path):
    corpora.text(tmp_path / "in" / "TS1.zip", "PK")
    with pytest.raises(AsrLabError) as error:
        recognize(tmp_path / "in", tmp_path / "out")
    assert error.value.next_command == f"unzip {tmp_path}/in/TS1.zip -d {tmp_path}/in"


def test_recordings_without_transcripts_are_counted(tmp_path):
    for number in range(3):
        corpora.sound(tmp_path / "in" / f"{number}.wav")
    corpora.text(tmp_path / "in" / "readme.docx", "x")
    said = refused("data", "import", tmp_path / "in", tmp_path / "out")
    assert "3 recordings" in said
    assert "3 .wav, 1 .docx" in said
    assert "try: asr-lab init" in said


def test_the_folder_of_the_output_is_not_looked_at(tmp_path):
    source = table(tmp_path / "in")
    ok("data", "import", source.parent, source.parent / "corpora")
    assert recognize(source.parent, source.parent / "corpora").source == source
    assert "needs no import" in refused("data", "import", source.parent / "corpora", tmp_path / "out")


def test_out_is_asked_for_and_unknown_kinds_are_not_guessed(tmp_path):
    source = table(tmp_path / "내 녹음")
    said = refused("data", "import", source)
    assert f"asr-lab data import '{source}' corpora/목록" in said
    done = run("data", "import", "cvs", source, tmp_path / "out")
    assert done.exit_code == 2
    assert "'csv'" in done.output
    assert run("data", "import", "csv", source).exit_code == 2
    assert f"data import '{source}' out" in refused("data", "import", *str(source).split(), "out")
    assert "--join has no effect on csv" in refused("data", "import", source, tmp_path / "out", "--join", "1-5")


def test_a_file_below_is_found_by_its_name_unless_two_have_it(tmp_path):
    source = table(
        tmp_path / "in", "파일명,내용,화자\n001,안녕하세요,kim\n002,만나서 반갑습니다,lee\n003,또 봐요,kim\n"
    )
    (tmp_path / "in" / "a" / "b").mkdir(parents=True)
    (tmp_path / "in" / "wav").rename(tmp_path / "in" / "a" / "b" / "wav")
    assert imported(source, tmp_path / "out") == EXPECTED
    corpora.sound(tmp_path / "in" / "c" / "001.wav")
    assert "2 files have this name" in refused("data", "import", source, tmp_path / "out", "--overwrite")


def test_a_lone_object_is_no_table_of_json_lines(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"version": 1, "rows": []}))
    with pytest.raises(AsrLabError):
        recognize(path, tmp_path / "out")


def test_references_of_sclite_are_no_list_of_ksponspeech(tmp_path):
    for name in ("u1", "u2"):
        corpora.sound(tmp_path / "in" / f"{name}.wav")
    corpora.text(tmp_path / "in" / "ref.trn", "가나 다라 (u1)\n마바 (u2)\n")
    ok("data", "import", tmp_path / "in", tmp_path / "out", "--speaker", "ann")
    cuts = manifest.read(tmp_path / "out" / "all.jsonl.gz")
    assert {cut.id: manifest.text(cut) for cut in cuts} == {"u1": "가나 다라", "u2": "마바"}
