"""Hypotheses aligned below their reference, as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from asr_lab.metrics.error_rates import alignment

_LEFT_OUT = "***"


@dataclass(frozen=True)
class Cell:
    """A word in a column: its `kind` (equal, substitute, delete, insert) and the column's width in terminal cells."""

    text: str
    kind: str
    width: int

    def __len__(self) -> int:
        """Return its own width in terminal cells; a Korean syllable takes two."""
        return cell_len(self.text)


def side_by_side(reference: str, hypotheses: Sequence[str]) -> list[list[Cell]]:
    """Return a line for the reference and one per hypothesis, with the same columns.

    A column is a word of the reference, or an insertion of a hypothesis.
    """
    slots = [_slots(reference, hypothesis) for hypothesis in hypotheses]
    words = reference.split()
    columns: list[list[tuple[str, str]]] = []
    for place in range(len(words) + 1):
        added = [own[place][0] for own in slots]
        for number in range(max((len(extra) for extra in added), default=0)):
            extras = [(extra[number], "insert") if number < len(extra) else ("", "equal") for extra in added]
            columns.append([("", "equal"), *extras])
        if place < len(words):
            columns.append([(words[place], "equal"), *(own[place][1] for own in slots)])
    widths = [max(cell_len(text) for text, _ in column) for column in columns]
    return [
        [Cell(*column[line], width) for column, width in zip(columns, widths, strict=True)]
        for line in range(len(hypotheses) + 1)
    ]


def _slots(reference: str, hypothesis: str) -> list[tuple[list[str], tuple[str, str]]]:
    """Return, for each word of the reference and for its end, the words inserted before it and its hypothesis."""
    slots: list[tuple[list[str], tuple[str, str]]] = []
    added: list[str] = []
    for kind, _, recognised in alignment(reference, hypothesis):
        if kind == "insert":
            added.append(recognised)
        else:
            slots.append((added, (recognised or _LEFT_OUT, kind)))
            added = []
    return [*slots, (added, ("", "equal"))]
