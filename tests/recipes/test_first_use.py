"""The first use of a store by several processes at once, or cut off: the store works afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from conftest import asr_lab
from empty_store import older_tables
from forks import Forked
from servers import mlflow_server, postgres_database
from test_mlflow_run import INSTALLED, Project

from asr_lab.tracking import schema

pytestmark = pytest.mark.slow
MAKES = ("cleanup", "--failed", "--yes")
FOREIGN = """
import sys
from mlflow.store.db import utils
print("begun", flush=True)
utils._initialize_tables(utils.create_sqlalchemy_engine_with_retry(sys.argv[1]))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path


def started(*words: str) -> Forked:
    return Forked(
        ["-m", "asr_lab", *words], cwd=Path.cwd(), env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def assert_works(folder: Path) -> None:
    assert asr_lab(*MAKES, cwd=folder).returncode == 0
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:
        assert store.execute("SELECT version_num FROM alembic_version").fetchall() == [(schema.newest(),)]
        assert store.execute("SELECT name FROM experiments").fetchall() == [("Default",)]
    assert not list(folder.glob("mlflow.db-*"))


def test_three_first_commands_at_once(folder):
    running = [started(*words) for words in (MAKES, MAKES, ("list",))]
    for one in running:
        said, _ = one.communicate(120)
        assert (one.wait(), said) == (0, said)
    assert_works(folder)


def test_a_first_command_that_is_cut_off(folder):
    """Cut off while it migrates, and while it writes."""
    for seconds, number in ((0.5, signal.SIGINT), (2.0, signal.SIGKILL), (4.0, signal.SIGKILL)):
        (folder / "mlflow.db").unlink(missing_ok=True)
        running = started(*MAKES)
        time.sleep(seconds)
        running.send_signal(number)
        running.communicate(60)
        assert "no runs yet" in asr_lab("list", cwd=folder).stdout
    assert_works(folder)


def test_beside_a_server_that_makes_the_same_file(folder):
    server = mlflow_server(folder, f"sqlite:///{folder}/mlflow.db")
    running = [started(*MAKES) for _ in range(2)]
    try:
        server.start()
        for one in running:
            said, _ = one.communicate(120)
            assert one.wait() == 0 or "try again" in said
        done = asr_lab(*MAKES, cwd=folder, env={"MLFLOW_TRACKING_URI": server.uri})
        assert done.returncode == 0, done.stderr
        assert_works(folder)
    finally:
        server.kill()


def test_a_server_that_is_killed_while_it_makes_its_store(folder):
    command = [sys.executable, "-c", FOREIGN, f"sqlite:///{folder}/mlflow.db"]
    foreign = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert foreign.stdout.readline() == "begun\n"
    while not _revision(folder / "mlflow.db"):
        time.sleep(0.02)
    foreign.kill()
    foreign.communicate()
    assert _revision(folder / "mlflow.db") != schema.newest()
    assert_works(folder)


def _revision(file: Path) -> str:
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True)) as store:
            rows = store.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.OperationalError:
        return ""
    return rows[0][0] if rows else ""


def test_three_first_commands_at_once_on_postgresql(folder, monkeypatch):
    with postgres_database() as uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        running = [started(*MAKES) for _ in range(3)]
        assert [(one.communicate(120)[0], one.wait())[1] for one in running] == [0, 0, 0]


def test_an_older_store_on_postgresql(folder):
    with postgres_database() as uri:
        older_tables(uri)
        env = {"MLFLOW_TRACKING_URI": uri}
        for words in (["list"], [*MAKES], ["doctor", "--upgrade"]):  # the last asks, and nobody answers
            assert asr_lab(*words, cwd=folder, env=env).returncode == 1
        done = asr_lab("list", cwd=folder, env=env)
        assert "asr-lab doctor --upgrade" in done.stderr
        assert "is upgraded" in asr_lab("doctor", "--upgrade", "--yes", cwd=folder, env=env).stderr
        assert "before" in asr_lab("list", cwd=folder, env=env).stdout


def test_a_deleted_experiment_stays_deleted_on_a_server(folder, monkeypatch):
    from mlflow import MlflowClient

    from asr_lab.tracking.store import experiment_id

    server = mlflow_server(folder)
    server.start()
    try:
        client = MlflowClient(server.uri)
        deleted = client.create_experiment("adapter")
        client.delete_experiment(deleted)
        for _ in range(2):
            assert client.get_experiment(experiment_id(client, "adapter")).name == "adapter-2"
        assert client.get_experiment(deleted).lifecycle_stage == "deleted"
    finally:
        server.kill()


@pytest.mark.skipif(not INSTALLED, reason="asr_lab is not installed (pip install -e .): MLflow finds no plugin")
class TestMlflowRun:
    """`mlflow run` of a project, which makes or refuses the store before MLflow does."""

    def test_two_at_once(self, tmp_path):
        project = Project(tmp_path / "lab")
        words = [Path(sys.executable).with_name("mlflow"), "run", "."]
        running = [subprocess.Popen(words, cwd=project.folder, env=project.environment) for _ in range(2)]
        assert [one.wait(180) for one in running] == [0, 0]
        assert project.statuses() == ["FINISHED", "FINISHED"]

    def test_an_older_store_is_left_as_it_is(self, tmp_path):
        project = Project(tmp_path / "lab")
        older_tables(f"sqlite:///{project.folder}/store.db")
        before = (project.folder / "store.db").read_bytes()
        done = project.run()
        assert done.returncode == 1
        assert "asr-lab doctor --upgrade" in done.stdout
        assert "Traceback" not in done.stdout
        assert (project.folder / "store.db").read_bytes() == before

    def test_a_store_of_files_and_then_its_database(self, tmp_path):
        project = Project(tmp_path / "lab")
        del project.environment["MLFLOW_TRACKING_URI"]
        experiment = project.folder / "mlruns" / "0"
        experiment.mkdir(parents=True)
        shutil.copy(Path(__file__), experiment / "meta.yaml")  # only its name is looked at
        done = project.run()
        assert (done.returncode, "Traceback" in done.stdout) == (1, False)
        assert "mlflow migrate-filestore --source mlruns --target sqlite:///mlflow.db" in done.stdout
        assert asr_lab(*MAKES, cwd=project.folder).returncode == 0
        assert project.run().returncode == 0

    def test_a_deleted_default_experiment(self, tmp_path):
        project = Project(tmp_path / "lab")
        assert project.run().returncode == 0
        with closing(sqlite3.connect(project.folder / "store.db")) as store, store:
            store.execute("UPDATE experiments SET lifecycle_stage = 'deleted'")
            store.execute("UPDATE runs SET lifecycle_stage = 'deleted'")
        assert project.run().returncode == 0
        with closing(sqlite3.connect(project.folder / "store.db")) as store:
            runs = store.execute("SELECT experiment_id, lifecycle_stage FROM runs ORDER BY start_time").fetchall()
            (name,) = store.execute("SELECT name FROM experiments WHERE lifecycle_stage = 'active'").fetchone()
        assert ([stage for _, stage in runs], name) == (["deleted", "active"], "Default-2")
