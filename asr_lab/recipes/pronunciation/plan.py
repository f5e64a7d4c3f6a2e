"""Plan a training of pronunciation assessment: check the data, and build the initial model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import set_seed

from asr_lab.config.schema import PronunciationExperiment, PronunciationModel
from asr_lab.config.schema.base import SPLITS
from asr_lab.data.filtering import FilterResult, filter_utterances
from asr_lab.data.pronunciation import check_pronunciations, pronunciation
from asr_lab.data.text import TextNormalizer
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tracking import ModelStore
from asr_lab.models.pronunciation import front_end, network
from asr_lab.models.pronunciation.assessor import Assessor, load_recognizer
from asr_lab.models.pronunciation.batches import CLASS_OF
from asr_lab.models.pronunciation.config import PronunciationConfig
from asr_lab.models.wav2vec2 import bases
from asr_lab.models.wav2vec2.network import encoder_of
from asr_lab.recipes.pronunciation.scoring import refuse_crowded
from asr_lab.recipes.recognition.plan import TrainingPlan
from asr_lab.recipes.splits import Split, limits_of, refuse_too_short


@dataclass(frozen=True)
class PronunciationPlan(TrainingPlan):
    """The plan of a training."""

    config: PronunciationExperiment
    recognizer: Assessor

    @property
    def tested(self) -> list[str]:
        """The splits that the best model is evaluated on, including validation."""
        return [name for name in SPLITS[1:] if name in self.splits]


def plan(config: PronunciationExperiment, store: ModelStore) -> PronunciationPlan:
    """Read and check the data, and build the model; record nothing."""
    speech = {name: path for name, path in config.manifests().items() if name != "noise"}
    splits = {name: Split.read(name, path) for name, path in speech.items()}
    for split in splits.values():
        check_pronunciations(split.cuts, split.path)
    _refuse_val_without_errors(config, splits["val"])
    if config.augment.noise_manifest:
        splits["noise"] = Split.read("noise", config.augment.noise_manifest, speech=False)
    set_seed(config.run.seed)
    assessor, config, base_uri = _start(config, store)
    fastest = max(1.0, *config.augment.speed_factors)
    train = _filter_split(splits["train"], assessor, config.data.max_duration_s, fastest)
    val = _filter_split(splits["val"], assessor, config.data.max_duration_s)
    for name in ("test", "test_hard"):
        if name in splits:
            refuse_too_short(splits[name], assessor)
            refuse_crowded(splits[name], assessor)
    return PronunciationPlan(config, splits, train, val, assessor, base_uri)


def _refuse_val_without_errors(config: PronunciationExperiment, val: Split) -> None:
    if config.train.choose == "error_f1" and not any(any(pronunciation(cut).errors) for cut in val.cuts):
        raise AsrLabError(
            "train.choose=error_f1 needs errors, and the validation data has no mispronounced phoneme",
            where=val.path,
            allowed="validation data with errors, or train.choose=per",
        )


def _filter_split(split: Split, assessor: Assessor, max_duration_s: float, fastest: float = 1.0) -> FilterResult:
    return filter_utterances(
        split.cuts,
        lambda cut: [CLASS_OF[phoneme] for phoneme in pronunciation(cut).spoken],
        limits_of(assessor, max_duration_s, fastest),
        split.path,
    )


def _start(config: PronunciationExperiment, store: ModelStore) -> tuple[Assessor, PronunciationExperiment, str]:
    """Return (initial model, resolved configuration, URI of the base)."""
    base = config.model.pretrained
    if not base:
        shape = front_end.tiny(config.model)
        model = network.PronunciationModel(_shape(config, shape, "log_mel"))
        return _assessor(config, model, bases.usual_extractor(shape)), config, ""
    if not bases.on_hub(base):
        base = store.resolve_version(base)
        folder = Path(bases.Source.of(base, store.resolve).location)
        if _is_pronunciation_model(folder):
            return _from_pronunciation_model(config, base, folder)
    return _from_encoder(config, bases.Source.of(base, store.resolve))


def _from_encoder(
    config: PronunciationExperiment, source: bases.Source
) -> tuple[Assessor, PronunciationExperiment, str]:
    """Start from an encoder of the wav2vec2 family: from the hub, a folder or the registry."""
    shape, base = source.config(), source.base
    if bases.on_hub(base) and not source.revision and getattr(shape, "_commit_hash", None):
        base = f"{base}@{shape._commit_hash}"  # pins the revision
    shape = bases.for_ctc(shape, len(CLASS_OF), {})
    model = network.PronunciationModel(_shape(config, shape, "own"))
    model.encoder.load_state_dict(encoder_of(source.network(shape)).state_dict())
    config = _resolved(config, base, model.config)
    return _assessor(config, model, source.feature_extractor(shape)), config, base


def _from_pronunciation_model(
    config: PronunciationExperiment, base: str, folder: Path
) -> tuple[Assessor, PronunciationExperiment, str]:
    """Start from a model of this recipe: its encoder, and the weights of its head with the same names and shapes."""
    old = load_recognizer(folder)
    shape = old.model.encoder.config
    model = network.PronunciationModel(_shape(config, shape, old.model.config.front_end))
    own = model.state_dict()
    fitting = {
        name: value
        for name, value in old.model.state_dict().items()
        if name in own and own[name].shape == value.shape and not name.startswith("weighted.")
    }
    model.load_state_dict(fitting, strict=False)
    config = _resolved(config, base, model.config)
    return _assessor(config, model, old.feature_extractor), config, base


def _assessor(config: PronunciationExperiment, model: network.PronunciationModel, extractor: Any) -> Assessor:
    """Return the model with its phonemes, and freeze its encoder as configured."""
    if config.train.encoder_lr == 0:
        model.encoder.requires_grad_(False)
    elif config.model.pretrained and config.model.freeze_features and model.config.front_end == "own":
        model.encoder.feature_extractor._freeze_parameters()
    return Assessor(model, dict(CLASS_OF), TextNormalizer(), feature_extractor=extractor)


def _shape(config: PronunciationExperiment, encoder: Any, front: str) -> PronunciationConfig:
    settings = config.model
    names = ("head_size", "head_layers", "head_heads", "cross_size", "dropout", "window", "diagnosis", "scores")
    return PronunciationConfig(
        head=settings.type,
        encoder={**encoder.to_diff_dict(), "model_type": encoder.model_type},
        front_end=front,
        loss=config.loss.model_dump(),
        **{name: getattr(settings, name) for name in names},
    )


def _resolved(config: PronunciationExperiment, base: str, shape: PronunciationConfig) -> PronunciationExperiment:
    """Return the configuration with the encoder's sizes; raises `AsrLabError` if it sets others."""
    encoder, settings = shape.encoder_config, config.model
    has = {
        "hidden_size": encoder.hidden_size,
        "num_layers": encoder.num_hidden_layers,
        "num_heads": encoder.num_attention_heads,
    }
    usual = PronunciationModel.model_fields
    wrong = [
        f"model.{name}={getattr(settings, name)} (it has {value})"
        for name, value in has.items()
        if getattr(settings, name) not in (value, usual[name].default)
    ]
    if wrong:
        raise AsrLabError(
            f"the pretrained encoder has other sizes: {', '.join(wrong)}",
            where=base,
            hint="leave these keys out: they are those of the encoder",
        )
    return config.model_copy(update={"model": settings.model_copy(update={**has, "pretrained": base})})


def _is_pronunciation_model(folder: Path) -> bool:
    try:
        shape = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AsrLabError("not a model folder: no readable config.json", where=str(folder)) from error
    return bool(shape.get("model_type") == PronunciationConfig.model_type)
