"""Reproduce a run from its configuration, as its child run, without changing the registry or adapter files."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace

from asr_lab.config.schema import Experiment
from asr_lab.errors import AsrLabError
from asr_lab.families import family
from asr_lab.interfaces.tags import REPRODUCES
from asr_lab.interfaces.tracking import REPRODUCE, FinishedRun, ModelStore, Recorder, RunSpec, Tracker
from asr_lab.recipes.recipe import recipe_of
from asr_lab.system.terminal import Console


@dataclass(frozen=True)
class _AsChild:
    """Starts runs as children of the reproduced run, without registering models."""

    tracker: Tracker
    parent: str

    def start(self, spec: RunSpec, *, own: bool = False) -> Recorder:
        if spec.parent:  # a child of the reproduction
            return self.tracker.start(replace(spec, registers=False, resumable=False), own=True)
        tags = {**spec.tags, REPRODUCES: self.parent}
        repeated = replace(spec, parent=self.parent, kind=REPRODUCE, tags=tags, registers=False, resumable=False)
        return self.tracker.start(repeated, own=True)

    def finished(self, spec: RunSpec, *, own: bool = False) -> FinishedRun | None:
        """None: a reproduction never reuses a run."""
        return None


def refuse_parts(config: Experiment, original: str) -> None:
    """Raise `AsrLabError` if runs of this family are reproduced by their parts."""
    if parts := family(config.recipe).reproduced:
        raise AsrLabError(
            f"a run of {config.recipe} is reproduced by its {parts}, one by one",
            where=original,
            next_command=f"asr-lab show {original[:8]}",
        )


def again(config: Experiment, original: str, tracker: Tracker, store: ModelStore, console: Console) -> str:
    """Run `config` as a child of the run `original`; return the id of the new run."""
    with tempfile.TemporaryDirectory() as folder:
        traceless = config.without_traces(folder)
        return recipe_of(traceless).run(traceless, _AsChild(tracker, original), console, store=store).run_id
