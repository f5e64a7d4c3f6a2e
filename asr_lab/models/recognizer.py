"""A recogniser as it is kept and used, whatever its network: with vocabulary and text normaliser.

Its folder is what `save_pretrained` writes (`config.json`, weights as safetensors) with the CTC tokenizer's files and
`preprocessor_config.json` beside them.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from lhotse import CutSet
from torch import Tensor
from transformers.utils.logging import disable_progress_bar

from asr_lab.data.audio import Signal
from asr_lab.data.augment import Augmenter, SoundAugmenter
from asr_lab.data.batches import Batch, Collator, InOrder, loader
from asr_lab.data.text import SPACE, UNKNOWN, TextNormalizer, encode, split_units
from asr_lab.decoding.greedy import best_path, to_text
from asr_lab.errors import AsrLabError
from asr_lab.models.adapter import AdapterManager

Progress = Callable[[int], None]

disable_progress_bar()  # transformers' own, one for every file read or written


class CTCOutput(Protocol):
    """What every network's `forward` gives: `loss` (), `logits` (B, U, V) and their `logit_lengths` (B,)."""

    loss: Tensor | None
    logits: Tensor
    logit_lengths: Tensor


@dataclass
class Recognizer(ABC):
    """A network with all it needs to hear and to write."""

    model: Any
    vocabulary: dict[str, int]
    normalizer: TextNormalizer

    model_type: ClassVar[str]
    """Which recipe trains it, and what it is called where nobody names it."""
    augmenter: ClassVar[type[SoundAugmenter]] = Augmenter
    """What is done to its training audio."""

    @property
    def units(self) -> list[str]:
        """Class -> character."""
        return sorted(self.vocabulary, key=self.vocabulary.__getitem__)

    @property
    def blank(self) -> int:
        return int(self.model.config.pad_token_id)

    @property
    def min_samples(self) -> int:
        """The shortest signal that the network can hear."""
        return 1

    @abstractmethod
    def output_frames(self, num_samples: int) -> int:
        """Frames of the output for a signal of so many samples."""

    @abstractmethod
    def extract(self, samples: Signal) -> Tensor:
        """What the network hears of a signal (num_samples,)."""

    @abstractmethod
    def collator(self, *, labelled: bool = False, augmenter: SoundAugmenter | None = None) -> Collator:
        """What makes batches for the network, with or without labels."""

    @abstractmethod
    def logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(logits (B, U, V), lengths (B,)) of a batch."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the recogniser as a folder that `load_model` and transformers read."""

    @property
    def added_params(self) -> int:
        """Parameters of adapters inside the network (LoRA and the like); 0 without any."""
        return 0

    @property
    def base_folder(self) -> str:
        """The folder of this machine that such adapters' base lies in; "" without any, or where others find it too."""
        return ""

    def merge(self) -> None:  # noqa: B027 - most have none
        """Make such adapters part of the weights; a recogniser without any stays as it is."""

    def carry(self, manager: AdapterManager, adapter: str, uri: str = "") -> None:
        """Recognise with a person's adapter (its name or file) from now on; refused if made for another base."""
        raise AsrLabError(
            f"a person's adapter is for a deepspeech2, this model is a {self.model_type}",
            where=uri,
            allowed="without --adapter; or fine-tune it to the person by model.pretrained",
        )

    def encode_text(self, text: str) -> list[int]:
        """A transcript as classes, normalised first."""
        return encode(self.spell(text), self.vocabulary)

    def spell(self, text: str) -> str:
        """A transcript as the units that classes stand for, normalised first."""
        return split_units(self.normalizer(text), self.normalizer)

    def decode(self, logits_BUV: Tensor, lengths_B: Tensor) -> list[str]:
        """The text of each utterance, greedily."""
        units = self.units
        return [to_text(path, units) for path in best_path(logits_BUV, lengths_B, self.blank)]

    @torch.inference_mode()
    def transcribe(self, signals: Iterable[Signal], batch_size: int = 8) -> Iterator[str]:
        """The text of each signal (num_samples,), in order."""
        rows, collator = list(signals), self.collator()
        for start in range(0, len(rows), batch_size):
            yield from self.decode(
                *self.logits(collator.pad([self.extract(one) for one in rows[start : start + batch_size]]))
            )

    @torch.inference_mode()
    def heard(
        self, cuts: CutSet, batch_size: int = 16, progress: Progress | None = None
    ) -> Iterator[tuple[list[str], Tensor, Tensor]]:
        """(ids, logits (B, U, V), lengths (B,)) of every utterance once, in batches of like duration."""
        for batch in loader(InOrder(cuts, batch_size), self.collator()):
            yield batch["cut_ids"], *self.logits(batch)
            if progress:
                progress(len(batch["cut_ids"]))

    def hypotheses(self, cuts: CutSet, batch_size: int = 16, progress: Progress | None = None) -> dict[str, str]:
        """Utterance id -> recognised text."""
        found: dict[str, str] = {}
        for ids, logits, lengths in self.heard(cuts, batch_size, progress):
            found |= zip(ids, self.decode(logits, lengths), strict=True)
        return found


def best_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def check_folder(folder: Path, *needed: str) -> None:
    """Raise `AsrLabError` when the folder lacks one of these files."""
    lacking = [name for name in needed if not (folder / name).is_file()]
    if lacking:
        raise AsrLabError(f"not a model folder: it lacks {', '.join(lacking)}", where=str(folder))


def read_vocabulary(folder: Path, classes: int) -> dict[str, int]:
    """The vocabulary of a model folder; raises `AsrLabError` when it is not that of a head with so many classes."""
    vocabulary: dict[str, int] = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    if sorted(vocabulary.values()) != list(range(classes)):
        raise AsrLabError(
            f"the vocabulary does not match the head: {len(vocabulary)} units in vocab.json, {classes} classes",
            where=str(folder),
            allowed="the vocab.json that the model was trained with",
        )
    return vocabulary


def write_tokenizer(folder: Path, vocabulary: dict[str, int], *, pad: str, **more: object) -> None:
    """The files of transformers' `Wav2Vec2CTCTokenizer`, which reads them as they are."""
    write_json(folder / "vocab.json", vocabulary)
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "Wav2Vec2CTCTokenizer",
            "pad_token": pad,
            "unk_token": UNKNOWN if UNKNOWN in vocabulary else pad,
            "word_delimiter_token": SPACE,
            "bos_token": None,
            "eos_token": None,
            "do_lower_case": False,
            **more,
        },
    )


def write_json(path: Path, content: object) -> None:
    """A JSON file for people too: indented, in every script."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
