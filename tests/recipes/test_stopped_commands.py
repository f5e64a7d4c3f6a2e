"""Ctrl-C as a terminal sends it, to the whole process group, in commands that have several runs or spools in hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
from conftest import WORDS, make_corpus, ok
from outages import rows, spec

from asr_lab.data import manifest
from asr_lab.tracking.spool.spool import ROOT
from asr_lab.tracking.tracker import MlflowTracker

pytestmark = pytest.mark.slow


def begun(*words: str) -> subprocess.Popen[str]:
    """A command in a process group of its own, in this folder, whose Ctrl-C is not ignored."""
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "asr_lab", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def stopped(process: subprocess.Popen[str]) -> str:
    """What a command prints from Ctrl-C on."""
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT, out
    assert "Traceback" not in out
    return out


@pytest.mark.usefixtures("at_home")
def test_adapters_of_several_speakers(home):
    cuts = []
    for seed, speaker in enumerate(("ann", "ben", "cyd")):
        texts = {f"{speaker}{number:02d}": f"{WORDS[number % 10]} {WORDS[seed]}" for number in range(20)}
        cuts += manifest.read(str(make_corpus(home / speaker, texts, speaker=speaker, seed=seed)))
    manifest.write(cuts, home / "group.jsonl.gz")
    options = ("--hidden-dims", "32,16", "--epochs", "400")
    process = begun("adapter", "--each", "speaker", "--data", "group.jsonl.gz", *options)
    assert any("adapting" in line and "to ben" in line for line in process.stdout)
    assert "stopped; the same command starts again" in stopped(process)
    ended = dict(rows(home / "mlflow.db", "SELECT substr(name, 1, 4), status FROM runs ORDER BY start_time"))
    assert {name: ended[name] for name in ("each", "ann-", "ben-")} == {
        "each": "KILLED", "ann-": "FINISHED", "ben-": "KILLED",
    }  # fmt: skip
    assert {file.name for file in Path("adapters").iterdir()} == {"ann_adapter.pt", "john_adapter.pt"}
    assert not list(ROOT.glob("*"))


@pytest.mark.usefixtures("store")
def test_a_spool_that_is_being_shipped(store):
    with MlflowTracker(offline=True).start(spec()) as run:
        for number in range(300):
            run.text("x" * 1000, f"many/{number:03d}.txt")
            run.metrics({"train/loss": 1 / (number + 1)}, step=number)
    (spool,) = ROOT.iterdir()
    process = begun("sync")
    while not rows(store / "mlflow.db", "SELECT run_uuid FROM runs"):
        assert process.poll() is None
        time.sleep(0.01)
    assert "stopped; the same command continues" in stopped(process)
    assert spool.is_dir()
    ok("sync")
    assert not spool.exists()
    ((run_id, status),) = rows(store / "mlflow.db", "SELECT run_uuid, status FROM runs")
    assert status == "FINISHED"
    client = mlflow.MlflowClient()
    assert len(client.list_artifacts(run_id, "many")) == 300
    assert [point.step for point in client.get_metric_history(run_id, "train/loss")] == list(range(300))
