"""Events that the store will not take, set aside with its reason; a line that was cut off does not count."""

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
        """Set an event aside."""
        append_lines(self.file, [_line({"kind": event.kind, "at": event.at_ms, "why": why, **event.content})])

    def all(self) -> list[dict[str, Any]]:
        """The events that were set aside, with `why`."""
        found = []
        for line in self.file.read_bytes().split(b"\n") if self.file.is_file() else []:
            with suppress(ValueError):  # a power cut may leave such a line
                content = json.loads(line)
                if isinstance(content, dict) and {"kind", "at", "why"} <= content.keys():
                    found.append(content)
        return found

    def retry(self, accepts: Callable[[Event], bool]) -> None:
        """Offer them again; what is `taken` goes from the list."""
        rest = [line for line in self.all() if not accepts(Event.of(line))]
        if rest:
            write_text(self.file, "".join(_line(line) + "\n" for line in rest))
        else:
            self.file.unlink(missing_ok=True)


def _line(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False)
