"""Tracking servers for tests: each a process of its own on a free port of this machine, ended with the test."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

import pytest
from empty_store import empty_store
from forks import Forked

POSTGRES = os.environ.get("ASR_LAB_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432")
_PATIENCE_S = 90
BUCKET = "asr-lab"
SERVER = """
import os, runpy, sys
import mlflow.server
from mlflow.cli import cli

def stay(command, extra_env, **_):  # `python -m uvicorn ...` here, and not in one more Python
    os.environ.update(extra_env)
    sys.argv = command[2:]
    runpy.run_module(command[2], run_name="__main__", alter_sys=True)

mlflow.server._exec_cmd = stay
cli()
"""
"""`mlflow server` up to the process that it would start, for a fork; its words follow."""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Process:
    """A server: `start`, `kill` it as a power cut does, and start it again on the same port."""

    def __init__(self, command: list[str], log: Path, health: str, env: dict[str, str] | None = None) -> None:
        self.command, self.log, self.health, self.env = command, log, health, env or {}
        self.process: Popen[bytes] | Forked | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            own = {"env": {**os.environ, **self.env}, "stdout": log, "stderr": log, "start_new_session": True}
            forked = self.command[0] == "-c"
            self.process = Forked(self.command, cwd=Path.cwd(), **own) if forked else Popen(self.command, **own)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(self.health, timeout=2).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.2)
        self.kill()
        raise AssertionError(f"{self.command[:4]} did not start:\n{self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def mlflow_server(folder: Path, store: str = "", artifacts: str = "", env: dict[str, str] | None = None) -> Process:
    """`mlflow server` on `store` (default: sqlite in the folder) that hands on the artifacts; not started yet."""
    port = free_port()
    command = ["-c", SERVER, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store or empty_store(folder / "server.db", "mlflow-artifacts:")]
    command += ["--artifacts-destination", artifacts or str(folder / "server-artifacts")]
    env = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"} | (env or {})
    server = Process(command, folder / "server.log", f"http://127.0.0.1:{port}/health", env)
    server.uri = f"http://127.0.0.1:{port}"
    return server


@contextmanager
def postgres_database() -> Iterator[str]:
    """The URI of a new database; skips where there is no PostgreSQL that lets us in."""
    psycopg = pytest.importorskip("psycopg", reason="psycopg[binary] is not installed")
    name = f"asr_lab_test_{uuid.uuid4().hex[:12]}"
    try:
        admin = psycopg.connect(f"{POSTGRES}/postgres", connect_timeout=3, autocommit=True)
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL at {POSTGRES} (ASR_LAB_TEST_POSTGRES names another): {error}")
    admin.execute(f'CREATE DATABASE "{name}"')
    try:
        yield f"{POSTGRES}/{name}"
    finally:
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        admin.close()


@contextmanager
def s3_endpoint(folder: Path) -> Iterator[dict[str, str]]:
    """An S3 endpoint with the bucket `BUCKET`; the environment that points to it."""
    pytest.importorskip("moto", reason="moto[server] is not installed")
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = Process(command, folder / "s3.log", f"{url}/moto-api/")
    server.start()
    env = {
        "MLFLOW_S3_ENDPOINT_URL": url,
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        boto3.client(
            "s3", endpoint_url=url, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
        ).create_bucket(Bucket=BUCKET)
        yield env
    finally:
        server.kill()


@contextmanager
def tracking_store(kind: str, folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a tracking store: `sqlite`, `server`, or `server on PostgreSQL and S3`."""
    if kind == "sqlite":
        yield {"MLFLOW_TRACKING_URI": empty_store(folder / "mlflow.db")}
        return
    if kind == "server":
        server = mlflow_server(folder)
        server.start()
        try:
            yield {"MLFLOW_TRACKING_URI": server.uri}
        finally:
            server.kill()
        return
    with postgres_database() as database, s3_endpoint(folder) as env:
        server = mlflow_server(folder, database, f"s3://{BUCKET}/mlflow", env)
        server.start()
        try:
            yield {"MLFLOW_TRACKING_URI": server.uri, **env}
        finally:
            server.kill()


KINDS = ("sqlite", "server", "server on PostgreSQL and S3")
