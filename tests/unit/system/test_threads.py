"""Threads of a training on CPU: one for each free core, told where that is not all; the user's choice stands."""

import os
import subprocess
import sys

import pytest

from asr_lab.system import threads


@pytest.fixture
def machine(monkeypatch):
    """Sets how many cores there are, and how many of them are busy."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def set_(cores: int, busy: float) -> None:
        monkeypatch.setattr(threads, "usable_cores", lambda: list(range(cores)))
        monkeypatch.setattr(threads, "busy_cores", lambda _: busy)

    return set_


@pytest.mark.parametrize(
    ("cores", "busy", "number"), [(2, 0.0, 2), (2, 0.3, 2), (2, 1.0, 1), (2, 2.0, 1), (16, 5.2, 11), (1, 1.0, 1)]
)
def test_as_many_as_there_are_free_cores(machine, cores, busy, number):
    machine(cores, busy)
    assert threads.choose().number == number


def test_fewer_than_all_are_reported_in_one_line(machine, capsys):
    import torch

    before = torch.get_num_threads()
    try:
        machine(2, 2.0)
        threads.use_threads(0)
        assert torch.get_num_threads() == 1
        [line] = capsys.readouterr().err.splitlines()
        assert "2.0 of 2 cores" in line
        assert "run.threads=2" in line
        machine(2, 0.0)
        threads.use_threads(0)
        assert torch.get_num_threads() == 2
        threads.use_threads(1)  # asked for
        assert torch.get_num_threads() == 1
        assert capsys.readouterr().err == ""
    finally:
        threads.use_threads(before)


def test_what_goes_on_has_as_many_as_before(machine, monkeypatch):
    import torch

    before = torch.get_num_threads()
    try:
        machine(2, 2.0)
        threads.use_threads(0)
        threads.restore_threads(2)
        assert torch.get_num_threads() == 2
        threads.restore_threads(64)  # of another machine
        assert torch.get_num_threads() == 2
        threads.use_threads(1)
        threads.restore_threads(2)
        assert torch.get_num_threads() == 1, "run.threads=1 was asked for"
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        threads.use_threads(0)
        threads.restore_threads(2)
        assert torch.get_num_threads() == 1, "OMP_NUM_THREADS=1 was set"
    finally:
        threads.use_threads(before)


def test_the_users_variables_stand(machine, monkeypatch):
    machine(2, 2.0)
    for value in ("3", "3,1"):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert threads.choose().number == 3


def test_a_busy_core_is_seen():
    core = threads.usable_cores()[0]
    code = f"import os\nif hasattr(os, 'sched_setaffinity'): os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        assert threads.busy_cores([core] if hasattr(os, "sched_setaffinity") else threads.usable_cores()) > 0.8
    finally:
        process.kill()
        process.wait()
