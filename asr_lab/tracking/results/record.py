"""Record a study: the figures of runs, with the settings, data, versions and hardware that they depend on."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from mlflow.entities import Run
from pydantic import FiniteFloat, TypeAdapter, ValidationError

from asr_lab.config import identity
from asr_lab.config.load import load
from asr_lab.errors import AsrLabError
from asr_lab.metrics.catalog import SYSTEM
from asr_lab.reports.studies import Dataset, Figure, RecordedRun
from asr_lab.tracking import provenance
from asr_lab.tracking.queries.runs import metrics_of
from asr_lab.tracking.reproduction import config_of
from asr_lab.tracking.tags import COMMAND, DATA, DIRTY, GIT_SHA, HARDWARE, SIGNATURE, VERSIONS

_PASSING = ("train/", "perf/", "sweep/", "epoch_time", "grad_norm", SYSTEM)
"""Metrics that are no result, or that differ from call to call."""
_FINE = "_by_phoneme/"
"""Part of the names of metrics of single phonemes: hundreds a run, which its tables have."""
_DIGITS = 6
_CONFIGURATION = re.compile(r"experiments/[\w./-]+\.yaml")
_SHARED = {"versions": VERSIONS, "hardware": HARDWARE}
_NOT_RECORDED = {"run.register_as", "run.threads"}


def recorded(run: Run) -> RecordedRun:
    """Return the figures of a finished run with what they depend on; raises `AsrLabError` for another run."""
    tags = run.data.tags
    if run.info.status != "FINISHED":
        raise AsrLabError(f"{run.info.run_name} is {run.info.status.lower()}: only finished runs are results")
    if not tags.get(SIGNATURE):
        raise AsrLabError(f"{run.info.run_name} has no signature", next_command=f"asr-lab show {run.info.run_id[:8]}")
    config = load(config_of(run), {})
    values, settings = identity.flat(config), identity.differences(config)
    return RecordedRun(
        name=str(run.info.run_name),
        recipe=config.recipe,
        signature=tags[SIGNATURE],
        settings={key: _here(value) for key, value in settings.items() if key not in _NOT_RECORDED},
        defaults={key: value for key, value in values.items() if key not in settings},
        data=_datasets(tags, values),
        figures=figures_of(metrics_of(run)),
    )


def _datasets(tags: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, Dataset]:
    splits = {key.removeprefix(DATA): digest for key, digest in tags.items() if key.startswith(DATA)}
    return {split: Dataset(path=_path(split, values), digest=digest) for split, digest in sorted(splits.items())}


def _path(split: str, values: Mapping[str, Any]) -> str:
    """Return the manifest of a split, or "" where no key names it."""
    keys = (f"data.{split}", "evaluate.data" if split == "test" else "", f"{split}.train")
    return str(_here(next((values[key] for key in keys if values.get(key)), "")))


def _here(value: Any) -> Any:
    """Return a path inside this folder as relative to it, any other value as it is."""
    if isinstance(value, str) and Path(value).is_absolute() and Path(value).is_relative_to(Path.cwd()):
        return str(Path(value).relative_to(Path.cwd()))
    return value


def figures_of(metrics: Mapping[str, float]) -> dict[str, Figure]:
    """Return a run's results by metric, each with its interval; not what differs from call to call."""
    own = {name: value for name, value in metrics.items() if not name.startswith(_PASSING) and _FINE not in name}
    bounds = {f"{name}_{side}" for name in own for side in ("low", "high")}
    return {
        name: Figure(value=_short(value), low=_bound(own, name, "low"), high=_bound(own, name, "high"))
        for name, value in sorted(own.items())
        if name not in bounds
    }


def _bound(metrics: Mapping[str, float], name: str, side: str) -> float | None:
    bound = metrics.get(f"{name}_{side}")
    return None if bound is None else _short(bound)


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def values_of(path: Path) -> dict[str, Any]:
    """Read the figures of a benchmark: a number each, or value, low and high; raises `AsrLabError` for others."""
    try:
        content = TypeAdapter(dict[str, FiniteFloat | Figure]).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        wrong = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            wrong = ": ".join([*map(str, first["loc"][:1]), first["msg"]])
        raise AsrLabError(
            f"not figures: {wrong}",
            where=str(path),
            allowed='JSON as {"ratio": {"value": 1.9, "low": 1.8, "high": 2}, "rounds": 3}',
        ) from error
    figures = {name: one if isinstance(one, Figure) else Figure(value=one) for name, one in content.items()}
    return {
        name: {key: _short(value) for key, value in one.model_dump(exclude_none=True).items()}
        for name, one in figures.items()
    }


def circumstances(runs: Iterable[Run]) -> dict[str, Any]:
    """Return date, commits, versions and hardware of the runs of one study.

    Raises `AsrLabError` if they were not made with one set of versions, on one machine.
    """
    own = list(runs)
    if not own:  # benchmarks, on this machine
        now = {"versions": provenance.versions(), "hardware": provenance.hardware()}
        return {"date": datetime.datetime.now(tz=datetime.UTC).date(), "commit": _commit_now(), **now}
    shared = {what: list(dict.fromkeys(run.data.tags.get(tag, "") for run in own)) for what, tag in _SHARED.items()}
    for what, values in shared.items():
        if len(values) > 1:
            raise AsrLabError(
                f"the runs differ in {what}: a study is of one", where=" / ".join(values), hint="run them again"
            )
    newest = max((run.info.start_time or 0) for run in own)
    date = datetime.datetime.fromtimestamp(newest / 1000, tz=datetime.UTC).date()
    commits = ", ".join(dict.fromkeys(_commit(run) for run in own))
    return {"date": date, "commit": commits, **{what: value for what, (value,) in shared.items()}}


def _commit(run: Run) -> str:
    return _named(run.data.tags.get(GIT_SHA, ""), run.data.tags.get(DIRTY) == "true")


def _commit_now() -> str:
    state = provenance.git_state()
    return _named(state.get("git_sha", ""), state.get("dirty") == "true")


def _named(sha: str, dirty: bool) -> str:
    return sha[:12] + ("+changes" if dirty else "")


def files_of(commands: Iterable[str], folder: Path) -> dict[str, str]:
    """Return path -> digest of what it sets for each configuration in `folder` that commands name."""
    named = dict.fromkeys(path for command in commands for path in _CONFIGURATION.findall(command))
    return {path: content_digest(folder / path) for path in named if (folder / path).is_file()}


def content_digest(path: Path) -> str:
    """Return the digest (8 hexadecimal digits) of what a configuration sets, without its comments."""
    content = json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")), sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:8]


def commands_of(runs: Iterable[Run]) -> tuple[str, ...]:
    """Return the command lines that made the runs, oldest first."""
    in_order = sorted(runs, key=lambda run: run.info.start_time or 0)
    return tuple(dict.fromkeys(command for run in in_order if (command := run.data.tags.get(COMMAND, ""))))
