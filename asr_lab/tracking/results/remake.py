"""Make a study again: run its commands in an empty folder, and hold the new figures against the recorded ones.

Figures are those of the runs that the commands made, and those of the benchmarks that wrote `values/NAME.json` there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import Run

from asr_lab.errors import AsrLabError, listing
from asr_lab.metrics.catalog import direction
from asr_lab.reports.studies import Figure, RecordedRun, Study
from asr_lab.tracking.queries import runs as queries
from asr_lab.tracking.results import record as recording
from asr_lab.tracking.tags import FAMILY, SIGNATURE

VALUES = "values"
"""Where benchmarks write their figures; also what stands in place of a run's label."""
LOG = "commands.log"
SAME, WITHIN, DIFFERENT, MISSING = "same", "within the interval", "different", "not made"
_ID = 9  # characters of `-1a2b3c4d`, with which a run's name ends
_SAME = 0.0005
"""Largest difference of figures that are printed alike: half a tenth of a percent."""


@dataclass(frozen=True)
class Remade:
    """What the commands of a study made: runs by label, values by name, and date, code, versions and hardware."""

    runs: dict[str, RecordedRun]
    values: dict[str, Figure]
    circumstances: dict[str, Any]

    def replace(self, study: Study, checkout: Path) -> Study:
        """Return the study with these figures in place of its own."""
        files = recording.files_of(study.commands, checkout)
        new = {"runs": self.runs, "values": self.values, "files": files, **self.circumstances}
        return study.model_copy(update=new)

    def is_whole(self, study: Study) -> bool:
        """Whether each run and value of the study was made again."""
        return self.runs.keys() == study.runs.keys() and self.values.keys() >= study.values.keys()


def remake(study: Study, folder: Path, on_done: Callable[[str, float], None]) -> Remade:
    """Run a study's commands in a folder that was laid out, and read what they made; raises as `run_commands`."""
    run_commands([*study.data_commands, *study.commands], folder, on_done)
    with _in_store(folder):
        made = made_runs(study) if study.runs else {}
        runs = {label: recording.recorded(run) for label, run in made.items()}
        return Remade(runs, made_values(folder), recording.circumstances(made.values()))


@contextmanager
def _in_store(folder: Path) -> Iterator[None]:
    """Within it, the tracking store and relative paths are those of a folder."""
    before, here = os.environ.get("MLFLOW_TRACKING_URI"), Path.cwd()
    os.environ["MLFLOW_TRACKING_URI"] = tracking_uri(folder)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        os.environ.pop("MLFLOW_TRACKING_URI")
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


def made_values(folder: Path) -> dict[str, Figure]:
    """Return the figures that benchmarks wrote in a folder, by name."""
    files = sorted((folder / VALUES).glob("*.json"))
    return {name: Figure(**value) for path in files for name, value in recording.values_of(path).items()}


def lay_out(folder: Path, checkout: Path, needs: Mapping[str, str], corpora: Mapping[str, Path]) -> None:
    """Prepare a folder for a study's commands: `experiments` and `tests` of the checkout and the corpora, linked.

    Raises `AsrLabError` for a corpus that was not given, or does not exist.
    """
    if missing := [f"{name} ({what})" for name, what in needs.items() if name not in corpora]:
        raise AsrLabError(
            f"the study needs {listing(missing)}", next_command=f"the same with --corpus {missing[0].split()[0]}=FOLDER"
        )
    for name, path in corpora.items():
        if not path.is_dir():
            raise AsrLabError("no such folder", where=f"--corpus {name}={path}")
    folder.mkdir(parents=True, exist_ok=True)
    own = {name: checkout / name for name in ("experiments", "tests")}
    links = {**own, **{name: corpora[name] for name in needs}}
    for name, path in links.items():
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(path.resolve())


def tracking_uri(folder: Path) -> str:
    """Return the store of the runs that are made in a folder."""
    return f"sqlite:///{folder.resolve()}/mlflow.db"


def run_commands(commands: Sequence[str], folder: Path, on_done: Callable[[str, float], None]) -> None:
    """Run shell commands in a folder, one after the other; their output goes into `LOG` there.

    `on_done` gets each command and its seconds. Raises `AsrLabError` with the last lines of the first that fails.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "ASR_LAB_"))}
    environment |= {"MLFLOW_TRACKING_URI": tracking_uri(folder), "COLUMNS": "200"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")])
    for command in commands:
        begun, log = time.monotonic(), folder / LOG
        with log.open("ab") as output:
            output.write(f"$ {command.strip()}\n".encode())
            output.flush()
            status = subprocess.run(
                ["sh", "-e", "-c", command], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
            ).returncode
        if status:
            last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
            raise AsrLabError(
                f"a command of the study ended with {status}: {command.strip().splitlines()[0]}",
                where=str(log),
                hint="; ".join(line.strip() for line in last),
            )
        on_done(command, time.monotonic() - begun)


def made_runs(study: Study) -> dict[str, Run]:
    """Return the new run for each label of a study.

    It is the newest with its signature, else with its name without the id, else the only one of its recipe.
    The tracking store is the one that `run_commands` recorded into.
    """
    made = queries.find(status="FINISHED")
    return {label: run for label, old in study.runs.items() if (run := _newest(old, made)) is not None}


def _newest(old: RecordedRun, made: Sequence[Run]) -> Run | None:
    alike = [run for run in made if run.data.tags.get(SIGNATURE) == old.signature]
    alike += [run for run in made if str(run.info.run_name)[:-_ID] == old.name[:-_ID]]
    of_recipe = [run for run in made if run.data.tags.get(FAMILY) == old.recipe]
    return alike[0] if alike else of_recipe[0] if len(of_recipe) == 1 else None


def compare(study: Study, made: Remade) -> pd.DataFrame:
    """Return a row for each figure that is compared: `run, metric, then, now, verdict` (`Figure`s then and now).

    These are all values, and a run's figures with a direction and an interval, or all with a direction if none has an
    interval.
    """
    return pd.DataFrame(_rows(study, made), columns=["run", "metric", "then", "now", "verdict"])


def _rows(study: Study, made: Remade) -> Iterator[tuple[str, str, Figure, Figure | None, str]]:
    for name, value in study.values.items():
        yield VALUES, name, value, made.values.get(name), verdict(value, made.values.get(name))
    for label, old in study.runs.items():
        new = made.runs[label].figures if label in made.runs else {}
        directed = {metric: figure for metric, figure in old.figures.items() if direction(metric) != "neither"}
        with_interval = {metric: figure for metric, figure in directed.items() if figure.low is not None}
        for metric, figure in (with_interval or directed).items():
            yield label, metric, figure, new.get(metric), verdict(figure, new.get(metric))


def verdict(then: Figure, now: Figure | None) -> str:
    """Assess a new figure: as it was, within the interval of the old one (or the old one within its), or different."""
    if now is None:
        return MISSING
    if abs(then.value - now.value) <= _SAME:
        return SAME
    return WITHIN if _holds(then, now.value) or _holds(now, then.value) else DIFFERENT


def _holds(figure: Figure, value: float) -> bool:
    return figure.low is not None and figure.high is not None and figure.low <= value <= figure.high
