"""A thread that ships a spool in the background of its run."""

from __future__ import annotations

import threading

from asr_lab.errors import AsrLabError
from asr_lab.tracking.spool.delivery import Delivery
from asr_lab.tracking.spool.spool import Spool
from asr_lab.tracking.store import client

_EVERY_S = 5.0
_LONGEST_PAUSE_S = 60.0


class Shipper:
    """Ship `spool` every few seconds; if the store does not answer, retry after 5, 10, 20 ... 60 s.

    At the end of a run `flush` tries once; what fails waits in the spool for `asr-lab sync`.
    """

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.trouble: AsrLabError | None = None
        """Error of the last attempt; None if it succeeded."""
        self._change = threading.Condition()
        self._asked = self._stopped = self._busy = False
        self._failures = 0
        self._delivery: Delivery | None = None
        self._thread = threading.Thread(target=self._run, name=f"ship {spool.id[:8]}", daemon=True)
        self._thread.start()

    def flush(self, patience_s: float) -> bool:
        """Ship everything now, for at most `patience_s` or until an attempt fails; return whether it is shipped."""
        target = self.spool.journal.end
        with self._change:
            self._asked = True
            enough = self._failures + (2 if self._busy else 1)  # an attempt in progress may miss the newest events
            self._change.notify_all()
            self._change.wait_for(
                lambda: self.spool.state.offset >= target or self._failures >= enough, timeout=patience_s
            )
        return self.spool.state.offset >= target

    def stop(self, patience_s: float = 1.0) -> bool:
        """End the thread, which then releases the spool; return False if a request is still in progress."""
        with self._change:
            self._stopped = True
            self._change.notify_all()
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        pause = 0.0
        while True:
            with self._change:
                self._change.wait_for(lambda: self._asked or self._stopped, timeout=pause)
                if self._stopped:
                    break
                self._asked, self._busy = False, True
            failed = not self._attempt()
            with self._change:
                self._busy = False
                self._failures += failed
                self._change.notify_all()
                pause = min(max(2 * pause, _EVERY_S), _LONGEST_PAUSE_S) if failed else _EVERY_S
        if not self.spool.waiting():
            self.spool.remove()
        else:
            self.spool.release()

    def _attempt(self) -> bool:
        try:
            self.spool.journal.sync()
            if not self._delivery:
                self._delivery = Delivery(
                    self.spool, client(again=self.trouble is not None), self._progress, lambda: self._stopped
                )
            self._delivery.deliver()
            self.trouble = None
        except Exception as error:  # must not end this thread
            self._delivery = None
            self.trouble = error if isinstance(error, AsrLabError) else AsrLabError(f"{type(error).__name__}: {error}")
        return self.trouble is None

    def _progress(self, _: int) -> None:
        with self._change:
            self._change.notify_all()
