"""Identity of processes, to distinguish abandoned work from work in progress."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

import psutil


def process_mark() -> str:
    """Return `host|pid|start`, which distinguishes this process from a later one with the same number."""
    return f"{socket.gethostname()}|{os.getpid()}|{psutil.Process().create_time():.0f}"


def host_and_pid(mark: str) -> tuple[str, int]:
    """Where the marked process runs; `("", 0)` of what is no mark."""
    host, _, rest = mark.partition("|")
    pid = rest.partition("|")[0]
    return (host, int(pid)) if pid.isdigit() else ("", 0)


def is_elsewhere(mark: str) -> bool:
    """Whether the marked process runs on another machine, where nothing can be known of it."""
    return host_and_pid(mark)[0] != socket.gethostname()


def is_gone(mark: str) -> bool:
    """Whether the marked process ran on this machine and is no more; False where that cannot be known."""
    try:
        host, pid, start = mark.split("|")
    except ValueError:
        return False
    if host != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(pid))
        return bool(process.status() == psutil.STATUS_ZOMBIE) or abs(process.create_time() - float(start)) > 2
    except psutil.NoSuchProcess:
        return True


def is_served(run_id: str) -> bool:
    """Whether a process of this machine is an `mlflow run`, which may be about to start this run, or its command."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = [Path(word).name for word in process.cmdline()]
            if "mlflow" in words[:3] and "run" in words:
                return True
            try:
                if process.environ().get("MLFLOW_RUN_ID") == run_id:
                    return True
            except psutil.AccessDenied:  # of another user
                if {"asr_lab", "asr-lab"} & set(words):
                    return True
    return False
