"""The metric points that a resumed run has already, in its spool and on the store."""

from __future__ import annotations

import math
from contextlib import suppress

from asr_lab.errors import AsrLabError
from asr_lab.tracking.spool.spool import Spool
from asr_lab.tracking.store import client, explain_store_errors


class LoggedPoints:
    """Points by metric and step. `asks_store`: also those that were shipped, if the store answers."""

    def __init__(self, spool: Spool, *, asks_store: bool) -> None:
        self._points = spool.points()
        self._run_id = spool.state.run_id if asks_store else ""
        self.last_steps = {name: max(points) for name, points in self._points.items()}
        self._on_store: set[str] = set()
        if self._run_id:
            with suppress(AsrLabError), explain_store_errors("the run cannot be read"):
                for point in client().get_run(self._run_id).data._metric_objs:
                    self.last_steps[point.key] = max(point.step, self.last_steps.get(point.key, point.step))
                    self._on_store.add(point.key)

    def at_ms(self, name: str, value: float, step: int) -> int | None:
        """Return when a point was logged, in ms since 1970; None if the run does not have it."""
        if step > self.last_steps.get(name, step - 1):
            return None
        if step not in self._points.get(name, {}) and name in self._on_store:
            self._read(name)
        known, at_ms = self._points.get(name, {}).get(step, (None, 0))
        is_same = known is not None and (known == value or (math.isnan(known) and math.isnan(value)))
        return at_ms if is_same else None

    def _read(self, name: str) -> None:
        """Add the points on the store; those of the spool are newer."""
        self._on_store.discard(name)
        with suppress(AsrLabError), explain_store_errors("the run cannot be read"):
            history = sorted(client().get_metric_history(self._run_id, name), key=lambda point: point.timestamp)
            points = {point.step: (point.value, int(point.timestamp)) for point in history}
            self._points[name] = points | self._points.get(name, {})
