"""Layouts of AI-Hub corpora: backups, speaker folders, macOS names, archives, dialogues."""

import json
import shutil
import unicodedata

import numpy as np
import pytest
import soundfile
from conftest import ok, refused, tone_word

from asr_lab.data import manifest

COLUMNS = "path,speaker_id,split"


def put(root, audio, label, speaker="c1", *, text="학교에 가요", seed=0, **more):
    """A recording and its label at two paths without suffix; the label may be None."""
    sound = root / f"{audio}.wav"
    sound.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(sound, tone_word("cab", np.random.default_rng(seed)), 16000)
    if label:
        put_label(root, label, {"stt": text, "speaker_id": speaker, **more})


def put_label(root, label, content):
    path = root / f"{label}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def with_backup(root):
    """Three splits, and `2.Validation`, from which val and test were made."""
    folders = {"1.Training": ("a", 1), "2.Validation_split": ("b", 2), "3.Test": ("c", 3)}
    for folder, (name, seed) in folders.items():
        put(root, f"{folder}/원천데이터/{name}", f"{folder}/라벨링데이터/{name}", f"speaker-{name}", seed=seed)
    for kind, suffix in (("원천데이터", "wav"), ("라벨링데이터", "json")):
        backup = root / "2.Validation" / kind
        backup.mkdir(parents=True)
        for folder, name in (("2.Validation_split", "b"), ("3.Test", "c")):
            shutil.copy(root / folder / kind / f"{name}.{suffix}", backup)
    return root


def imported(out, part="all"):
    return manifest.read(out / f"{part}.jsonl.gz")


def speakers(out, part="all"):
    return {cut.id: manifest.supervision(cut).speaker for cut in imported(out, part)}


def file_of(cut):
    return cut.recording.sources[0].source


def test_the_backup_of_the_validation_set_is_not_taken_twice(tmp_path):
    said = ok("data", "import", "aihub", with_backup(tmp_path / "in"), tmp_path / "out")
    assert "1 recordings of 2.Validation are also in 3.Test, byte by byte: those in 3.Test are used" in said
    assert "those in 2.Validation_split are used" in said
    for part, folder in (("train", "1.Training"), ("val", "2.Validation_split"), ("test", "3.Test")):
        (cut,) = imported(tmp_path / "out", part)
        assert f"/{folder}/" in file_of(cut)
        assert cut.id in "abc"


def test_a_backup_without_labels_is_not_taken_either(tmp_path):
    root = with_backup(tmp_path / "in")
    shutil.rmtree(root / "2.Validation" / "라벨링데이터")
    ok("data", "import", "aihub", root, tmp_path / "out")
    assert speakers(tmp_path / "out", "test") == {"c": "speaker-c"}


def test_files_of_one_name_that_differ_are_two_utterances(tmp_path):
    root = with_backup(tmp_path / "in")
    put(root, "2.Validation/원천데이터/b", None, seed=9)
    ok("data", "import", "aihub", root, tmp_path / "out")
    assert set(speakers(tmp_path / "out", "val")) == {"2.Validation-b", "2.Validation_split-b"}


@pytest.mark.parametrize("start", ["", "/data/child_subset_100h/", "child_subset_100h\\"])
def test_the_path_in_the_table_decides_which_file_is_meant(tmp_path, start):
    root = with_backup(tmp_path / "in")
    put(root, "2.Validation/원천데이터/b", None, seed=9)  # no longer the same
    files = ("1.Training/원천데이터/a", "2.Validation_split/원천데이터/b", "3.Test/원천데이터/c")
    rows = [
        f"{start}{file}.wav,k{n},{split}"
        for n, (file, split) in enumerate(zip(files, ("train", "val", "test"), strict=True))
    ]
    (root / "subset_metadata_with_test.csv").write_text("\n".join([COLUMNS, *rows]), encoding="utf-8")
    said = ok("data", "import", "aihub", root, tmp_path / "out")
    assert "2 recordings are not in the table: left out" in said
    assert speakers(tmp_path / "out", "val") == {"b": "k1"}
    assert "2.Validation_split" in file_of(imported(tmp_path / "out", "val")[0])


def test_a_table_of_names_means_the_file_in_its_split_else_says_that_it_is_unclear(tmp_path):
    root = with_backup(tmp_path / "in")
    table = root / "subset_metadata_with_test.csv"
    table.write_text("utterance_id,speaker_id,split\nb,k1,val\nc,k2,test\n", encoding="utf-8")
    ok("data", "import", "aihub", root, tmp_path / "out")
    assert "2.Validation_split" in file_of(imported(tmp_path / "out", "val")[0])
    assert "3.Test" in file_of(imported(tmp_path / "out", "test")[0])
    put(root, "2.Validation/원천데이터/b", None, seed=9)
    assert "b: the table's row may mean several recordings" in refused(
        "data", "import", "aihub", root, tmp_path / "again"
    )


