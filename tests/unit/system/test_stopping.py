"""What stops a command: it raises, waits while something is closed, and is not lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

START = """
import os, signal, sys, time
from asr_lab.system import stopping
from asr_lab.system.stopping import held, ending_quietly

def stopped(error, around):
    print("stopped", type(error).__name__, around.kill(), flush=True)

def ready():
    print("ready", flush=True)
"""


def start(code: str, **environment: str) -> subprocess.Popen[str]:
    """A process that has printed "ready"."""
    process = subprocess.Popen(
        [sys.executable, "-c", START + code],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL) for one in (signal.SIGINT, signal.SIGHUP)],
    )
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    out = process.communicate(timeout=60)[0]
    return process.returncode, out.splitlines()


WAIT = """
with ending_quietly(stopped):
    ready()
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_without_a_traceback(number):
    process = start(WAIT)
    process.send_signal(number)
    kind = "KeyboardInterrupt" if number == signal.SIGINT else "Terminated"
    assert ended(process) == (128 + number, [f"stopped {kind} False"])


def test_what_is_ignored_stays_ignored():
    process = start("signal.signal(signal.SIGHUP, signal.SIG_IGN)" + WAIT)  # as under nohup
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.terminate()
    assert ended(process)[0] == 128 + signal.SIGTERM


def test_signals_wait_while_something_is_closed():
    closing = """
with ending_quietly(stopped):
    with held():
        ready()
        time.sleep(1)
        print("closed", flush=True)
    print("never", flush=True)
"""
    process = start(closing)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        process.send_signal(number)
        time.sleep(0.1)
    assert ended(process) == (128 + signal.SIGINT, ["closed", "stopped KeyboardInterrupt False"])


def test_what_hangs_while_it_is_closed_can_be_ended():
    process = start(
        "stopping._PATIENCE_S = 0.2\nwith ending_quietly(stopped), held():\n    ready()\n    time.sleep(60)"
    )
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    assert ended(process) == (-signal.SIGINT, [])


def test_a_signal_that_an_import_swallows_is_sent_again(tmp_path):
    (tmp_path / "swallows.py").write_text(
        "import time\nready = __import__('__main__').ready\nready()\n"
        "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    pass\ntime.sleep(60)\n"
    )
    process = start("with ending_quietly(stopped):\n    import swallows", PYTHONPATH=f"{tmp_path}:{Path.cwd()}")
    process.send_signal(signal.SIGINT)
    assert ended(process)[1] == ["stopped KeyboardInterrupt False"]


def test_a_signal_in_a_callback_that_may_not_raise_is_sent_again():
    code = """
class Slow:
    def __del__(self):
        ready()
        time.sleep(60)

with ending_quietly(stopped):
    Slow()
    time.sleep(60)
"""
    process = start(code)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (128 + signal.SIGINT, ["stopped KeyboardInterrupt False"])


def test_a_signal_while_python_ends_leaves_no_traceback():
    code = "import atexit\natexit.register(lambda: (ready(), time.sleep(60)))"
    process = start(code + WAIT.replace("ready()", "pass").replace("time.sleep(60)", "pass"))
    process.send_signal(signal.SIGINT)
    assert ended(process) == (-signal.SIGINT, [])


def test_a_kernel_without_pidfd_waits_all_the_same(tmp_path):
    around = subprocess.Popen(["sleep", "600"])
    code = "import errno\ndef missing(_):\n    raise OSError(errno.ENOSYS, 'missing')\nos.pidfd_open = missing\n" + WAIT
    process = start(code, ASR_LAB_MLFLOW_RUN=f"{around.pid} {tmp_path}", MLFLOW_RUN_ID="1d")
    around.kill()
    around.wait()
    assert ended(process) == (128 + signal.SIGTERM, ["stopped Terminated False"])


@pytest.mark.parametrize("dies", ["before", "after"])
def test_a_command_ends_with_the_mlflow_run_around_it(tmp_path, dies):
    around = subprocess.Popen(["sleep", "600"])
    if dies == "before":
        around.kill()
        around.wait()
    code = "ready()" + WAIT.replace("ready()", "pass") if dies == "before" else WAIT
    process = start(code, ASR_LAB_MLFLOW_RUN=f"{around.pid} {tmp_path}", MLFLOW_RUN_ID="1d")
    around.kill()
    around.wait()
    assert ended(process) == (128 + signal.SIGTERM, ["stopped Terminated False"])


def test_a_run_of_mlflow_run_is_left_to_it(tmp_path):
    around = subprocess.Popen(["sleep", "600"])
    try:
        process = start(WAIT, ASR_LAB_MLFLOW_RUN=f"{around.pid} {tmp_path}", MLFLOW_RUN_ID="1d")
        process.terminate()
        assert ended(process)[1] == ["stopped Terminated True"]
        assert [file.name for file in tmp_path.iterdir()] == ["1d"]
    finally:
        around.kill()
        around.wait()
