"""A recogniser as it is kept and used: network, vocabulary, text normaliser, and optionally one person's adapter.

Its folder is what `save_pretrained` writes (`config.json`, `model.safetensors`) with the CTC tokenizer's files and
`preprocessor_config.json` beside them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from lhotse import CutSet
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.utils.logging import disable_progress_bar

from asr_lab.data.audio import Signal
from asr_lab.data.batches import Batch, Collator, InOrder, loader
from asr_lab.data.features import extract
from asr_lab.data.text import SPACE, UNKNOWN, TextNormalizer, encode, split_units
from asr_lab.decoding.greedy import best_path, to_text
from asr_lab.errors import AsrLabError
from asr_lab.models.adapter import AdapterManager, Base, MLPAdapter, vocabulary_digest, weights_digest
from asr_lab.models.deepspeech2 import DeepSpeech2Config, DeepSpeech2ForCTC
from asr_lab.units import FRAME_LENGTH_S, FRAME_SHIFT_S, NUM_MEL_BINS, SAMPLE_RATE

Progress = Callable[[int], None]

disable_progress_bar()  # transformers' own, one for every file read or written


@dataclass
class Recognizer:
    """A DeepSpeech2 with all it needs to hear and to write."""

    model: DeepSpeech2ForCTC
    vocabulary: dict[str, int]
    normalizer: TextNormalizer
    adapter: MLPAdapter | None = None

    @property
    def units(self) -> list[str]:
        """Class -> character."""
        return sorted(self.vocabulary, key=self.vocabulary.__getitem__)

    @property
    def blank(self) -> int:
        return int(self.model.config.pad_token_id)

    def base(self, uri: str = "") -> Base:
        """What an adapter for this recogniser must fit."""
        config = self.model.config
        return Base(
            digest=weights_digest(self.model),
            vocabulary_digest=vocabulary_digest(self.units),
            input_dim=config.rnn_output_size,
            output_dim=config.vocab_size,
            uri=uri,
        )

    def carry(self, manager: AdapterManager, adapter: str, uri: str = "") -> None:
        """Recognise with a person's adapter (its name or file) from now on; refused if made for another base."""
        self.adapter = manager.load_adapter(adapter, self.base(uri), blank=self.blank, device=self.model.device)

    def encode_text(self, text: str) -> list[int]:
        """A transcript as classes, normalised first."""
        return encode(self.spell(text), self.vocabulary)

    def spell(self, text: str) -> str:
        """A transcript as the units that classes stand for, normalised first."""
        return split_units(self.normalizer(text), self.normalizer)

    def head(self, frames_BUH: Tensor) -> Tensor:
        """Logits (B, U, V) of encoded frames: the adapter's where there is one, else the base's."""
        if self.adapter is None:
            return self._base_logits(frames_BUH)
        adds = self.adapter.residual  # a plain adapter stands in the place of the base's head
        logits: Tensor = self.adapter(frames_BUH, self._base_logits(frames_BUH) if adds else None).logits
        return logits

    def _base_logits(self, frames_BUH: Tensor) -> Tensor:
        logits: Tensor = self.model.head(frames_BUH)
        return logits

    @torch.inference_mode()
    def frames(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Encoded frames (B, U, H) and lengths (B,) of a batch of features."""
        self.model.eval()
        device = self.model.device
        encoded: tuple[Tensor, Tensor] = self.model.encode(
            batch["input_features"].to(device), batch["feature_lengths"].to(device)
        )
        return encoded

    def decode(self, logits_BUV: Tensor, lengths_B: Tensor) -> list[str]:
        """The text of each utterance, greedily."""
        units = self.units
        return [to_text(path, units) for path in best_path(logits_BUV, lengths_B, self.blank)]

    @torch.inference_mode()
    def transcribe(self, signals: Iterable[Signal], batch_size: int = 8) -> Iterator[str]:
        """The text of each signal (num_samples,), in order."""
        rows = list(signals)
        for start in range(0, len(rows), batch_size):
            features = [extract(samples) for samples in rows[start : start + batch_size]]
            batch: Batch = {
                "input_features": pad_sequence(features, batch_first=True),
                "feature_lengths": torch.tensor([len(one) for one in features]),
            }
            frames, lengths = self.frames(batch)
            yield from self.decode(self.head(frames), lengths)

    def encoded(
        self, cuts: CutSet, batch_size: int = 16, progress: Progress | None = None, num_workers: int = 0
    ) -> Iterator[tuple[list[str], Tensor, Tensor]]:
        """(ids, frames (B, U, H), lengths (B,)) of every utterance once, in batches of like duration."""
        for batch in loader(InOrder(cuts, batch_size), Collator(extract), num_workers):
            frames, lengths = self.frames(batch)
            yield batch["cut_ids"], frames, lengths
            if progress:
                progress(len(batch["cut_ids"]))

    @torch.inference_mode()
    def hypotheses(self, cuts: CutSet, batch_size: int = 16, progress: Progress | None = None) -> dict[str, str]:
        """Utterance id -> recognised text."""
        found: dict[str, str] = {}
        for ids, frames, lengths in self.encoded(cuts, batch_size, progress):
            found |= zip(ids, self.decode(self.head(frames), lengths), strict=True)
        return found

    def save(self, folder: Path) -> None:
        """Write the recogniser (without its adapter) as an ordinary transformers folder."""
        self.model.config.text = asdict(self.normalizer)
        self.model.save_pretrained(folder)
        _write_tokenizer(folder, self.vocabulary, pad=self.units[self.blank])
        _write_json(folder / "preprocessor_config.json", _PREPROCESSOR)


def load_recognizer(folder: Path) -> Recognizer:
    """A recogniser from its folder; raises `AsrLabError` when the folder is not one."""
    lacking = [name for name in ("config.json", "model.safetensors", "vocab.json") if not (folder / name).is_file()]
    if lacking:
        raise AsrLabError(f"not a model folder: it lacks {', '.join(lacking)}", where=str(folder))
    config = DeepSpeech2Config.from_pretrained(folder)
    model = DeepSpeech2ForCTC.from_pretrained(folder, config=config)
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    return Recognizer(model.eval().to(best_device()), vocabulary, TextNormalizer(**config.text))


def best_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


_PREPROCESSOR = {
    "feature_extractor_type": "kaldi_fbank",
    "feature_size": NUM_MEL_BINS,
    "sampling_rate": SAMPLE_RATE,
    "frame_length_s": FRAME_LENGTH_S,
    "frame_shift_s": FRAME_SHIFT_S,
    "window_type": "hamming",
    "normalize": "utterance",
}


def _write_tokenizer(folder: Path, vocabulary: dict[str, int], *, pad: str) -> None:
    """The files of transformers' `Wav2Vec2CTCTokenizer`, which reads them as they are."""
    _write_json(folder / "vocab.json", vocabulary)
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "Wav2Vec2CTCTokenizer",
            "pad_token": pad,
            "unk_token": UNKNOWN if UNKNOWN in vocabulary else pad,
            "word_delimiter_token": SPACE,
            "bos_token": None,
            "eos_token": None,
            "do_lower_case": False,
        },
    )


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
