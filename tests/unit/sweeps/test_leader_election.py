"""Who leads a sweep, and whose trials are lost: locks and the storage's clock decide, no clock of another machine."""

import multiprocessing
import os
import signal
import time
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import optuna
import psutil
import pytest
from servers import postgres_database

from asr_lab.errors import AsrLabError
from asr_lab.sweeps.leader_election import leading
from asr_lab.sweeps.storage import StorageLocation
from asr_lab.sweeps.trial_states import PROCESS, LostTrials
from asr_lab.system import processes
from asr_lab.system.processes import is_elsewhere, is_gone, is_in_sight, process_mark

ROUNDS = 100
fork = multiprocessing.get_context("fork")


@contextmanager
def storage(kind, folder):
    with postgres_database() if kind == "postgresql" else nullcontext(str(folder / "s.journal")) as uri:
        yield StorageLocation(uri)


@pytest.fixture(params=["journal", "postgresql"])
def location(request, tmp_path):
    with storage(request.param, tmp_path) as made:
        yield made


def race(planned, barrier, led) -> None:
    """Try to lead at the same time as another process, again and again."""
    for _ in range(ROUNDS):
        barrier.wait(60)
        try:
            with leading(planned):
                led.put(True)
                barrier.wait(60)
        except AsrLabError as error:
            led.put("is being run by" not in error.what)
            barrier.wait(60)


@pytest.mark.slow
def test_of_two_that_begin_at_once_one_leads(location):
    planned, barrier, led = SimpleNamespace(name="a/b", location=location), fork.Barrier(2), fork.Queue()
    both = [fork.Process(target=race, args=(planned, barrier, led)) for _ in range(2)]
    for one in both:
        one.start()
    outcomes = [led.get(timeout=120) for _ in range(2 * ROUNDS)]
    for one in both:
        one.join(60)
        assert one.exitcode == 0
    assert outcomes.count(True) == outcomes.count(False) == ROUNDS


def lead_for_ever(planned, leads) -> None:
    with leading(planned), planned.location.running():
        leads.set()
        time.sleep(600)


def test_a_leader_that_is_killed_is_followed_at_once(location):
    planned, leads = SimpleNamespace(name="s", location=location), fork.Event()
    leader = fork.Process(target=lead_for_ever, args=(planned, leads))
    leader.start()
    assert leads.wait(60)
    with pytest.raises(AsrLabError, match="is being run by"), leading(planned):
        pass
    with leading(SimpleNamespace(name="another", location=location)):
        pass
    os.kill(leader.pid, signal.SIGKILL)
    leader.join()
    until = time.monotonic() + 10  # PostgreSQL notices a closed connection, and does so on its own
    while True:
        try:
            with leading(planned) as leadership:
                leadership.check()
                return
        except AsrLabError:
            assert time.monotonic() < until
            time.sleep(0.1)


def test_a_leader_that_lost_its_connection_leads_again_unless_another_does(tmp_path):
    psycopg = pytest.importorskip("psycopg")
    with storage("postgresql", tmp_path) as location:
        planned = SimpleNamespace(name="s", location=location)
        with leading(planned) as leadership, psycopg.connect(location.uri, autocommit=True) as admin:
            others = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            admin.execute(others)
            leadership.check()
            admin.execute(others)
            with leading(planned), pytest.raises(AsrLabError, match="is being run by"):
                leadership.check()


@pytest.mark.parametrize("off_s", [-600, 600])
@pytest.mark.parametrize("host", ["", "elsewhere"])
def test_a_clock_that_is_off_costs_no_trial_that_is_running(location, monkeypatch, off_s, host):
    study = optuna.create_study(storage=location.open(lambda *_: None, first=True), study_name="s")
    with location.running():
        trial = study.ask()
        trial.set_user_attr(PROCESS, process_mark())
        if location.is_database:
            study._storage.record_heartbeat(trial._trial_id)
        real, began = time.time, psutil.Process.create_time
        before = location.now()
        monkeypatch.setattr(time, "time", lambda: real() + off_s)
        monkeypatch.setattr(psutil.Process, "create_time", lambda process: began(process) + off_s)
        if host:
            monkeypatch.setattr(processes.socket, "gethostname", lambda: host)
        assert 0 <= location.now() - before < 60
        lost = LostTrials(study, None, location.has_died)
        lost.retry()
        assert study.trials[0].state == optuna.trial.TrialState.RUNNING


