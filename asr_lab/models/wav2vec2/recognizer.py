"""Recognisers of the wav2vec2 family: a plain model, or adapters (peft) on a base model stored elsewhere.

transformers loads the folder of a plain model; `peft` loads adapters, on a base with the `config.json` of their folder:

    config = AutoConfig.from_pretrained(FOLDER)
    base = AutoModelForCTC.from_pretrained(BASE, config=config, ignore_mismatched_sizes=True)
    model = PeftModel.from_pretrained(base, FOLDER)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import AutoConfig

from asr_lab.data.audio import Signal
from asr_lab.data.augment import FrameMasker, SoundAugmenter
from asr_lab.data.batches import Batch, for_model
from asr_lab.data.text import TextNormalizer
from asr_lab.errors import AsrLabError
from asr_lab.models.adapter import weights_digest
from asr_lab.models.recognizer import (
    LoadAdapter,
    Recognizer,
    SpeakerAdapter,
    best_device,
    check_folder,
    read_subwords,
    read_vocabulary,
    write_tokenizer,
)
from asr_lab.models.wav2vec2.bases import Source
from asr_lab.models.wav2vec2.batches import SoundCollator
from asr_lab.models.wav2vec2.frame_counts import num_frames, receptive_field
from asr_lab.models.wav2vec2.network import SpeechCTC, encoder_of, is_adapted
from asr_lab.models.wav2vec2.speakers import CONFIG, SpeakerNetworks
from asr_lab.units import SAMPLE_RATE

ADAPTERS = CONFIG
_PROCESSOR = "Wav2Vec2Processor"


@dataclass
class EncoderRecognizer(Recognizer):
    """A recogniser with an encoder of the family, whose convolutions turn samples into frames."""

    feature_extractor: Any = field(kw_only=True)

    augmenter: ClassVar[type[SoundAugmenter]] = FrameMasker

    @property
    @abstractmethod
    def shape(self) -> Any:
        """The encoder's configuration."""

    @property
    def min_samples(self) -> int:
        return receptive_field(self.shape.conv_kernel, self.shape.conv_stride)

    def output_frames(self, num_samples: int) -> int:
        return max(0, num_frames(num_samples, self.shape.conv_kernel, self.shape.conv_stride))

    def extract(self, samples: Signal) -> Tensor:
        """Normalise a signal (num_samples,) for the encoder; raise `AsrLabError` if it is shorter than a frame."""
        if len(samples) < self.min_samples:
            raise AsrLabError(
                f"the audio is too short for this model: {len(samples) / SAMPLE_RATE * 1000:.1f} ms",
                allowed=f"at least {self.min_samples / SAMPLE_RATE * 1000:.0f} ms",
            )
        return torch.from_numpy(self.feature_extractor(samples, sampling_rate=SAMPLE_RATE).input_values[0])


