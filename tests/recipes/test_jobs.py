"""Commands by an engine: parts that are killed and merged are what one process makes; trainings are gone on with."""

import os
import signal
import time
from pathlib import Path

import mlflow
import pandas as pd
import psutil
import pytest
from conftest import TINY, newest, ok, refused
from forked_engine import by_forks  # noqa: F401 - a fixture
from forks import Forked
from full_disks import full_disk

MODEL = "models:/deepspeech2@champion"
POOL = "corpus/all.jsonl.gz"


def of_newest_evaluation(file: str) -> pd.DataFrame:
    return pd.read_parquet(mlflow.artifacts.download_artifacts(run_id=newest("evaluate", "evaluate").info.run_id,
                                                               artifact_path=file))  # fmt: skip


def evaluations() -> set[str]:
    client = mlflow.MlflowClient()
    experiments = [one.experiment_id for one in client.search_experiments()]
    return {run.info.run_id for run in client.search_runs(experiments, "tags.`asr_lab.kind` = 'evaluate'")}


def test_an_evaluation_by_jobs_is_that_of_one_process(at_home, by_forks):  # noqa: F811
    command = ("evaluate", MODEL, POOL, "evaluate.confidence=true", "evaluate.batch_size=5")
    ok(*command)
    files = ("eval/test.parquet", "eval/test_words.parquet")
    alone, tables = newest("evaluate", "evaluate"), [of_newest_evaluation(file) for file in files]
    by_forks.kill_first = True
    said = ok(*command, "--engine", "local", "--jobs", 2)
    assert said.count("was lost (SIGKILL), submitted again") == 1
    run = newest("evaluate", "evaluate")
    assert run.info.run_id != alone.info.run_id
    for file, table in zip(files, tables, strict=True):
        pd.testing.assert_frame_equal(of_newest_evaluation(file), table, check_exact=True)
    figures = [
        {name: value for name, value in one.data.metrics.items() if not name.startswith(("perf/", "system/"))}
        for one in (alone, run)
    ]
    assert figures[0] == figures[1]
    assert len(figures[0]) > 5
    assert run.data.tags["asr_lab.data.test"] == alone.data.tags["asr_lab.data.test"]
    assert not list(Path("jobs").iterdir()), "what parts left is taken away"


def test_a_selection_by_jobs_is_that_of_one_process(at_home, by_forks):  # noqa: F811
    ok("data", "select", POOL, "one/hard.jsonl.gz", "--model", MODEL)
    by_forks.kill_first = True
    said = ok("data", "select", POOL, "two/hard.jsonl.gz", "--model", MODEL, "--engine", "local", "--jobs", 2)
    assert "was lost" in said
    for file in ("hard.csv", "hard.jsonl.gz"):
        assert (Path("two") / file).read_bytes() == (Path("one") / file).read_bytes()
    assert {path.name for path in Path("two").iterdir()} >= {"hard.csv", "hard.jsonl.gz"}
    assert not Path("two/.hard.heard.jsonl").exists()


def test_transcripts_by_jobs_are_those_of_one_process(at_home, by_forks):  # noqa: F811
    Path("broken.wav").write_bytes(b"RIFF")
    command = ("transcribe", POOL, "broken.wav", "--model", MODEL)
    assert "1 of 49 files could not be read" in refused(*command, "--out", "one.jsonl")
    by_forks.kill_first = True
    said = refused(*command, "--out", "two.jsonl", "--engine", "local", "--jobs", 2)
    assert "was lost" in said
    assert "1 of 49 files could not be read" in said
    assert Path("two.jsonl").read_bytes() == Path("one.jsonl").read_bytes()
    said = refused(*command, "--out", "two.jsonl", "--engine", "local", "--jobs", 2, "--resume")
    assert "48 of 49 were transcribed before" in said
    assert Path("two.jsonl").read_bytes() == Path("one.jsonl").read_bytes()


