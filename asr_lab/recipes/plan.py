"""A training before anything is spent: its data, read and checked, and its untrained model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from asr_lab.config.schema import (
    DeepSpeech2Experiment,
    PronunciationExperiment,
    TrainExperiment,
    Wav2Vec2Augment,
    Wav2Vec2Experiment,
)
from asr_lab.data.augment import Augmenter, FrameMasker, SoundAugmenter
from asr_lab.data.screen import Screened
from asr_lab.data.sharing import Sharing
from asr_lab.models import Loader, load_model
from asr_lab.models.recognizer import Recognizer
from asr_lab.models.wav2vec2.recognizer import Wav2Vec2Recognizer
from asr_lab.recipes import deepspeech2, wav2vec2
from asr_lab.recipes.common import Split, check_spoken, refuse_too_short, screened
from asr_lab.training.recorder import ModelStore


@dataclass(frozen=True)
class AnyPlan:
    """All that is known before anything is spent: the data as it will be used and the untrained model."""

    config: TrainExperiment | PronunciationExperiment
    splits: dict[str, Split]
    train: Screened
    val: Screened
    recognizer: Recognizer
    base_uri: str = ""
    """The pinned model that is fine-tuned; empty from scratch."""

    @property
    def num_params(self) -> int:
        return sum(parameter.numel() for parameter in self.recognizer.model.parameters())

    @property
    def num_trainable(self) -> int:
        learning = (one for one in self.recognizer.model.parameters() if one.requires_grad)
        return sum(parameter.numel() for parameter in learning)

    @property
    def sizes(self) -> dict[str, float]:
        """Parameters and how many of them learn, as metrics."""
        return {
            "model/params": self.num_params,
            "model/trainable_params": self.num_trainable,
            "model/trainable_share": self.num_trainable / self.num_params,
        }

    @cached_property
    def sharing(self) -> Sharing:
        """What is both learned from, or chosen on, and tested on."""
        return Sharing.of({name: split.cuts for name, split in self.splits.items() if name != "noise"})

    def warnings(self) -> list[str]:
        """What the splits share, and what was left out of the data, and why."""
        return self.sharing.warnings() + self.train.warnings("train") + self.val.warnings("val")

    def augmenter(self) -> SoundAugmenter:
        """What is done to the training audio of this kind of model."""
        settings, seed = self.config.augment, self.config.run.seed
        noise = self.splits["noise"].cuts if "noise" in self.splits else ()
        if isinstance(settings, Wav2Vec2Augment):
            return FrameMasker(settings, seed, noise)
        return Augmenter(settings, seed, noise)


@dataclass(frozen=True)
class Plan(AnyPlan):
    """The plan of a recogniser of text."""

    config: TrainExperiment

    @property
    def merges(self) -> bool:
        """Whether adapters become part of the weights of the model that is kept."""
        asked = isinstance(self.config, Wav2Vec2Experiment) and self.config.model.merged
        return asked or bool(self._only_here())

    @property
    def costs(self) -> dict[str, float]:
        """Sizes, and what adapters add while they learn, which a model that is kept merged has no longer.

        The latter is not logged: it follows from the configuration, and runs that lack it are still reproduced.
        """
        added = self.recognizer.added_params if isinstance(self.recognizer, Wav2Vec2Recognizer) else 0
        return self.sizes | {"model/added_params": added}

    def _only_here(self) -> str:
        """The folder that a registered model's adapters would need, which is on this machine alone; "" without any."""
        if not (self.config.run.register_as and isinstance(self.recognizer, Wav2Vec2Recognizer)):
            return ""
        return self.recognizer.base_folder

    def warnings(self) -> list[str]:
        """What is to be said of the data, and what is kept in another way than it seems."""
        folder = self._only_here()
        whole = [f"registered as one plain model: {folder}, which its adapters would need, is on this machine alone"]
        return super().warnings() + (whole if folder else [])


def plan(config: TrainExperiment, store: ModelStore, load: Loader = load_model) -> Plan:
    """Read and check the data, and build the model or fetch the one to fine-tune; nothing is recorded."""
    paths = {"train": config.data.train, "val": config.data.val, "test": config.data.test}
    splits = {name: Split.read(name, path) for name, path in paths.items() if path}
    if config.data.phonemes:
        check_spoken(splits)
    if config.augment.noise_manifest:
        splits["noise"] = Split.read("noise", config.augment.noise_manifest, speech=False)
    texts = splits["train"].cuts
    if isinstance(config, DeepSpeech2Experiment):
        start = deepspeech2.start(config, texts, store, load)
    else:
        start = wav2vec2.start(config, texts, store)
    recognizer, longest_s = start.recognizer, config.data.max_duration_s
    fastest = max(1.0, *config.augment.speed_factors)
    train = screened(splits["train"], recognizer, longest_s, fastest=fastest)
    val = screened(splits["val"], recognizer, longest_s)
    if "test" in splits:
        refuse_too_short(splits["test"], recognizer)
    return Plan(start.config, splits, train, val, recognizer, start.base_uri)
