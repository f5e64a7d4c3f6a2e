"""Events that the store refused, with its reason; an incomplete last line is ignored."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from asr_lab.system.append_log import append_lines
from asr_lab.system.files import write_text
from asr_lab.tracking.spool.journal import Event


class Refused:
    """`refused.jsonl` of a spool: a JSON object a line, an event with `why`."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def add(self, event: Event, why: str) -> None:
        """Add a refused event."""
        append_lines(self.file, [_line({"kind": event.kind, "at": event.at_ms, "why": why, **event.content})])

    def all(self) -> list[dict[str, Any]]:
        """Return the refused events, each with `why`."""
        events = []
        for line in self.file.read_bytes().split(b"\n") if self.file.is_file() else []:
            with suppress(ValueError):  # a power cut may leave such a line
                content = json.loads(line)
                if isinstance(content, dict) and {"kind", "at", "why"} <= content.keys():
                    events.append(content)
        return events

    def retry(self, accepts: Callable[[Event], bool]) -> None:
        """Retry the events; drop those that `accepts` accepts."""
        rest = [line for line in self.all() if not accepts(Event.of(line))]
        if rest:
            write_text(self.file, "".join(_line(line) + "\n" for line in rest))
        else:
            self.file.unlink(missing_ok=True)


def _line(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False)
