"""SIGTERM during a run: close the run as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from asr_lab.interfaces.tracking import Terminated


def end_on_sigterm() -> Callable[[], None]:
    """Make SIGTERM raise `Terminated` in the main thread; return a function that undoes this.

    Does nothing if SIGTERM has a handler already, or in another thread.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return lambda: None
    own = os.getpid()

    def end(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second signal ends the process
        if os.getpid() == own:
            raise Terminated
        os.kill(os.getpid(), signal.SIGTERM)  # a forked data loader does not own the run

    def undo() -> None:
        if signal.getsignal(signal.SIGTERM) is end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, end)
    return undo
