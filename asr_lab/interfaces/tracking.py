"""What recipes know of tracking: three protocols, and versions of them that live in memory.

`asr_lab.tracking` implements them on MLflow. A recipe is handed a `Tracker`, starts a run, and records into it; it
asks the `ModelStore` for models by URI and registers new ones there.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import pandas as pd

Status = Literal["FINISHED", "FAILED", "KILLED"]
REPRODUCE = "reproduce"
"""Kind of a run that repeats another one."""
MERGED = "asr_lab.merged"
"""Tag of a run whose adapters became part of the weights that it kept: another model, of the same signature."""
PHASES_DONE, ARMS_DONE = "phases.json", "arms.json"
"""What is done of a run of several trainings, in the place of its checkpoints: by it the run is continued."""


class Terminated(SystemExit):
    """SIGTERM came: from a cluster, `torchrun`, or `kill`. Exit code 143, as the shell has it."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)

    def __str__(self) -> str:
        return "SIGTERM"


class PrunedError(Exception):
    """Whoever looks on has seen enough: the run ends as KILLED."""


def is_tracked_uri(uri: str) -> bool:
    """Whether a model's URI is the tracking store's, not a folder of a spool, which is gone once it is shipped."""
    return uri.startswith(("models:/", "runs:/"))


class Watcher(Protocol):
    """Looks on while a run is recorded, as a sweep does at its trials. Such a run is `minimal`."""

    def on_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Told each time metrics are logged; may raise `PrunedError`."""

    def wants_model(self) -> bool:
        """Whether the run's model is worth keeping; asked when its figures are known."""


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """What a run is, before it starts: its family and kind, its configuration and what makes it itself."""

    family: str
    kind: str
    model_type: str
    name: str
    signature: str
    params: Mapping[str, Any]
    config_yaml: str
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str = ""
    """Id of the run that this one belongs to."""
    registers: bool = True
    """Whether its models may become versions in the registry; one that repeats another run leaves it as it is."""
    resumable: bool = False
    """Whether an unfinished run of the same signature whose process is gone is continued."""
    watcher: Watcher | None = None
    """Who looks on."""


@dataclass(frozen=True)
class Dataset:
    """A split as a run used it."""

    name: str
    split: str
    digest: str
    source: str
    num_utterances: int
    hours: float


@dataclass(frozen=True, kw_only=True)
class RegisteredModel:
    """What is registered: a recogniser's folder, or an adapter's file with the base it belongs to."""

    name: str
    files: Mapping[str, Path]
    """Artifact name -> file or folder; `model` is a recogniser's folder, `adapter` an adapter's file."""
    base_uri: str = ""
    """For an adapter: the pinned URI of its base (`models:/deepspeech2/3`)."""
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True)
class FinishedRun:
    """A run that is finished, as far as others build on it."""

    run_id: str
    name: str
    model_uri: str
    metrics: Mapping[str, float]
    """Name -> the last value."""


class Recorder(Protocol):
    """One run, being recorded. As a context manager it ends itself: FINISHED, FAILED, or KILLED (Ctrl-C, SIGTERM)."""

    @property
    def run_id(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def resumed(self) -> bool:
        """Whether this continues a run that was cut off."""

    @property
    def minimal(self) -> bool:
        """Whether figures and tables will do: one of many runs, of whose pages and pictures nobody looks at all."""

    @property
    def checkpoints(self) -> Path:
        """Folder of this run's checkpoints; those of a run that is continued lie in it."""

    def params(self, values: Mapping[str, Any]) -> None: ...

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None: ...

    def last_steps(self) -> dict[str, int]:
        """Metric -> the last step at which a run that is continued has it already; empty for a new run."""

    def tags(self, values: Mapping[str, str]) -> None: ...

    def note(self, content: str) -> None:
        """The run's description in Markdown: what people read first when they open it."""

    def dataset(self, dataset: Dataset) -> None: ...

    def table(self, rows: pd.DataFrame, path: str) -> None:
        """A table as a parquet artifact, such as `eval/test.parquet`."""

    def text(self, content: str, path: str) -> None:
        """A text artifact, such as `config.yaml` or `eval/test.html`."""

    def file(self, local: Path, folder: str = "") -> None: ...

    def figure(self, figure: Any, path: str) -> None: ...

    def model(self, model: RegisteredModel, *, register: bool) -> str:
        """Keep a model with the run, and make it a version of `model.name` if `register`; its URI.

        "" where a watcher does not want it: then it is not kept.
        """

    def finish(self, status: Status) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Tracker(Protocol):
    """Starts runs."""

    def start(self, spec: RunSpec, *, own: bool = False) -> Recorder:
        """A new run, one that is continued, or the one that the caller was given (never when `own`)."""

    def finished(self, spec: RunSpec) -> FinishedRun | None:
        """The newest finished run of this signature and kind that has a model, of adapters that are merged only where
        those of `spec` are; None when there is none.
        """


class RunKeeper(Tracker, Protocol):
    """Also takes up runs again, and closes those that nobody records any more."""

    def reopen(self, spec: RunSpec, run_id: str) -> Recorder:
        """Go on recording into a run that was started before, ended or not; a new run where that one is gone."""

    def close(self, run_id: str, status: Status, why: str) -> None:
        """End a run whose process is gone, and remove its checkpoints; nothing where it has ended."""


class ModelStore(Protocol):
    """Where models are kept."""

    def resolve(self, uri: str) -> Path:
        """The local folder of a model by `models:/NAME@alias`, `models:/NAME/3`, `runs:/ID/model` or a folder."""

    def adapter_file(self, uri: str) -> Path:
        """The file of a registered adapter, by `models:/deepspeech2-adapter-NAME@alias` and the like."""

    def resolve_version(self, uri: str) -> str:
        """The same model under a URI that will mean it for ever (an alias becomes a version)."""

    def exists(self, uri: str) -> bool: ...


def status_of(kind: type[BaseException] | None) -> Status:
    """How a run ends that was left by this exception."""
    if kind is None:
        return "FINISHED"
    return "KILLED" if issubclass(kind, KeyboardInterrupt | Terminated | PrunedError) else "FAILED"
