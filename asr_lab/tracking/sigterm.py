"""SIGTERM while a run is recorded: it leaves the run as Ctrl-C does, which is closed then, and not found orphaned."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from asr_lab.interfaces.tracking import Terminated


def end_on_sigterm() -> Callable[[], None]:
    """From now on SIGTERM raises `Terminated` in the main thread; the function that is returned undoes it.

    Nothing is changed where somebody else listens to it already, or in another thread.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return lambda: None
    own = os.getpid()

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends it at once
        if os.getpid() == own:
            raise Terminated
        os.kill(os.getpid(), signal.SIGTERM)  # a forked loader: the run is not its own

    def undo() -> None:
        if signal.getsignal(signal.SIGTERM) is end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, end)
    return undo
