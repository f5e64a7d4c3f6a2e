"""What older code left behind is read and continued: stores, spools, bundles, adapters, checkpoints, sweeps, configs.

`write_fixtures.py` wrote it; `fixtures/expected.json` names the commit, and says what is in it. The tests are commands,
as a user types them.
"""

from __future__ import annotations

import json
import shutil
import socket
import tarfile
from pathlib import Path
from typing import Any

import mlflow
import pytest
import transformers
from conftest import ok
from conftest import run as typed
from empty_store import empty_store, moved

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED = json.loads((FIXTURES / "expected.json").read_text())
ROOT, HOST = "/tmp/asr-lab-fixtures", "laptop"
TEXTS = {".json", ".yaml", ".yml", ".journal", ".txt", ""}
CALLS = {
    "base.yaml": ("train", "base.yaml", "--new-run"),
    "cut-off.yaml": ("train", "cut-off.yaml", "--new-run"),
    "adapter.yaml": ("adapter", "--config", "adapter.yaml"),
    "wav2vec2.yaml": ("train", "wav2vec2.yaml", "--new-run"),
    "lora.yaml": ("train", "lora.yaml", "--new-run"),
    "curriculum.yaml": ("curriculum", "curriculum.yaml", "--phase", "1", "--new-run"),
    "pronunciation.yaml": ("train", "pronunciation.yaml", "--new-run"),
    "evaluate.yaml": ("evaluate", "--config", "evaluate.yaml"),
    "arms.yaml": ("arms", "arms.yaml", "--new-run"),
}


