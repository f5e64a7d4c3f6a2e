"""The one table of families: how each is configured and run, which figures count, and what its models are for.

A family is a kind of run: a recogniser that is trained, a speaker's adapter, an evaluation, a sweep. Whatever has to
distinguish families asks here, so a new family is an entry of this table beside its own files. Code is named as
`"module:attribute"` and imported when it is asked for: nothing here is heavy.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from asr_lab.errors import AsrLabError, listing


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What the card of a registered model says of every model of its family."""

    use: str
    """Intended use, where `run.intended_use` names none."""
    figures: tuple[str, ...]
    """The metrics that are quoted, of which a run need not have all."""
    scoring: str = "Corpus error rates by {scorer}, text normalised as `{text}`."
    """How the figures were made; `{name}` is the run's tag `asr_lab.name`."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One entry of the table. All code is named as `"module:attribute"`."""

    config: str
    """The class of its configuration, whose `recipe` is the family's name."""
    recipe: str
    """What plans and runs a configuration: a `recipes.recipe.Recipe`; "" for a sweep, which is a study of others."""
    command: str = "train"
    """The command of `asr-lab` that takes its configuration."""
    from_key: str = ""
    """The config key that names the model it starts from or scores; "" where there is none."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Option names of older systems that stand for another key in this family than elsewhere."""
    several: bool = False
    """One configuration is several trainings: what it leaves unset is each training's own."""
    reproduced: str = ""
    """What `asr-lab reproduce` takes in its place, such as its phases; "" where the run itself is run again."""

    loaders: Mapping[str, str] = field(default_factory=dict)
    """`model_type` in a model folder's `config.json` -> the function that loads the folder."""
    inference_loaders: Mapping[str, str] = field(default_factory=dict)
    """The same, where there is a faster one for models that are neither trained nor saved."""
    evaluation: str = "asr_lab.recipes.evaluate:RECOGNITION"
    """How its models are scored on a manifest: a `Method`."""
    makes_adapters: bool = False
    """Its models are adapters of another's model, not whole ones."""
    takes_text: bool = False
    """Its models take the canonical text or phonemes beside the audio."""
    initialization: str = ""
    """For the recognition recipe: the function that makes or fetches the model which training starts from."""

    decides: tuple[str, ...] = ()
    """The metric by which its runs are ranked: the first of these that a run has."""
    shows: tuple[str, ...] = ()
    """The metrics of its row in `compare`, in MLflow's UI, and in a table of trials; `list` has the deciding one."""
    logs: tuple[str, ...] = ()
    """The metrics its runs log, beside those of slices; some only with a setting (`needs`)."""
    needs: Mapping[str, str] = field(default_factory=dict)
    """A metric, or the part of its name before or behind a slash -> the setting (`key` or `key=value`) without which it
    is not logged."""
    watched: tuple[str, ...] = ()
    """What is seen while it trains beside its figures on `val`, so that a sweep can prune by it."""
    trials: str = ""
    """What trains the trials of a sweep; "" where it cannot be swept."""
    card: ModelCard | None = None
    """The text of its models' cards; None where it makes no models."""

    def needed(self, metric: str) -> list[str]:
        """The settings without which a metric is not logged."""
        parts = (metric, metric.partition("/")[0] + "/", "/" + metric.rpartition("/")[2])
        return [self.needs[part] for part in parts if part in self.needs]


_LOOP = ("train/loss", "train/lr", "grad_norm", "epoch_time")
_SIZES = ("model/params", "model/trainable_params", "model/trainable_share", "model/size_mb")
_COSTS = ("perf/seconds", "perf/peak_memory_mb")
_BEST = ("best/epoch", "perf/utterances_per_second")
_TRAINED_ON = ("trained_utterances", "training_speakers")
_ERROR_RATES = (
    "wer", "wer_low", "wer_high", "cer", "wer_no_space", "cer_no_space", "utterances", *_TRAINED_ON,
)  # fmt: skip
_ASSESSMENT = (
    "error_f1", "error_precision", "error_recall", "far", "frr", "der", "correct_diagnosis", "accuracy", "roc_auc",
    "pr_auc", "score_pcc", "score_mse",
)  # fmt: skip

_RECOGNITION_LOGS = (
    *_LOOP,
    *_SIZES,
    *_COSTS,
    *(f"{split}/{rate}" for split in ("val", "test") for rate in (*_ERROR_RATES, "per")),
    "val/loss",
    "best/val_wer",
    *_BEST,
)
_RECOGNITION_NEEDS = {"test/": "data.test", "/per": "data.phonemes=true"}
_RECOGNITION_FIGURES = (
    "val/wer",
    "val/cer",
    "test/wer",
    "test/wer_no_space",
    "test/cer",
    "test/cer_no_space",
    "test/per",
)
_WAV2VEC2_LOADER = "asr_lab.models.wav2vec2.recognizer:load_recognizer"
_EXPORTED_LOADER = "asr_lab.models.onnx_recognizer:load_recognizer"
_TRAIN_TRIALS = "asr_lab.sweeps.trial_training:Trainings"
_RECOGNITION = "asr_lab.recipes.recognition.train:RECIPE"

