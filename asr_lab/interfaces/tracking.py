"""Tracking protocols that recipes depend on; `asr_lab.tracking` implements them on MLflow.

A recipe receives a `Tracker`, starts a run and records into it; it resolves models by URI through the `ModelStore`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import pandas as pd

from asr_lab.system.stopping import Terminated

Status = Literal["FINISHED", "FAILED", "KILLED"]
REPRODUCE, SWEEP_KIND = "reproduce", "sweep"
"""Kinds of a run that reproduces another one, and of one whose child runs are trials."""
MERGED = "asr_lab.merged"
"""Tag of a run whose adapters were merged into the saved weights: a different model with the same signature."""
PHASES_DONE, ARMS_DONE = "phases.json", "arms.json"
"""Files in a run's checkpoint folder that list its finished trainings, so that the run can be resumed."""


class PrunedError(Exception):
    """The watcher pruned the run, which ends as KILLED."""


def is_tracked_uri(uri: str) -> bool:
    """Return whether a model URI belongs to the tracking store; a spool's folder is deleted once it is shipped."""
    return uri.startswith(("models:/", "runs:/"))


class Watcher(Protocol):
    """Callbacks of a run while it is recorded, as a sweep has for its trials. Such a run is `minimal`."""

    def on_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Called each time metrics are logged; may raise `PrunedError`."""

    def wants_model(self) -> bool:
        """Return whether to save the run's model; called once its metrics are known."""


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Description of a run before it starts: family, kind, configuration and signature."""

    family: str
    kind: str
    model_type: str
    name: str
    signature: str
    params: Mapping[str, Any]
    config_yaml: str
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str = ""
    """Id of the parent run."""
    registers: bool = True
    """Whether its models may be registered; a run that reproduces another one registers none."""
    resumable: bool = False
    """Whether to resume an unfinished run of the same signature whose process has ended."""
    watcher: Watcher | None = None


@dataclass(frozen=True)
class Dataset:
    """A data split used by a run."""

    name: str
    split: str
    digest: str
    source: str
    num_utterances: int
    hours: float


@dataclass(frozen=True, kw_only=True)
class RegisteredModel:
    """A model to register: the folder of a recogniser, or the file of an adapter and the URI of its base."""

    name: str
    files: Mapping[str, Path]
    """Artifact name -> path: `model` is the folder of a recogniser, `adapter` the file of an adapter."""
    base_uri: str = ""
    """For an adapter: the pinned URI of its base (`models:/deepspeech2/3`)."""
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True)
class FinishedRun:
    """A finished run whose model and metrics can be reused."""

    run_id: str
    name: str
    model_uri: str
    metrics: Mapping[str, float]
    """Metric name -> last value."""
    table: Callable[[str], pd.DataFrame]
    """Reads a table that was logged, by its path."""


class Recorder(Protocol):
    """Records one run. As a context manager it ends the run as FINISHED, FAILED or KILLED (Ctrl-C, SIGTERM)."""

    @property
    def run_id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def resumed(self) -> bool:
        """Whether this resumes an interrupted run."""

    @property
    def minimal(self) -> bool:
        """Whether to log only metrics and tables, no pages and figures, as for one of many trials."""

    @property
    def checkpoints(self) -> Path:
        """Folder of this run's checkpoints, also those of the run that it resumes."""

    def params(self, values: Mapping[str, Any]) -> None: ...

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None: ...

    def last_steps(self) -> dict[str, int]:
        """Return metric -> last step already logged by the run that is resumed; empty for a new run."""

    def tags(self, values: Mapping[str, str]) -> None: ...

    def note(self, content: str) -> None:
        """Set the run's description, in Markdown."""

    def dataset(self, dataset: Dataset) -> None: ...

    def table(self, rows: pd.DataFrame, path: str, *, shown: bool = False) -> None:
        """Log a table as a parquet artifact, such as `eval/test.parquet`.

        `shown`: a table of utterances (`id, reference, hypothesis`) whose first
        thousand the MLflow UI is to show.
        """

    def text(self, content: str, path: str) -> None:
        """Log a text artifact, such as `config.yaml` or `eval/test.html`."""

    def file(self, local: Path, folder: str = "") -> None: ...

    def figure(self, figure: Any, path: str) -> None: ...

    def model(self, model: RegisteredModel, *, register: bool) -> str:
        """Log a model, register it as a version of `model.name` if `register`, and return its URI.

        Return "" without logging if the watcher does not want it.
        """

    def finish(self, status: Status) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Tracker(Protocol):
    """Starts runs."""

    def start(self, spec: RunSpec, *, own: bool = False) -> Recorder:
        """Start a new run, resume one, or take the one that the caller was given (never if `own`)."""

    def finished(self, spec: RunSpec, *, own: bool = False) -> FinishedRun | None:
        """Return the newest finished run of this signature and kind that has a model, merged if `spec` is, or None.

        `own`: only of earlier attempts of this job, and of jobs before it that did parts of its work.
        """


