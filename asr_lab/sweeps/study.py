"""Open a study by name: create it once, and refuse it if its sweep differs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.exceptions import DuplicatedStudyError
from optuna.study import Study
from optuna.study.study import get_all_study_names

from asr_lab.config.identity import NOT_IDENTITY
from asr_lab.errors import AsrLabError, listing
from asr_lab.interfaces.tracking import ModelStore, RunKeeper
from asr_lab.recipes.splits import Split
from asr_lab.reports.summary import Summary
from asr_lab.reports.table import Table
from asr_lab.sweeps import samplers
from asr_lab.sweeps.objective import Objective
from asr_lab.sweeps.space import Space
from asr_lab.sweeps.storage import StorageLocation
from asr_lab.sweeps.trial_states import lose
from asr_lab.units import counted

WHAT, PARENT, ASKED, UNTIL = "what", "parent", "asked", "until"
COORDINATOR, PINNED, JOBS, SHARED = "coordinator", "pinned", "jobs", "shared"
"""User attributes of a study: what is searched, its MLflow run, the number of trials, when the last one may begin
(by the clock of the storage), its leader, the model versions that aliases meant when it began, its jobs by engine,
and the folder of what its trials share."""
_MODELS = ("adapter.base", "model.pretrained")
_SAMPLES = 5  # trials that a plan shows


@dataclass(frozen=True)
class StudyPlan:
    """The plan of a sweep, checked, with the location of its study."""

    name: str
    space: Space
    objective: Objective
    location: StorageLocation

    @property
    def warnings(self) -> list[str]:
        warning = self.objective.warning(self.space.usual)
        return self.space.notes + ([warning] if warning else [])

    @property
    def summary(self) -> Summary:
        """The sweep, its space, and a few sample trials."""
        title = f"{self.name} of {self.space.sweep.experiment}, in {self.location.shown}"
        trials = Table(frame=pd.DataFrame(self.space.samples(_SAMPLES)).fillna("-"))
        return Summary(
            title=title,
            parts=[("", self._lines()), ("the space", self.space.described()), ("trials might be", trials)],
        )

    def _lines(self) -> list[str]:
        sweep, objective = self.space.sweep, self.objective
        words = {"minimize": "lowest", "maximize": "highest"}
        sought = [
            f"{words[direction]} {name}"
            for name, direction in zip(objective.metrics, objective.directions, strict=True)
        ]
        pruned = f", pruned by {sweep.pruner.name} on {objective.prune_on}" if sweep.pruner.name != "none" else ""
        limit = f", {sweep.timeout_s:g} s at most" if sweep.timeout_s else ""
        seeds = f", {sweep.seeds} seeds each" if sweep.seeds > 1 else ""
        proposed = f"{counted(sweep.trials, 'trial')}{limit}{seeds}, proposed by {sweep.sampler.name}{pruned}"
        fixed = [f"{key} = {value}" for key, value in sweep.fixed.items()]
        return [f"seeks the {' and the '.join(sought)}", proposed, *fixed]

    def open(self, tracker: RunKeeper, *, draws: tuple[int, ...] = (), first: bool = False) -> Study:
        """Open the study; `first` creates it if it is missing.

        Concurrent processes pass different `draws`, or they would propose the same trials.
        """
        if not first and not self.location.is_there():
            raise self._no_study([])
        storage = self.location.open(lambda study, trial: lose(tracker, study, trial), first=first)
        sweep = self.space.sweep
        known = self.name in get_all_study_names(storage)
        if not known and not first:
            raise self._no_study(get_all_study_names(storage))
        study = None
        if not known:
            try:
                study = optuna.create_study(
                    storage=storage, study_name=self.name, directions=list(self.objective.directions)
                )
            except DuplicatedStudyError:
                study = None  # another one was faster
        study = study or optuna.load_study(study_name=self.name, storage=storage)
        begun = len(study.get_trials(deepcopy=False))
        study.sampler = samplers.sampler(sweep, self.space, *draws, begun)
        study.pruner = samplers.pruner(sweep)
        return study

    def _no_study(self, others: list[str]) -> AsrLabError:
        return AsrLabError(
            f"there is no study {self.name!r}",
            where=self.location.shown,
            allowed=listing(others) or "none yet",
            hint="--join takes part in a sweep that was begun without it",
        )

    def claim(self, study: Study, store: ModelStore) -> None:
        """Store what the study searches and its model versions. Raise `AsrLabError` if it belongs to another sweep.

        Aliases are fixed to the versions that they meant when the study began.
        """
        self._check_directions(study)
        notes = study.user_attrs
        pinned = notes.get(PINNED)
        if pinned is None:
            pinned = {key: store.resolve_version(uri) for key, uri in self._models().items()}
        self.space.usual.update(pinned)
        self.space.sweep.fixed.update(pinned)
        what = self.what()
        known = notes.get(WHAT)
        if known is None:
            study.set_user_attr(PINNED, pinned)
            study.set_user_attr(WHAT, what)
        elif differs := _differences(known, what):
            raise self._other_settings("".join(f"\n    {line}" for line in differs))

    def _check_directions(self, study: Study) -> None:
        """Raise `AsrLabError` if the directions differ from those of the study."""
        had, has = [direction.name.lower() for direction in study.directions], list(self.objective.directions)
        if had != has:
            raise self._other_settings(f" {' and '.join(had)} then, {' and '.join(has)} now")

    def _other_settings(self, difference: str) -> AsrLabError:
        return AsrLabError(
            f"the study {self.name!r} was begun with other settings:{difference}",
            where=self.location.shown,
            allowed=f"another name: name={self.name}-2; or the settings it was begun with",
        )

    def _models(self) -> dict[str, str]:
        """Return the keys whose values are model URIs that may change their meaning."""
        uris = {key: str(self.space.usual.get(key, "")) for key in _MODELS if key not in self.space.sweep.space}
        return {key: uri for key, uri in uris.items() if uri.startswith(("models:/", "runs:/"))}

    def what(self) -> dict[str, str]:
        """Return what is searched, comparably: space, objective, seeds, experiment and data."""
        sweep, space = self.space.sweep, self.space
        given = json.loads(sweep.model_dump_json(include={"space", "seeds"}))
        what = {f"space.{key}": _text(domain) for key, domain in given["space"].items()}
        what |= {"seeds": str(given["seeds"])}
        what |= {"objective": _text(dict(zip(self.objective.metrics, self.objective.directions, strict=True)))}
        for key, value in space.usual.items():
            if key in NOT_IDENTITY or key in sweep.space or (key == "run.seed" and sweep.seeds > 1):
                continue
            if key in ("data.train", "data.val", "data.test") and value:
                value = Split.read(key, str(value)).digest if Path(str(value)).is_file() else value
            what[key] = _text(value)
        return what


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    keys = sorted(before.keys() | now.keys())
    return [
        f"{key}: {before.get(key, 'not there')} then, {now.get(key, 'not there')} now"
        for key in keys
        if before.get(key) != now.get(key)
    ]
