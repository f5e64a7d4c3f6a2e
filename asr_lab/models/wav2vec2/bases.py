"""Load base models of the wav2vec2 family from the hub, a folder or a registry, or initialise them from scratch."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCTC, Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC
from transformers.utils.logging import disable_progress_bar

from asr_lab.config.schema import Wav2Vec2Model
from asr_lab.data.containers import refuse_pointers
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import SAMPLE_RATE

T = TypeVar("T")
FAMILY = ("wav2vec2", "hubert", "wavlm")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?(@[\w./-]+)?")
_HEAD, _MASK = "lm_head.", "masked_spec_embed"
_PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")
_IN_A_REGISTRY = ("models:/", "runs:/")
_KERNELS, _STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)  # Baevski et al. 2020: 400 samples, every 320

disable_progress_bar()  # of transformers, one per file read or written


def on_hub(base: str) -> bool:
    """Whether `base` is a hub id: neither a registry URI nor an existing folder."""
    return not base.startswith(_IN_A_REGISTRY) and not Path(base).is_dir() and bool(_HUB_ID.fullmatch(base))


def split_revision(base: str) -> tuple[str, str | None]:
    """Split a hub id `NAME@REVISION`; return any other base unchanged with None."""
    if not on_hub(base):
        return base, None
    name, _, revision = base.partition("@")
    return name, revision or None


@dataclass(frozen=True)
class Source:
    """Arguments of `from_pretrained`."""

    base: str
    """The base as the user gave it, for messages."""
    location: str
    revision: str | None = None

    @classmethod
    def of(cls, base: str, resolve: Callable[[str], Path] | None = None) -> Source:
        """Resolve a hub id, a folder, or a registry URI (with `resolve`); raise `AsrLabError` for anything else."""
        if on_hub(base):
            return cls(base, *split_revision(base))
        if Path(base).is_dir():
            refuse_pointers(Path(base))
            return cls(base, base)
        if resolve and base.startswith(_IN_A_REGISTRY):
            return cls(base, str(resolve(base)))
        raise AsrLabError(
            f"there is no base {base!r}",
            allowed="a hub id such as facebook/wav2vec2-xls-r-300m, a folder that exists, models:/NAME@alias, "
            "or runs:/ID/model",
        )

    def config(self) -> Any:
        """Load the configuration; raise `AsrLabError` if it is not a supported speech encoder."""
        config = self._read(AutoConfig.from_pretrained)
        if config.model_type not in FAMILY:
            raise AsrLabError(
                f"the base is a {config.model_type}",
                where=self.base,
                allowed=listing(FAMILY) + " (XLS-R is a wav2vec2)",
            )
        if getattr(config, "add_adapter", False):
            raise AsrLabError(
                "the base has convolutions after its encoder (add_adapter), which leave too few frames for CTC",
                where=self.base,
                allowed="a base without them",
            )
        return config

    def network(self, config: Any, *, with_head: bool = False) -> Any:
        """Load the weights of the base into a `*ForCTC` with this configuration.

        A missing head, or one of another size, is initialised unless `with_head`. Raise `AsrLabError` if other weights
        are missing or do not fit: transformers would initialise them with no more than a log message.
        """
        network, loading = self._read(
            AutoModelForCTC.from_pretrained,
            config=config,
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
        drawn = {*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])}
        unmasked = {key for key in drawn if key.endswith(_MASK)}  # a fine-tuned base may lack it
        head = set() if with_head else {key for key in drawn if key.startswith(_HEAD)}
        if missing := sorted(drawn - unmasked - head):
            raise AsrLabError(
                f"the weights do not fit the base's config.json: {len(missing)} are missing or of another shape, "
                f"such as {listing(missing, 3)}",
                where=self.base,
                allowed="weights and config.json of the same model, as save_pretrained writes them",
            )
        for key in unmasked:  # instead of random values
            network.get_parameter(key).data.zero_()
        return network

    def feature_extractor(self, config: Any) -> Any:
        """Load the base's feature extractor, or return the default one if it has none.

        Raise `AsrLabError` if it cannot be read, or if it expects another sampling rate.
        """
        folder = Path(self.location)
        if folder.is_dir() and not any((folder / name).exists() for name in _PREPROCESSORS):
            return usual_extractor(config)
        try:
            extractor = Wav2Vec2FeatureExtractor.from_pretrained(self.location, revision=self.revision)
        except (OSError, ValueError) as error:
            if folder.is_dir():
                what = f"the base's {_PREPROCESSORS[0]} cannot be read: {str(error).splitlines()[0]}"
                raise AsrLabError(what, where=self.base) from error
            return usual_extractor(config)
        if extractor.sampling_rate != SAMPLE_RATE:
            raise AsrLabError(
                f"the base model expects {extractor.sampling_rate} Hz audio",
                where=self.base,
                allowed=f"base models for {SAMPLE_RATE} Hz",
            )
        return extractor

    def _read(self, reader: Callable[..., T], **more: Any) -> T:
        try:
            with _quiet():
                return reader(self.location, revision=self.revision, **more)
        except (OSError, ValueError) as error:
            why = (str(error).splitlines() or [""])[0]
            if not on_hub(self.base):
                raise AsrLabError(f"the base cannot be read: {why}", where=self.base) from error
            raise AsrLabError(
                f"the base {self.base!r} is not cached here, and the hub cannot be reached: {why}",
                allowed="a folder, which needs no network: model.pretrained=FOLDER",
                next_command=f"hf download {self.location} --local-dir FOLDER, on a machine with network access",
            ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' warning about a new head, which is intended."""
    log = logging.getLogger("transformers")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def usual_extractor(config: Any) -> Any:
    """Return the default extractor: zero mean and unit variance, and a mask if the convolutions have layer norms."""
    return Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=config.feat_extract_norm == "layer")


