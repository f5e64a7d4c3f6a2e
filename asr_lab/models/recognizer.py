"""A recogniser of any family: a network with its vocabulary and text normaliser.

A model folder holds what `save_pretrained` writes (`config.json`, weights as safetensors), the files of the CTC
tokenizer, and `preprocessor_config.json`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from lhotse import CutSet
from torch import Tensor

from asr_lab.data.audio import Signal
from asr_lab.data.augment import Augmenter, SoundAugmenter
from asr_lab.data.batches import Batch, Collator, InOrder, loader
from asr_lab.data.containers import refuse_pointers
from asr_lab.data.subwords import Subwords
from asr_lab.data.text import SPACE, UNKNOWN, WORD_START, TextNormalizer, encode, split_all, split_units
from asr_lab.decoding.contract import Decoder
from asr_lab.decoding.greedy import best_path, to_text
from asr_lab.decoding.words import Word, aligned_words, best_path_words
from asr_lab.errors import AsrLabError
from asr_lab.models.adapter import AdapterManager
from asr_lab.units import SAMPLE_RATE

Progress = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class SpeakerAdapter:
    """A speaker's adapter, loaded for one base."""

    speaker: str
    """As the file says; "" if it says nothing."""
    weights: Any
    """What the base's family computes with."""


@dataclass(frozen=True)
class AdapterKind:
    """How the adapters of a family are registered and stored."""

    registered: str = "{}"
    """The registered name of the adapter called `{}`."""
    folder: bool = True
    """An adapter is a model folder (LoRA and similar), else a file."""


LoadAdapter = Callable[[Path], SpeakerAdapter]
"""Loads an adapter's file or folder; raises `AsrLabError` if it was made for another base or vocabulary."""


@dataclass
class Recognizer(ABC):
    """A network with its vocabulary and text normaliser."""

    model: Any
    vocabulary: dict[str, int]
    normalizer: TextNormalizer
    subwords: Subwords | None = field(default=None, kw_only=True)
    """Splits text into units with `units=bpe`; None with characters and jamo."""
    decoder: Decoder | None = field(default=None, kw_only=True)
    """Reads text off the network's output in the place of greedy decoding."""

    model_type: ClassVar[str]
    """The family that trains it; also the default name of its runs and models."""
    adapter_kind: ClassVar[AdapterKind] = AdapterKind()
    augmenter: ClassVar[type[SoundAugmenter]] = Augmenter
    """Augmentation of its training audio."""

    @property
    def units(self) -> list[str]:
        """The unit (a character, a jamo, a subword) of each class."""
        return sorted(self.vocabulary, key=self.vocabulary.__getitem__)

    @property
    def blank(self) -> int:
        return int(self.model.config.pad_token_id)

    @property
    def min_samples(self) -> int:
        """Number of samples of the shortest signal the network can process."""
        return 1

    @abstractmethod
    def output_frames(self, num_samples: int) -> int:
        """Return the number of output frames for a signal of `num_samples` samples."""

    @property
    def frame_shift_s(self) -> float:
        """Seconds between output frames."""
        minute = 60 * SAMPLE_RATE
        return 60 / (self.output_frames(2 * minute) - self.output_frames(minute))

    @abstractmethod
    def extract(self, samples: Signal) -> Tensor:
        """Compute the network's input features of a signal (num_samples,)."""

    @abstractmethod
    def collator(self, *, labelled: bool = False, augmenter: SoundAugmenter | None = None) -> Collator:
        """Return a collator that makes batches for the network, with or without labels."""

    @property
    def takes_adapters(self) -> bool:
        """Whether `adapter_loader` returns anything."""
        return False

    @property
    def streams(self) -> bool:
        """Whether it can recognise while audio comes in."""
        return False

    @abstractmethod
    def logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Compute (logits (B, U, V), lengths (B,)) of a batch."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Save as a folder that `load_model` and transformers can load."""

    @property
    def added_params(self) -> int:
        """Number of parameters of adapters inside the network (LoRA and similar); 0 without adapters."""
        return 0

    @property
    def base_folder(self) -> str:
        """Local folder of the adapters' base model; "" without adapters, or if the base is on the hub or registered."""
        return ""

    def merge(self) -> None:  # noqa: B027 - most have none
        """Merge adapters into the weights; do nothing without adapters."""

    def attach_adapter(self, manager: AdapterManager, adapter: str, uri: str = "") -> None:
        """Use a speaker's adapter, given by name or file; raise `AsrLabError` if it was made for another base."""
        raise AsrLabError(
            f"speaker adapters are supported for deepspeech2 only; this model is a {self.model_type}",
            where=uri,
            allowed="no --adapter; or fine-tune the model on the speaker's data with model.pretrained",
        )

    def adapter_loader(self, uri: str = "") -> LoadAdapter:
        """Return what loads adapters for this base, whose URI is `uri`; raise `AsrLabError` if it takes none."""
        raise AsrLabError(f"a {self.model_type} takes no speaker's adapter", where=uri)

    def adapted_logits(self, batch: Batch, adapters: Sequence[SpeakerAdapter | None]) -> tuple[Tensor, Tensor]:
        """Compute (logits (B, U, V), lengths (B,)) of a batch, each row with its own adapter or with none."""
        assert not any(adapters), "adapter_loader loads none"
        return self.logits(batch)

    def encode_text(self, text: str) -> list[int]:
        """Normalise a transcript and return its classes."""
        return encode(self.spell(text), self.vocabulary)

    def spell(self, text: str) -> Sequence[str]:
        """Normalise a transcript and split it into units."""
        return split_units(self.normalizer(text), self.normalizer, self.subwords)

    def spell_all(self, texts: Sequence[str]) -> list[Sequence[str]]:
        """Normalise transcripts and split them into units."""
        return split_all(texts, self.normalizer, self.subwords)

    def decode(self, logits_BUV: Tensor, lengths_B: Tensor) -> list[str]:
        """Decode each utterance, greedily where no decoder is set."""
        if self.decoder:
            return self.decoder.decode(logits_BUV.float().log_softmax(dim=-1), lengths_B)
        return self.decode_greedily(logits_BUV, lengths_B)

    def decode_greedily(self, logits_BUV: Tensor, lengths_B: Tensor) -> list[str]:
        """Decode each utterance by its best path."""
        units = self.units
        return [to_text(path, units) for path in best_path(logits_BUV, lengths_B, self.blank)]

    def words(self, logits_UV: Tensor, text: str) -> list[Word]:
        """Return the words of a text that was decoded from logits (U, V), with times and confidence.

        Raises `AsrLabError` if there are too few frames for the text.
        """
        words = best_path_words(logits_UV, self.units, self.blank, self.frame_shift_s)
        if " ".join(word.text for word in words) == text:
            return words
        log_probs_UV, boundary = logits_UV.float().log_softmax(dim=-1).cpu(), self.vocabulary.get(SPACE)
        return aligned_words(log_probs_UV, text, self.encode_text, boundary, self.blank, self.frame_shift_s)

    @torch.inference_mode()
    def transcribe(self, signals: Iterable[Signal], batch_size: int = 8) -> Iterator[str]:
        """Transcribe signals (num_samples,), in order."""
        rows, collator = list(signals), self.collator()
        for start in range(0, len(rows), batch_size):
            yield from self.decode(
                *self.logits(collator.pad([self.extract(one) for one in rows[start : start + batch_size]]))
            )

    @torch.inference_mode()
    def iterate_logits(
        self, cuts: CutSet, batch_size: int = 16, progress: Progress | None = None
    ) -> Iterator[tuple[list[str], Tensor, Tensor]]:
        """Yield (ids, logits (B, U, V), lengths (B,)) in batches of similar duration."""
        for batch in loader(InOrder(cuts, batch_size), self.collator()):
            yield batch["cut_ids"], *self.logits(batch)
            if progress:
                progress(len(batch["cut_ids"]))

    def hypotheses(self, cuts: CutSet, batch_size: int = 16, progress: Progress | None = None) -> dict[str, str]:
        """Transcribe all utterances; return a mapping of utterance id to text."""
        hypotheses: dict[str, str] = {}
        for ids, logits, lengths in self.iterate_logits(cuts, batch_size, progress):
            hypotheses |= zip(ids, self.decode(logits, lengths), strict=True)
        return hypotheses