FAMILIES: dict[str, Family] = {
    "deepspeech2": Family(
        config="asr_lab.config.schema:DeepSpeech2Experiment",
        recipe=_RECOGNITION,
        from_key="model.pretrained",
        loaders={
            "deepspeech2": "asr_lab.models.deepspeech2_recognizer:load_recognizer",
            "deepspeech2-onnx": _EXPORTED_LOADER,
        },
        inference_loaders={"deepspeech2": "asr_lab.models.deepspeech2_recognizer:load_for_inference"},
        initialization="asr_lab.recipes.recognition.deepspeech2:start",
        decides=("val/wer",),
        shows=("val/wer", "val/cer", "test/wer", "test/cer"),
        logs=_RECOGNITION_LOGS,
        needs=_RECOGNITION_NEEDS,
        trials=_TRAIN_TRIALS,
        card=ModelCard(
            use="Transcribing speech like that of its training data; a base for adapters and fine-tuning.",
            figures=_RECOGNITION_FIGURES,
        ),
    ),
    "wav2vec2": Family(
        config="asr_lab.config.schema:Wav2Vec2Experiment",
        recipe=_RECOGNITION,
        from_key="model.pretrained",
        loaders=dict.fromkeys(("wav2vec2", "hubert", "wavlm"), _WAV2VEC2_LOADER) | {"wav2vec2-onnx": _EXPORTED_LOADER},
        initialization="asr_lab.recipes.recognition.wav2vec2:start",
        decides=("val/wer",),
        shows=("val/wer", "val/cer", "test/wer", "test/cer", "model/trainable_params", "model/size_mb"),
        logs=_RECOGNITION_LOGS,
        needs=_RECOGNITION_NEEDS,
        trials=_TRAIN_TRIALS,
        card=ModelCard(
            use="Transcribing speech like that of its training data; a base for fine-tuning and LoRA.",
            figures=_RECOGNITION_FIGURES,
        ),
    ),
    "pronunciation": Family(
        config="asr_lab.config.schema:PronunciationExperiment",
        recipe="asr_lab.recipes.pronunciation.train:RECIPE",
        from_key="model.pretrained",
        aliases={"wav2vec_lr": "train.encoder_lr"},
        loaders={"pronunciation": "asr_lab.models.pronunciation.assessor:load_recognizer"},
        evaluation="asr_lab.recipes.pronunciation.evaluate:METHOD",
        takes_text=True,
        decides=("val/error_f1",),
        shows=(
            "val/error_f1",
            "test/error_f1",
            "test/gop/error_f1",
            "test/pr_auc",
            "test/gop/pr_auc",
            "test/fused/pr_auc",
            "test/per",
            "test/trivial/per",
            "test/accuracy",
            "test/trivial/accuracy",
            "test_hard/error_f1",
            "test_hard/gop/error_f1",
            "test_hard/pr_auc",
            "test_hard/gop/pr_auc",
            "test_hard/fused/pr_auc",
            "test_hard/per",
            "model/trainable_params",
        ),
        logs=(
            *_LOOP,
            *_SIZES,
            *_COSTS,
            "val/loss",
            *(f"{split}/{name}" for split in ("val", "test", "test_hard") for name in ("per", *_ASSESSMENT)),
            *(f"{split}/{name}" for split in ("test", "test_hard") for name in _TRAINED_ON),
            *_BEST,
        ),
        needs={"test/": "data.test", "test_hard/": "data.test_hard"},
        trials=_TRAIN_TRIALS,
        card=ModelCard(
            use="Detecting which phonemes of a prompted sentence a learner mispronounced, for speakers "
            "like those of its training data. It is evidence for a teacher or a learner, not a grade.",
            figures=(
                "val/error_f1",
                "test/error_f1",
                "test/pr_auc",
                "test/per",
                "test/gop/error_f1",
                "test/trivial/per",
                "test_hard/error_f1",
                "test_hard/pr_auc",
                "test_hard/per",
            ),
            scoring="Mispronunciation detection and phoneme error rate over the corpus, counted as `{scorer}`; `gop` "
            "and `trivial` are the baselines: goodness of pronunciation, and a predictor that reports no error.",
        ),
    ),
    "curriculum": Family(
        config="asr_lab.config.schema:CurriculumExperiment",
        recipe="asr_lab.recipes.curriculum.train:RECIPE",
        command="curriculum",
        from_key="model.pretrained",
        several=True,
        reproduced="phases",
        decides=("val/wer",),
        shows=("val/wer", "val/cer", "val/per", "test/wer", "test/cer", "model/trainable_params"),
        logs=_RECOGNITION_LOGS,
        needs=_RECOGNITION_NEEDS,
        card=ModelCard(
            use="Transcribing speech like that of its last phase, such as children's; a base for fine-tuning and LoRA.",
            figures=_RECOGNITION_FIGURES,
        ),
    ),
    "arms": Family(
        config="asr_lab.config.schema:ArmsExperiment",
        recipe="asr_lab.recipes.comparison.train:RECIPE",
        command="arms",
        from_key="model.pretrained",
        several=True,
        reproduced="trainings",
    ),
    "adapter": Family(
        config="asr_lab.config.schema:AdapterExperiment",
        recipe="asr_lab.recipes.adaptation.group:RECIPE",
        command="adapter",
        makes_adapters=True,
        from_key="adapter.base",
        decides=("test/wer",),
        shows=("test/wer_base", "test/wer", "test/wer_delta", "test/cer", "model/size_mb"),
        logs=(
            *_LOOP,
            *_SIZES,
            *_COSTS,
            *(f"test/{rate}" for rate in (*_ERROR_RATES, "wer_base", "cer_base")),
            *(f"test/wer_delta{part}" for part in ("", "_low", "_high", "_p")),
            "adapter/strength",
            "fold/wer",
            "train/imitation_loss",
            "perf/training_seconds",
            "perf/base_pass_seconds",
        ),
        needs={"fold/": "data.cross_fit", "train/imitation_loss": "adapter.form=plain"},
        watched=("fold/wer",),
        trials="asr_lab.sweeps.trial_training:Adapters",
        card=ModelCard(
            use="Transcribing one speaker, with the base it was trained on. It is personal data.",
            figures=("test/wer_base", "test/wer", "test/cer", "test/wer_delta"),
        ),
    ),
    "evaluate": Family(
        config="asr_lab.config.schema:EvaluateExperiment",
        recipe="asr_lab.recipes.evaluate:RECIPE",
        command="evaluate",
        from_key="evaluate.model",
        decides=("test/wer", "test/error_f1"),
        shows=("test/wer", "test/cer", "test/error_f1", "test/pr_auc", "test/per", "test/trivial/per"),
        logs=(
            *_COSTS,
            "perf/real_time_factor",
            *(f"test/{rate}" for rate in (*_ERROR_RATES, "per", *_ASSESSMENT)),
            *(f"test/{name}" for name in ("sentences_in_lm", "confidence_ece", "confidence_auc")),
        ),
        needs={
            "/sentences_in_lm": "decode.lm",
            **dict.fromkeys(("/confidence_ece", "/confidence_auc"), "evaluate.confidence=true"),
        },
    ),
    "lm": Family(
        config="asr_lab.config.schema:LanguageModelExperiment",
        recipe="asr_lab.recipes.language_model:RECIPE",
        command="lm",
        decides=("test/perplexity",),
        shows=("test/perplexity", "model/params", "model/size_mb"),
        logs=("val/perplexity", "test/perplexity", "model/params", "model/size_mb"),
        needs={"/perplexity": "lm.tests"},
        card=ModelCard(
            use="Decoding speech recognition with words like those of its text: decode.lm of asr-lab evaluate.",
            figures=("val/perplexity", "test/perplexity", "model/params"),
            scoring="Perplexity with the end of each sentence counted, text normalised as `{text}`.",
        ),
    ),
    "sweep": Family(
        config="asr_lab.config.schema:SweepExperiment",
        recipe="",
        command="sweep",
        reproduced="trials",
    ),
}


