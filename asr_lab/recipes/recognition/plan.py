"""A training before anything is spent: its data, read and checked, and its untrained model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from asr_lab.config.identity import differences
from asr_lab.config.schema import PronunciationExperiment, RecognitionExperiment
from asr_lab.data.augment import SoundAugmenter
from asr_lab.data.filtering import FilterResult
from asr_lab.data.joining import unjoined_warnings
from asr_lab.data.leakage import Leakage
from asr_lab.families import family, find
from asr_lab.interfaces.tracking import Lineage, ModelStore
from asr_lab.models.recognizer import Recognizer
from asr_lab.recipes.splits import Split, check_spoken, filter_split, refuse_too_short, refuse_two_readings
from asr_lab.reports.summary import Summary


@dataclass(frozen=True)
class TrainingPlan:
    """The plan of a training: filtered data and the untrained model."""

    config: RecognitionExperiment | PronunciationExperiment
    splits: dict[str, Split]
    train: FilterResult
    val: FilterResult
    recognizer: Recognizer
    base_uri: str = ""
    """Pinned URI of the model that is fine-tuned; "" from scratch."""

    @property
    def num_params(self) -> int:
        return sum(parameter.numel() for parameter in self.recognizer.model.parameters())

    @property
    def num_trainable(self) -> int:
        return sum(one.numel() for one in self.recognizer.model.parameters() if one.requires_grad)

    @property
    def sizes(self) -> dict[str, float]:
        """Numbers of parameters and of trainable ones, as metrics."""
        return {
            "model/params": self.num_params,
            "model/trainable_params": self.num_trainable,
            "model/trainable_share": self.num_trainable / self.num_params,
        }

    @cached_property
    def leakage(self) -> Leakage:
        """Speakers and utterances shared between splits."""
        return Leakage.of({name: split.cuts for name, split in self.splits.items() if name != "noise"})

    @property
    def warnings(self) -> list[str]:
        """Data leakage, utterances that were left out, and those too long to be joined."""
        unjoined = unjoined_warnings(self.config.augment, self.train.cuts)
        return self.leakage.warnings() + self.train.warnings("train") + self.val.warnings("val") + unjoined

    @property
    def summary(self) -> Summary:
        """Non-default settings, the data, and the model size."""
        trainable = f"{self.num_trainable / 1e6:.2f} M trainable, " if self.num_trainable < self.num_params else ""
        size = f"{self.num_params / 1e6:.2f} M parameters, {trainable}{len(self.recognizer.vocabulary)} classes"
        return Summary(
            parts=[
                ("differs from the defaults", [f"{key} = {value}" for key, value in differences(self.config).items()]),
                ("data", {name: str(split) for name, split in self.splits.items()}),
                ("model", [*([f"fine-tuned from {self.base_uri}"] if self.base_uri else []), size]),
            ]
        )

    def lineage(self, store: ModelStore) -> Lineage:
        """Return what the model that is fine-tuned was trained on."""
        return store.lineage(self.base_uri) if self.base_uri else Lineage()

    def augmenter(self) -> SoundAugmenter:
        """Return the augmenter of the training audio."""
        noise = self.splits["noise"].cuts if "noise" in self.splits else ()
        return self.recognizer.augmenter(self.config.augment, self.config.run.seed, noise)


@dataclass(frozen=True)
class RecognitionPlan(TrainingPlan):
    """The plan of a speech recogniser's training."""

    config: RecognitionExperiment

    @property
    def merges(self) -> bool:
        """Whether adapters are merged into the weights of the saved model."""
        return self.config.merges or bool(self._local_base())

    @property
    def costs(self) -> dict[str, float]:
        """Sizes, and the parameters that adapters add during training.

        The latter are not logged: they follow from the configuration.
        """
        return self.sizes | {"model/added_params": self.recognizer.added_params}

    def _local_base(self) -> str:
        """Return the local folder that the adapters of a registered model would need, or ""."""
        return self.recognizer.base_folder if self.config.run.register_as else ""

    @property
    def warnings(self) -> list[str]:
        """Warnings about the data, and about a model that is merged before it is registered."""
        folder = self._local_base()
        merged = [f"registered as one plain model: {folder}, which its adapters would need, is on this machine alone"]
        return super().warnings + (merged if folder else [])


def plan(config: RecognitionExperiment, store: ModelStore) -> RecognitionPlan:
    """Read and check the data, and build or load the model; nothing is recorded."""
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
    train = filter_split(splits["train"], recognizer, longest_s, fastest=fastest)
    val = filter_split(splits["val"], recognizer, longest_s)
    if "test" in splits:
        refuse_two_readings(splits["test"], recognizer)
        refuse_too_short(splits["test"], recognizer)
    return RecognitionPlan(start.config, splits, train, val, recognizer, start.base_uri)
