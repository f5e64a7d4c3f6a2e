"""In-memory tracking and folder-based models, for tests and for torchrun processes other than rank 0."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd

from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tags import ERROR
from asr_lab.interfaces.tracking import (
    MERGED,
    Dataset,
    FinishedRun,
    Lineage,
    RegisteredModel,
    RunSpec,
    Status,
    status_of,
)


class MemoryRecorder:
    """A run recorded in memory, for tests and for ranks other than 0."""

    def __init__(self, spec: RunSpec, checkpoints: Path, run_id: str = "memory") -> None:
        self.spec, self.checkpoints, self.run_id = spec, checkpoints, run_id
        self.name, self.resumed = spec.name, False
        self.status: Status | None = None
        self.all_params: dict[str, Any] = dict(spec.params)
        self.all_metrics: dict[str, list[tuple[int, float]]] = {}
        self.all_tags: dict[str, str] = dict(spec.tags)
        self.artifacts: dict[str, Any] = {}
        self.datasets: list[Dataset] = []
        self.models: list[RegisteredModel] = []

    def params(self, values: Mapping[str, Any]) -> None:
        self.all_params |= values

    @property
    def minimal(self) -> bool:
        return self.spec.watcher is not None

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        for name, value in values.items():
            self.all_metrics.setdefault(name, []).append((step, value))
        if self.spec.watcher:
            self.spec.watcher.on_metrics(values, step)

    def last_steps(self) -> dict[str, int]:
        return (
            {name: max(step for step, _ in points) for name, points in self.all_metrics.items()} if self.resumed else {}
        )

    def tags(self, values: Mapping[str, str]) -> None:
        self.all_tags |= values

    def note(self, content: str) -> None:
        self.artifacts["note"] = content

    def dataset(self, dataset: Dataset) -> None:
        self.datasets.append(dataset)
        self.tags({f"asr_lab.data.{dataset.split}": dataset.digest})

    def table(self, rows: pd.DataFrame, path: str, *, shown: bool = False) -> None:
        self.artifacts[path] = rows

    def text(self, content: str, path: str) -> None:
        self.artifacts[path] = content

    def file(self, local: Path, folder: str = "") -> None:
        self.artifacts[f"{folder}/{local.name}".lstrip("/")] = local

    def figure(self, figure: Any, path: str) -> None:
        self.artifacts[path] = figure

    def model(self, model: RegisteredModel, *, register: bool) -> str:
        if self.spec.watcher and not self.spec.watcher.wants_model():
            return ""
        self.models.append(model)
        return str(model.files.get("model", ""))

    def finish(self, status: Status) -> None:
        self.status = status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish(status_of(kind))


class MemoryTracker:
    """Starts runs in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: list[MemoryRecorder] = []

    def start(self, spec: RunSpec, *, own: bool = False) -> MemoryRecorder:
        run_id = f"memory{len(self.runs)}"
        self.runs.append(MemoryRecorder(spec, self.folder / run_id, run_id))
        return self.runs[-1]

    def finished(self, spec: RunSpec, *, own: bool = False) -> FinishedRun | None:
        for run in reversed(self.runs):
            same = (run.spec.signature, run.spec.kind) == (spec.signature, spec.kind)
            same = same and (MERGED in run.all_tags) == (MERGED in spec.tags)
            if same and run.status == "FINISHED" and run.models:
                last = {name: points[-1][1] for name, points in run.all_metrics.items()}
                model = str(next(iter(run.models[-1].files.values())))
                return FinishedRun(run.run_id, run.name, model, last, run.artifacts.__getitem__)
        return None

    def reopen(self, spec: RunSpec, run_id: str) -> MemoryRecorder:
        return next((run for run in self.runs if run.run_id == run_id), None) or self.start(spec)

    def close(self, run_id: str, status: Status, why: str) -> None:
        for run in self.runs:
            if run.run_id == run_id and run.status is None:
                run.tags({ERROR: why})
                run.finish(status)


class FolderStore:
    """Models addressed by folder only."""

    def resolve(self, uri: str) -> Path:
        if not Path(uri).is_dir():
            raise AsrLabError(f"no such model {uri!r}", allowed="a model's folder")
        return Path(uri)

    def adapter_file(self, uri: str) -> Path:
        raise AsrLabError(f"no such adapter {uri!r}", allowed="an adapter's name or file")

    def language_model_file(self, uri: str) -> Path:
        raise AsrLabError(f"no such language model {uri!r}", allowed="an ARPA file")

    def language_model_weights(self, uri: str) -> dict[str, dict[str, float]]:
        return {}

    def register_language_model_weights(self, uri: str, recognizer: str, weights: Mapping[str, float]) -> None:
        raise AsrLabError(f"no such language model {uri!r}", allowed="an ARPA file")

    def resolve_version(self, uri: str) -> str:
        return str(Path(uri).resolve())

    def exists(self, uri: str) -> bool:
        return Path(uri).is_dir()

    def lineage(self, uri: str, adapter: str = "") -> Lineage:
        return Lineage(unknown=[f"{one}: no run is known" for one in (uri, adapter) if one])