def test_what_jobs_cannot_do_is_refused_before_one_is_submitted(at_home, by_forks):  # noqa: F811
    assert "--engine needs --out" in refused("transcribe", POOL, "--model", MODEL, "--engine", "local")
    assert "need an engine" in refused("evaluate", MODEL, POOL, "--jobs", 2)
    said = refused("train", "base.yaml", "--engine", "local", "--detach", "data.train=corpus/all.jsonl.gz")
    assert "end with the command" in said
    before = evaluations()
    said = refused("evaluate", MODEL, POOL, "--engine", "local", "--resources=gpus=1")
    assert "no limits of GPUs" in said
    said = refused("evaluate", MODEL, POOL, "--engine", "local", "--resources=processes=2")
    assert "is one process" in said
    assert evaluations() == before, "no failed run is left"
    assert not Path("jobs").exists() or not list(Path("jobs").iterdir())


class Taken:
    """The lock of a folder for which another process waits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self) -> bool:
        return False


def test_an_evaluation_that_another_process_waits_for_leaves_no_run(at_home, by_forks, monkeypatch):  # noqa: F811
    monkeypatch.setattr("asr_lab.engines.work.FolderLock", Taken)
    before = evaluations()
    assert "another process waits for these jobs" in refused("evaluate", MODEL, POOL, "--engine", "local", "--jobs", 2)
    assert evaluations() == before


def test_a_full_disk_is_one_message(at_home, by_forks):  # noqa: F811
    ok("data", "stats", POOL)  # its table is there
    with full_disk(100):
        said = refused("evaluate", MODEL, POOL, "--engine", "local", "--jobs", 2)
    assert said.count("Error: ") == 1
    assert "ulimit -f" in said


def test_the_error_of_a_job_is_that_of_the_command(at_home, by_forks):  # noqa: F811
    said = refused("train", "base.yaml", "data.train=nowhere.jsonl.gz", f"data.val={POOL}", "--engine", "local")
    assert "nowhere.jsonl.gz" in said
    assert said.count("Error: ") == 1


def wait_for(true, patience_s: float = 300) -> None:
    until = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < until, Path("log.txt").read_text()
        time.sleep(0.05)


def job_pids() -> list[int]:
    """The processes of `asr-lab train` that jobs are."""
    pids = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if "--job" in words and "asr_lab" in words and process.info["cwd"] == str(Path.cwd()):
            pids.append(process.pid)
    return pids


@pytest.mark.slow
def test_a_training_goes_on_when_its_job_and_its_driver_are_killed(store, corpus):
    pytest.importorskip("submitit", reason="submitit is not installed")
    Path("base.yaml").write_text("recipe: deepspeech2\n")
    words = ["train", "base.yaml", f"data.train={corpus}", f"data.val={corpus}", *TINY, "train.epochs=12"]
    command = ["-m", "asr_lab", *words, "--engine", "slurm-local"]

    def started() -> Forked:
        with Path("log.txt").open("ab") as log:
            return Forked(command, cwd=Path.cwd(), env=os.environ, stdout=log, stderr=log, start_new_session=True)

    driver = started()
    wait_for(lambda: list(Path("checkpoints").glob("*/checkpoint-*")))
    (first,) = job_pids()
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: Path("log.txt").read_text().count(" of slurm-local, ") == 2)
    assert "submitted again" in Path("log.txt").read_text()
    driver.kill()
    driver.wait()
    driver = started()
    assert driver.wait(400) == 0, Path("log.txt").read_text()
    said = Path("log.txt").read_text()
    assert "going on with job" in said
    assert said.count("val/wer ") >= 1, "the summary of the training is shown"
    client = mlflow.MlflowClient()
    runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
    assert [run.info.status for run in runs] == ["FINISHED"]
    steps = [point.step for point in client.get_metric_history(runs[0].info.run_id, "val/wer")]
    assert len(steps) == len(set(steps)) == 12
    assert not list(Path("jobs").iterdir())