def best_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def check_folder(folder: Path, *needed: str) -> None:
    """Raise `AsrLabError` if one of the `needed` files is missing, or any is a Git LFS pointer."""
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise AsrLabError(f"not a model folder: {', '.join(missing)} missing", where=str(folder))
    refuse_pointers(folder)


def read_vocabulary(folder: Path, classes: int) -> dict[str, int]:
    """Read the vocabulary of a model folder; raise `AsrLabError` if it does not have exactly `classes` units."""
    vocabulary: dict[str, int] = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    if sorted(vocabulary.values()) != list(range(classes)):
        raise AsrLabError(
            f"the vocabulary does not match the head: {len(vocabulary)} units in vocab.json, {classes} classes",
            where=str(folder),
            allowed="the vocab.json that the model was trained with",
        )
    return vocabulary


def read_subwords(folder: Path, normalizer: TextNormalizer, vocabulary: dict[str, int]) -> Subwords | None:
    """Read the subwords of a model folder; None if its units are others. Raise `AsrLabError` if they are missing."""
    return Subwords.read(folder, vocabulary) if normalizer.units == "bpe" else None


def write_tokenizer(
    folder: Path, vocabulary: dict[str, int], *, pad: str, subwords: Subwords | None = None, **more: object
) -> None:
    """Write the files that transformers' `Wav2Vec2CTCTokenizer` loads, and the subwords."""
    if subwords:
        subwords.save(folder)
    write_json(folder / "vocab.json", vocabulary)
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "Wav2Vec2CTCTokenizer",
            "pad_token": pad,
            "unk_token": UNKNOWN if UNKNOWN in vocabulary else pad,
            "word_delimiter_token": WORD_START if subwords else SPACE,
            "bos_token": None,
            "eos_token": None,
            "do_lower_case": False,
            **more,
        },
    )


def write_json(path: Path, content: object) -> None:
    """Write an indented JSON file, without escaping non-ASCII characters."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
