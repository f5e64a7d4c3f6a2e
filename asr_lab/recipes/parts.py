"""Parts of some work, each done by a process of its own: whole batches, so that a part computes what the whole does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from lhotse import CutSet

from asr_lab.data.batches import InOrder
from asr_lab.errors import AsrLabError


@dataclass(frozen=True)
class Part:
    """One part of how many."""

    number: int
    """From 1."""
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `2/8`. Raises `AsrLabError`."""
        number, _, count = text.partition("/")
        if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
            raise AsrLabError(f"not a part: {text!r}", allowed="NUMBER/COUNT, such as 2/8")
        return cls(int(number), int(count))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def batches(self, cuts: CutSet, batch_size: int) -> InOrder:
        """Return every `count`-th batch of all utterances."""
        return InOrder(cuts, batch_size, rank=self.number - 1, world_size=self.count)
