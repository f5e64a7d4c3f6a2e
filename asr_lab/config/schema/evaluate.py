"""Configuration of an evaluation."""

from __future__ import annotations

from typing import Literal

from asr_lab.config.schema.base import Experiment, Positive, Section


class Evaluation(Section):
    """Model, data and outputs of the evaluation."""

    model: str
    """The recogniser: a registry URI, `runs:/ID/model`, or a folder."""
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


class EvaluateExperiment(Experiment):
    """Score a recogniser on a manifest."""

    recipe: Literal["evaluate"] = "evaluate"
    evaluate: Evaluation

    def manifests(self) -> dict[str, str]:
        return {self.evaluate.split: self.evaluate.data}
