"""A server of the MLflow UI on this machine, for as long as it is looked at."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from asr_lab.errors import AsrLabError
from asr_lab.system.stopping import held
from asr_lab.tracking.connection import StoreUnavailableError, check_connection, without_password

HOST = "127.0.0.1"
_PATIENCE_S, _GRACE_S = 120.0, 10.0


@dataclass(frozen=True)
class LocalServer:
    """A running server."""

    address: str
    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def wait(self) -> None:
        """Return when the server has ended; raises `AsrLabError` if it failed."""
        if code := self.process.wait():
            raise AsrLabError(f"the MLflow server ended with exit code {code}", hint=self.last_lines())

    def last_lines(self) -> str:
        """Return the end of its log, without passwords."""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return without_password(" | ".join(lines[-3:]))


@contextmanager
def local_server(store: str, port: int = 0) -> Iterator[LocalServer]:
    """Serve the UI on `store` at `port` of this machine (0: a free one); the end of the block ends all its processes.

    Signals wait until that is done. Raises `AsrLabError` if the port is taken, or the server
    does not start.
    """
    port = _free_port(port)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--no-serve-artifacts"]  # experiments made in the UI keep their files where the others of this store do
    env = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": store,  # the command line, with a password, could be read by everyone
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            served = LocalServer(f"http://{HOST}:{port}", process, log)
            _wait_until_ready(served)
            yield served
        finally:
            with held():
                _end(process)


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise AsrLabError(
                f"port {port} cannot be used: {error.strerror}", allowed="another --port; without it a free one"
            ) from error
        return int(probe.getsockname()[1])


def _wait_until_ready(served: LocalServer) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while served.process.poll() is None and time.monotonic() < deadline:
        with suppress(StoreUnavailableError):
            check_connection(served.address)
            return
        time.sleep(0.1)
    raise AsrLabError("the MLflow server does not start", hint=served.last_lines(), next_command="asr-lab doctor")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and all processes that it started; they are a session of their own."""
    for number, patience_s in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
