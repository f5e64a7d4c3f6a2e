"""Splits that a configuration does not name: those beside the ones it names, never the demo's."""

from pathlib import Path

import pytest
from conftest import make_corpus, ok, refused

from asr_lab.cli.jobs import Jobs
from asr_lab.cli.training.adapter import _speakers
from asr_lab.config.load import load, parse_overrides
from asr_lab.data import manifest
from asr_lab.data.manifest_folder import sibling, split_manifests
from asr_lab.errors import AsrLabError
from asr_lab.recipes.own_data import with_own_splits


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Empty files where manifests of a corpus would be."""
    monkeypatch.chdir(tmp_path)
    for name in ("train", "dev", "test", "all", "train-small", "val-small"):
        path = tmp_path / "mine" / f"{name}.jsonl.gz"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path / "mine"


def splits(*keys: str, recipe: str = "deepspeech2") -> dict[str, str]:
    config, _ = with_own_splits(load(None, parse_overrides(keys), recipe))
    return config.manifests()


def test_siblings_have_the_name_of_their_split(folder):
    named = {split: path.name for split, path in split_manifests(folder).items()}
    assert named == {"train": "train.jsonl.gz", "val": "dev.jsonl.gz", "test": "test.jsonl.gz"}
    small = folder / "train-small.jsonl.gz"
    assert sibling(small, "train", "val") == folder / "val-small.jsonl.gz"
    assert sibling(small, "train", "test") == folder / "test.jsonl.gz"
    assert sibling(folder / "all.jsonl.gz", "train", "val") is None  # which may hold val
    (folder / "valid.jsonl.gz").touch()
    with pytest.raises(AsrLabError) as two:
        sibling(folder / "train.jsonl.gz", "train", "val")
    assert "dev.jsonl.gz" in two.value.what
    assert "valid.jsonl.gz" in two.value.what


def test_a_folder_without_splits_is_refused(tmp_path):
    (tmp_path / "all.jsonl.gz").touch()
    with pytest.raises(AsrLabError) as refusal:
        split_manifests(tmp_path)
    assert "data split" in refusal.value.next_command


@pytest.mark.parametrize("recipe", ["deepspeech2", "wav2vec2", "pronunciation"])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_one_split_brings_those_beside_it(folder, recipe, split):
    name = "dev" if split == "val" else split
    found = splits(f"data.{split}=mine/{name}.jsonl.gz", recipe=recipe)
    assert found == {"train": "mine/train.jsonl.gz", "val": "mine/dev.jsonl.gz", "test": "mine/test.jsonl.gz"}


def test_a_folder_in_place_of_a_manifest_is_its_split(folder):
    given = splits("data.train=mine", "data.val=mine")
    assert given == {"train": "mine/train.jsonl.gz", "val": "mine/dev.jsonl.gz", "test": "mine/test.jsonl.gz"}
    (folder / "shards").mkdir()
    with pytest.raises(AsrLabError) as none:
        splits("data.train=mine/shards")
    assert (none.value.where, none.value.next_command) == ("data.train=mine/shards", "asr-lab data import --help")
    (folder / "shards" / "cuts.000000.jsonl.gz").touch()
    (folder / "shards.jsonl.gz").touch()
    with pytest.raises(AsrLabError) as beside:
        splits("data.train=mine/shards")
    assert beside.value.allowed == "data.train=mine/shards.jsonl.gz"


def test_what_states_everything_or_nothing_stays(folder):
    for keys in ([], ["data.test="], ["data.max_duration_s=9"], ["data.train=corpora/demo/train.jsonl.gz"]):
        config = load(None, parse_overrides(keys), "deepspeech2")
        assert with_own_splits(config) == (config, [])
    config = load(None, parse_overrides(["data.train=a", "data.val=b", "data.test=c"]), "deepspeech2")
    assert with_own_splits(config)[0] is config


def test_a_test_that_is_not_there_is_none_and_reported(folder):
    (folder / "test.jsonl.gz").unlink()
    config = load(None, parse_overrides(["data.train=mine/train.jsonl.gz"]), "deepspeech2")
    done, notes = with_own_splits(config)
    assert done.data.test == ""
    assert any("data.test" in note for note in notes)


def test_a_validation_that_is_not_there_is_refused_by_its_key(folder):
    for given in ("train", "all"):
        if given == "train":
            (folder / "dev.jsonl.gz").unlink()
        with pytest.raises(AsrLabError) as refusal:
            splits(f"data.train=mine/{given}.jsonl.gz")
        assert "data.val=MANIFEST" in refusal.value.allowed
    with pytest.raises(AsrLabError, match="no such manifest"):
        splits("data.train=mine/nowhere.jsonl.gz")


def test_phases_and_methods_are_data_too(folder):
    phases = [f"phase{n}.train=mine/train.jsonl.gz" for n in (1, 2)]
    found = splits("model.pretrained=x", *phases, recipe="curriculum")
    assert found["val"] == "mine/dev.jsonl.gz"
    with pytest.raises(AsrLabError, match=r"data\.train, data\.val, data\.test"):
        splits("arms.a.data.train=mine/train.jsonl.gz", "arms.b.train.lr=1e-3", recipe="arms")
    (folder / "test.jsonl.gz").unlink()
    with pytest.raises(AsrLabError, match="compared on test data"):
        splits("data.train=mine/train.jsonl.gz", "arms.a.train.lr=1", "arms.b.train.lr=1e-3", recipe="arms")


@pytest.mark.parametrize(
    ("recipe", "key", "more", "name", "place"),
    [
        ("curriculum", "phase1.train", ["model.pretrained=x", "data.train=mine"], "train", "phase1.train=mine"),
        (
            "arms",
            "arms.a.data.val",
            ["data.train=mine", "arms.a.train.lr=1", "arms.b.train.lr=2"],
            "dev",
            "arms.a.data.val=mine",
        ),
        ("evaluate", "evaluate.data", ["evaluate.model=x"], "test", "evaluate.data=mine"),
        ("evaluate", "evaluate.data", ["evaluate.model=x", "evaluate.split=val"], "dev", "evaluate.data=mine"),
    ],
)
def test_a_folder_for_any_key_is_the_manifest_in_it(folder, recipe, key, more, name, place):
    config, notes = with_own_splits(load(None, parse_overrides([*more, f"{key}=mine"]), recipe))
    assert config.part_manifests() == {key: f"mine/{name}.jsonl.gz"}
    assert f"{key} is mine/{name}.jsonl.gz" in notes
    (folder / f"{name}.jsonl.gz").unlink()
    with pytest.raises(AsrLabError) as none:
        with_own_splits(load(None, parse_overrides([*more, f"{key}=mine"]), recipe))
    assert none.value.where == place


def test_the_demos_second_test_is_named(folder):
    keys = ["data.train=mine/train.jsonl.gz", "data.test_hard=corpora/l2/test-hard.jsonl.gz"]
    _, notes = with_own_splits(load(None, parse_overrides(keys), "pronunciation"))
    assert any("data.test_hard=corpora/l2/test-hard.jsonl.gz" in note for note in notes)


def test_commands_report_it_and_make_no_demo(store):
    for name, seed in (("train", 1), ("val", 2)):
        texts = {f"{name}{n}": word for n, word in enumerate(("abba", "cab", "dad", "bed"))}
        make_corpus(store / name, texts, speaker=name, seed=seed).rename(store / f"{name}.jsonl.gz")
        for file in (store / name / "audio").iterdir():
            (store / "audio").mkdir(exist_ok=True)
            file.rename(store / "audio" / file.name)
    (store / "b.yaml").write_text("recipe: deepspeech2\nmodel: {hidden_size: 8, conv_channels: 4}\n")
    (store / "s.yaml").write_text(
        "recipe: sweep\nexperiment: b.yaml\nspace: {train.lr: [1e-3, 1e-2]}\nobjective: val/wer\n"
    )
    for command in (["train", "b.yaml"], ["sweep", "s.yaml"]):
        said = ok(*command, "data.train=train.jsonl.gz", "--dry-run")
        assert "data.val is val.jsonl.gz" in said
        assert "not tested" in said
        assert "data.train is train.jsonl.gz" in ok(*command, "data.train=.", "--dry-run")
    (store / "val.jsonl.gz").unlink()
    for command in (["train", "b.yaml"], ["sweep", "s.yaml"]):
        assert "data.val=MANIFEST" in refused(*command, "data.train=train.jsonl.gz")
    assert not (store / "corpora").exists()


def test_jobs_of_each_speaker_are_of_the_manifest_in_a_folder(store):
    cuts = [
        cut for name in ("amy", "bob") for cut in manifest.read(make_corpus(store / name, {name: "ab"}, speaker=name))
    ]
    manifest.write(cuts, store / "train.jsonl.gz")
    keys = parse_overrides(["data.each=speaker", "data.train=.", "data.cross_fit=2", "adapter.name=everyone"])
    assert _speakers(load(None, keys, "adapter"), Jobs("local", count=2), offline=False) == ["amy", "bob"]
