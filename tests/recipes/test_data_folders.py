"""Folders of manifests where data are asked for, and what users type before they know the commands."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, WORDS, make_corpus, newest, ok, refused, run
from full_disks import full_disk

from asr_lab.data import manifest

CONFIG = "recipe: deepspeech2\ndata: {train: a.jsonl.gz, val: b.jsonl.gz, test: c.jsonl.gz}\n"


@pytest.fixture
def folder(store):
    """A folder with a configuration, and with a corpus of four speakers in `mine`."""
    rng = np.random.default_rng(1)
    parts = []
    for number, speaker in enumerate(("ann", "bob", "cho", "dan")):
        texts = {f"{speaker}{i}": " ".join(rng.choice(WORDS, 2)) for i in range(6)}
        parts.append(manifest.read(make_corpus(store / "parts" / speaker, texts, speaker=speaker, seed=number)))
    manifest.write([cut for part in parts for cut in part], store / "mine" / "all.jsonl.gz")
    (store / "base.yaml").write_text(CONFIG)
    return store


def next_command(said: str) -> str:
    return re.search(r"(?:  try: |  next  )(.+)", said)[1]


@pytest.mark.parametrize("command", ["split", "phases"])
def test_on_a_full_disk_all_parts_are_written_or_none(folder, command):
    ok("data", "stats", "mine/all.jsonl.gz")  # its table is there
    words = ("data", command, "mine/all.jsonl.gz", "out")
    with full_disk(12_000):  # a manifest fits, the figure does not
        said = refused(*words)
    assert "cannot be written" in said
    assert not list(Path("out").iterdir())
    ok(*words)
    before = {path.name: path.read_bytes() for path in Path("out").glob("*.gz")}
    with full_disk(12_000):
        refused(*words, "--overwrite", "--seed", "5")
    assert {path.name: path.read_bytes() for path in Path("out").glob("*.gz")} == before


def test_a_folder_is_split_and_trained_on_by_the_commands_that_are_printed(folder):
    said = ok("data", "split", "mine", "--val", "0.25", "--test", "0.25")
    assert {path.name for path in Path("mine").glob("*.gz")} == {
        f"{n}.jsonl.gz" for n in ("all", "train", "val", "test")
    }
    assert next_command(said) == "asr-lab train base.yaml --data mine"
    ok(*next_command(said).split()[1:], *TINY[1:], "train.epochs=1")
    logged = {one.dataset.name for one in newest("deepspeech2").inputs.dataset_inputs}
    assert logged == {"mine/train", "mine/val", "mine/test"}


def test_the_folder_takes_the_place_of_all_splits_of_the_config(folder):
    ok("data", "split", "mine", "--val", "0.25", "--test", "0")
    said = ok("train", "base.yaml", "--data", "mine", "--dry-run")
    assert "data.test = \n" in said
    assert "c.jsonl.gz" not in said
    said = ok("train", "base.yaml", "--data", "mine", "data.val=mine/train.jsonl.gz", "--dry-run")
    assert "data.val = mine/train.jsonl.gz" in said


def test_a_folder_that_is_not_split_names_the_command(folder):
    said = refused("train", "base.yaml", "--data", "mine")
    assert next_command(said) == "asr-lab data split mine/all.jsonl.gz mine"
    ok("data", "split", "mine", "--val", "0", "--test", "0.25")
    assert "has no val.jsonl.gz" in refused("train", "base.yaml", "--data", "mine")


def test_a_sweep_takes_train_and_val_of_a_folder(folder):
    ok("data", "split", "mine", "--val", "0.25", "--test", "0.25")
    Path("sweep.yaml").write_text(
        "recipe: sweep\nexperiment: base.yaml\nfixed: {data.test: ''}\nobjective: val/wer\n"
        "space: {model.hidden_size: [32, 64]}\n"
    )
    said = ok("sweep", "sweep.yaml", "--data", "mine", "--dry-run")
    assert "mine/train.jsonl.gz" in said
    assert "mine/test.jsonl.gz" not in said


def test_one_speaker_is_split_by_sentences(folder):
    shutil.copytree("parts/ann", "me")
    command = next_command(refused("data", "split", "me"))
    assert command == "asr-lab data split me/all.jsonl.gz me --by text"
    ok(*command.split()[1:], "--val", "0.3", "--test", "0.3")
    splits = {name: manifest.read(f"me/{name}.jsonl.gz") for name in ("train", "val", "test")}
    texts = {name: {manifest.text(cut) for cut in cuts} for name, cuts in splits.items()}
    assert not texts["train"] & texts["test"]
    assert not texts["train"] & texts["val"]


def test_stats_and_check_take_folders(folder):
    assert "24 utterances of 4 speakers" in ok("data", "stats", "mine")
    ok("data", "split", "mine", "--val", "0.25", "--test", "0.25")
    said = ok("data", "check", "mine")
    assert said.count("utterances can be used") == 4


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["mine"], "asr-lab train base.yaml --data mine"),
        (["--data", "mine"], "asr-lab train base.yaml --data mine"),
        (["mine/train.jsonl.gz"], "asr-lab train base.yaml --data mine"),
        (["mine.csv"], "asr-lab data import mine.csv corpora/mine"),
        (["my recordings"], "asr-lab data import 'my recordings' 'corpora/my recordings'"),
        (["base.yaml", "--data", "mine.csv"], "asr-lab data import mine.csv corpora/mine"),
        (["train.epochs=3"], "asr-lab train base.yaml"),
        ([], "asr-lab train base.yaml"),
    ],
)
def test_what_is_no_config_names_the_next_command(folder, words, command):
    shutil.copy("mine/all.jsonl.gz", "mine/train.jsonl.gz")
    Path("mine.csv").write_text("audio,text,speaker\na.wav,x,y\n")
    Path("my recordings").mkdir()
    assert next_command(refused("train", *words)) == command


def test_without_any_config_the_next_command_makes_one(store):
    assert next_command(refused("train", "nowhere.yaml")).startswith("asr-lab init")
    assert next_command(refused("train")).startswith("asr-lab init")
    assert "--family curriculum" in next_command(refused("curriculum"))


@pytest.mark.parametrize(
    ("words", "command"), [(["import", "x"], "data import"), (["split"], "data split"), (["synt"], "data synth")]
)
def test_commands_of_the_group_data_are_proposed(words, command):
    done = run(*words)
    assert done.exit_code == 2
    assert repr(command) in done.output


def test_missing_arguments_are_shown_by_an_example():
    done = run("data", "split")
    assert done.exit_code == 2
    assert next_command(done.output) == "asr-lab data split corpora/mine"


def test_evaluate_takes_a_model_and_a_manifest_in_any_order(at_home):
    by_option = ["--model", "models:/deepspeech2@champion", "--data", "corpus/all.jsonl.gz"]
    ok("evaluate", *by_option)
    expected = newest("evaluate", "evaluate").data
    for words in (by_option[1::2], by_option[:0:-2], [*by_option[:2], by_option[3]]):
        ok("evaluate", *words, "--evaluate.batch_size", "4")
        found = newest("evaluate", "evaluate").data
        assert found.metrics["test/wer"] == expected.metrics["test/wer"]
        assert found.params["evaluate.model"] == expected.params["evaluate.model"]
        assert found.params["evaluate.batch_size"] == "4"


def test_evaluate_takes_the_test_manifest_of_a_folder(at_home, tmp_path):
    shutil.copytree("john", tmp_path / "john")
    (tmp_path / "john" / "all.jsonl.gz").rename(tmp_path / "john" / "test.jsonl.gz")
    said = ok("evaluate", "models:/deepspeech2@champion", tmp_path / "john")
    assert f"data: {tmp_path}/john/test.jsonl.gz" in said
    assert newest("evaluate", "evaluate").data.params["evaluate.data"] == str(tmp_path / "john" / "test.jsonl.gz")
    (tmp_path / "john" / "test.jsonl.gz").rename(tmp_path / "john" / "train.jsonl.gz")
    assert "no test.jsonl.gz" in refused("evaluate", "models:/deepspeech2@champion", tmp_path / "john")


def test_evaluate_says_what_is_missing_or_too_much(at_home):
    assert "MANIFEST: required" in refused("evaluate", "models:/deepspeech2@champion")
    assert "MODEL: required" in refused("evaluate", "john/all.jsonl.gz")
    assert "2 manifests" in refused("evaluate", "m", "john/all.jsonl.gz", "--data", "corpus/all.jsonl.gz")
    assert "2 models" in refused("evaluate", "models:/a/1", "models:/b/1", "john/all.jsonl.gz")
    Path("recordings").mkdir(exist_ok=True)
    said = refused("evaluate", "models:/a/1", "recordings")
    assert next_command(said) == "asr-lab data import recordings OUT"
