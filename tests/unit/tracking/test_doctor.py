"""A store that cannot be used is one message within seconds; the doctor says what to do."""

import json
import os
import shutil
import socket
import sqlite3
import tempfile
from pathlib import Path

import pytest
from conftest import ok, refused, run
from empty_store import empty_store, moved

from asr_lab.errors import AsrLabError
from asr_lab.system import libraries
from asr_lab.tracking import doctor

REVISION = "UPDATE alembic_version SET version_num = ?"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """An MLflow store with one run."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("sound") / "mlflow.db"
    client = MlflowClient(empty_store(file))
    experiment = client.create_experiment("adapter", str(file.parent / "artifacts"))
    client.set_terminated(client.create_run(experiment, run_name="one", tags={"asr_lab.family": "adapter"}).info.run_id)
    return file


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Leaves out what takes seconds and is tested with the libraries: loading torch in processes of their own."""
    monkeypatch.setattr(libraries, "load_errors", lambda _: {})
    monkeypatch.setattr(doctor, "gpu", lambda: doctor.Check("gpu", "warn", "none", "do without"))


@pytest.fixture
def database(sound, store, monkeypatch):
    """A copy of it, which is the store."""
    file = store / "copy.db"
    shutil.copy(sound, file)
    moved(file, str(sound.parent), str(store))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
    return file


def examined():
    """(Exit code, what the doctor found by name)."""
    result = run("doctor", "--format", "json")
    return result.exit_code, {row["name"]: row for row in json.loads(result.stdout)}


def test_all_is_well(database):
    before = sorted(database.parent.rglob("*"))
    code, found = examined()
    assert {name: row["state"] for name, row in found.items() if name not in ("gpu", "disk", "espeak")} == {
        "packages": "ok", "torch": "ok", "store": "ok", "schema": "ok", "artifacts": "ok"
    }  # fmt: skip
    assert code == (1 if found["disk"]["state"] == "fail" else 0)
    assert "written, read, removed" in found["artifacts"]["found"]
    assert sorted(database.parent.rglob("*")) == before
    assert not list((database.parent).rglob("doctor-*"))


def test_a_store_without_a_table_is_not_sound(database):
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TABLE metrics")
    code, found = examined()
    assert (code, found["store"]["state"]) == (1, "fail")
    assert "no table metrics" in found["store"]["found"]
    assert "no table metrics" in refused("list")


def test_the_doctor_makes_no_store(store):
    (store / "mlflow.db").unlink()
    code, found = examined()
    assert code == 0
    assert "none yet" in found["store"]["found"]
    assert not (store / "mlflow.db").exists()


def told_alike(*parts):
    """`list` refuses with the parts, and the doctor tells them of the store, with exit code 1."""
    said = refused("list")
    code, found = examined()
    assert code == 1
    assert found["store"]["state"] == "fail"
    assert "artifacts" not in found  # nothing can be said of them
    for part in parts:
        assert part in said
        assert part in found["store"]["found"] + found["store"]["advice"]


def test_an_older_schema_says_how_to_upgrade(database):
    older = "cfd24bdc0731"  # of MLflow 1.0
    with sqlite3.connect(database) as connection:
        connection.execute(REVISION, (older,))
    told_alike("the schema of an older MLflow", older, "asr-lab doctor --upgrade")


def test_a_newer_schema_says_to_upgrade_mlflow(database):
    with sqlite3.connect(database) as connection:
        connection.execute(REVISION, ("ffffffffffff",))
    told_alike("a newer MLflow", "pip install --upgrade mlflow")


def test_a_file_that_is_no_database(database):
    database.write_text("the quick brown fox jumps over the lazy dog\n" * 30)
    told_alike("no SQLite database", str(database))
    assert database.read_text().startswith("the quick")


def test_a_store_that_was_cut_off(database):
    database.write_bytes(database.read_bytes()[:5000])
    told_alike("SQLite database")


def test_the_database_of_something_else_stays_as_it_is(store, monkeypatch):
    file = store / "optuna.db"
    with sqlite3.connect(file) as connection:
        connection.execute("create table studies (study_id integer)")
    before = file.read_bytes()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
    told_alike("not MLflow's")
    assert file.read_bytes() == before


def test_a_folder_in_the_place_of_the_store(store, monkeypatch):
    (store / "mlflow.db").unlink()
    (store / "mlflow.db").mkdir()
    told_alike("is a folder")


def test_a_server_that_is_away_is_reported_within_seconds(store, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    told_alike("does not answer", "mlflow server")


def test_a_database_that_is_away_shows_no_password(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://lab:secret@127.0.0.1:9/mlflow")
    told_alike("the tracking database does not answer", "postgresql://lab:***@127.0.0.1:9/mlflow")
    assert "secret" not in refused("list")


def told_to_somebody_else(uri):
    """What `check_connection` says in a process without root's rights."""
    from asr_lab.tracking.connection import check_connection

    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(NOBODY)
            check_connection(uri)
        except AsrLabError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as said:
        return said.read().decode()


NOBODY = 65534


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and users")
def test_no_rights(sound):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mlflow.db"
        shutil.copy(sound, file)
        file.chmod(0o444)
        Path(folder).chmod(0o555)
        assert "may not be written" in told_to_somebody_else(f"sqlite:///{file}")
        assert "none may be made" in told_to_somebody_else(f"sqlite:///{folder}/other.db")
        Path(folder).chmod(0o755)


def test_artifacts_that_cannot_be_written(sound, store, monkeypatch):
    from mlflow import MlflowClient

    file = store / "copy.db"
    shutil.copy(sound, file)
    moved(file, str(sound.parent), str(store))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
    client = MlflowClient(f"sqlite:///{file}")
    (store / "in-the-way").write_text("")
    client.create_experiment("newest", str(store / "in-the-way" / "artifacts"))
    code, found = examined()
    assert code == 1
    assert found["artifacts"]["state"] == "fail"
    assert found["disk"]["name"] == "disk"  # what comes after is still looked at


def test_packages_that_do_not_fit_are_named(database, monkeypatch):
    real = libraries.installed
    versions = {"torchaudio": "2.12.0", "jiwer": "3.0"}
    monkeypatch.setattr(libraries, "installed", lambda name: versions.get(name) or real(name))
    assert doctor.torch_pair().state == "warn"  # it loads all the same
    found = doctor.packages()
    assert found.state == "fail"
    assert "jiwer 3.0, needed: >=4,<5" in found.found
    assert "'torchaudio>=2.11,<2.12'" in found.advice


def test_people_read_a_line_a_check(database):
    said = ok("doctor")
    assert "ok    store" in said
    assert "-> " in said or "warn" not in said