def hold(location, mark, ready) -> None:
    with location.running():
        mark.put(process_mark())
        ready.wait(600)


def test_what_ran_in_a_process_that_was_killed_is_lost_wherever_it_was(tmp_path, monkeypatch):
    location = StorageLocation(str(tmp_path / "s.journal"))
    marks, ready = fork.Queue(), fork.Event()
    other = fork.Process(target=hold, args=(location, marks, ready))
    other.start()
    mark = marks.get(timeout=60)
    monkeypatch.setattr(processes.socket, "gethostname", lambda: "elsewhere")
    assert not location.has_died(mark)
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    assert location.has_died(mark)
    assert location.has_died(mark), "also once its lock was taken away"
    assert not list((tmp_path / "s.journal.locks").iterdir())


@pytest.mark.slow
def test_heartbeats_are_compared_in_one_time_zone(tmp_path, monkeypatch):
    with storage("postgresql", tmp_path) as location:
        study = optuna.create_study(storage=location.open(lambda *_: None, first=True), study_name="s")
        trial = study.ask()
        study._storage.record_heartbeat(trial._trial_id)
        monkeypatch.setenv("PGTZ", "Asia/Seoul")
        there = optuna.load_study(storage=location.open(lambda *_: None), study_name="s")
        optuna.storages.fail_stale_trials(there)
        assert study.trials[0].state == optuna.trial.TrialState.RUNNING


def test_a_trial_without_a_process_is_lost_only_after_it_was_seen_for_a_while(tmp_path, monkeypatch):
    location = StorageLocation(str(tmp_path / "s.journal"))
    study = optuna.create_study(storage=location.open(lambda *_: None), study_name="s")
    study.ask()
    tracker = SimpleNamespace(close=lambda *_: None)
    lost = LostTrials(study, tracker, location.has_died)
    real = time.monotonic
    lost.retry()
    monkeypatch.setattr(time, "monotonic", lambda: real() + 30)
    lost.retry()
    assert study.trials[0].state == optuna.trial.TrialState.RUNNING
    monkeypatch.setattr(time, "monotonic", lambda: real() + 61)
    lost.retry()
    assert study.trials[0].state == optuna.trial.TrialState.FAIL


def test_a_mark_is_of_one_process_whatever_clock_is_set(monkeypatch):
    mark = process_mark()
    host, pid, start = mark.split("|")
    ticks, boot, space, *_ = start.split(".")
    began = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: began(process) + 600)
    assert not is_gone(mark)
    assert is_in_sight(mark)
    assert is_gone(f"{host}|{pid}|{int(ticks) + 1}.{boot}.{space}"), "a later process of the same number"
    rebooted, container = f"{host}|{pid}|{ticks}.01234567.{space}", f"{host}|{pid}|{ticks}.{boot}.7"
    assert is_gone(rebooted)
    assert not is_in_sight(rebooted)
    assert not is_gone(container)
    assert not is_in_sight(container)
    assert is_gone(f"{host}|{2**22 + 1}|{start}")
    assert is_gone(f"{host}|{2**22 + 1}|1763700000"), "as earlier versions wrote it"
    monkeypatch.setattr("asr_lab.system.processes._machine", lambda: "1234abcd")
    namesake = f"{host}|{pid}|{ticks}.01234567.{space}.5678abcd"
    assert not is_gone(namesake), "another machine of the same name"
    assert is_elsewhere(namesake)
    assert is_gone(namesake.replace("5678", "1234"))
