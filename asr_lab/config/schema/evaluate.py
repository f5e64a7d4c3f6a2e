"""Scoring a recogniser."""

from __future__ import annotations

from typing import Literal

from asr_lab.config.schema.base import Experiment, Positive, Section


class Evaluation(Section):
    """What is scored, and how."""

    model: str
    """The recogniser: a registry URI, `runs:/ID/model`, or a folder."""
    data: str
    """Manifest to score on."""
    adapter: str = ""
    """A person's adapter: its name, its file or its registry URI; empty: the base alone."""
    adapter_dir: str = "adapters"
    """Folder of the `{name}_adapter.pt` files."""
    split: str = "test"
    """Name of the data in metrics and artifacts (`test/wer`, `eval/test.parquet`)."""
    batch_size: Positive = 16
    audio: bool = False
    """Put the audio into the page, to listen to; only where asked, for it is people's voices."""
    save_predictions: bool = False
    """Keep all that is said of each utterance as `eval/<split>_predictions.jsonl` too, to be read without pandas."""
    learners: bool = False
    """For a model of pronunciation: a page for each speaker, with their audio, under `learners/`."""
    phonemes: bool = False
    """Score in phonemes too (`test/per`), by eSpeak NG and the utterances' language."""


class EvaluateExperiment(Experiment):
    """Score a recogniser on a manifest."""

    recipe: Literal["evaluate"] = "evaluate"
    evaluate: Evaluation

    def manifests(self) -> dict[str, str]:
        return {self.evaluate.split: self.evaluate.data}
