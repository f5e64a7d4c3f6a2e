"""What keeps utterances of an AI-Hub corpus from being imported: told at once, or left out and counted."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr_lab.errors import AsrLabError, listing

_MOST_FAULTS = 20


@dataclass(frozen=True)
class Fault:
    """What is wrong with one utterance."""

    utterance: str
    error: AsrLabError

    @property
    def reason(self) -> str:
        """What is wrong, without what only this file says."""
        return self.error.what.partition(":")[0]

    def line(self, allowed: bool) -> str:
        """One line of the message."""
        where = f" ({self.error.where})" if self.error.where else ""
        return f"{self.utterance}: {self.error.what}{where}" + (
            f"; {self.error.allowed}" if allowed and self.error.allowed else ""
        )


def refuse(faults: Sequence[Fault], source: Path, archives: Sequence[Path], *, nothing_left: bool) -> None:
    """Raise one `AsrLabError` that names the faults and what helps against them."""
    told: set[str] = set()
    lines = []
    for fault in faults[:_MOST_FAULTS]:
        lines.append(fault.line(fault.reason not in told))
        told.add(fault.reason)
    more = [f"and {len(faults) - _MOST_FAULTS} more; {counted(faults)}"] if len(faults) > _MOST_FAULTS else []
    hints = dict.fromkeys(fault.error.hint for fault in faults if fault.error.hint)
    skip = "" if nothing_left else "--skip-faulty leaves them out and lists them in OUT/faults.tsv"
    raise AsrLabError(
        f"{len(faults)} faults, nothing was imported:\n    " + "\n    ".join(lines + more),
        where=str(source),
        hint="; ".join(hint for hint in (*list(hints)[:3], unpack(archives), skip) if hint),
    )


def unpack(archives: Sequence[Path]) -> str:
    """What to do about archives that lie there, "" where there are none."""
    return f"unpack the archives that lie there: {listing(sorted(archives), 3)}" if archives else ""


def counted(faults: Iterable[Fault]) -> str:
    """`3 there is no label, 1 the text is empty`."""
    return ", ".join(f"{count} {reason}" for reason, count in Counter(fault.reason for fault in faults).most_common())


def as_table(faults: Iterable[Fault]) -> bytes:
    """The faults as tab-separated values: utterance, fault, file."""
    text = io.StringIO()
    rows = csv.writer(text, delimiter="\t", lineterminator="\n")
    rows.writerow(("utterance", "fault", "file"))
    rows.writerows((fault.utterance, fault.error.what, fault.error.where) for fault in faults)
    return text.getvalue().encode()
