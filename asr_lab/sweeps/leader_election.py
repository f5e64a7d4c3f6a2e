"""Elect the one process that leads a sweep: it creates the run of the study and reports the result."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from optuna.study import Study

from asr_lab.errors import AsrLabError
from asr_lab.sweeps.study import COORDINATOR, StudyPlan
from asr_lab.system.processes import host_and_pid, is_elsewhere, is_gone, process_mark

_SILENT_S = 120.0  # after which a leader on another machine counts as gone
_SIGN_EVERY_S = 30.0


@contextmanager
def leading(study: Study, planned: StudyPlan) -> Iterator[str]:
    """Lead the study. Raise `AsrLabError` if another process does.

    Yield the machine of a former leader that stopped signing, or "".
    """
    former = _former(study, planned)
    over = threading.Event()

    def sign() -> None:
        study.set_user_attr(COORDINATOR, f"{process_mark()}@{time.time():.0f}")

    def signing() -> None:
        while not over.wait(_SIGN_EVERY_S):
            sign()

    sign()
    thread = threading.Thread(target=signing, daemon=True)
    thread.start()
    try:
        yield former
    finally:
        over.set()
        thread.join()
        study.set_user_attr(COORDINATOR, "")


def _former(study: Study, planned: StudyPlan) -> str:
    """Return the machine of a leader that stopped signing, or "". Raise `AsrLabError` if it still leads."""
    mark, _, seen = str(study.user_attrs.get(COORDINATOR) or "").rpartition("@")
    if not mark:
        return ""
    host, pid = host_and_pid(mark)
    if time.time() - float(seen) < _SILENT_S if is_elsewhere(mark) else not is_gone(mark):
        raise AsrLabError(
            f"the sweep {planned.name!r} is being run by process {pid} on {host}",
            where=planned.location.shown,
            hint="--join takes part in it",
        )
    return host if is_elsewhere(mark) else ""
