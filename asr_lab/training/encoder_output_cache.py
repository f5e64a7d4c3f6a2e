"""Encoder outputs of a frozen base in a folder, shared by trainings and processes: each utterance is encoded once."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import torch
from lhotse import CutSet
from torch import Tensor

from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.system.files import write_text
from asr_lab.system.locks import LOCK, lock_on
from asr_lab.system.terminal import Console
from asr_lab.training.encoder_outputs import EncoderOutputs
from asr_lab.training.row_cache import Columns, check_disk_space


class EncoderOutputCache:
    """Encoder outputs of one base and one set of data under `folder/<key>`, in parts that are written once:

        <n>.0.f32 <n>.1.f32   rows of the base's output and of its logits (float32), one utterance behind the other
        <n>.json              utterance id -> [first row, rows], and the widths; written last

    Missing utterances are encoded under a lock and become another part; other processes map the finished parts.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder / key
        self.rows = _Parts(self.folder)

    def encode(
        self, recognizer: DeepSpeech2Recognizer, cuts: CutSet, console: Console, num_workers: int = 0
    ) -> EncoderOutputs:
        """Return the outputs of the utterances, and the seconds spent encoding those that were missing."""
        began = time.monotonic()
        if not self.rows.missing(cuts):
            return EncoderOutputs(self.rows, 0.0)
        self.folder.mkdir(parents=True, exist_ok=True)
        with lock_on(self.folder / LOCK):
            missing = self.rows.missing(cuts)  # another process may have been faster
            if not missing:
                return EncoderOutputs(self.rows, 0.0)
            config = recognizer.model.config
            part = _NewPart(self.folder, len(self.rows.names()), (config.rnn_output_size, config.vocab_size))
            check_disk_space(missing, part.widths, self.folder)
            EncoderOutputs.of(recognizer, missing, console, rows=part, num_workers=num_workers)
            part.close()
            self.rows.refresh()
        return EncoderOutputs(self.rows, time.monotonic() - began)


class _NewPart(Columns):
    """A part that is being written."""

    def __init__(self, folder: Path, number: int, widths: tuple[int, int]) -> None:
        super().__init__(folder, [(folder / f"{number}.{column}.f32").open("wb") for column in range(len(widths))])
        self.number, self.widths = number, widths

    def get(self, id: str) -> tuple[Tensor, ...]:
        raise AssertionError("a part is read when it is complete")

    def close(self) -> None:
        """Write the index, which makes the part visible to other processes."""
        for file in self.files:
            file.close()
        index = {"widths": self.widths, "length": self.length, "places": self.places}
        write_text(self.folder / f"{self.number}.json", json.dumps(index))


class _Parts:
    """All parts of a folder as one cache, memory-mapped when they are first read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places: dict[str, tuple[int, int, int]] = {}
        self.mapped: dict[int, list[Tensor]] = {}

    def names(self) -> list[Path]:
        """Return the index files of the complete parts."""
        return sorted(self.folder.glob("[0-9]*.json"), key=lambda path: int(path.stem))

    def missing(self, cuts: CutSet) -> CutSet:
        """Return the utterances that no part has."""
        if any(cut.id not in self.places for cut in cuts):
            self.refresh()
        return CutSet.from_cuts(cut for cut in cuts if cut.id not in self.places)

    def refresh(self) -> None:
        """Map the parts that are new since the last call."""
        for path in self.names():
            number = int(path.stem)
            if number not in self.mapped:
                index = json.loads(path.read_text())
                self.mapped[number] = [
                    _mapped(self.folder / f"{number}.{column}.f32", index["length"], width)
                    for column, width in enumerate(index["widths"])
                ]
                self.places |= {id: (number, first, rows) for id, (first, rows) in index["places"].items()}

    def put(self, id: str, *rows: Tensor) -> None:
        raise AssertionError("a part is never added to")

    def get(self, id: str) -> tuple[Tensor, ...]:
        number, start, length = self.places[id]
        return tuple(column[start : start + length] for column in self.mapped[number])


def _mapped(file: Path, length: int, width: int) -> Tensor:
    return torch.from_numpy(np.memmap(file, np.float32, "c", shape=(length, width)))
