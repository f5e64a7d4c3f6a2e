"""An evaluation in parts: each part of the utterances is decoded by a process of its own into a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lhotse import CutSet
from rich.progress import Progress

from asr_lab.config.schema import EvaluateExperiment
from asr_lab.data import columns
from asr_lab.data.batches import InOrder
from asr_lab.decoding.words import Word
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tracking import ModelStore
from asr_lab.models.adapter import weights_digest
from asr_lab.models.recognizer import Recognizer
from asr_lab.recipes.decoding import Decoded, Decoding, decode, prepare
from asr_lab.recipes.parts import Part
from asr_lab.recipes.splits import Split
from asr_lab.system.files import write_text
from asr_lab.system.terminal import Console


@dataclass(frozen=True)
class PartsPlan:
    """What the parts of an evaluation are decoded with."""

    config: EvaluateExperiment
    """With the model and the language model by pinned URIs."""
    identity: dict[str, str]
    """Digests of the data and the weights."""


Parts = Callable[[PartsPlan], Sequence[Path]]
"""Has all parts decoded, and returns their files."""


def identity_of(split: Split, recognizer: Recognizer) -> dict[str, str]:
    """Return what the texts of a part depend on beside the configuration."""
    return {"data": split.digest, "weights": weights_digest(recognizer.model)}


def decode_part(
    config: EvaluateExperiment, split: Split, recognizer: Recognizer, uri: str, store: ModelStore, part: Part,
    file: Path, console: Console,
) -> None:  # fmt: skip
    """Decode a part of a split, and write its texts, and the words asked for, to a file."""
    settings = config.evaluate
    decoding = prepare(config, recognizer, store, uri)
    cuts = part.batches(split.cuts, settings.batch_size).chosen
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("transcribing", total=len(cuts))
        decoded = decode(decoding, recognizer, cuts, settings, lambda done: bar.advance(task, done))
    lines = [{"identity": identity_of(split, recognizer)}, *_rows(decoded)]
    write_text(file, "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))


def _rows(decoded: Decoded) -> Iterator[dict[str, Any]]:
    words: dict[str, list[Any]] = {}
    for id, word in decoded.words:
        words.setdefault(id, []).append(asdict(word))
    for id, text in decoded.texts.items():
        more = {"without_hot": decoded.without_hot[id]} if id in decoded.without_hot else {}
        yield {"id": id, "text": text, "words": words.get(id, []), **more}


def decode_in_parts(
    parts: Parts, config: EvaluateExperiment, decoding: Decoding, uri: str, split: Split, recognizer: Recognizer
) -> Decoded:
    """Have all parts decoded; return their texts in the order in which the whole is decoded at once.

    Raises `AsrLabError` if a part is of other data or weights.
    """
    pinned = config.model_copy(
        update={
            "evaluate": config.evaluate.model_copy(update={"model": uri}),
            "decode": decoding.settings.model_copy(update={"lm": decoding.lm_uri}),
        }
    )
    identity = identity_of(split, recognizer)
    rows: dict[str, dict[str, Any]] = {}
    for file in parts(PartsPlan(pinned, identity)):
        header, *lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
        if header["identity"] != identity:
            raise AsrLabError("a part was decoded with other weights, or of other data", where=str(file))
        rows |= {row["id"]: row for row in lines}
    return _merged(rows, split.cuts, config.evaluate.batch_size)


def _merged(rows: dict[str, dict[str, Any]], cuts: CutSet, batch_size: int) -> Decoded:
    decoded = Decoded()
    for id in columns.ids(InOrder(cuts, batch_size).chosen).to_pylist():
        row = rows[id]
        decoded.texts[id] = row["text"]
        decoded.words += [(id, Word(**word)) for word in row["words"]]
        if "without_hot" in row:
            decoded.without_hot[id] = row["without_hot"]
    return decoded