class RunKeeper(Tracker, Protocol):
    """Also reopens runs, and closes those whose process has ended."""

    def reopen(self, spec: RunSpec, run_id: str) -> Recorder:
        """Continue recording into an earlier run, ended or not; start a new one if it was deleted."""

    def close(self, run_id: str, status: Status, why: str) -> None:
        """End a run whose process has ended, and delete its checkpoints; do nothing if it is closed already."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Data that a run behind a model was trained on."""

    run: str
    """Name of the run."""
    source: str
    """Path of the manifest, as it was given."""
    digest: str
    part: tuple[str, str] | None = None
    """(field, value) of the utterances that were used, of which the digest is; None: all of the manifest."""
    held_out: tuple[float, int] | None = None
    """(share, seed) of utterances that were held out from it for testing."""
    drawn: tuple[int, int] | None = None
    """(number, seed) of utterances drawn from the rest; None: all."""
    personal: bool = False
    """Whether it is of the speaker that the model is for: his speech in other data is intended."""


@dataclass(frozen=True)
class Lineage:
    """What a model was trained on: by its own run, by those of the models it started from, by an adapter's."""

    data: Sequence[TrainingData] = ()
    unknown: Sequence[str] = ()
    """A line on each model or run whose training data are not known."""


class ModelStore(Protocol):
    """Resolves model URIs."""

    def resolve(self, uri: str) -> Path:
        """Return the local folder of `models:/NAME@alias`, `models:/NAME/3`, `runs:/ID/model` or a folder."""

    def adapter_file(self, uri: str) -> Path:
        """Return the local file of a registered adapter, such as `models:/deepspeech2-adapter-NAME@alias`."""

    def language_model_file(self, uri: str) -> Path:
        """Return the local ARPA file of a registered language model."""

    def language_model_weights(self, uri: str) -> Mapping[str, Mapping[str, float]]:
        """Return the weights of decoding registered with a language model, by the recogniser's registered name."""

    def register_language_model_weights(self, uri: str, recognizer: str, weights: Mapping[str, float]) -> None:
        """Register weights of decoding with a language model, for a recogniser's registered name."""

    def resolve_version(self, uri: str) -> str:
        """Return an immutable URI of the same model: an alias becomes a version."""

    def exists(self, uri: str) -> bool: ...

    def lineage(self, uri: str, adapter: str = "") -> Lineage:
        """Return the training data behind a model, and behind an adapter (a file or a URI) for it.

        What is not known is listed; nothing is raised.
        """


def status_of(kind: type[BaseException] | None) -> Status:
    """Return the final status of a run that ended with this exception, or with none."""
    if kind is None:
        return "FINISHED"
    return "KILLED" if issubclass(kind, KeyboardInterrupt | Terminated | PrunedError) else "FAILED"
