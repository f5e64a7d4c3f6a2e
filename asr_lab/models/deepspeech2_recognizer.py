"""A DeepSpeech2 recogniser, optionally with a speaker adapter."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import torch
from lhotse import CutSet
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from asr_lab.data.audio import Signal
from asr_lab.data.augment import SoundAugmenter
from asr_lab.data.batches import Batch, Collator, InOrder, for_model, loader
from asr_lab.data.features import EXTRACTORS
from asr_lab.data.text import TextNormalizer
from asr_lab.errors import AsrLabError
from asr_lab.models.adapter import REGISTERED, AdapterManager, Base, MLPAdapter, vocabulary_digest, weights_digest
from asr_lab.models.deepspeech2 import DeepSpeech2Network, DeepSpeech2Shape
from asr_lab.models.recognizer import (
    AdapterKind,
    LoadAdapter,
    Progress,
    Recognizer,
    SpeakerAdapter,
    best_device,
    check_folder,
    read_subwords,
    read_vocabulary,
    write_json,
    write_tokenizer,
)
from asr_lab.units import FRAME_LENGTH, FRAME_LENGTH_S, FRAME_SHIFT_S, NUM_MEL_BINS, SAMPLE_RATE, num_frames


@dataclass
class DeepSpeech2Recognizer(Recognizer):
    """A DeepSpeech2 with its vocabulary and text normaliser, and optionally a speaker adapter."""

    model: DeepSpeech2Network
    adapter: MLPAdapter | None = None

    model_type: ClassVar[str] = "deepspeech2"
    adapter_kind: ClassVar[AdapterKind] = AdapterKind(REGISTERED, folder=False)

    @property
    def min_samples(self) -> int:
        return FRAME_LENGTH

    def output_frames(self, num_samples: int) -> int:
        return (num_frames(num_samples) + 1) // 2

    def extract(self, samples: Signal) -> Tensor:
        return EXTRACTORS[self.model.config.normalization](samples)

    def collator(self, *, labelled: bool = False, augmenter: SoundAugmenter | None = None) -> Collator:
        extract = EXTRACTORS[self.model.config.normalization]
        return Collator(extract, self.encode_text if labelled else None, augmenter)

    def base(self, uri: str = "") -> Base:
        """Return what an adapter for this recogniser has to match."""
        config = self.model.config
        return Base(
            digest=weights_digest(self.model),
            vocabulary_digest=vocabulary_digest(self.units),
            input_dim=config.rnn_output_size,
            output_dim=config.vocab_size,
            uri=uri,
            normalization=config.normalization,
        )

    def attach_adapter(self, manager: AdapterManager, adapter: str, uri: str = "") -> None:
        self.adapter = manager.load_adapter(adapter, self.base(uri), blank=self.blank, device=self.model.device)

    @property
    def takes_adapters(self) -> bool:
        return True

    @property
    def streams(self) -> bool:
        return bool(self.model.config.streaming)

    def adapter_loader(self, uri: str = "") -> LoadAdapter:
        manager, base = AdapterManager(), self.base(uri)

        def load(path: Path) -> SpeakerAdapter:
            adapter = manager.load_adapter(str(path), base, blank=self.blank, device=self.model.device)
            return SpeakerAdapter(manager.get_adapter_info(str(path)).adapter_name, adapter)

        return load

    def logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        encoded_BUH, lengths_B = self.encode(batch)
        return self.head(encoded_BUH), lengths_B

    @torch.inference_mode()
    def adapted_logits(self, batch: Batch, adapters: Sequence[SpeakerAdapter | None]) -> tuple[Tensor, Tensor]:
        """Compute (logits (B, U, V), lengths (B,)): the base once, each adapter on the real frames of its rows."""
        encoded_BUH, lengths_B = self.encode(batch)
        logits_BUV = encoded_BUH.new_zeros(*encoded_BUH.shape[:2], self.model.config.vocab_size)
        real_BU = torch.arange(encoded_BUH.size(1), device=lengths_B.device) < lengths_B[:, None]
        rows_of: dict[SpeakerAdapter | None, list[int]] = {}
        for row, adapter in enumerate(adapters):
            rows_of.setdefault(adapter, []).append(row)
        for adapter, rows in rows_of.items():
            real = torch.zeros_like(real_BU)
            real[rows] = real_BU[rows]
            logits_BUV[real] = self.head(encoded_BUH[real], adapter.weights if adapter else None)
        return logits_BUV, lengths_B

    def head(self, encoded: Tensor, adapter: MLPAdapter | None = None) -> Tensor:
        """Compute logits (..., V) of encoder outputs (..., H), with an adapter, by default the attached one."""
        adapter = adapter or self.adapter
        if adapter is None:
            return self._base_logits(encoded)
        adds = adapter.residual  # a plain adapter replaces the base's head
        logits: Tensor = adapter(encoded, self._base_logits(encoded) if adds else None).logits
        return logits

    def _base_logits(self, encoded: Tensor) -> Tensor:
        logits: Tensor = self.model.head(encoded)
        return logits

    @torch.inference_mode()
    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Compute encoder outputs (B, U, H) and lengths (B,) of a batch of features."""
        self.model.eval()
        on_device = for_model(batch, self.model.device)
        encoded: tuple[Tensor, Tensor] = self.model.encode(on_device["input_features"], on_device["feature_lengths"])
        return encoded

    def iterate_encoder_outputs(
        self, cuts: CutSet, batch_size: int = 16, progress: Progress | None = None, num_workers: int = 0
    ) -> Iterator[tuple[list[str], Tensor, Tensor]]:
        """Yield (ids, encoder outputs (B, U, H), lengths (B,)) in batches of similar duration."""
        for batch in loader(InOrder(cuts, batch_size), self.collator(), num_workers):
            encoded, lengths = self.encode(batch)
            yield batch["cut_ids"], encoded, lengths
            if progress:
                progress(len(batch["cut_ids"]))

    def save(self, folder: Path) -> None:
        """Save as a transformers model folder, without the adapter."""
        from transformers import PreTrainedModel

        assert isinstance(self.model, PreTrainedModel), "loaded for inference"
        self.model.config.text = asdict(self.normalizer)
        PreTrainedModel.save_pretrained(self.model, folder)
        write_tokenizer(folder, self.vocabulary, pad=self.units[self.blank], subwords=self.subwords)
        write_json(folder / "preprocessor_config.json", _PREPROCESSOR | {"normalize": self.model.config.normalization})


