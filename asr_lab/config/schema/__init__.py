"""Every setting of every experiment: typed, frozen, explained underneath, unknown keys refused.

Variants are YAML files under `experiments/` that hold only what differs from the defaults here.
"""

from __future__ import annotations

from asr_lab.config.schema.adapter import Adapter, AdapterData, AdapterExperiment, AdapterTrain
from asr_lab.config.schema.arms import UNTOUCHED, ArmsExperiment, Comparison
from asr_lab.config.schema.augment import Augment, FrameMasking, Joining, Sound, Wav2Vec2Augment
from asr_lab.config.schema.base import Data, Experiment, RecognitionModel, Run, Section, Text
from asr_lab.config.schema.curriculum import Curriculum, CurriculumExperiment, Phase
from asr_lab.config.schema.decode import Decode
from asr_lab.config.schema.deepspeech2 import DeepSpeech2Experiment, DeepSpeech2Model
from asr_lab.config.schema.evaluate import EvaluateExperiment, Evaluation
from asr_lab.config.schema.language_model import LanguageModel, LanguageModelExperiment
from asr_lab.config.schema.loop import Loop, Train
from asr_lab.config.schema.pronunciation import (
    PronunciationData,
    PronunciationExperiment,
    PronunciationLoss,
    PronunciationModel,
    PronunciationTrain,
)
from asr_lab.config.schema.recognition import RecognitionExperiment
from asr_lab.config.schema.sweep import SweepExperiment
from asr_lab.config.schema.wav2vec2 import Lora, Wav2Vec2Experiment, Wav2Vec2Model, Wav2Vec2Train

__all__ = [
    "ALIASES",
    "UNTOUCHED",
    "Adapter",
    "AdapterData",
    "AdapterExperiment",
    "AdapterTrain",
    "ArmsExperiment",
    "Augment",
    "Comparison",
    "Curriculum",
    "CurriculumExperiment",
    "Data",
    "Decode",
    "DeepSpeech2Experiment",
    "DeepSpeech2Model",
    "EvaluateExperiment",
    "Evaluation",
    "Experiment",
    "FrameMasking",
    "Joining",
    "LanguageModel",
    "LanguageModelExperiment",
    "Loop",
    "Lora",
    "Phase",
    "PronunciationData",
    "PronunciationExperiment",
    "PronunciationLoss",
    "PronunciationModel",
    "PronunciationTrain",
    "RecognitionExperiment",
    "RecognitionModel",
    "Run",
    "Section",
    "Sound",
    "SweepExperiment",
    "Text",
    "Train",
    "Wav2Vec2Augment",
    "Wav2Vec2Experiment",
    "Wav2Vec2Model",
    "Wav2Vec2Train",
]

ALIASES: dict[str, str] = {
    "adapter_hidden_dims": "adapter.hidden_dims",
    "adapter_name": "adapter.name",
    "adapter_save_dir": "adapter.save_dir",
    "base_model_path": "adapter.base",
    "batch_size": "train.batch_size",
    "epochs": "train.epochs",
    "error_weight": "loss.errors",
    "eval_data": "data.test",
    "experiment_name": "run.name",
    "gradient_accumulation": "train.accumulate",
    "hidden_dim": "model.head_size",
    "hidden_dims": "adapter.hidden_dims",
    "main_lr": "train.lr",
    "model_type": "model.type",
    "num_epochs": "train.epochs",
    "num_workers": "train.num_workers",
    "phoneme_weight": "loss.phonemes",
    "pretrained_model": "model.pretrained",
    "pretrained_model_path": "model.pretrained",
    "seed": "run.seed",
    "train_data": "data.train",
    "transcripts_path": "data.train",
    "val_data": "data.val",
    "wav2vec_lr": "train.lr",
}
"""Option names of the older systems and the config keys they stand for; a family may have others (`families`)."""