def unpacked(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fixture as if it had been written in `folder` on this machine; one stands in it, with its store."""
    from mlflow.tracking._tracking_service import utils

    with tarfile.open(FIXTURES / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    places = {f"{ROOT}/{name}": str(folder), f"{HOST}|": f"{socket.gethostname()}|"}
    for old, new in places.items():
        moved(folder / "mlflow.db", old, new)
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix in TEXTS:  # not the events of a spool: it counts their bytes
            text = path.read_bytes()
            for old, new in places.items():
                text = text.replace(old.encode(), new.encode())
            path.write_bytes(text)
    stand(folder, monkeypatch)
    utils._artifact_repos_cache.clear()  # by run ids, which each test has anew elsewhere
    return folder


def stand(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")


@pytest.fixture
def home(tmp_path, monkeypatch):
    return unpacked("home", tmp_path, monkeypatch)


@pytest.fixture
def travel(tmp_path, monkeypatch):
    return unpacked("travel", tmp_path, monkeypatch)


def rows_of(*words: str) -> list[dict[str, Any]]:
    """The rows that a command prints as JSON."""
    text = ok(*words, "--format", "json")
    return json.loads(text[text.index("[") : text.rindex("]") + 1])


def shown(run_id: str) -> dict[str, Any]:
    """What `show` says of a run."""
    text = ok("show", run_id, "--format", "json")
    return json.loads(text[text.index("{") : text.rindex("}") + 1])


def runs(**tags: str) -> list[mlflow.entities.Run]:
    """Runs with these tags of asr_lab, newest first."""
    client = mlflow.MlflowClient()
    experiments = [one.experiment_id for one in client.search_experiments()]
    condition = " and ".join(f"tags.`asr_lab.{name}` = '{value}'" for name, value in tags.items())
    return list(client.search_runs(experiments, condition, order_by=["attributes.start_time DESC"]))


def test_a_store_is_listed_shown_and_compared(home):
    listed = {row["id"]: row for row in rows_of("list", "--children", "--limit", "100")}
    for name, run in EXPECTED["runs"].items():
        row = listed[run["id"][:8]]
        assert (row["run"], row["family"], row["state"]) == (f"{name}-{run['id'][:8]}", run["family"], "finished")
        assert row["value"] == run["metrics"].get(row["metric"])
    for name in ("base", "tiny", "simple"):
        run = next(run for key, run in EXPECTED["runs"].items() if key.startswith(f"{name}-"))
        found = shown(run["id"])
        assert found["about"]["signature"] == run["signature"]
        assert {key: found["metrics"][key] for key in run["metrics"]} == run["metrics"]
    compared = {row["run"]: row for row in rows_of("compare", "--family", "wav2vec2", "--children")}
    for name, run in EXPECTED["runs"].items():
        if run["family"] == "wav2vec2" and "val/wer" in run["metrics"]:
            assert compared[f"{name}-{run['id'][:8]}"]["val/wer"] == run["metrics"]["val/wer"]


def test_a_bundle_is_restored_into_an_empty_store(tmp_path, monkeypatch):
    expected = EXPECTED["bundle"]
    empty_store(tmp_path / "mlflow.db")
    stand(tmp_path, monkeypatch)
    shutil.copy(FIXTURES / "bundle.tar.zst", tmp_path / expected["file"])
    ok("restore", expected["file"])
    (row,) = rows_of("list")
    assert row["run"].startswith(expected["name"])
    found = shown(expected["id"])  # by the id that it had
    assert {key: found["metrics"][key] for key in expected["metrics"]} == expected["metrics"]
    ok("restore", expected["file"])
    assert len(rows_of("list")) == 1, "twice is the same as once"


def test_spools_are_sent_whole(travel):
    waiting = {row["id"]: row for row in rows_of("sync", "--dry-run")}
    assert {EXPECTED["offline"]["id"][:8], EXPECTED["half"]["id"][:8]} == set(waiting)
    before = runs(family="deepspeech2")
    assert [run.info.run_id for run in before] == [EXPECTED["half"]["id"]]
    ok("sync")
    assert not (travel / "spool").exists() or not list((travel / "spool").iterdir())
    for name, status in (("offline", "FINISHED"), ("half", "RUNNING")):
        (sent,) = [run for run in runs(family="deepspeech2") if run.info.run_name.startswith(name)]
        expected = EXPECTED[name]["metrics"]
        assert {key: sent.data.metrics[key] for key in expected} == expected
        assert sent.info.status == status
    assert len(EXPECTED["half"]["metrics"]) > len(before[0].data.metrics) or (
        EXPECTED["half"]["metrics"] != {key: before[0].data.metrics.get(key) for key in EXPECTED["half"]["metrics"]}
    ), "nothing of it was left to be sent"


@pytest.mark.slow
def test_a_training_goes_on_from_its_checkpoint(home):
    (cut_off,) = [run for run in runs(family="deepspeech2") if run.info.status == "RUNNING"]
    done = {point.step for point in mlflow.MlflowClient().get_metric_history(cut_off.info.run_id, "val/wer")}
    assert "continuing" in ok("train", "cut-off.yaml")
    run = mlflow.MlflowClient().get_run(cut_off.info.run_id)
    assert run.info.status == "FINISHED"
    of_the_last_batch = "grad_norm"  # batches are drawn otherwise than when the fixture was made
    for name, value in EXPECTED["whole"]["metrics"].items():
        if name == of_the_last_batch:
            continue
        assert run.data.metrics[name] == pytest.approx(value, rel=0.05, abs=0.02), name
    steps = [point.step for point in mlflow.MlflowClient().get_metric_history(run.info.run_id, "val/wer")]
    assert len(steps) == len(set(steps)) > len(done)


@pytest.mark.slow
def test_a_sweep_goes_on_with_its_journal(home):
    (parent,) = runs(kind="sweep")
    (first,) = [run for run in runs(kind="trial") if run.info.status == "FINISHED"]
    text = ok("sweep", "sweep.yaml")
    assert "continuing" in text
    assert "4 finished" in text
    (again,) = runs(kind="sweep")
    assert (again.info.run_id, again.info.status) == (parent.info.run_id, "FINISHED")
    assert again.data.tags["asr_lab.signature"] == EXPECTED["signatures"]["sweep.yaml"]
    finished = [run for run in runs(kind="trial") if run.info.status == "FINISHED"]
    assert len(finished) == 4
    assert first.info.run_id in {run.info.run_id for run in finished}


def test_an_adapter_is_read_and_imported(home):
    john = next(run for run in EXPECTED["runs"].values() if run["family"] == "adapter")
    assert "models:/deepspeech2/1" in ok("adapters", "info", "john")
    (home / "elsewhere").mkdir()
    ok("adapters", "import", "exported/john_adapter.pt", "--dir", "elsewhere", "--base", "models:/deepspeech2@champion")
    assert "models:/deepspeech2/1" in ok("adapters", "info", "john", "--dir", "elsewhere")
    ok("evaluate", "--model", "models:/deepspeech2/1", "--adapter", "elsewhere/john_adapter.pt",
       "--data", "john/all.jsonl.gz")  # fmt: skip
    before = next(run for run in EXPECTED["runs"].values() if run["family"] == "evaluate")
    assert runs(family="evaluate")[0].data.metrics["test/wer"] == pytest.approx(before["metrics"]["test/wer"], abs=0.05)
    assert john["metrics"]["model/trainable_params"] > 0


@pytest.mark.parametrize("file", list(CALLS))
def test_a_configuration_has_the_signature_it_had(home, monkeypatch, file):
    """A training is stopped where it would begin to compute: by then its run says what it is."""

    def stop(*_: object, **__: object) -> None:
        raise RuntimeError("stopped by the test")

    monkeypatch.setattr(transformers.Trainer, "train", stop)
    known = {run.info.run_id for run in runs(signature=EXPECTED["signatures"][file])}
    result = typed(*CALLS[file])
    new = [one for one in runs(signature=EXPECTED["signatures"][file]) if one.info.run_id not in known]
    assert len(new) == 1, result.output