def load_recognizer(folder: Path, resolve: Callable[[str], Path] | None = None) -> DeepSpeech2Recognizer:
    """Load a recogniser from its folder; raise `AsrLabError` if the folder is not one."""
    from asr_lab.models.deepspeech2_pretrained import DeepSpeech2Config, DeepSpeech2ForCTC

    _check(folder)
    config = DeepSpeech2Config.from_pretrained(folder)
    return _recognizer(folder, DeepSpeech2ForCTC.from_pretrained(folder, config=config))


def load_for_inference(folder: Path, resolve: Callable[[str], Path] | None = None) -> DeepSpeech2Recognizer:
    """Load a recogniser that is neither trained nor saved, without transformers; raises as above."""
    _check(folder)
    shape = DeepSpeech2Shape(**json.loads((folder / "config.json").read_text(encoding="utf-8")))
    network = DeepSpeech2Network(shape)  # on the meta device torch would import its compiler
    try:
        network.load_state_dict(load_file(folder / "model.safetensors"))
    except (RuntimeError, SafetensorError) as error:
        what = "the weights are not those of the network in config.json"
        raise AsrLabError(what, where=str(folder), allowed="the files that the model was saved with") from error
    return _recognizer(folder, network.requires_grad_(False))


def _check(folder: Path) -> None:
    check_folder(folder, "config.json", "model.safetensors", "vocab.json")


def _recognizer(folder: Path, network: DeepSpeech2Network) -> DeepSpeech2Recognizer:
    config = network.config
    vocabulary, normalizer = read_vocabulary(folder, config.vocab_size), TextNormalizer(**config.text)
    subwords = read_subwords(folder, normalizer, vocabulary)
    return DeepSpeech2Recognizer(network.eval().to(best_device()), vocabulary, normalizer, subwords=subwords)


_PREPROCESSOR = {
    "feature_extractor_type": "kaldi_fbank",
    "feature_size": NUM_MEL_BINS,
    "sampling_rate": SAMPLE_RATE,
    "frame_length_s": FRAME_LENGTH_S,
    "frame_shift_s": FRAME_SHIFT_S,
    "window_type": "hamming",
}
