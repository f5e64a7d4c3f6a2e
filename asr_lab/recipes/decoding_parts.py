"""An evaluation in parts: each part of the utterances is decoded by a process of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from lhotse import CutSet

from asr_lab.data import columns
from asr_lab.data.batches import InOrder
from asr_lab.decoding.words import Word
from asr_lab.recipes.decoding import Decoded
from asr_lab.recipes.parts import Row


def rows_of(decoded: Decoded) -> Iterator[Row]:
    """Yield a row for each utterance: its text, the words asked for, and with hot words the text without them."""
    words: dict[str, list[Any]] = {}
    for id, word in decoded.words:
        words.setdefault(id, []).append(asdict(word))
    for id, text in decoded.texts.items():
        more = {"without_hot": decoded.without_hot[id]} if id in decoded.without_hot else {}
        yield {"id": id, "text": text, "words": words.get(id, []), **more}


def merged(parts: Iterable[Row], cuts: CutSet, batch_size: int) -> Decoded:
    """Return the texts of all parts in the order in which the whole is decoded at once."""
    rows, decoded = {row["id"]: row for row in parts}, Decoded()
    for id in columns.ids(InOrder(cuts, batch_size).chosen).to_pylist():
        row = rows[id]
        decoded.texts[id] = row["text"]
        decoded.words += [(id, Word(**word)) for word in row["words"]]
        if "without_hot" in row:
            decoded.without_hot[id] = row["without_hot"]
    return decoded
