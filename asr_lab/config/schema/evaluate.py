"""Configuration of an evaluation."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from asr_lab.config.schema.base import SPLITS, Experiment, Positive, Section
from asr_lab.config.schema.decode import Decode


class Evaluation(Section):
    """Model, data and outputs of the evaluation."""

    model: str
    """The recogniser: a registry URI or registered name, `runs:/ID/model`, or a folder."""
    data: str
    """Manifest to score on."""
    adapter: str = ""
    """A speaker's adapter: its name, file or registry URI; empty: the base model alone."""
    adapter_dir: str = "adapters"
    """Folder of the `{name}_adapter.pt` files."""
    split: str = "test"
    """Name of the data in metrics and artifacts (`test/wer`, `eval/test.parquet`)."""
    batch_size: Positive = 16
    audio: bool = False
    """Embed the audio in the HTML page; off by default, since voices are personal data."""
    save_predictions: bool = False
    """Also save all predictions as `eval/<split>_predictions.jsonl`, one JSON object per utterance."""
    learners: bool = False
    """For a pronunciation model: one page per speaker, with audio, under `learners/`."""
    phonemes: bool = False
    """Also compute the phoneme error rate (`test/per`) with eSpeak NG, by the utterances' language."""
    tune: bool = False
    """Search `decode.lm_weight` and `decode.word_score` for the lowest WER on the data, which is to be validation
    data."""
    confidence: bool = False
    """Also log each word with its times and confidence (`eval/<split>_words.parquet`)."""


class EvaluateExperiment(Experiment):
    """Score a recogniser on a manifest."""

    recipe: Literal["evaluate"] = "evaluate"
    evaluate: Evaluation
    decode: Decode = Decode()

    @model_validator(mode="after")
    def _can_be_tuned(self) -> Self:
        if self.evaluate.tune and not self.decode.lm:
            raise ValueError("evaluate.tune (--tune) searches the weights of a language model: it needs decode.lm")
        if self.decode.calibration and not self.evaluate.confidence:
            raise ValueError("decode.calibration has no effect without evaluate.confidence=true")
        return self

    def manifests(self) -> dict[str, str]:
        return {self.evaluate.split: self.evaluate.data}

    def part_manifests(self) -> dict[str, str]:
        return {"evaluate.data": self.evaluate.data}

    def split_of(self, key: str) -> str:
        return self.evaluate.split if self.evaluate.split in SPLITS else "test"
