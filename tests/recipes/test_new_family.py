"""A family is one entry of a table and its own files: with a toy one, every command works."""

import json

import mlflow
import pandas as pd
import pytest
from conftest import newest, ok, refused, run
from toy_family import ENTRY

from asr_lab.families import FAMILIES

SHORT = ("train.epochs=2", "train.batch_size=8", "train.lr=1e-2")


@pytest.fixture
def toy(store, corpus, monkeypatch):
    """A working folder with a config of the toy family, which is in the table."""
    monkeypatch.setitem(FAMILIES, "toy", ENTRY)
    data = f"data: {{train: '{corpus}', val: '{corpus}', test: ''}}\n"
    (store / "toy.yaml").write_text(f"recipe: toy\nrun: {{name: toy, register_as: toy}}\n{data}")
    return corpus


def test_every_command_knows_a_new_family(toy, store):
    assert "nothing was trained" in ok("train", "toy.yaml", *SHORT, "--dry-run")
    ok("train", "toy.yaml", *SHORT)
    ok("train", "toy.yaml", *SHORT, "model.width=4", "run.register_as=")
    trained = newest("toy")
    assert trained.data.params["model.width"] == "4"
    assert trained.info.run_name.startswith("toy-")

    listed = {row["family"]: row for row in json.loads(run("list", "--format", "json").stdout)}
    assert listed["toy"]["metric"] == "val/cer"
    compared = pd.DataFrame(json.loads(run("compare", "--pattern", "toy", "--format", "json").stdout))
    assert {"model.width", "val/cer", "model/params"} <= set(compared)
    assert "model.width" in ok("show", trained.info.run_id[:8])

    evaluated = ok("evaluate", "--model", "models:/toy/1", "--data", toy)
    assert "test/cer" in evaluated
    again = ok("reproduce", trained.info.run_id[:8])
    assert "reproduced" in again

    ok("register", trained.info.run_id[:8], "--name", "toy")
    version = mlflow.MlflowClient().get_model_version("toy", "2")
    assert ENTRY.card.use in version.description
    assert f"val/cer: {trained.data.metrics['val/cer']:.1%}" in version.description
    assert "unknown" not in ok("transcribe", str(toy.parent / "audio" / "u00.wav"), "--model", "models:/toy/1")
    tuned = ok("train", "toy.yaml", *SHORT, "model.pretrained=models:/toy/1", "--dry-run")
    assert "fine-tuned from models:/toy/1" in tuned


def test_a_new_family_is_swept(toy, store):
    space = "space: {model.width: {low: 4, high: 16}}\nsampler: random\npruner: none\n"
    (store / "sweep.yaml").write_text(f"recipe: sweep\nexperiment: toy.yaml\nobjective: val/cer\n{space}")
    said = ok("sweep", "sweep.yaml", "--trials", "2", *SHORT)
    assert (store / "sweeps" / "sweep-best.yaml").is_file()
    assert "asr-lab train sweeps/sweep-best.yaml" in said


def test_what_a_new_family_lacks_is_refused(toy):
    assert "--merged is for adapters" in refused("train", "toy.yaml", "--merged")
    assert "did you mean model.width" in refused("train", "toy.yaml", "model.widht=3")
    assert "'toy'" in refused("curriculum", "toy.yaml")
