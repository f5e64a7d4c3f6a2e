"""Recognisers whose network runs in onnxruntime, from the folder of an exported model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr_lab.data.audio import Signal
from asr_lab.data.augment import SoundAugmenter
from asr_lab.data.batches import Batch, Collator
from asr_lab.data.text import TextNormalizer
from asr_lab.errors import AsrLabError, reason
from asr_lab.models.adapter import AdapterManager
from asr_lab.models.onnx_folder import GRAPH, exported_type, read_config, require_onnx
from asr_lab.models.recognizer import Recognizer, read_subwords, read_vocabulary
from asr_lab.models.wav2vec2.frame_counts import num_frames, receptive_field
from asr_lab.units import SAMPLE_RATE


class OnnxNetwork:
    """A graph from samples to logits on the CPU, with as many threads as PyTorch has; for any number of threads."""

    device = torch.device("cpu")

    def __init__(self, file: Path, blank: int) -> None:
        """Raises `AsrLabError` if onnxruntime is missing, or cannot read the file."""
        require_onnx("onnxruntime")
        import onnxruntime

        self.file, self.config = file, SimpleNamespace(pad_token_id=blank)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads, settings.inter_op_num_threads = torch.get_num_threads(), 1
        settings.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own kinds
            what = f"onnxruntime cannot read the graph: {reason(error).splitlines()[0]}"
            raise AsrLabError(what, where=str(file)) from error

    def __call__(self, samples_BN: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Compute (logits (B, U, V), lengths (B,)) of samples (B, N) of these lengths (B,)."""
        inputs = {"samples": samples_BN.numpy(), "lengths": lengths_B.numpy()}
        logits, lengths = self._session.run(["logits", "logit_lengths"], inputs)
        return torch.from_numpy(logits), torch.from_numpy(lengths)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the bytes of the file, by which `weights_digest` knows the model."""
        return {GRAPH: torch.from_numpy(np.memmap(self.file, dtype=np.uint8, mode="c"))}


@dataclass(frozen=True)
class SampleCollator(Collator):
    """Reads and pads a batch: `samples` (B, N) and `lengths` (B,)."""

    @staticmethod
    def pad(features: Sequence[Tensor]) -> Batch:
        """Pad signals (num_samples,) to a batch."""
        lengths = torch.tensor([len(one) for one in features])
        return {"samples": pad_sequence(list(features), batch_first=True), "lengths": lengths}


@dataclass
class OnnxRecognizer(Recognizer):
    """An exported recogniser."""

    model: OnnxNetwork
    kernels: Sequence[int] = field(kw_only=True)
    strides: Sequence[int] = field(kw_only=True)
    """Of the unpadded convolutions that give a signal's number of output frames."""

    @property
    def min_samples(self) -> int:
        return receptive_field(self.kernels, self.strides)

    def output_frames(self, num_samples: int) -> int:
        return max(0, num_frames(num_samples, self.kernels, self.strides))

    def extract(self, samples: Signal) -> Tensor:
        """Return the samples: the rest is in the graph. Raises `AsrLabError` if they are fewer than a frame."""
        if len(samples) < self.min_samples:
            raise AsrLabError(
                f"the audio is too short for this model: {len(samples) / SAMPLE_RATE * 1000:.1f} ms",
                allowed=f"at least {self.min_samples / SAMPLE_RATE * 1000:.0f} ms",
            )
        return torch.from_numpy(samples)

    def collator(self, *, labelled: bool = False, augmenter: SoundAugmenter | None = None) -> SampleCollator:
        return SampleCollator(self.extract, self.encode_text if labelled else None, augmenter)

    def logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return self.model(batch["samples"], batch["lengths"])

    def attach_adapter(self, manager: AdapterManager, adapter: str, uri: str = "") -> None:
        raise self._no_adapter(uri)

    def adapter_loader(self, uri: str = "") -> Any:
        raise self._no_adapter(uri)

    def _no_adapter(self, uri: str) -> AsrLabError:
        return AsrLabError(
            "an exported model takes no adapter",
            where=uri,
            allowed="the model that it was exported from; or asr-lab export with --adapter, for one speaker",
        )

    def save(self, folder: Path) -> None:
        raise AsrLabError("an exported model is final: it cannot be trained or registered", where=str(self.model.file))


class OnnxDeepSpeech2(OnnxRecognizer):
    model_type: ClassVar[str] = "deepspeech2"


class OnnxWav2Vec2(OnnxRecognizer):
    model_type: ClassVar[str] = "wav2vec2"


_TYPES: dict[str, type[OnnxRecognizer]] = {
    exported_type(one.model_type): one for one in (OnnxDeepSpeech2, OnnxWav2Vec2)
}


def load_recognizer(folder: Path, resolve: Callable[[str], Path] | None = None) -> OnnxRecognizer:
    """Load an exported recogniser; raise `AsrLabError` if it was changed, or onnxruntime is missing."""
    config = read_config(folder)
    normalizer = TextNormalizer(**config["text"])
    vocabulary = read_vocabulary(folder, config["classes"])
    kernels, strides = zip(*config["strides"], strict=True)
    return _TYPES[config["model_type"]](
        OnnxNetwork(folder / GRAPH, config["blank"]),
        vocabulary,
        normalizer,
        subwords=read_subwords(folder, normalizer, vocabulary),
        kernels=kernels,
        strides=strides,
    )
