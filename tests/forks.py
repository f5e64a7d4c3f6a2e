"""Processes without the cost of their imports: forks of one that has imported torch, transformers and MLflow once.

A new Python needs some 6 s of a core for these imports, a fork milliseconds. A fork is a process of its own: it has
its folder, environment and output, its own process group where asked for, and is killed, limited and waited for as any
other. What is about the start of Python itself is tested with new ones: `conftest.asr_lab(..., forked=False)`.
"""

from __future__ import annotations

import array
import atexit
import gc
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import IO

TESTS = Path(__file__).parent


class Forked:
    """`python WORDS` as a fork: the part of `subprocess.Popen` that the tests use, text in and out."""

    _parent: socket.socket | None = None

    def __init__(self, words, *, cwd, env, stdout=None, stderr=None, start_new_session=False) -> None:
        self.args, self.returncode = [str(word) for word in words], None
        self.stdout, out = _reader(stdout)
        self.stderr, err = (None, out) if stderr == subprocess.STDOUT else _reader(stderr)
        self._status, theirs = socket.socketpair()
        asked = {"words": self.args, "cwd": str(cwd), "env": dict(env), "session": start_new_session}
        body = json.dumps(asked).encode()
        descriptors = array.array("i", [out, err, theirs.fileno()])
        parent = self._imported()
        parent.sendmsg([len(body).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        parent.sendall(body)
        for descriptor in {out, err}:
            os.close(descriptor)
        theirs.close()
        self._answers = self._status.makefile()
        self.pid = int(self._answers.readline())

    @classmethod
    def _imported(cls) -> socket.socket:
        """The connection to the process that is forked; it is started with the first fork and ends with this one."""
        if cls._parent is None:
            cls._parent, theirs = socket.socketpair()
            path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
            unset = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
            process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env={**unset, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                pass_fds=[theirs.fileno()],
            )
            theirs.close()
            atexit.register(process.wait)
            atexit.register(cls._parent.close)
        return cls._parent

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, negative for the signal that ended it."""
        if self.returncode is None:
            self._status.settimeout(timeout)
            try:
                self.returncode = int(self._answers.readline() or -signal.SIGKILL)
            except TimeoutError:
                self._answers = self._status.makefile()
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(timeout=0.001)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str | None, str | None]:
        """What is left of its output, read to the end."""
        said: dict[str, str] = {}
        until = time.monotonic() + (timeout or 1e9)
        readers = [
            threading.Thread(target=lambda name=name, pipe=pipe: said.update({name: pipe.read()}), daemon=True)
            for name, pipe in (("out", self.stdout), ("err", self.stderr))
            if pipe
        ]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(max(0.0, until - time.monotonic()))
        return said.get("out"), said.get("err")


def _reader(to: int | IO | None) -> tuple[IO[str] | None, int]:
    """Where we read what is written, if we do, and the descriptor that is written to."""
    if to == subprocess.PIPE:
        read, write = os.pipe()
        return os.fdopen(read), write
    if to == subprocess.DEVNULL:
        return None, os.open(os.devnull, os.O_WRONLY)
    return None, os.dup(to.fileno() if to else 1)


def _import_everything() -> None:
    """All of asr_lab and, with it, the libraries; then what is there is left alone by each collection of a fork."""
    import asr_lab

    for module in pkgutil.walk_packages(asr_lab.__path__, "asr_lab."):
        if not module.name.endswith(("__main__", "serving.pyfunc")):
            import_module(module.name)
    for name in ("mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store", "mlflow.server.handlers", "uvicorn"):
        import_module(name)
    from asr_lab.tracking import code_state

    code_state.packages(), code_state.own_patch()
    assert threading.active_count() == 1, "a process with threads is not forked"
    gc.collect()
    gc.freeze()


def _serve(asking: socket.socket) -> dict | None:
    """Fork for each request; None where nobody asks any more, in a fork what it was asked to do."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        head, descriptors, *_ = socket.recv_fds(asking, 4, 3)
        if not head:
            return None
        asked, left = b"", int.from_bytes(head, "big")
        while len(asked) < left:
            asked += asking.recv(left - len(asked))
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            asking.close()
            return _kept(json.loads(asked), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _kept(asked: dict, out: int, err: int, status: int) -> dict:
    """Fork once more, and tell this one's number and how it ends; only the child returns."""
    ready, go = os.pipe()
    if child := os.fork():
        os.close(out)
        os.close(err)
        os.write(status, f"{child}\n".encode())
        os.close(go)
        _, ended = os.waitpid(child, 0)
        os.write(status, f"{os.waitstatus_to_exitcode(ended)}\n".encode())
        os._exit(0)
    os.close(status)
    os.close(go)
    os.read(ready, 1)
    os.close(ready)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, place in ((out, 1), (err, 2)):
        os.dup2(descriptor, place)
    for descriptor in {out, err}:
        os.close(descriptor)
    if asked["session"]:
        os.setsid()
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return asked


def _run(words: list[str]) -> None:
    """What `python WORDS` does, of `[-u] -m MODULE ...` and `-c CODE ...`."""
    words = [word for place, word in enumerate(words) if place or word != "-u"]
    kind, what, *rest = words
    sys.path.insert(0, "" if kind == "-c" else str(Path.cwd()))
    sys.argv = ["-c" if kind == "-c" else what, *rest]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})


class Ending:
    """The exit status, and the last thing done at exit: nothing that was imported is taken down (0.7 s)."""

    status = 0

    def leave(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(self.status)


if __name__ == "__main__":
    ending = Ending()
    atexit.register(ending.leave)  # the first to be registered is the last to be called
    asking = socket.socket(fileno=int(sys.argv[1]))
    _import_everything()
    if asked := _serve(asking):
        try:
            _run(asked["words"])
        except SystemExit as end:
            ending.status = end.code if isinstance(end.code, int) else int(end.code is not None)
            raise
        except BaseException:
            ending.status = 1
            raise
