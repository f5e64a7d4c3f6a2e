"""Training a recogniser of text, whatever its network."""

from __future__ import annotations

from asr_lab.config.schema.augment import Sound
from asr_lab.config.schema.base import Data, Experiment, RecognitionModel
from asr_lab.config.schema.loop import Train


class RecognitionExperiment(Experiment):
    """Train a recogniser: what the recognition recipe needs of a family's configuration."""

    data: Data = Data()
    augment: Sound = Sound()
    model: RecognitionModel = RecognitionModel()
    train: Train = Train()

    @property
    def merges(self) -> bool:
        """Whether adapters are asked to become part of the weights of the model that is kept."""
        return False
