"""The shell completes names of runs, models and adapters, and config keys."""

import os
import subprocess
import sys

import mlflow
import pytest
from made import made_run


def completed(*words: str, cwd) -> list[str]:
    """What bash is offered for the last of these words."""
    environment = os.environ | {
        "_ASR_LAB_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["asr-lab", *words]),
        "COMP_CWORD": str(len(words)),
    }
    code = "from asr_lab.cli import cli; cli(prog_name='asr-lab')"
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True)
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.fixture
def named(store):
    for name in ("john-a", "john-b", "jane"):
        made_run(name)
    mlflow.MlflowClient().create_registered_model("deepspeech2")
    (store / "adapters").mkdir()
    (store / "adapters" / "john_adapter.pt").write_bytes(b"")
    return store


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("show", "joh"), ["john-b", "john-a"]),
        (("compare", "jane", "john-"), ["john-b", "john-a"]),
        (("show", "john_"), []),  # no wildcard of SQL
        (("promote", "deep"), ["deepspeech2"]),
        (("evaluate", "--adapter", "jo"), ["john"]),
        (("train", "base.yaml", "train.save_e"), ["train.save_every="]),
    ],
)
def test_offers(named, words, offered):
    assert completed(*words, cwd=named) == offered


@pytest.mark.slow
def test_a_folder_without_a_store_gets_none(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    assert completed("show", "x", cwd=tmp_path) == []
    assert not list(tmp_path.iterdir())