def for_ctc(config: Any, num_classes: int, text: Mapping[str, Any], *, blank: int = 0) -> Any:
    """Set up the configuration for CTC training with `num_classes` classes, of which one is the blank.

    The model's own masking (replaced by ours) and layer drop (incompatible with DDP) are disabled, and an utterance
    with fewer frames than labels counts 0 instead of infinity. `text` holds the settings of the text normaliser.
    """
    config.vocab_size, config.pad_token_id, config.text = num_classes, blank, dict(text)
    config.apply_spec_augment, config.layerdrop = False, 0.0
    config.ctc_zero_infinity, config.ctc_loss_reduction = True, "mean"
    return config


def tiny(settings: Wav2Vec2Model) -> Any:
    """Return the configuration of a tiny model, otherwise like XLS-R (pre-norm, convolutions with bias)."""
    return Wav2Vec2Config(
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.num_layers,
        num_attention_heads=settings.num_heads,
        intermediate_size=4 * settings.hidden_size,
        conv_dim=(settings.conv_channels,) * len(_KERNELS),
        conv_kernel=_KERNELS,
        conv_stride=_STRIDES,
        conv_bias=True,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_conv_pos_embedding_groups=groups_of(settings.hidden_size),
        hidden_dropout=settings.dropout,
        attention_dropout=settings.dropout,
        activation_dropout=settings.dropout,
        feat_proj_dropout=settings.dropout,
        final_dropout=settings.dropout,
    )


def groups_of(size: int) -> int:
    """Return the groups of a convolution over `size` channels: the largest power of two up to 16 that divides it."""
    return max(groups for groups in (16, 8, 4, 2, 1) if size % groups == 0)


def sizes(config: Any) -> dict[str, Any]:
    """Return the size keys of the config section `model` with the values of a base."""
    return {
        "hidden_size": config.hidden_size,
        "num_layers": config.num_hidden_layers,
        "num_heads": config.num_attention_heads,
        "conv_channels": config.conv_dim[-1],
        "dropout": config.hidden_dropout,
    }


def from_scratch(config: Any) -> Any:
    """Return a network with random weights."""
    return Wav2Vec2ForCTC(config)


def draw_head(network: Any) -> None:
    """Initialise the head as transformers does."""
    nn.init.normal_(network.lm_head.weight, std=network.config.initializer_range)
    nn.init.zeros_(network.lm_head.bias)


def replace_head(network: Any, num_classes: int) -> None:
    """Replace the head by a new one with `num_classes` classes."""
    old = network.lm_head
    network.lm_head = nn.Linear(old.in_features, num_classes).to(old.weight.device)
    network.config.vocab_size = num_classes
    draw_head(network)
