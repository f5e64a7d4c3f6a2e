"""Manifests exported to the forms of NeMo and Kaldi, and what is read back of them."""

import json

import corpora
import numpy as np
import pytest
from conftest import ok, refused

from asr_lab.data import manifest
from asr_lab.data.cut_audio import read_cut


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("form", ["nemo", "kaldi"])
def test_what_is_exported_is_read_back(tmp_path, form, copy):
    source = corpora.nemo(tmp_path / "n")
    rows = [json.loads(line) | {"age": "7세"} for line in source.read_text(encoding="utf-8").splitlines()]
    corpora.lines_of_json(source, *rows)
    ok("data", "import", "nemo", source, tmp_path / "m", "--one-speaker", "미나")
    first = manifest.read(tmp_path / "m" / "all.jsonl.gz")
    target = tmp_path / ("x.json" if form == "nemo" else "x")
    more = ["--copy-audio"] if copy else []
    ok("data", "export", form, tmp_path / "m" / "all.jsonl.gz", target, *more)
    assert "would be replaced" in refused("data", "export", form, tmp_path / "m" / "all.jsonl.gz", target, *more)
    ok("data", "import", form, target, tmp_path / "back")
    again = manifest.read(tmp_path / "back" / "all.jsonl.gz")
    by_text = {manifest.text(cut): cut for cut in again}
    assert len(by_text) == len(first) == 3
    for cut in first:
        other = by_text[manifest.text(cut)]
        assert manifest.field(other, "speaker") == "미나"
        assert (manifest.field(other, "language"), manifest.field(other, "age")) == ("ko", 7)
        assert np.allclose(read_cut(other), read_cut(cut), atol=1e-4)
    if form == "kaldi":
        rows = [line.split()[0] for line in (target / "text").read_text(encoding="utf-8").splitlines()]
        assert rows == sorted(rows, key=str.encode)
        assert all(row.startswith("미나-") for row in rows)
        assert (target / "segments").exists() != copy


def test_headerless_audio_is_exported_as_copies_only(tmp_path):
    ok("data", "import", "ksponspeech", corpora.ksponspeech(tmp_path / "k"), tmp_path / "m")
    path, out = tmp_path / "m" / "train.jsonl.gz", tmp_path / "x" / "k.json"
    assert "--copy-audio" in refused("data", "export", "nemo", path, out)
    ok("data", "export", "nemo", path, out, "--copy-audio")
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [(out.parent / row["audio_filepath"]).is_file() for row in rows] == [True, True]
    again = refused("data", "export", "kaldi", path, tmp_path / "k")
    assert "would be replaced" in again