@dataclass
class Wav2Vec2Recognizer(EncoderRecognizer):
    """A speech encoder with CTC head, vocabulary, text normaliser and feature extractor."""

    model: SpeechCTC

    speakers: SpeakerNetworks | None = field(default=None, kw_only=True)
    """Speakers' adapters on this base, once one was loaded."""

    model_type: ClassVar[str] = "wav2vec2"

    @property
    def shape(self) -> Any:
        return self.model.config

    def collator(self, *, labelled: bool = False, augmenter: SoundAugmenter | None = None) -> SoundCollator:
        return SoundCollator(
            self.extract,
            self.encode_text if labelled else None,
            augmenter,
            output_frames=self.output_frames,
            num_channels=self.model.config.hidden_size,
        )

    @torch.inference_mode()
    def logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        output = self.model.eval()(**for_model(batch, self.model.device))
        return output.logits, output.logit_lengths

    @property
    def takes_adapters(self) -> bool:
        return not is_adapted(self.model.network)

    def adapter_loader(self, uri: str = "") -> LoadAdapter:
        """Return what loads model folders of adapters (LoRA and similar) on this base; several speakers share it."""
        if is_adapted(self.model.network):
            raise AsrLabError(
                "this model has adapters itself, which take no speaker's adapter beside them",
                where=uri,
                allowed="their base as --model, with one of them as --adapter",
            )
        self.speakers = SpeakerNetworks(self.model, self.units, uri)
        return self.speakers.load

    @torch.inference_mode()
    def adapted_logits(self, batch: Batch, adapters: Sequence[SpeakerAdapter | None]) -> tuple[Tensor, Tensor]:
        if not any(adapters):
            return self.logits(batch)
        assert self.speakers is not None, "adapter_loader made them"
        return self.speakers.logits(for_model(batch, self.model.device), adapters)

    @property
    def added_params(self) -> int:
        """Number of parameters of its adapters; 0 without adapters."""
        network = self.model.network
        if not is_adapted(network):
            return 0
        prefix = network.base_model.prefix  # of the parameters that peft adds, such as `lora_`
        return sum(one.numel() for name, one in network.named_parameters() if prefix in name)

    @property
    def base_folder(self) -> str:
        """Local folder of the adapters' base model; "" without adapters, or if the base is on the hub or registered."""
        if not is_adapted(self.model.network):
            return ""
        base = str(self.model.network.active_peft_config.base_model_name_or_path)
        return base if Path(base).is_dir() else ""

    def merge(self) -> None:
        """Merge adapters into the weights: one plain model with the same logits."""
        if is_adapted(self.model.network):
            self.model.network = self.model.network.merge_and_unload()

    def save(self, folder: Path) -> None:
        network, config = self.model.network, self.model.config
        config.text, config.architectures = asdict(self.normalizer), [type(self.model.plain).__name__]
        if is_adapted(network):
            network.save_pretrained(folder, save_embedding_layers=False)  # else peft searches for word embeddings
            (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
            config.save_pretrained(folder)
        else:
            network.save_pretrained(folder)
        self.feature_extractor.save_pretrained(folder)
        pad, subwords = self.units[self.blank], self.subwords
        write_tokenizer(folder, self.vocabulary, pad=pad, subwords=subwords, processor_class=_PROCESSOR)


def load_recognizer(
    folder: Path, resolve: Callable[[str], Path] | None = None, *, trainable: bool = False
) -> Wav2Vec2Recognizer:
    """Load a recogniser from its folder; `resolve` locates a base model that is a registry URI.

    Raise `AsrLabError` if the folder is not one, its vocabulary does not match its head, or its base is missing.
    """
    check_folder(folder, "config.json", "vocab.json")
    config = AutoConfig.from_pretrained(folder)
    vocabulary = read_vocabulary(folder, config.vocab_size)
    own = Source.of(str(folder))
    plain = not (folder / ADAPTERS).is_file()
    network = own.network(config, with_head=True) if plain else _adapted(folder, config, resolve, trainable)
    model = SpeechCTC(network).to(best_device())
    normalizer = TextNormalizer(**(getattr(config, "text", None) or {}))
    extractor = own.feature_extractor(config)
    subwords = read_subwords(folder, normalizer, vocabulary)
    return Wav2Vec2Recognizer(model.eval(), vocabulary, normalizer, feature_extractor=extractor, subwords=subwords)


def base_of(folder: Path) -> str:
    """Return the base model of adapters: a hub id with its revision, a folder, or a registry URI."""
    from peft import PeftConfig

    config = PeftConfig.from_pretrained(folder)
    name = str(config.base_model_name_or_path)
    return f"{name}@{config.revision}" if config.revision else name


def _adapted(folder: Path, config: Any, resolve: Callable[[str], Path] | None, trainable: bool) -> Any:
    from peft import PeftModel

    try:
        network = Source.of(base_of(folder), resolve).network(config)
    except AsrLabError as error:
        raise AsrLabError(
            f"the base model of these adapters is missing: {error.what}",
            where=str(folder),
            allowed=error.allowed,
            hint="train with --merged, or asr-lab register RUN --merged, for a model that needs no base",
        ) from error
    digest = getattr(config, "adapters", {}).get("base_digest", "")
    if digest and digest != weights_digest(encoder_of(network)):
        raise AsrLabError(
            "the base model of these adapters has changed since they were trained",
            where=f"{folder}, {base_of(folder)}",
            allowed="the unchanged base model",
        )
    return PeftModel.from_pretrained(network, folder, is_trainable=trainable)
