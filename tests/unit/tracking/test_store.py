"""What is said of a store, and which of its troubles pass."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sqlite3
import time
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, RESOURCE_DOES_NOT_EXIST, TEMPORARILY_UNAVAILABLE
from outages import Training, assert_points, log, rows, spec
from sqlalchemy.exc import OperationalError

from asr_lab.errors import AsrLabError
from asr_lab.system.stopping import handle
from asr_lab.tracking import connection
from asr_lab.tracking.connection import StoreUnavailableError, check_connection, is_transient, without_password
from asr_lab.tracking.spool import sync
from asr_lab.tracking.spool.spool import ROOT
from asr_lab.tracking.store import explain_store_errors, is_final, same_store
from asr_lab.tracking.tracker import MlflowTracker

pytestmark = pytest.mark.usefixtures("store")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://me:secret@host:5000/x", "http://me:***@host:5000/x"),
        ("postgresql+psycopg://me:sec@r/et@host/db", "postgresql+psycopg://me:***@host/db"),
        ("postgresql://host/db?user=me&password=secret&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("API request to https://me:secret@host/api failed, x@y", "API request to https://me:***@host/api failed, x@y"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("http://host:5000/models:/x@champion", "http://host:5000/models:/x@champion"),
    ],
)
def test_no_password_is_shown(uri, shown):
    assert without_password(uri) == shown


def test_neither_the_hook_nor_a_warning_tells_the_password(monkeypatch, capsys):
    told: list[dict] = []
    monkeypatch.setattr("asr_lab.tracking.recorder.run_ended", told.append)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with MlflowTracker().start(spec()):
        pass
    assert told[0]["uri"] == "http://me:***@127.0.0.1:9"
    assert "http://me:***@127.0.0.1:9" in capsys.readouterr().err


def test_stores_are_the_same_whatever_they_are_called(store):
    assert same_store("sqlite:///mlflow.db", f"sqlite:///{store}/mlflow.db")
    assert same_store("http://me:old@host:1/", "http://me:new@host:1")
    assert not same_store("http://host:1", "http://host:2")
    assert not same_store("sqlite:///a.db", "sqlite:///b.db")


LOCKED = "(sqlite3.OperationalError) database is locked\n[SQL: INSERT INTO runs]"


@pytest.mark.parametrize(
    ("error", "later"),
    [
        (OperationalError("SELECT", {}, Exception("disk I/O error")), True),
        (MlflowException(LOCKED, TEMPORARILY_UNAVAILABLE), True),
        (MlflowException("(psycopg.OperationalError) server closed the connection unexpectedly", BAD_REQUEST), True),
        (MlflowException("(psycopg.InterfaceError) the connection is closed", BAD_REQUEST), True),
        (MlflowException("(sqlite3.OperationalError) no such table: runs", BAD_REQUEST), False),
        (OperationalError("SELECT", {}, Exception('FATAL: database "x" does not exist')), False),
        (MlflowException("Run with id=x not found", RESOURCE_DOES_NOT_EXIST), False),
    ],
)
def test_what_passes_is_a_store_that_is_away(error, later):
    assert is_transient(error) is later
    assert not (later and is_final(error))
    with (
        pytest.raises(StoreUnavailableError if later else AsrLabError) as raised,
        explain_store_errors("it cannot be used"),
    ):
        raise error
    assert isinstance(raised.value, StoreUnavailableError) is later


def test_a_database_that_starts_up_is_away(monkeypatch):
    def starting(_):
        raise OperationalError("", {}, Exception("FATAL: the database system is starting up"))

    monkeypatch.setattr("asr_lab.tracking.connection._check_port", lambda *_: None)
    monkeypatch.setattr("asr_lab.tracking.connection.create_engine", starting)
    with pytest.raises(StoreUnavailableError, match="starting up"):
        check_connection("postgresql://me:secret@host/db")


def test_a_locked_database_ends_no_run_and_loses_nothing(store, monkeypatch, capsys):
    def locked(*_, **__):
        raise MlflowException(LOCKED, BAD_REQUEST)  # BAD_REQUEST, as for any error of a database

    with monkeypatch.context() as patch:
        for name in ("create_run", "log_batch"):
            patch.setattr(mlflow.MlflowClient, name, locked)
        with MlflowTracker().start(spec()) as run:
            log(run, range(3))
    said = capsys.readouterr().err
    assert "database is locked" in said
    assert "events wait" in said
    (done,) = sync.ship(ROOT)
    assert done.left == 0
    assert_points(store / "mlflow.db", done.run_id, range(3))


@pytest.mark.parametrize(("number", "hint"), [(errno.ENOLCK, "a folder on a local disk"), (errno.EAGAIN, "")])
def test_a_database_without_locks_is_distinguished_from_a_locked_one(monkeypatch, number, hint):
    def locked(*_):
        raise sqlite3.OperationalError("database is locked")  # SQLite's words for both

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    Path("mlflow.db").touch()
    monkeypatch.setattr(connection, "open_sqlite", locked)
    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.raises(StoreUnavailableError) as raised:
        check_connection("sqlite:///mlflow.db")
    assert hint in raised.value.hint
    assert ("database is locked" in raised.value.what) == (not hint)


def test_a_run_that_is_terminated_is_closed_as_killed(store):
    work = store / "work"
    work.mkdir()
    training = Training(work, f"sqlite:///{store}/mlflow.db", 5000)
    training.reached(20)
    training.process.terminate()
    training.finish(128 + signal.SIGTERM)
    steps = max(int(line.split()[1]) for line in training.said() if line.startswith("step"))
    run_id = training.id()
    assert rows(store / "mlflow.db", f"SELECT status FROM runs WHERE run_uuid = '{run_id}'") == [("KILLED",)]
    error = f"SELECT value FROM tags WHERE run_uuid = '{run_id}' AND key = 'asr_lab.error'"
    assert rows(store / "mlflow.db", error) == [("SIGTERM",)]
    count = rows(store / "mlflow.db", "SELECT count(DISTINCT step) FROM metrics")[0][0]
    assert count in (steps + 1, steps + 2)
    assert not (work / "spool").exists()


def test_a_forked_loader_dies_of_sigterm_as_ever():
    undo = handle()
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    handle()()  # of a run inside the run: changes nothing
    ready, say = os.pipe()
    child = os.fork()
    if not child:
        os.write(say, b".")
        time.sleep(20)
        os._exit(0)
    os.read(ready, 1)
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    undo()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
