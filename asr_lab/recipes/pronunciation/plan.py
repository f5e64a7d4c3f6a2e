"""A training of pronunciation assessment before anything is spent: data checked, and where the model starts from."""

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
from asr_lab.models.wav2vec2.tuning import encoder_of
from asr_lab.recipes.pronunciation.scoring import refuse_crowded
from asr_lab.recipes.recognition.plan import TrainingPlan
from asr_lab.recipes.splits import Split, refuse_too_short
from asr_lab.units import SAMPLE_RATE


@dataclass(frozen=True)
class PronunciationPlan(TrainingPlan):
    """All that is known before anything is spent."""

    config: PronunciationExperiment
    recognizer: Assessor

    @property
    def tested(self) -> list[str]:
        """The splits that the best model is tested on, validation among them."""
        return [name for name in SPLITS[1:] if name in self.splits]


def plan(config: PronunciationExperiment, store: ModelStore) -> PronunciationPlan:
    """Read and check the data, and build the model; nothing is recorded."""
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
            "no phoneme of the validation data is wrong, so no epoch has an F1 of errors to be chosen by",
            where=val.path,
            allowed="validation data with errors, or train.choose=per",
        )


def _filter_split(split: Split, assessor: Assessor, max_duration_s: float, fastest: float = 1.0) -> FilterResult:
    return filter_utterances(
        split.cuts,
        lambda cut: [CLASS_OF[phoneme] for phoneme in pronunciation(cut).spoken],
        max_duration_s,
        output_frames=assessor.output_frames,
        min_duration_s=assessor.min_samples * fastest / SAMPLE_RATE,
        where=split.path,
    )


def _start(config: PronunciationExperiment, store: ModelStore) -> tuple[Assessor, PronunciationExperiment, str]:
    """The model before training, the configuration as it really is, and the URI of what it starts from."""
    base = config.model.pretrained
    if not base:
        shape = front_end.tiny(config.model)
        model = network.PronunciationModel(_shape(config, shape, "log_mel"))
        return _assessor(config, model, bases.usual_extractor(shape)), config, ""
    if not bases.on_hub(base):
        base = store.resolve_version(base)
        folder = Path(bases.Source.of(base, store.resolve).location)
        if _is_ours(folder):
            return _from_ours(config, base, folder)
    return _from_elsewhere(config, bases.Source.of(base, store.resolve))


def _from_elsewhere(
    config: PronunciationExperiment, source: bases.Source
) -> tuple[Assessor, PronunciationExperiment, str]:
    """With an encoder of the wav2vec2 family, of the hub, a folder or a registry."""
    shape, base = source.config(), source.base
    if bases.on_hub(base) and not source.revision and getattr(shape, "_commit_hash", None):
        base = f"{base}@{shape._commit_hash}"  # the same base for ever
    shape = bases.for_ctc(shape, len(CLASS_OF), {})
    model = network.PronunciationModel(_shape(config, shape, "own"))
    model.encoder.load_state_dict(encoder_of(source.network(shape)).state_dict())
    config = _as_it_is(config, base, model.config)
    return _assessor(config, model, source.feature_extractor(shape)), config, base


def _from_ours(
    config: PronunciationExperiment, base: str, folder: Path
) -> tuple[Assessor, PronunciationExperiment, str]:
    """With the encoder of a model of this recipe, and all of its head that fits: what a plain recogniser learned, too.

    A head of the same kind and sizes goes on learning; of another one the layers that it shares do.
    """
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
    config = _as_it_is(config, base, model.config)
    return _assessor(config, model, old.feature_extractor), config, base


def _assessor(config: PronunciationExperiment, model: network.PronunciationModel, extractor: Any) -> Assessor:
    """The model with its phonemes; of the encoder learns what the configuration says."""
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


def _as_it_is(config: PronunciationExperiment, base: str, shape: PronunciationConfig) -> PronunciationExperiment:
    """The configuration with the encoder's own sizes; raises `AsrLabError` when others were asked for."""
    encoder, asked = shape.encoder_config, config.model
    has = {
        "hidden_size": encoder.hidden_size,
        "num_layers": encoder.num_hidden_layers,
        "num_heads": encoder.num_attention_heads,
    }
    usual = PronunciationModel.model_fields
    wrong = [
        f"model.{name}={getattr(asked, name)} (it has {value})"
        for name, value in has.items()
        if getattr(asked, name) not in (value, usual[name].default)
    ]
    if wrong:
        raise AsrLabError(
            f"what is asked for is not what the pretrained encoder is: {', '.join(wrong)}",
            where=base,
            hint="leave these keys out: they are taken over",
        )
    return config.model_copy(update={"model": asked.model_copy(update={**has, "pretrained": base})})


def _is_ours(folder: Path) -> bool:
    try:
        shape = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AsrLabError("not a model folder: no readable config.json", where=str(folder)) from error
    return bool(shape.get("model_type") == PronunciationConfig.model_type)
