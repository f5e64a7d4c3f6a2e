"""Report of an import: faults by kind with file and line, unknown labels and notes."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from asr_lab.data.workbooks import SUFFIXES
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import counted

SKIP = "--skip-faulty leaves them out and lists them in OUT/faults.tsv"

_WITHOUT_LINES = (".parquet", ".arrow", *SUFFIXES)
_MOST_FAULTS = 20
_MOST_EXAMPLES = 6


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why one item (an utterance, a row, a file) cannot be imported."""

    item: str
    kind: str
    """The fault, with the same text for all items that have it."""
    detail: str = ""
    file: str = ""
    line: int = 0
    """Line of `file`, from 1; 0 if the fault is of the file."""
    allowed: str = ""
    hint: str = ""
    is_of_file: bool = False
    """Whether it is the fault of a side file, of which no utterance is left out."""

    @property
    def message(self) -> str:
        """Kind and detail."""
        return f"{self.kind}: {self.detail}" if self.detail else self.kind

    @property
    def location(self) -> str:
        """File and line, or the row of a file without lines."""
        what = "row" if self.file.endswith(_WITHOUT_LINES) else "line"
        return f"{self.file}, {what} {self.line}" if self.line else self.file


class ImportRefusedError(AsrLabError):
    """Nothing was imported; `report` says why."""

    def __init__(self, what: str, report: ImportReport, *, where: str, allowed: str, hint: str) -> None:
        super().__init__(what, where=where, allowed=allowed, hint=hint)
        self.report = report


