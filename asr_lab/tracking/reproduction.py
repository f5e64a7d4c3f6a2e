"""Whether a run can be repeated here, and whether its repetition found the same figures."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from asr_lab.config.schema import Experiment
from asr_lab.data import manifest
from asr_lab.errors import AsrLabError
from asr_lab.tracking import provenance
from asr_lab.tracking.registry import MlflowStore
from asr_lab.tracking.store import client as tracking_client

IDENTICAL, CLOSE, DIFFERENT = "identical", "within tolerance", "different"
_OF_THE_CLOCK = ("perf/", "epoch_time", "system/")


def config_of(run: Run) -> Path:
    """The run's `config.yaml`, downloaded; raises `AsrLabError` when it has none."""
    folder = tempfile.mkdtemp(prefix="asr-lab-")
    try:
        return Path(tracking_client().download_artifacts(run.info.run_id, "config.yaml", folder))
    except (MlflowException, OSError) as error:
        raise AsrLabError(f"run {run.info.run_name} has no config.yaml to run again") from error


def circumstances(run: Run, config: Experiment) -> pd.DataFrame:
    """A row a circumstance (code, versions, hardware, data, base, seed): `what, then, now, same`."""
    tags = run.data.tags
    now = {**provenance.git_state(), "versions": provenance.versions(), "hardware": provenance.hardware()}
    rows = [
        ("code", _code(tags.get("asr_lab.git_sha", ""), tags.get("asr_lab.dirty")),
         _code(now.get("git_sha", ""), now.get("dirty"))),
        *_versions(tags.get("asr_lab.versions", ""), now["versions"]),
        ("hardware", tags.get("asr_lab.hardware", ""), now["hardware"]),
        *_data(tags, config),
        ("seed", run.data.params.get("run.seed", ""), str(config.run.seed)),
    ]  # fmt: skip
    if base := tags.get("asr_lab.base"):
        rows.append(("base", base, base if MlflowStore().exists(base) else "not there"))
    table = pd.DataFrame(rows, columns=["what", "then", "now"])
    dirty = table["then"].str.endswith("changes") | table["now"].str.endswith("changes")
    table["same"] = (table["then"] == table["now"]) & ~dirty & (table["then"] != "")
    return table


def _code(sha: str, dirty: str | None) -> str:
    return (sha[:12] + (" with changes" if dirty == "true" else "")) if sha else "no checkout"


def _versions(then: str, now: str) -> Iterable[tuple[str, str, str]]:
    """Those that differ, or one row that all are the same."""
    old, new = (dict(part.split(" ", 1) for part in text.split(", ") if " " in part) for text in (then, now))
    differing = [(name, old.get(name, "not there"), new.get(name, "not there")) for name in sorted(old | new)
                 if old.get(name) != new.get(name)]  # fmt: skip
    return differing or [("versions", f"{len(old)} packages", f"{len(new)} packages")]


def _data(tags: Mapping[str, str], config: Experiment) -> Iterable[tuple[str, str, str]]:
    for split, path in _manifests(config).items():
        then = tags.get(f"asr_lab.data.{split}", "")
        if path and then:
            try:
                now = manifest.digest(manifest.read(path, speech=split != "noise"))
            except AsrLabError as error:
                now = f"{error.what}: {path}"
            yield f"data {split}", then, now


def _manifests(config: Experiment) -> dict[str, str]:
    if config.recipe == "evaluate":
        return {config.evaluate.split: config.evaluate.data}
    found = {split: str(getattr(config.data, split, "")) for split in ("train", "val", "test")}
    return found | ({} if config.recipe == "adapter" else {"noise": config.augment.noise_manifest})


def figures(original: str, repeated: str, tolerance: float) -> pd.DataFrame:
    """A row a metric that both runs could log: `metric, then, now, points, largest, verdict`.

    Every point is held against the one of the same place; `largest` is the largest difference, relative where the
    figure is above 1. What the clock says is left out.
    """
    client = tracking_client()
    runs = [client.get_run(run_id) for run_id in (original, repeated)]
    names = sorted({name for run in runs for name in run.data.metrics if not name.startswith(_OF_THE_CLOCK)})
    rows = []
    for name in names:
        then, now = ([(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]
                     for run in runs)  # fmt: skip
        largest = _largest(sorted(then), sorted(now))
        verdict = IDENTICAL if largest == 0 else CLOSE if largest <= tolerance else DIFFERENT
        old, new = (run.data.metrics.get(name, math.nan) for run in runs)
        rows.append((name, old, new, f"{len(then)}" if len(then) == len(now) else f"{len(then)}, {len(now)}",
                     largest, verdict))  # fmt: skip
    return pd.DataFrame(rows, columns=["metric", "then", "now", "points", "largest", "verdict"])


def _largest(then: list[tuple[int, float]], now: list[tuple[int, float]]) -> float:
    if [step for step, _ in then] != [step for step, _ in now]:
        return math.inf
    differences = [
        0.0 if old == new or (math.isnan(old) and math.isnan(new)) else abs(old - new) / max(1.0, abs(old))
        for (_, old), (_, new) in zip(then, now, strict=True)
    ]
    return max((math.inf if math.isnan(one) else one for one in differences), default=0.0)


def verdict_of(table: pd.DataFrame) -> str:
    """The worst verdict of the table."""
    found = set(table["verdict"])
    return next(verdict for verdict in (DIFFERENT, CLOSE, IDENTICAL) if verdict in found or verdict == IDENTICAL)


def record(repeated: str, verdict: str, table: pd.DataFrame) -> None:
    """Write the verdict and the figures side by side on the new run."""
    client = tracking_client()
    client.set_tag(repeated, "asr_lab.reproduced", verdict)
    client.log_text(repeated, table.to_csv(index=False), "reproduce/figures.csv")
