"""What stops a command: Ctrl-C, SIGTERM, SIGHUP (its terminal was closed), and the end of the `mlflow run` around it.

Each raises in the main thread, so that what is open is closed on the way out. While a run is being closed they wait
(`held`): pressing Ctrl-C twice leaves no run half closed.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from asr_lab.system.distributed import is_launched

MLFLOW_RUN = "ASR_LAB_MLFLOW_RUN"
"""The variable in which `mlflow run` passes its command the number of its process and a folder (`Around`).

An empty file there is named by the id of a run that `mlflow run` has to end as KILLED.
"""
JOB = "ASR_LAB_JOB"
"""The variable by which an engine says that a command is its job (`_end_as_job`)."""
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end a command as Ctrl-C does; Windows has no SIGHUP."""
_PATIENCE_S = 30.0
"""How long signals wait for a run that is being closed; a later one ends the process."""
_LOST_S = 3.0


class Terminated(SystemExit):
    """SIGTERM or SIGHUP was received; the exit code is 143 or 129."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(128 + number)
        self.number = number

    def __str__(self) -> str:
        return signal.Signals(self.number).name


class _State:
    """Of this process's main thread."""

    owner = 0
    """The process that handles signals; 0 before `handle`."""
    held = 0
    """Depth of `held`."""
    pending = 0
    """The signal that came while it was held."""
    first = 0.0
    """When the first signal came that was held."""
    closes = False
    """Whether something was ever held, which is after the imports."""


_state = _State()


def handle() -> Callable[[], None]:
    """Let SIGINT, SIGTERM and SIGHUP raise in this process's main thread; return a function that undoes this.

    A signal that is ignored, as under `nohup`, or has a handler of another stays as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    usual = {
        number: handler
        for number, handler in ((signal.SIGINT, signal.default_int_handler), *((one, signal.SIG_DFL) for one in ENDING))
        if signal.getsignal(number) is handler
    }
    _state.owner = os.getpid()
    for number in usual:
        signal.signal(number, _received)

    def undo() -> None:
        for number, handler in usual.items():
            if signal.getsignal(number) is _received:
                signal.signal(number, handler)

    return undo


def _received(number: int, _: Any) -> None:
    if os.getpid() != _state.owner:  # a forked process does not own the run
        _leave_to_system(number)
    elif _state.held and (not _state.pending or time.monotonic() - _state.first < _PATIENCE_S):
        _state.first = _state.first if _state.pending else time.monotonic()
        _state.pending = _state.pending or number
    elif _state.held:
        _leave_to_system(number)
    else:
        if not _state.closes:
            _again(number)
        _raise(number)


def _leave_to_system(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    if number == signal.SIGINT and os.getpid() != _state.owner:
        raise KeyboardInterrupt  # which the data loader expects
    os.kill(os.getpid(), number)


def _raise(number: int) -> None:
    if number == getattr(signal, "SIGHUP", None):
        _let_go_of_terminal()
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Terminated(number)


def _let_go_of_terminal() -> None:
    """Write nowhere from here on: writing to a terminal that was closed fails."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _again(number: int) -> None:
    """Send it once more if it has no effect: Python ignores what is raised in a callback of an import."""

    def send() -> None:
        time.sleep(_LOST_S)
        if not _state.closes and _imports():
            os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()


def _imports() -> bool:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame and "importlib._bootstrap" not in frame.f_code.co_filename:
        frame = frame.f_back
    return frame is not None


@contextmanager
def held(*, raises: bool = True) -> Iterator[None]:
    """Let signals wait; the first one that came raises at the end, or, without `raises`, at the end of the next one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.closes = True
    _state.held += 1
    try:
        yield
    finally:
        _state.held -= 1
        if raises and not _state.held and (number := _state.pending):
            _state.pending = 0
            _raise(number)


def end_with(pid: int) -> Callable[[], bool]:
    """Send SIGTERM to this process when another one ends; return a function that returns whether it has ended."""
    ended = threading.Event()

    def wait() -> None:
        with suppress(ProcessLookupError):
            _wait_for_end(pid)
        ended.set()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
    return ended.is_set


def _wait_for_end(pid: int) -> None:
    try:
        other = os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except (OSError, AttributeError):  # an old kernel, or none of Linux
        import psutil

        with suppress(psutil.Error):
            psutil.Process(pid).wait()
        return
    polled = select.poll()
    polled.register(other, select.POLLIN)
    polled.poll()


def _end_as_job() -> None:
    """End with the process that started this one; and by the signal with which Slurm announces the end of the time."""
    os.environ.pop("MLFLOW_RUN_ID", None)  # the run of who submits it
    announced = getattr(signal, "SIGUSR2", None)
    if announced:
        signal.signal(announced, _received)
    end_with(os.getppid())
    if is_launched():  # torchrun is in between, and does not end with the one that started it
        import psutil

        with suppress(psutil.Error):
            end_with(psutil.Process(os.getppid()).ppid())


class Around:
    """The `mlflow run` that started this command, and the run it made; both may be missing."""

    def __init__(self) -> None:
        self.run_id = os.environ.get("MLFLOW_RUN_ID", "")
        self._pid, _, self._folder = os.environ.pop(MLFLOW_RUN, "").partition(" ")
        self._ended: Callable[[], bool] | None = None

    def watch(self) -> None:
        """Send SIGTERM to this process when it ends."""
        if self._pid:
            self._ended = end_with(int(self._pid))

    def kill(self) -> bool:
        """Let it end the run as KILLED once this command has ended; return False if it does not do so.

        It calls every run whose command fails FAILED, whatever the run is.
        """
        if not self.run_id or not self._ended or self._ended():
            return False
        try:
            (Path(self._folder) / self.run_id).touch()
        except OSError:  # it is ending
            return False
        return True


@contextmanager
def ending_quietly(stopped: Callable[[BaseException, Around], None]) -> Iterator[None]:
    """Around a command: end it without a traceback where it is stopped, after `stopped` is called.

    Ends this process with 128 + the number of the signal.
    """
    undo = handle()
    sys.unraisablehook = _send_again_if_ignored
    if os.environ.pop(JOB, ""):
        _end_as_job()
    around = Around()
    try:
        around.watch()
        yield
    except (KeyboardInterrupt, Terminated) as error:
        with held(raises=False):
            stopped(error, around)
        sys.exit(error.code if isinstance(error, Terminated) else 128 + signal.SIGINT)
    finally:
        undo()
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # what comes now ends the process, without a traceback


def _send_again_if_ignored(ignored: Any) -> None:
    """Send a signal again whose exception Python ignores, as in a callback of a weak reference."""
    if issubclass(ignored.exc_type, KeyboardInterrupt | Terminated):
        number = getattr(ignored.exc_value, "number", signal.SIGINT)
        send = threading.Timer(0.05, os.kill, (os.getpid(), number))  # not here: it would be ignored again
        send.daemon = True
        send.start()
    else:
        sys.__unraisablehook__(ignored)
