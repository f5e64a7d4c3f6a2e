"""Configuration that the training of all text recognisers shares."""

from __future__ import annotations

from asr_lab.config.schema.augment import Sound
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
