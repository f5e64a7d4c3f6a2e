"""The older system's JSON of phonemes: alignments, pieces, and what cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ok, run
from imported import cuts_of, recordings

from asr_lab.data import manifest
from asr_lab.data.importers.l2_asr_json import import_l2_asr_json
from asr_lab.data.importers.registry import import_corpus
from asr_lab.data.pronunciation import pronunciation
from asr_lab.errors import AsrLabError


def _wav(path: Path, rate: int = 44_100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(rate * 3), rate)
    return path


@pytest.fixture
def older(tmp_path) -> Path:
    """Three files; the utterances of train by absolute paths, the others by relative ones."""
    folder = tmp_path / "data"
    row = {
        "canonical_aligned": "sil dh ah sil k ae t sil",
        "perceived_aligned": "sil d ah ah k sil t sil",
        "canonical_train_target": "dh ah k ae t",
        "perceived_train_target": "sil d ah ah k t sil",
        "error_labels": "I C I C C",
        "spk_id": "TLV",
        "wrd": "the cat",
    }
    bare = {name: row[name] for name in ("canonical_aligned", "perceived_train_target", "error_labels")}
    folder.mkdir()
    rows = {
        "train_labels": {str(_wav(tmp_path / "wavs" / "TLV" / "wav" / "a.wav")): row},
        "val": {"wavs/YKWK/wav/a.wav": bare},
        "eval": {
            "wavs/YKWK/wav/b.wav": {**bare, "perceived_train_target": "dh ah k err t", "error_labels": "C C C C C"}
        },
    }
    for name, each in rows.items():
        (folder / f"{name}.json").write_text(json.dumps(each))
    for name in ("a", "b"):
        _wav(folder / "wavs" / "YKWK" / "wav" / f"{name}.wav")
    return folder


def test_the_older_json_with_and_without_an_alignment(older):
    result = import_l2_asr_json(older, older)
    parts = result.splits
    assert {part: len(cuts) for part, cuts in parts.items()} == {"train": 1, "val": 1, "test": 1}
    for part in ("train", "val"):
        (cut,) = parts[part]
        said = pronunciation(cut)
        assert said.canonical == ("DH", "AH", "K", "AE", "T")
        assert said.perceived == ("D", "AH", "K", "<del>", "T")
        assert said.errors == (1, 0, 0, 1, 0)
        assert said.insertions == ((), (), ("AH",), (), (), ())
    (cut,) = parts["test"]
    assert pronunciation(cut).perceived == ("DH", "AH", "K", "<unk>", "T")
    assert manifest.field(parts["train"][0], "l1") == "vietnamese"
    assert [manifest.field(parts["val"][0], name) for name in ("speaker", "l1")] == ["YKWK", "korean"]
    assert result.report.remarks == {
        "have error labels that contradict the phonemes, which count": ["YKWK-b"],
        "have no words, their canonical phonemes are the text": ["YKWK-b", "YKWK-a"],
    }


def test_lists_of_labels_are_read_as_strings_are(older):
    before = import_l2_asr_json(older, older).splits
    for path in older.glob("*.json"):
        rows = json.loads(path.read_text())
        for row in rows.values():
            row |= {name: row[name].split() for name in row if name.endswith(("_aligned", "_target", "_labels"))}
        path.write_text(json.dumps(rows))
    after = import_l2_asr_json(older, older).splits
    for part, (cut,) in before.items():
        assert pronunciation(after[part][0]) == pronunciation(cut)


def test_lengths_that_differ_and_labels_that_are_none_are_named(older, tmp_path):
    rows = json.loads((older / "val.json").read_text())
    (key,) = rows
    rows["wavs/YKWK/wav/b.wav"] = {**rows[key], "error_labels": "C I"}
    (older / "val.json").write_text(json.dumps(rows))
    eval_rows = json.loads((older / "eval.json").read_text())
    (other,) = eval_rows
    eval_rows[other]["perceived_train_target"] = "dh ah k zz t"
    (older / "eval.json").write_text(json.dumps(eval_rows))
    printed = " ".join(ok("data", "import", "l2-json", older, tmp_path / "out").split())
    assert "1 left out: canonical and error_labels differ in length: YKWK-b (5, 2)" in printed
    assert "1 labels that are no phonemes: 'zz' 1 times" in printed
    assert len(manifest.read(tmp_path / "out" / "val.jsonl.gz")) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "wavs/YKWK/wav/a.wav").unlink(), "1 audio file is not there"),
        (lambda folder: (folder / "val.json").write_text("[]"), "not an object keyed by"),
        (lambda folder: (folder / "val.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / "dev.json").write_text("{}"), "several files are the val part"),
        (lambda folder: [path.unlink() for path in folder.glob("*.json")], "no JSON file at all"),
    ],
)
def test_older_json_that_cannot_be_used(older, change, message, tmp_path):
    change(older)
    done = run("data", "import", "l2-json", older, tmp_path / "out")
    assert done.exit_code == 1
    assert message in " ".join(done.output.split())


@pytest.fixture
def folder(tmp_path):
    return recordings(tmp_path)


def test_the_json_of_l2_asr_names_pieces_too(folder):
    row = {"canonical_aligned": "hh ae t", "perceived_train_target": "hh ae t", "wrd": "hat", "spk_id": "YKWK"}
    rows = {
        "long.wav": row | {"start": 0.5, "end": 1.5},
        "a.wav": row | {"duration": 1.0},
        "b.wav": row | {"duration": 9.0},
        "none.wav": row,
    }
    (folder / "train.json").write_text(json.dumps(rows))
    with pytest.raises(AsrLabError, match="1 audio file is not there"):
        cuts_of("l2-json", folder / "train.json")
    result = import_corpus("l2-json", folder / "train.json", folder / "out", {"skip_faulty": True})
    assert [(cut.start, cut.duration) for cut in result.splits["train"]] == [(0.5, 1.0), (0.0, 1.0)]
    assert result.summary.startswith("4 utterances read, 2 imported, 2 left out")