def family(name: str) -> Family:
    """The entry of a family; raises `AsrLabError` that lists all where there is none of that name."""
    if name not in FAMILIES:
        raise AsrLabError(f"unknown recipe {name!r}", allowed=listing(FAMILIES))
    return FAMILIES[name]


def find(named: str) -> Any:
    """What `"module:attribute"` names, imported now."""
    module, _, attribute = named.partition(":")
    return getattr(import_module(module), attribute)


def config_class(name: str) -> Any:
    """The class of a family's configuration: a pydantic model."""
    return find(family(name).config)


def taken_by(command: str) -> tuple[str, ...]:
    """The families whose configurations a command of `asr-lab` takes."""
    return tuple(name for name, one in FAMILIES.items() if one.command == command)


def sweepable() -> tuple[str, ...]:
    """The families whose experiments can be swept."""
    return tuple(name for name, one in FAMILIES.items() if one.trials)


def loaders(*, inference: bool = False) -> dict[str, str]:
    """`model_type` of a model folder -> the function that loads it, to be trained or for inference, of all families."""
    made: dict[str, str] = {}
    for one in FAMILIES.values():
        made |= {**one.loaders, **(one.inference_loaders if inference else {})}
    return made


def deciding(name: str, known: Container[str] | None = None) -> str:
    """The metric by which a family's runs are ranked: the first one that is among the `known` ones, where these are
    given; "" where there is none, or no such family."""
    decides = FAMILIES[name].decides if name in FAMILIES else ()
    return next((metric for metric in decides if known is None or metric in known), "")


def logged(name: str) -> tuple[str, ...]:
    """The metrics that runs of a family log; none of a family that is not known."""
    return FAMILIES[name].logs if name in FAMILIES else ()


def shown(name: str) -> tuple[str, ...]:
    """The metrics of a row of a family in a table of runs; none of a family that is not known."""
    return FAMILIES[name].shows if name in FAMILIES else ()


def makes_adapters(name: str) -> bool:
    """Whether the models of a family are adapters of another's model; False of a family that is not known."""
    return name in FAMILIES and FAMILIES[name].makes_adapters
