"""What was transcribed so far, beside the file it becomes: `.NAME.journal`, from which an interrupted call resumes.

A line is a JSON object a result, written as it comes; the first line is what all results depend on. The journal stays,
so that a later call transcribes only files that are new, have changed, or could not be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from asr_lab.errors import AsrLabError
from asr_lab.serving.sources import Source
from asr_lab.system.append_log import append_lines


class TranscriptJournal:
    """The results of one output file."""

    def __init__(self, out: Path, path: Path | None = None) -> None:
        """`path`: where it is, if not beside the output file."""
        self.path = path or out.with_name(f".{out.name.replace('{}', '_')}.journal")
        self._places: dict[str, tuple[int, str, bool]] = {}
        """Name of a source -> where its line starts, the state of its audio, whether it failed."""

    def begin(self, settings: Mapping[str, str], *, resume: bool) -> None:
        """Start again, or continue what is there; raise `AsrLabError` if that was written with other settings."""
        if not (resume and self.path.is_file() and self.path.stat().st_size):  # empty: the disk was full
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)
            append_lines(self.path, [json.dumps({"settings": dict(settings)})])
            return
        append_lines(self.path, [])  # a line that was cut off goes
        with self.path.open("rb") as file:
            before = _parsed(file.readline()).get("settings", {})
            differing = [name for name, value in settings.items() if (before.get(name) or "") != value]
            if differing:
                changes = [f"{name} {before.get(name) or 'none'} -> {settings[name] or 'none'}" for name in differing]
                raise AsrLabError(
                    f"what was transcribed before was made with other settings: {', '.join(changes)}",
                    where=str(self.path),
                    allowed="the same settings with --resume, or --overwrite to transcribe all again",
                )
            start = file.tell()
            for line in file:
                row = _parsed(line)
                if isinstance(row.get("row"), dict) and "name" in row:
                    self._places[row["name"]] = (start, row.get("state", ""), bool(row["row"].get("error")))
                start += len(line)

    def is_done(self, source: Source) -> bool:
        """Whether it was transcribed, and its audio has not changed since."""
        place = self._places.get(source.name)
        return place is not None and not place[2] and place[1] == source.state

    def add(self, source: Source, row: Mapping[str, Any]) -> None:
        """Append a result; raises `OSError` on a full disk."""
        start = self.path.stat().st_size
        line = json.dumps({"name": source.name, "state": source.state, "row": dict(row)}, ensure_ascii=False)
        append_lines(self.path, [line])
        self._places[source.name] = (start, source.state, bool(row.get("error")))

    def merge(self, other: TranscriptJournal, sources: Sequence[Source]) -> None:
        """Append the results of these sources that another journal has; raises `OSError` on a full disk."""
        there = [source for source in sources if source.name in other._places]
        for source, row in zip(there, other.rows(there), strict=True):
            self.add(source, row)

    def rows(self, sources: Iterable[Source]) -> Iterator[dict[str, Any]]:
        """Yield the results of these sources that there are, in their order."""
        with self.path.open("rb") as file:
            for source in sources:
                if source.name in self._places:
                    file.seek(self._places[source.name][0])
                    yield _parsed(file.readline())["row"]


def _parsed(line: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        content = json.loads(line)
        if isinstance(content, dict):
            return content
    return {}
