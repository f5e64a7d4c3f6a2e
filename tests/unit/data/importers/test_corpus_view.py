"""Lhotse's recipes write beside what they read; the corpus stays as it is."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ok, refused
from test_lhotse_recipes import kids, kspon

from asr_lab.data import manifest
from asr_lab.data.importers.corpus_view import corpus_view

PARTS = ("--option", "dataset_parts=train")


def state(folder):
    """Every path below a folder with its time and content."""
    return {
        path.relative_to(folder): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


def sources(out, part="train"):
    return [Path(cut.recording.sources[0].source).resolve() for cut in manifest.read(out / f"{part}.jsonl.gz")]


@pytest.mark.parametrize("flac", [False, True])
def test_what_a_recipe_writes_lies_under_out(tmp_path, flac):
    root, out = kspon(tmp_path / "in"), tmp_path / "out"
    if flac:  # of an earlier preparation
        for pcm in root.rglob("*.pcm"):
            soundfile.write(pcm.with_suffix(".flac"), np.zeros(4000), 16000)
    before = state(root)
    ok("data", "import", "lhotse", "ksponspeech", root, out, *PARTS)
    assert state(root) == before
    assert all(path.is_relative_to(out / "audio") for path in sources(out))
    assert sorted(path.name for path in out.iterdir()) == ["audio", "train.jsonl.gz"]
    ok("data", "check", out / "train.jsonl.gz")
    first = (out / "train.jsonl.gz").read_bytes()
    ok("data", "import", "lhotse", "ksponspeech", root, out, *PARTS, "--overwrite")
    assert (out / "train.jsonl.gz").read_bytes() == first
    ok("data", "check", out / "train.jsonl.gz")


def test_a_corpus_that_cannot_be_written_is_imported(tmp_path):
    root = kspon(tmp_path / "in")
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        ok("data", "import", "lhotse", "ksponspeech", root, tmp_path / "out", *PARTS)
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_recordings_that_are_only_read_stay_where_they_are(tmp_path):
    root = kids(tmp_path / "in")
    (root / "again").symlink_to(root)
    before = state(root)
    ok("data", "import", "lhotse", "cmu_kids", root, tmp_path / "out")
    (audio,) = sources(tmp_path / "out", "all")
    assert audio == root / "cmu_kids" / "kids" / "fabm" / "signal" / "fabmABC1.sph"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["all.jsonl.gz"]
    assert state(root) == before


def test_a_recipe_that_fails_leaves_nothing_and_names_the_folder(tmp_path):
    (tmp_path / "in").mkdir()
    said = refused("data", "import", "lhotse", "ksponspeech", tmp_path / "in", tmp_path / "new" / "out", *PARTS)
    assert str(tmp_path / "in" / "train.trn") in said
    assert not (tmp_path / "new").exists()
    assert not list((tmp_path / "in").iterdir())


def test_out_may_lie_in_the_corpus_and_texts_are_copies(tmp_path):
    root = kspon(tmp_path / "in")
    out = root / "out"
    (root / "big.txt").write_bytes(b"x" * (1 << 21))
    with corpus_view(root, out) as view:
        (view.root / "train.trn").write_text("changed")
        assert not (view.root / "out").exists()
        assert (view.root / "big.txt").readlink() == root / "big.txt"
    assert "(3개)" in (root / "train.trn").read_text(encoding="utf-8")
    assert not out.exists()


def test_a_corpus_that_is_a_file_is_given_as_it_is(tmp_path):
    (tmp_path / "corpus.tar").write_bytes(b"x")
    with corpus_view(tmp_path / "corpus.tar", tmp_path / "out") as view:
        assert view.root == tmp_path / "corpus.tar"
    assert not (tmp_path / "out").exists()
