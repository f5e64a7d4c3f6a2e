"""Identity of processes, to distinguish abandoned work from work in progress."""

from __future__ import annotations

import functools
import hashlib
import os
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil


def process_mark() -> str:
    """Return `host|pid|start`, which distinguishes this process from a later one with the same number."""
    return mark_of(os.getpid())


def mark_of(pid: int) -> str:
    """Return the mark of a process of this machine; of one that has ended already, a mark of none."""
    try:
        return f"{socket.gethostname()}|{pid}|{_start(pid)}"
    except psutil.NoSuchProcess:
        return f"{socket.gethostname()}|{pid}|0"


def _start(pid: int) -> str:
    """Return `ticks.boot.space.machine`: clock ticks from the boot to the start of the process, which boot, which table
    of processes (of a container), and which machine, if it has an id; where that is not known, the time of its start.
    No clock that is set changes the first.

    Raises psutil's `NoSuchProcess`.
    """
    if not (table := _table()):
        return f"{psutil.Process(pid).create_time():.0f}"
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError as error:
        raise psutil.NoSuchProcess(pid) from error
    return f"{ticks}.{table}"


def _table() -> str:
    """Return `boot.space.machine` of this process; "" where there is no Linux."""
    if not sys.platform.startswith("linux"):
        return ""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    return f"{boot}.{Path('/proc/self/ns/pid').stat().st_ino}.{_machine()}"


@functools.cache
def _machine() -> str:
    """Return what distinguishes machines of one name, "" if there is nothing; hashed, as systemd asks for its id."""
    with suppress(OSError):
        if id := Path("/etc/machine-id").read_bytes().strip():
            return hashlib.sha256(b"asr_lab" + id).hexdigest()[:8]
    return ""


def _parts(mark: str) -> tuple[str, str, str]:
    """Return boot, space and machine of a mark; "" for what it does not have, as those of earlier versions."""
    boot, space, machine, *_ = [*mark.rpartition("|")[2].split(".")[1:], "", "", ""]
    return boot, space, machine


def _is_of_other_machine(mark: str) -> bool:
    """Whether a mark with the name of this machine is of another one that has this name too."""
    machine = _parts(mark)[2]
    return bool(machine and _machine() and machine != _machine())


@functools.cache
def here() -> str:
    """Return eight hexadecimal digits that no other machine or container has: numbers of processes are one there."""
    return hashlib.sha256(f"{socket.gethostname()}|{_table()}".encode()).hexdigest()[:8]


def host_and_pid(mark: str) -> tuple[str, int]:
    """Return host and pid of the marked process; `("", 0)` if the text is no mark."""
    host, _, rest = mark.partition("|")
    pid = rest.partition("|")[0]
    return (host, int(pid)) if pid.isdigit() else ("", 0)


def is_elsewhere(mark: str) -> bool:
    """Whether the marked process runs on another machine, where nothing can be known of it."""
    return host_and_pid(mark)[0] != socket.gethostname() or _is_of_other_machine(mark)


def is_in_sight(mark: str) -> bool:
    """Whether the marked process, if it still runs, is one of those that this process can see.

    False for one of another machine or container of the same name, and of this machine before it was restarted.
    """
    return not is_elsewhere(mark) and _parts(mark)[:2] == _parts(f"|.{_table()}")[:2]


_ended: set[str] = set()


def declare_gone(marks: Iterable[str]) -> None:
    """Make `is_gone` true of the earlier attempts of this job, whatever their machine: the engine says they ended."""
    _ended.update(marks)


def is_earlier_attempt(mark: str) -> bool:
    """Whether the marked process was an earlier attempt of the job that this process is."""
    return mark in _ended


def has_earlier_attempts() -> bool:
    """Whether this process is a later attempt of a job."""
    return bool(_ended)


def is_gone(mark: str) -> bool:
    """Whether the marked process ran on this machine and is no more, or was declared so; False where that cannot be
    known.
    """
    if is_earlier_attempt(mark):
        return True
    try:
        host, pid, start = mark.split("|")
    except ValueError:
        return False
    if host != socket.gethostname() or _is_of_other_machine(mark):
        return False
    ticks, _, table = start.partition(".")
    own_boot, own_space, _ = _parts(f"|.{_table()}")
    boot, space, _ = _parts(mark)
    if table and boot != own_boot:
        return True  # this machine was restarted
    if table and space != own_space:
        return False  # of another container
    try:
        process = psutil.Process(int(pid))
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        return _start(int(pid)).partition(".")[0] != ticks if table else abs(process.create_time() - float(start)) > 2
    except psutil.NoSuchProcess:
        return True


def _has_command(mlflow_run: psutil.Process) -> bool:
    """Whether an `mlflow run` has started the command of its run, which has the run's id in its environment."""
    try:
        return any("MLFLOW_RUN_ID" in child.environ() for child in mlflow_run.children())
    except psutil.Error:  # of another user, or just ending
        return False


def is_served(run_id: str) -> bool:
    """Whether a process here has this run in its environment, or is an `mlflow run` that has started no command yet."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = [Path(word).name for word in process.cmdline()]
            if "mlflow" in words[:3] and "run" in words and not _has_command(process):
                return True
            try:
                if process.environ().get("MLFLOW_RUN_ID") == run_id:
                    return True
            except psutil.AccessDenied:  # of another user
                if {"asr_lab", "asr-lab"} & set(words):
                    return True
    return False
