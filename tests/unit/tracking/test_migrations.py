"""Stores of another MLflow, half-made ones and folders of files: refused unchanged, upgraded when asked, or mended."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner
from conftest import asr_lab, ok, refused, run
from empty_store import MLFLOW_2_9, empty_store, older_tables
from outages import spec

from asr_lab import mlflow_run
from asr_lab.errors import AsrLabError
from asr_lab.tracking import doctor, migrations, schema
from asr_lab.tracking.connection import StoreUnavailableError, check_connection, sqlite_file, tracking_uri
from asr_lab.tracking.schema import OlderStoreError, State
from asr_lab.tracking.store import client, default_experiment_id, experiment_id
from asr_lab.tracking.tracker import MlflowTracker


@pytest.fixture(scope="module")
def of_mlflow_2_9(tmp_path_factory):
    file = tmp_path_factory.mktemp("older") / "mlflow.db"
    older_tables(f"sqlite:///{file}")
    return file


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Migrates in this process, which has imported MLflow, and copies new tables; `test_first_use` does not."""

    def migrate(uri, *, create):
        if create:
            empty_store(sqlite_file(uri))
            asked(sqlite_file(uri), "DELETE FROM experiments")
            return
        from mlflow.store.db import utils

        try:
            utils._upgrade_db(utils.create_sqlalchemy_engine_with_retry(uri))
        except Exception as error:
            raise AsrLabError("the tables of the tracking store cannot be upgraded") from error

    monkeypatch.setattr(migrations, "_migrate", migrate)
    monkeypatch.setattr(doctor, "examine", lambda: map(doctor._tried, (doctor.store, doctor.schema)))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with nothing in it, where the store would be `mlflow.db`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return tmp_path


@pytest.fixture
def older(of_mlflow_2_9, folder):
    return shutil.copy(of_mlflow_2_9, folder / "mlflow.db")


def asked(file, *statements):
    """What an SQLite database answers to the last of the statements."""
    with closing(sqlite3.connect(file)) as database, database:
        return [database.execute(statement).fetchall() for statement in statements][-1]


def test_a_folder_that_cannot_be_made_is_one_message(folder, monkeypatch):
    monkeypatch.setattr("asr_lab.tracking.migrations._migrate", lambda uri, **_: Path(uri[10:]).touch())
    with pytest.raises(AsrLabError) as refusal:
        migrations.make_ready("sqlite:////proc/nowhere/x.db")
    assert refusal.value.where == "/proc/nowhere/x.db"


def test_the_newest_schema_is_read_as_mlflow_says_it():
    from mlflow.store.db.utils import _get_latest_schema_revision

    assert schema.newest() == _get_latest_schema_revision()


@pytest.mark.parametrize("words", [["list"], ["list", "--format", "csv"], ["adapters", "list", "--registry"]])
def test_a_command_that_reads_makes_no_store(folder, words):
    ok(*words)
    refused("show", "abcd")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("words", [["list"], ["show", "before"], ["cleanup", "--failed", "--yes"], ["keep", "before"]])
def test_an_older_store_is_never_upgraded_by_using_it(older, words):
    before = older.read_bytes()
    assert "asr-lab doctor --upgrade" in refused(*words)
    assert older.read_bytes() == before
    assert [path.name for path in older.parent.iterdir()] == ["mlflow.db"]


def test_no_run_begins_on_an_older_store(older):
    before = older.read_bytes()
    with pytest.raises(OlderStoreError):
        MlflowTracker().start(spec())
    assert older.read_bytes() == before


@pytest.mark.slow
def test_the_doctor_upgrades_when_asked_and_keeps_a_copy(older):
    before = asked(older, "SELECT * FROM runs")
    assert run("doctor").exit_code == 1
    assert asked(older, "SELECT version_num FROM alembic_version") == [(MLFLOW_2_9,)]
    unchanged = older.read_bytes()
    assert "would be upgraded" in run("doctor", "--upgrade", "--dry-run").stderr
    assert older.read_bytes() == unchanged
    said = run("doctor", "--upgrade", "--format", "json")
    (store,) = [row for row in json.loads(said.stdout) if row["name"] == "store"]
    assert store["state"] == "ok"
    assert "before" in ok("list")
    copy = older.with_name(f"mlflow.{MLFLOW_2_9}.db")
    assert asked(copy, "SELECT version_num FROM alembic_version") == [(MLFLOW_2_9,)]
    assert asked(copy, "SELECT * FROM runs") == before
    assert sorted(path.name for path in older.parent.iterdir()) == sorted([copy.name, "mlflow.db"])
    assert "needs no upgrade" in run("doctor", "--upgrade").stderr
    shutil.copy(copy, older)
    assert migrations.upgrade(tracking_uri()) != copy  # which is kept


