"""Configuration that the training of all text recognisers shares."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from asr_lab.config.schema.augment import Joining, Sound
from asr_lab.config.schema.base import Data, Experiment, RecognitionModel
from asr_lab.config.schema.loop import Train


class RecognitionExperiment(Experiment):
    """Train a recogniser: the sections that the recognition recipe uses."""

    data: Data = Data()
    augment: Sound = Sound()
    model: RecognitionModel = RecognitionModel()
    train: Train = Train()

    @property
    def merges(self) -> bool:
        """Whether to merge adapters into the weights of the saved model."""
        return False

    @model_validator(mode="after")
    def _joins_within_a_batch(self) -> Self:
        if isinstance(self.augment, Joining) and self.augment.join_share and self.train.batch_size == 1:
            raise ValueError("augment.join_share joins the utterances of a batch: train.batch_size must be at least 2")
        return self
