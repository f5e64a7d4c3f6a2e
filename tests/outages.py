"""What outage tests share: a tracking server that is killed, a proxy that misbehaves, a training that only logs."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from empty_store import empty_store
from forks import Forked
from servers import SERVER, free_port

from asr_lab.interfaces.tracking import Dataset, RegisteredModel, RunSpec

STEP_S = 0.02
NAMES = [f"train/m{number}" for number in range(10)]

TRAINING = """
import sys, time
from pathlib import Path
from outages import NAMES, STEP_S, spec
from asr_lab.errors import AsrLabError
from asr_lab.tracking.tracker import MlflowTracker
from asr_lab.interfaces.tracking import RegisteredModel

steps, first, offline, ends = int(sys.argv[1]), int(sys.argv[2]), "offline" in sys.argv, "fails" not in sys.argv
try:
    with MlflowTracker(offline=offline).start(spec(signature=Path.cwd().parent.name[-24:])) as run:
        print("started", run.run_id, run.resumed, flush=True)
        Path(run.checkpoints).mkdir(parents=True, exist_ok=True)
        (run.checkpoints / "checkpoint-1").touch()
        for step in range(first, first + steps):
            run.metrics({name: step + 0.001 * number for number, name in enumerate(NAMES)}, step)
            print("step", step, flush=True)
            time.sleep(STEP_S)
        run.text("all of it", "eval/page.html")
        if "model" in sys.argv:
            Path("weights").mkdir(exist_ok=True)
            Path("weights/weights.bin").write_bytes(b"1" * 1000)
            print("model", run.model(RegisteredModel(name="tiny", files={"model": Path("weights")}), register=True))
        assert ends, "broken"
except (AsrLabError, AssertionError) as error:
    sys.exit(f"error: {error}")
print("ended", run.run_id, flush=True)
"""


def spec(**more) -> RunSpec:
    """A run of the family deepspeech2 that can be continued."""
    return RunSpec(
        **{
            "family": "deepspeech2",
            "kind": "train",
            "model_type": "deepspeech2",
            "name": "logs",
            "signature": "5ig",
            "params": {"train.epochs": 3, "train.lr": 0.1},
            "config_yaml": "recipe: deepspeech2\n",
            "resumable": True,
        }
        | more
    )


def log(run, steps: range) -> None:
    """Ten metrics for each step, as `Training` does."""
    for step in steps:
        run.metrics({name: step + 0.001 * number for number, name in enumerate(NAMES)}, step)


def offline(steps: int = 5, **more) -> str:
    """Record a run with a model, a dataset and a note without a store; its id."""
    from asr_lab.tracking.tracker import MlflowTracker

    with MlflowTracker(offline=True).start(spec(**more)) as run:
        log(run, range(steps))
        run.dataset(Dataset("corpus/all", "train", "d1", "corpus/all.jsonl.gz", 10, 0.1))
        Path("weights").mkdir(exist_ok=True)
        Path("weights/w.bin").write_text("1")
        uri = run.model(RegisteredModel(name="tiny", files={"model": Path("weights")}), register=True)
        run.note(f"best of all; {uri}")
    return run.run_id


def gone() -> str:
    """The mark of a process of this machine that is no more."""
    return f"{socket.gethostname()}|999999|1"


def environment(uri: str, **more: str) -> dict[str, str]:
    unset = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_HTTP")}
    tests = Path(__file__).parent
    path = os.pathsep.join([str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")])
    return {**unset, "MLFLOW_TRACKING_URI": uri, "PYTHONPATH": path, "COLUMNS": "200", "OMP_NUM_THREADS": "1", **more}


class Server:
    """`mlflow server` on a database of its own; it can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.database = folder / "server.db"
        empty_store(self.database, "mlflow-artifacts:")
        self.start()

    def start(self) -> None:
        store = ["--backend-store-uri", f"sqlite:///{self.database}", "--artifacts-destination", self.folder / "store"]
        words = ["server", "--host", "127.0.0.1", "--port", self.port, "--workers", 1, *store]
        with (self.folder / "server.log").open("a") as log:
            self.process = Forked(
                ["-c", SERVER, *map(str, words)],
                cwd=self.folder,
                env=environment(f"sqlite:///{self.database}", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + 120
        while True:
            with suppress(OSError):
                urllib.request.urlopen(f"{self.uri}/health", timeout=2).close()
                return
            assert self.process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
            assert time.monotonic() < until, "the server does not start"
            time.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL for the server and all its workers, which are in a session of their own."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def rows(self, query: str) -> list[tuple]:
        return rows(self.database, query)


def rows(database: Path, query: str) -> list[tuple]:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20) as store:
        return store.execute(query).fetchall()


def assert_points(database: Path, run_id: str, steps: range) -> None:
    """Every point of these steps is in the store, none twice."""
    found = rows(database, f"SELECT key, step, value FROM metrics WHERE run_uuid = '{run_id}' AND key LIKE 'train/m%'")
    expected = {(name, step, step + 0.001 * number) for step in steps for number, name in enumerate(NAMES)}
    assert len(found) == len(expected), f"{len(found)} points instead of {len(expected)}"
    assert set(found) == expected


def wait_for(what: str, happened, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, f"in {seconds} s it did not happen: {what}"
        time.sleep(0.02)


class Training:
    """A process that logs ten metrics a step, every 20 ms."""

    def __init__(self, folder: Path, uri: str, steps: int, *words: str, first: int = 0, **more: str) -> None:
        self.folder = folder
        self.out, self.err = folder / "out.txt", folder / "err.txt"
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = Forked(
                ["-c", TRAINING, str(steps), str(first), *words],
                cwd=folder,
                env=environment(uri, **more),
                stdout=out,
                stderr=err,
            )

    def said(self) -> list[str]:
        return self.out.read_text().splitlines()

    def reached(self, step: int) -> None:
        wait_for(f"step {step}", lambda: f"step {step}" in self.said() or self.process.poll() is not None)
        assert self.process.poll() is None, self.err.read_text()

    def id(self, word: str = "started") -> str:
        return next(line.split()[1] for line in self.said() if line.startswith(word))

    def finish(self, code: int = 0) -> str:
        """What it said on stderr, having ended with this exit code."""
        assert self.process.wait(120) == code, self.err.read_text()[-3000:]
        return self.err.read_text()


class Proxy:
    """Stands before a server, and misbehaves as `mode` says.

    `pass`; `hang` (takes the request, never answers); `swallow` (passes it on, the answer is lost); a number: the
    status of every answer.
    """

    def __init__(self, port: int) -> None:
        self.mode: str | int = "pass"
        self.only = ""
        """The part of a path that is treated so; others pass."""
        self.calls = 0
        self.released = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                mode = proxy.mode if proxy.only in self.path else "pass"
                body = self._body()
                if mode != "pass":
                    proxy.calls += 1
                if mode == "hang":
                    proxy.released.wait(60)
                    self.close_connection = True
                    return
                if isinstance(mode, int):
                    return self._send(mode, b"no")
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "transfer-encoding")}
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                if mode == "swallow":
                    self.close_connection = True
                    return None
                return self._send(answer.status, content, answer.getheader("Content-Type", "application/json"))

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                whole = b""
                while size := int(self.rfile.readline(), 16):
                    whole += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return whole

            def _send(self, status: int, content: bytes, kind: str = "text/plain") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
