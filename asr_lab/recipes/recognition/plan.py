"""A training before anything is spent: its data, read and checked, and its untrained model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from asr_lab.config.identity import differences
from asr_lab.config.schema import PronunciationExperiment, RecognitionExperiment
from asr_lab.data.augment import SoundAugmenter
from asr_lab.data.filtering import FilterResult
from asr_lab.data.leakage import Leakage
from asr_lab.families import family, find
from asr_lab.interfaces.tracking import ModelStore
from asr_lab.models.recognizer import Recognizer
from asr_lab.recipes.splits import Split, check_spoken, refuse_too_short, screened
from asr_lab.reports.summary import Summary


@dataclass(frozen=True)
class TrainingPlan:
    """All that is known before anything is spent: the data as it will be used and the untrained model."""

    config: RecognitionExperiment | PronunciationExperiment
    splits: dict[str, Split]
    train: FilterResult
    val: FilterResult
    recognizer: Recognizer
    base_uri: str = ""
    """The pinned model that is fine-tuned; empty from scratch."""

    @property
    def num_params(self) -> int:
        return sum(parameter.numel() for parameter in self.recognizer.model.parameters())

    @property
    def num_trainable(self) -> int:
        return sum(one.numel() for one in self.recognizer.model.parameters() if one.requires_grad)

    @property
    def sizes(self) -> dict[str, float]:
        """Parameters and how many of them learn, as metrics."""
        return {
            "model/params": self.num_params,
            "model/trainable_params": self.num_trainable,
            "model/trainable_share": self.num_trainable / self.num_params,
        }

    @cached_property
    def sharing(self) -> Leakage:
        """What is both learned from, or chosen on, and tested on."""
        return Leakage.of({name: split.cuts for name, split in self.splits.items() if name != "noise"})

    @property
    def warnings(self) -> list[str]:
        """What the splits share, and what was left out of the data, and why."""
        return self.sharing.warnings() + self.train.warnings("train") + self.val.warnings("val")

    @property
    def summary(self) -> Summary:
        """What differs from the defaults, the data, and the model's size."""
        learning = f"{self.num_trainable / 1e6:.2f} M of them learn, " if self.num_trainable < self.num_params else ""
        size = f"{self.num_params / 1e6:.2f} M parameters, {learning}{len(self.recognizer.vocabulary)} classes"
        return Summary(
            parts=[
                ("differs from the defaults", [f"{key} = {value}" for key, value in differences(self.config).items()]),
                ("data", {name: str(split) for name, split in self.splits.items()}),
                ("model", [*([f"fine-tuned from {self.base_uri}"] if self.base_uri else []), size]),
            ]
        )

    def augmenter(self) -> SoundAugmenter:
        """What is done to the training audio of this kind of model."""
        noise = self.splits["noise"].cuts if "noise" in self.splits else ()
        return self.recognizer.augmenter(self.config.augment, self.config.run.seed, noise)


@dataclass(frozen=True)
class RecognitionPlan(TrainingPlan):
    """The plan of a recogniser of text."""

    config: RecognitionExperiment

    @property
    def merges(self) -> bool:
        """Whether adapters become part of the weights of the model that is kept."""
        return self.config.merges or bool(self._only_here())

    @property
    def costs(self) -> dict[str, float]:
        """Sizes, and what adapters add while they learn, which a model that is kept merged has no longer.

        The latter is not logged: it follows from the configuration, and runs that lack it are still reproduced.
        """
        return self.sizes | {"model/added_params": self.recognizer.added_params}

    def _only_here(self) -> str:
        """The folder that a registered model's adapters would need, which is on this machine alone; "" without any."""
        return self.recognizer.base_folder if self.config.run.register_as else ""

    @property
    def warnings(self) -> list[str]:
        """What is to be said of the data, and what is kept in another way than it seems."""
        folder = self._only_here()
        whole = [f"registered as one plain model: {folder}, which its adapters would need, is on this machine alone"]
        return super().warnings + (whole if folder else [])


def plan(config: RecognitionExperiment, store: ModelStore) -> RecognitionPlan:
    """Read and check the data, and build the model or fetch the one to fine-tune; nothing is recorded."""
    speech = {name: path for name, path in config.manifests().items() if name != "noise"}
    splits = {name: Split.read(name, path) for name, path in speech.items()}
    if config.data.phonemes:
        check_spoken(splits)
    if config.augment.noise_manifest:
        splits["noise"] = Split.read("noise", config.augment.noise_manifest, speech=False)
    initialize = find(family(config.recipe).initialization)
    start = initialize(config, splits["train"].cuts, store)
    recognizer, longest_s = start.recognizer, config.data.max_duration_s
    fastest = max(1.0, *config.augment.speed_factors)
    train = screened(splits["train"], recognizer, longest_s, fastest=fastest)
    val = screened(splits["val"], recognizer, longest_s)
    if "test" in splits:
        refuse_too_short(splits["test"], recognizer)
    return RecognitionPlan(start.config, splits, train, val, recognizer, start.base_uri)