def test_a_table_that_excel_saved_is_read(tmp_path):
    root = with_backup(tmp_path / "in")
    (root / "subset_metadata.csv").write_bytes("파일,id,speaker_id\n가,a,철수\n".encode("cp949"))
    ok("data", "import", "aihub", root, tmp_path / "out")
    assert speakers(tmp_path / "out", "train") == {"a": "철수"}


@pytest.mark.parametrize(
    ("audio", "label"),
    [("원천데이터", "라벨링데이터"), ("01.원천데이터", "02.라벨링데이터"), ("TS1", "TL1"), ("sorted", "checked")],
)
def test_names_that_repeat_for_each_speaker_are_distinguished_by_their_folders(tmp_path, audio, label):
    root = tmp_path / "in"
    for number in (1, 2):
        for name in ("0000", "0001"):
            put(root, f"{audio}/S00{number}/{name}", f"{label}/S00{number}/{name}", f"c{number}")
    ok("data", "import", "aihub", root, tmp_path / "out")
    assert speakers(tmp_path / "out") == {
        "S001-0000": "c1",
        "S001-0001": "c1",
        "S002-0000": "c2",
        "S002-0001": "c2",
    }


def test_a_label_of_another_speakers_folder_is_never_taken(tmp_path):
    root = tmp_path / "in"
    for number in (1, 2, 3):
        put(root, f"원천데이터/S00{number}/0000", f"라벨링데이터/S00{number}/0000", f"c{number}")
    (root / "라벨링데이터" / "S001" / "0000.json").unlink()
    (root / "원천데이터" / "S002" / "0000.wav").unlink()
    said = refused("data", "import", "aihub", root, tmp_path / "out")
    assert "1 fault," in said
    assert "S001-0000: there is no label" in said


def test_labels_that_name_their_recording_need_not_be_called_like_it(tmp_path):
    put(tmp_path / "in", "wav/kid7_a", "json/L1", "c1", fileNm="kid7_a.wav")
    put(tmp_path / "in", "wav/kid8_a", "json/L2", "c2", fileNm="kid8_a.wav")
    ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert speakers(tmp_path / "out") == {"kid7_a": "c1", "kid8_a": "c2"}


def test_names_that_a_mac_decomposed_are_the_same_names(tmp_path):
    decomposed = unicodedata.normalize("NFD", "아이")
    put(tmp_path / "in", f"원천데이터/{decomposed}", "라벨링데이터/아이")
    ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    (cut,) = imported(tmp_path / "out")
    assert cut.id == "아이"
    manifest.check_files([cut])


def test_two_labels_or_two_recordings_of_one_name_are_named(tmp_path):
    put(tmp_path / "in", "원천데이터/a", "라벨링데이터/a")
    put_label(tmp_path / "in", "json/a", {"stt": "다른 말", "speaker_id": "c1"})
    put(tmp_path / "in", "원천데이터/b", "라벨링데이터/b")
    put(tmp_path / "in", "wav/b", None, seed=1)
    said = refused("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert "a: two labels of that name" in said
    assert "b: two recordings of that name" in said
    assert "--keys" not in said


def test_what_a_mac_leaves_behind_is_not_looked_at(tmp_path):
    put(tmp_path / "in", "원천데이터/a", "라벨링데이터/a")
    for junk in ("__MACOSX/._a.json", "__MACOSX/b.wav", "원천데이터/._a.wav", ".Trash/c.wav"):
        path = tmp_path / "in" / junk
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\x00\x05\x16\x07")
    ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert set(speakers(tmp_path / "out")) == {"a"}


@pytest.mark.parametrize("name", ["TS1.zip", "child.tar", "data.zip.part0"])
def test_archives_are_to_be_unpacked(tmp_path, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(b"PK")
    said = refused("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert "no audio files" in said
    assert f"unpack the archives: {tmp_path / 'in' / name}" in said
    put(tmp_path / "in", "원천데이터/a", None)
    said = refused("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert "there is no label" in said
    assert "unpack the archives" in said
    assert "--keys" not in said


def test_korean_names_of_splits(tmp_path):
    for number, folder in enumerate(("1.학습데이터", "2.검증데이터", "시험데이터")):
        put(tmp_path / "in", f"{folder}/원천데이터/u{number}", f"{folder}/라벨링데이터/u{number}", f"c{number}")
    ok("data", "import", "aihub", tmp_path / "in", tmp_path / "out")
    assert {path.name.partition(".")[0] for path in (tmp_path / "out").iterdir()} == {"train", "val", "test"}