@dataclass
class ImportReport:
    """Collects faults, remarks and notes while a corpus is read."""

    faults: list[Fault] = field(default_factory=list)
    unknown_labels: Counter[str] = field(default_factory=Counter)
    """Labels that are no phonemes."""
    remarks: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Remark -> the imported items that it applies to."""
    notes: list[str] = field(default_factory=list)
    read: int = 0
    """The utterances of the source, if they are counted on their own; else those imported and left out."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Why utterances are left out that have no fault -> how many."""
    unknown_values: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Field -> the values of it that are not known."""

    unnamed_speakers: Counter[str] = field(default_factory=Counter)
    """Written in place of the name of an unknown speaker."""

    def add(self, item: str, kind: str, detail: str = "", *, file: Path | str = "", line: int = 0) -> None:
        """Add the fault of an item."""
        self.faults.append(Fault(item=item, kind=kind, detail=detail, file=str(file), line=line))

    def add_error(self, item: str, error: AsrLabError, *, file: Path | str = "", line: int = 0) -> None:
        """Add an error as the fault of an item; its kind is the text before the first colon."""
        kind, _, detail = error.what.partition(": ")
        where = str(file) or error.where
        self.faults.append(
            Fault(item=item, kind=kind, detail=detail, file=where, line=line, allowed=error.allowed, hint=error.hint)
        )

    def add_joined(
        self,
        what: str,
        side: Collection[str],
        ids: Collection[str],
        *,
        file: Path,
        of: str = "utterance",
        is_of_more: bool = False,
    ) -> None:
        """Count what a side file, joined by ids, leaves unmatched on either side; none matched is a fault of it.

        `of` is what has the ids; a side file that `is_of_more`, such as all of a corpus, may leave lines unused. An
        empty side file is one that is not there.
        """
        if not side or not ids:
            return
        matched = len(set(side).intersection(ids))
        if not matched:
            few = f"its ids: {listing(map(str, side), 3)}; the {of}s': {listing(ids, 3)}"
            kind = f"{what} of none of the {len(ids)} {of}s"
            self.faults.append(Fault(item=file.name, kind=kind, detail=few, file=str(file), is_of_file=True))
        elif lacking := len(ids) - matched:
            self.notes.append(f"{lacking} of {len(ids)} {of}s have no {what} in {file.name}")
        if matched and not is_of_more and (unused := len(side) - matched):
            self.notes.append(f"{unused} of {len(side)} {what} in {file.name} are of no {of}, and not used")

    def counts(self) -> Counter[str]:
        """Count the faults by kind."""
        return Counter(fault.kind for fault in self.faults)

    def dropped(self) -> Counter[str]:
        """Count what is left out by reason, with a fault or without."""
        with_lines = {fault.item for fault in self.faults if fault.line}
        of_utterances = (fault for fault in self.faults if not fault.is_of_file)
        kinds = [fault.kind for fault in of_utterances if fault.line or fault.item not in with_lines]
        return Counter(kinds) + self.left_out

    def settle(
        self, source: Path, *, skip_faulty: bool, is_left: bool, allowed: str = "", hints: Iterable[str] = ()
    ) -> None:
        """Refuse the import if there are faults, unless they are to be left out and anything is left."""
        if self.faults and not (skip_faulty and is_left):
            self.refuse(source, allowed=allowed, hints=(*hints, SKIP if is_left else ""))

    def lines(self) -> list[str]:
        """Return a line per kind of fault with examples, then unknown labels, remarks and notes."""
        lines = []
        for kind, count in self.counts().items():
            alike = [fault for fault in self.faults if fault.kind == kind][:_MOST_EXAMPLES]
            examples = [f"{fault.item} ({fault.detail})" if fault.detail else fault.item for fault in alike]
            more = f" and {count - len(alike)} more" if count > len(alike) else ""
            lines.append(f"{count} left out: {kind}: {', '.join(examples)}{more}")
        if self.unknown_labels:
            labels = listing((f"{label!r} {n} times" for label, n in self.unknown_labels.most_common()), 20)
            lines.append(f"{self.unknown_labels.total()} labels that are no phonemes: {labels}")
        for name, values in self.unknown_values.items():
            texts = listing((f"{value!r} {n} times" for value, n in values.most_common()), _MOST_EXAMPLES)
            kept = "age_range" if name == "age" else "they are"
            lines.append(f"{values.total()} values of {name} are not known, and kept as {kept}: {texts}")
        if self.unnamed_speakers:
            texts = listing((f"{text!r} {n} times" for text, n in self.unnamed_speakers.most_common()), _MOST_EXAMPLES)
            lines.append(f"speakers that are not known, taken for one: {texts}")
        for remark, items in self.remarks.items():
            lines.append(f"{len(items)} {remark}: {listing(items, _MOST_EXAMPLES)}")
        return lines + self.notes

    def refuse(self, source: Path, what: str = "", *, allowed: str = "", hints: Iterable[str] = ()) -> NoReturn:
        """Raise an `ImportRefusedError` that names the first faults, counts the others, and gives hints."""
        explained: set[str] = set()
        lines = []
        for fault in self.faults[:_MOST_FAULTS]:
            where = f" ({fault.location})" if fault.location else ""
            choices = f"; {fault.allowed}" if fault.allowed and fault.kind not in explained else ""
            lines.append(f"{fault.item}: {fault.message}{where}{choices}")
            explained.add(fault.kind)
        if (more := len(self.faults) - _MOST_FAULTS) > 0:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self.counts().most_common())
            lines.append(f"and {more} more; {kinds}")
        own_hints = list(dict.fromkeys(fault.hint for fault in self.faults if fault.hint))[:3]
        head = what or f"{counted(len(self.faults), 'fault')}, nothing was imported"
        raise ImportRefusedError(
            "\n    ".join([f"{head}:" if lines else head, *lines]),
            self,
            where=str(source),
            allowed=allowed,
            hint="; ".join(hint for hint in (*own_hints, *hints) if hint),
        )

    def as_table(self) -> bytes:
        """Return the faults as tab-separated values: utterance, fault, file."""
        text = io.StringIO()
        rows = csv.writer(text, delimiter="\t", lineterminator="\n")
        rows.writerow(("utterance", "fault", "file"))
        rows.writerows((fault.item, fault.message, fault.location) for fault in self.faults)
        return text.getvalue().encode()
