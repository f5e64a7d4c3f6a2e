"""Elect the one process that leads a sweep: it creates the run of the study and reports the result.

It has a lock of the storage, which its death frees: no clock decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.exceptions import OptunaError

from asr_lab.errors import AsrLabError
from asr_lab.sweeps.storage_locks import Lock
from asr_lab.sweeps.study import COORDINATOR, StudyPlan
from asr_lab.system.processes import host_and_pid, is_gone


class Leadership:
    """That this process leads a sweep."""

    def __init__(self, planned: StudyPlan) -> None:
        self._planned = planned
        self._lock: Lock = planned.location.lock(f"leader of {planned.name}")

    def check(self) -> None:
        """Raise `AsrLabError` if another process leads, which may be since the database was restarted."""
        with self._planned.location.explain_errors():
            leads = self._lock.take()
        if not leads:
            who = _leader(self._planned)
            raise AsrLabError(
                f"the sweep {self._planned.name!r} is being run by {who}",
                where=self._planned.location.shown,
                hint="--join takes part in it",
            )

    def release(self) -> None:
        """Let another process lead."""
        self._lock.release()


@contextmanager
def leading(planned: StudyPlan) -> Iterator[Leadership]:
    """Lead the sweep. Raise `AsrLabError` if another process does."""
    leadership = Leadership(planned)
    leadership.check()
    try:
        yield leadership
    finally:
        leadership.release()


def _leader(planned: StudyPlan) -> str:
    """Return which process leads, as far as the study says so."""
    try:
        study = optuna.load_study(study_name=planned.name, storage=planned.location.open(lambda *_: None))
    except (AsrLabError, OptunaError, KeyError, RuntimeError):  # it is just being made
        return "another process"
    mark = str(study.user_attrs.get(COORDINATOR) or "")
    host, pid = host_and_pid(mark)
    return "another process" if not host or is_gone(mark) else f"process {pid} on {host}"