@pytest.mark.parametrize(
    "left",
    [
        ["CREATE TABLE _alembic_tmp_params (key VARCHAR)"],
        ["ALTER TABLE params RENAME TO _alembic_tmp_params"],
    ],
)
@pytest.mark.slow
def test_an_upgrade_that_was_interrupted_is_finished(older, left):
    asked(older, *left)
    with pytest.raises(OlderStoreError):
        check_connection(tracking_uri())
    migrations.upgrade(tracking_uri())
    assert check_connection(tracking_uri()) is State.READY
    assert asked(older, "SELECT key, value FROM params") == [("rank", "8")]


def test_an_upgrade_that_fails_changes_nothing(older):
    asked(older, "DROP TABLE tags")
    before = older.read_bytes()
    assert "cannot be upgraded" in refused("doctor", "--upgrade")
    assert older.read_bytes() == before
    assert not [path for path in older.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_what_is_written_during_an_upgrade_is_not_lost(older, monkeypatch):
    migrate = migrations._migrate

    def meanwhile(*arguments, **options):
        migrate(*arguments, **options)
        asked(older, "UPDATE runs SET name = 'written'")

    monkeypatch.setattr(migrations, "_migrate", meanwhile)
    with pytest.raises(StoreUnavailableError):
        migrations.upgrade(tracking_uri())
    assert asked(older, "SELECT name FROM runs") == [("written",)]


def test_a_tracking_server_is_not_upgraded_from_here(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "asr-lab doctor --upgrade" in refused("doctor", "--upgrade")


def half_made(older, age_s):
    """What a `mlflow server` that was killed while it made its store leaves."""
    emptied = [f"DELETE FROM {table}" for table in ("params", "tags", "runs", "experiments")]
    asked(older, *emptied, "CREATE TABLE _alembic_tmp_params (key VARCHAR)")
    os.utime(older, (time.time() - age_s,) * 2)


def test_a_half_made_store_is_mended(older):
    half_made(older, 60)
    assert check_connection(tracking_uri()) is State.UNFINISHED
    assert "no runs yet" in ok("list")
    assert client().get_experiment("0").name == "Default"
    assert asked(older, "SELECT count(*) FROM sqlite_master WHERE name LIKE '_alembic_tmp%'") == [(0,)]


@pytest.mark.parametrize("statement", ["INSERT INTO samples VALUES (1)", "SELECT 1"])
def test_a_database_that_is_not_of_mlflow_alone_is_not_mended(older, statement):
    """Its empty table `experiments` looks like that of a half-made store."""
    half_made(older, 60)
    asked(older, "CREATE TABLE samples (x INTEGER)", statement)
    os.utime(older, (time.time() - 60,) * 2)
    before = older.read_bytes()
    with pytest.raises(AsrLabError):
        client()
    assert older.read_bytes() == before


def test_no_copy_is_left_of_an_upgrade_that_failed(older, monkeypatch):
    def fail(uri, *, create):
        raise AsrLabError("no")

    monkeypatch.setattr(migrations, "_migrate", fail)
    for _ in range(2):
        with pytest.raises(AsrLabError):
            migrations.upgrade(tracking_uri())
    assert [file.name for file in older.parent.glob("*.db*")] == [older.name]


def test_a_store_that_another_process_is_making_is_left_to_it(older, monkeypatch):
    half_made(older, 0)
    before = older.read_bytes()
    monkeypatch.setattr(migrations, "_PATIENCE_S", 0.1)
    with pytest.raises(StoreUnavailableError):
        client()
    assert older.read_bytes() == before


@pytest.fixture(scope="module")
def files_of_mlflow_2(tmp_path_factory):
    """A folder with a store of files in `mlruns`, with a run and an artifact."""
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        store = mlflow.MlflowClient(f"file://{folder}/mlruns")
        experiment = store.create_experiment("adapter")
        made = store.create_run(experiment, run_name="before", tags={"asr_lab.family": "adapter"})
        store.log_text(made.info.run_id, "x", "x.txt")
        store.set_terminated(made.info.run_id)
    return folder


@pytest.mark.parametrize("uri", ["./mlruns", "mlruns", ".", "file:./mlruns", "file://{folder}/mlruns", "{folder}"])
def test_a_store_of_files_is_reported_with_the_way_out(files_of_mlflow_2, monkeypatch, uri):
    monkeypatch.chdir(files_of_mlflow_2)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(folder=files_of_mlflow_2))
    with pytest.raises(AsrLabError) as raised:
        client()
    assert raised.value.next_command in refused("list")
    (store,) = json.loads(run("doctor", "--format", "json").stdout)[:1]
    assert (store["state"], store["advice"].endswith(raised.value.next_command)) == ("fail", True)
    words = raised.value.next_command.split()
    assert words[:4:2] == ["mlflow", "--source"]
    assert Path(words[3]).resolve() == files_of_mlflow_2 / "mlruns"


@pytest.mark.parametrize("empty_database_too", [False, True])
@pytest.mark.slow
def test_a_store_of_files_in_the_folder_is_reported_and_can_be_migrated(files_of_mlflow_2, folder, empty_database_too):
    shutil.copytree(files_of_mlflow_2, folder, dirs_exist_ok=True)
    if empty_database_too:  # an earlier version made one when runs were listed
        empty_store(folder / "mlflow.db")
    command = "mlflow migrate-filestore --source mlruns --target sqlite:///mlflow.db"
    for words in (["list"], ["show", "before"], ["cleanup", "--failed"]):
        done = asr_lab(*words, cwd=folder, env={"MLFLOW_TRACKING_URI": ""})
        assert (done.returncode, command in done.stderr) == (1, True)
    if not empty_database_too:
        from mlflow.cli import cli

        assert CliRunner().invoke(cli, command.split()[1:]).exit_code == 0
        assert "before" in asr_lab("list", cwd=folder, env={"MLFLOW_TRACKING_URI": ""}).stdout
        assert "before" in asr_lab("show", "before", cwd=folder, env={"MLFLOW_TRACKING_URI": ""}).stdout


def test_every_command_that_needs_a_store_reports_one_of_files_before_it_does_anything(
    files_of_mlflow_2, folder, monkeypatch
):
    shutil.copytree(files_of_mlflow_2, folder, dirs_exist_ok=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    (folder / "base.yaml").write_text("recipe: deepspeech2\n")
    (folder / "sweep.yaml").write_text(
        "recipe: sweep\nexperiment: base.yaml\nobjective: val/wer\nspace: {train.lr: [0.1, 0.2]}\n"
    )
    (folder / "text.txt").write_text("a cab\n")
    before = set(folder.rglob("*"))
    train = ["base.yaml", "data.train=corpora/demo/train.jsonl.gz"]
    for words in (
        ["sync"], ["sync", "--dry-run"], ["train", *train], ["train", *train, "--dry-run"],
        ["train", *train, "--engine", "local"],
        ["adapter", "--name", "john"], ["adapter", "--name", "john", "--dry-run"], ["sweep", "sweep.yaml", "--dry-run"],
        ["lm", "text.txt", "--out", "a.arpa", "--register", "a"], ["adapters", "import", "a.pt", "--register"],
    ):  # fmt: skip
        assert "mlflow migrate-filestore --source mlruns --target sqlite:///mlflow.db" in refused(*words), words
    assert set(folder.rglob("*")) == before


def test_sync_of_nothing_needs_no_store_that_answers(folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert run("sync").exit_code == 0


def test_a_server_without_a_store_serves_the_database_once_the_files_are_migrated(
    files_of_mlflow_2, folder, monkeypatch
):
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "")
    assert (mlflow_run.choose_served(), os.environ["MLFLOW_BACKEND_STORE_URI"]) == ("sqlite:///mlflow.db", "")
    shutil.copytree(files_of_mlflow_2, folder, dirs_exist_ok=True)
    with pytest.raises(SystemExit, match="migrate-filestore"):
        mlflow_run.choose_served()
    empty_store(folder / "mlflow.db")
    client().create_run("0")
    mlflow_run.choose_served()
    assert os.environ["MLFLOW_BACKEND_STORE_URI"] == "sqlite:///mlflow.db"


def test_artifacts_beside_a_database_are_no_store_of_files(folder):
    empty_store(folder / "mlflow.db")
    with MlflowTracker().start(spec()) as recorder:
        recorder.text("x", "x.txt")
    assert list((folder / "mlruns").rglob("x.txt"))
    assert recorder.name in asr_lab("list", cwd=folder, env={"MLFLOW_TRACKING_URI": ""}).stdout


@pytest.mark.parametrize("uri", ["./nothing", "file:nothing"])
def test_a_path_is_no_store(folder, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert "sqlite:///" in refused("list")


def test_a_deleted_experiment_stays_deleted(store):
    tracking = client()
    deleted = tracking.create_experiment("deepspeech2")
    gone = [tracking.create_run(deleted).info.run_id for _ in range(2)]
    tracking.delete_experiment(deleted)
    for _ in range(2):
        with MlflowTracker().start(spec()) as recorder:
            pass
        experiment = tracking.get_experiment(tracking.get_run(recorder.run_id).info.experiment_id)
        assert (experiment.name, experiment.lifecycle_stage) == ("deepspeech2-2", "active")
    assert tracking.get_experiment(deleted).lifecycle_stage == "deleted"
    assert {tracking.get_run(run_id).info.lifecycle_stage for run_id in gone} == {"deleted"}
    tracking.delete_experiment(experiment.experiment_id)
    assert tracking.get_experiment(experiment_id(tracking, "deepspeech2")).name == "deepspeech2-3"


def test_the_default_experiment_too(store):
    tracking = client()
    assert default_experiment_id(tracking) == "0"
    tracking.rename_experiment("0", "ours")
    assert default_experiment_id(tracking) == "0"
    tracking.delete_experiment("0")
    assert tracking.get_experiment(default_experiment_id(tracking)).name == "ours-2"
    assert tracking.get_experiment("0").lifecycle_stage == "deleted"
