"""Parts of some work, each done by a process of its own: whole batches, so that a part computes what the whole does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lhotse import CutSet

from asr_lab.config.schema import EvaluateExperiment
from asr_lab.data.batches import InOrder
from asr_lab.errors import AsrLabError
from asr_lab.models.adapter import weights_digest
from asr_lab.models.recognizer import Recognizer
from asr_lab.recipes.splits import Split
from asr_lab.system.files import write_text

Row = Mapping[str, Any]
"""A line of the file of a part."""


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


@dataclass(frozen=True)
class PartsPlan:
    """What the parts of an evaluation are made with."""

    config: EvaluateExperiment
    """With the model and the language model by pinned URIs."""
    identity: dict[str, str]
    """Digests of the data and the weights."""


Parts = Callable[[PartsPlan], Sequence[Path]]
"""Has all parts of an evaluation made, and returns their files."""


def write_part(file: Path, rows: Iterable[Row], split: Split, recognizer: Recognizer) -> None:
    """Write what a part computed of a split: JSON lines behind one of what they depend on."""
    lines = [{"identity": _identity(split, recognizer)}, *rows]
    write_text(file, "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))


def rows_of_parts(parts: Parts, config: EvaluateExperiment, split: Split, recognizer: Recognizer) -> Iterator[Row]:
    """Have all parts made, and yield their rows.

    Raises `AsrLabError` if a part is of other data or weights.
    """
    identity = _identity(split, recognizer)
    for file in parts(PartsPlan(config, identity)):
        header, *rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
        if header["identity"] != identity:
            raise AsrLabError("a part was computed with other weights, or of other data", where=str(file))
        yield from rows


def _identity(split: Split, recognizer: Recognizer) -> dict[str, str]:
    """Return what a part depends on beside the configuration."""
    return {"data": split.digest, "weights": weights_digest(recognizer.model)}
