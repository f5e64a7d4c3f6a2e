"""`asr-lab data check` as a user runs it, and what `data split` warns of."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ok, refused
from corpora import sound

from asr_lab.data import manifest


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Four speakers of three recordings each; dan's first is also bob's, in a copy."""
    monkeypatch.chdir(tmp_path)
    names = [f"{speaker}{number}" for speaker in ("ann", "bob", "cho", "dan") for number in range(3)]
    files = {name: sound(tmp_path / "audio" / f"{name}.wav", 1.0, seed=number) for number, name in enumerate(names)}
    shutil.copyfile(files["bob0"], files["dan0"])
    cuts = [
        manifest.utterance(id=name, audio=file, text=f"word {name}", speaker=name[:3]) for name, file in files.items()
    ]
    for speaker in ("ann", "bob", "cho", "dan"):
        manifest.write([cut for cut in cuts if cut.id.startswith(speaker)], tmp_path / f"{speaker}.jsonl.gz")
    manifest.write(cuts, tmp_path / "all.jsonl.gz")
    return tmp_path


def test_cleaned_manifests_lack_what_was_found_and_the_report_names_it(corpus):
    soundfile.write("audio/ann1.wav", np.zeros(16_000), 16_000)
    Path("audio/ann2.wav").unlink()
    said = refused("data", "check", "ann.jsonl.gz", "bob.jsonl.gz", "dan.jsonl.gz")
    assert "2 of 3 utterances cannot be used" in said
    assert "recordings with utterances in two manifests: bob.jsonl.gz and dan.jsonl.gz 1 (" in said
    said = ok("data", "check", "ann.jsonl.gz", "bob.jsonl.gz", "dan.jsonl.gz", "--out", "cleaned")
    ids = {name: [cut.id for cut in manifest.read(f"cleaned/{name}.jsonl.gz")] for name in ("ann", "bob", "dan")}
    assert ids == {"ann": ["ann0"], "bob": ["bob1", "bob2"], "dan": ["dan0", "dan1", "dan2"]}
    with Path("cleaned/check.csv").open(encoding="utf-8", newline="") as file:
        found = [(row["id"], row["kind"]) for row in csv.DictReader(file)]
    assert found == [("ann1", "changed"), ("ann1", "silent"), ("ann2", "unreadable"), ("bob0", "shared")]
    assert not list(Path(".tables").glob("*.check"))
    assert "can be used" in ok("data", "check", "cleaned", "--disjoint", "recording")
    assert "ann.jsonl.gz would be replaced" in refused("data", "check", "ann.jsonl.gz", "--out", ".")
    assert "overwrite" in refused("data", "check", "bob.jsonl.gz", "--out", "cleaned")


def test_recordings_in_two_manifests_are_refused_if_they_must_be_disjoint(corpus):
    said = refused("data", "check", "bob.jsonl.gz", "dan.jsonl.gz", "--disjoint", "recording")
    assert "not disjoint by recording: bob.jsonl.gz and dan.jsonl.gz 1 (" in said
    assert "audio/bob0.wav" in said


def test_a_manifest_within_another_is_named_unless_they_are_phases(corpus):
    said = ok("data", "check", "all.jsonl.gz", "bob.jsonl.gz")
    assert "warning: all.jsonl.gz contains all utterances of bob.jsonl.gz" in said
    assert "a test set must not be part of training data" in said
    assert "warning" not in ok("data", "check", "bob.jsonl.gz", "all.jsonl.gz", "--nested")


def test_a_split_warns_of_recordings_on_both_sides(corpus):
    words = ["data", "split", "all.jsonl.gz", "parts", "--val", "0.34", "--test", "0", "--hold-out"]
    said = ok(*words, "speaker=dan")
    assert "recordings are in two parts: " in said
    assert " and held-out 1 (" in said
    assert "recordings are in two parts" not in ok(*words, "speaker=bob,dan", "--overwrite")


@pytest.mark.parametrize(
    ("options", "says"), [(["--drop", "silnt", "--out", "x"], "'silent'"), (["--drop", "silent"], "without --out")]
)
def test_kinds_to_drop_that_have_no_effect_are_refused(corpus, options, says):
    assert says in refused("data", "check", "ann.jsonl.gz", *options)
