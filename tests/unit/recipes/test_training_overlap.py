"""A training before anything is spent: what is said of its data."""

import pytest
from conftest import make_corpus
from learners import TINY, learners

from asr_lab.config.load import load, parse_overrides
from asr_lab.data import manifest
from asr_lab.interfaces.in_memory import FolderStore, MemoryTracker
from asr_lab.recipes.recipe import recipe_of
from asr_lab.recipes.recognition.train import Role, train
from asr_lab.system.terminal import Console

SIZES = {
    "deepspeech2": ["model.hidden_size=16", "model.conv_channels=4", "train.epochs=1", "train.batch_size=6"],
    "wav2vec2": ["model.hidden_size=16", "model.num_layers=1", "model.num_heads=2", "model.conv_channels=4"],
    "pronunciation": TINY,
}


def planned(recipe: str, train, val, test):
    given = [f"data.train={train}", f"data.val={val}", f"data.test={test}", *SIZES[recipe]]
    config = load(None, parse_overrides(given), recipe)
    return recipe_of(config).plan(config, FolderStore())


@pytest.fixture
def two(tmp_path):
    """A manifest of two speakers."""
    words = ("abba", "cab", "dad", "bed", "ace", "fad")
    parts = [make_corpus(tmp_path / name, {f"{name}{n}": word for n, word in enumerate(words)}, speaker=name, seed=seed)
             for seed, name in enumerate(("ann", "bob"))]  # fmt: skip
    path = tmp_path / "two.jsonl.gz"
    manifest.write([cut for part in parts for cut in manifest.read(part)], path)
    return path


@pytest.mark.parametrize("recipe", SIZES)
def test_one_manifest_for_everything_is_warned_of(two, tmp_path, recipe):
    everything, speakers = (learners(tmp_path, 8), "juan, mina") if recipe == "pronunciation" else (two, "ann, bob")
    utterances, who, *_ = planned(recipe, everything, everything, everything).warnings
    assert utterances.count("and test") == 2
    assert "the splits share utterances" in utterances
    assert who.endswith(f": train and val 2 ({speakers}), train and test 2 ({speakers}), val and test 2 ({speakers})")


def test_splits_of_other_people_are_not(two, tmp_path):
    assert planned("deepspeech2", tmp_path / "ann/all.jsonl.gz", tmp_path / "bob/all.jsonl.gz", "").warnings == []


def test_it_is_reported_and_recorded_without_names(two, tmp_path):
    console, tracker = Console(record=True, width=300), MemoryTracker(tmp_path)
    config = planned("deepspeech2", two, tmp_path / "bob/all.jsonl.gz", "").config
    train(config, tracker, console)
    said = console.export_text()
    assert (
        "warning the splits share speakers, so figures may be better than of new voices: train and val 1 (bob)" in said
    )
    assert "train and val 6 (bob0, bob1, bob2 and 3 more)" in said
    note = tracker.runs[0].artifacts["note"]
    assert "train and val 6" in note
    assert "bob" not in note.partition("\n")[2]


def test_a_larger_run_that_has_reported_it_is_not_repeated(two, tmp_path):
    console = Console(record=True, width=300)
    config = planned("deepspeech2", two, two, "").config
    train(config, MemoryTracker(tmp_path), console, role=Role(compared=True))
    assert "the splits share" not in console.export_text()
