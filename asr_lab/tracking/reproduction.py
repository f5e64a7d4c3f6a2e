"""Check whether a run can be reproduced here, and compare the metrics of its reproduction."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.entities import Metric, Run
from mlflow.exceptions import MlflowException

from asr_lab.config import identity
from asr_lab.config.schema import Experiment
from asr_lab.data import manifest
from asr_lab.data.table_utterances import Utterances
from asr_lab.errors import AsrLabError, listing
from asr_lab.families import FAMILIES, family
from asr_lab.metrics.catalog import BEST_STEP, SYSTEM, VALIDATED
from asr_lab.reports.table import csv_text
from asr_lab.system.distributed import rank_and_world_size
from asr_lab.tracking import code_state, provenance
from asr_lab.tracking.code_state import PACKAGES, PATCH
from asr_lab.tracking.connection import StoreUnavailableError
from asr_lab.tracking.models.model_store import MlflowStore
from asr_lab.tracking.queries.runs import metrics_of
from asr_lab.tracking.spool.created_runs import run_of_spool
from asr_lab.tracking.spool.spool import ROOT, spools
from asr_lab.tracking.store import client as tracking_client
from asr_lab.tracking.store import explain_store_errors
from asr_lab.tracking.tags import (
    ADAPTER,
    ADAPTER_URI,
    BASE,
    BASE_DIGEST,
    CHANGES,
    DATA,
    DIRTY,
    FAMILY,
    GIT_SHA,
    HARDWARE,
    REPRODUCED,
    VERSIONS,
    WORLD_SIZE,
)
from asr_lab.units import counted

IDENTICAL, CLOSE, DIFFERENT = "identical", "within tolerance", "different"
_RESTORED = "restored"
_OF_THE_CLOCK = ("perf/", "epoch_time", SYSTEM)


def config_of(run: Run) -> Path:
    """The run's `config.yaml`, downloaded; raises `AsrLabError` when it has none."""
    folder = tempfile.mkdtemp(prefix="asr-lab-")
    try:
        return Path(tracking_client().download_artifacts(run.info.run_id, "config.yaml", folder))
    except (MlflowException, OSError) as error:
        raise AsrLabError(f"run {run.info.run_name} has no config.yaml to run again") from error


def pinned(run: Run) -> dict[str, str]:
    """Config keys that name the very models the run used, where its configuration names them by an alias."""
    tags = run.data.tags
    base, adapter = tags.get(BASE, ""), tags.get(ADAPTER_URI, "")
    name = tags.get(FAMILY, "")
    key = FAMILIES[name].from_key if name in FAMILIES else ""
    return ({key: base} if key and base else {}) | ({"evaluate.adapter": adapter} if adapter else {})


def circumstances(run: Run, config: Experiment) -> pd.DataFrame:
    """A row a circumstance (code, versions, hardware, processes, data, seed, models): `what, then, now, same`."""
    tags = run.data.tags
    now = {**provenance.git_state(), "versions": provenance.versions(), "hardware": provenance.hardware()}
    changes = code_state.patch() if now.get("dirty") == "true" else ""
    rows = [
        ("code", _code(tags.get(GIT_SHA, ""), tags.get(DIRTY), tags.get(CHANGES, "")),
         _code(now.get("git_sha", ""), now.get("dirty"), code_state.digest(changes) if changes else "")),
        *_versions(tags.get(VERSIONS, ""), now["versions"]),
        ("hardware", tags.get(HARDWARE, ""), now["hardware"]),
        ("processes", tags.get(WORLD_SIZE, "1"), str(rank_and_world_size()[1])),
        *_data(tags, config),
        ("seed", run.data.params.get("run.seed", ""), str(config.run.seed)),
    ]  # fmt: skip
    rows += _models(tags, config)
    table = pd.DataFrame(rows, columns=["what", "then", "now"])
    dirty = table["then"].str.endswith("changes") | table["now"].str.endswith("changes")
    table["same"] = (table["then"] == table["now"]) & ~dirty & (table["then"] != "")
    return table


def _models(tags: Mapping[str, str], config: Experiment) -> Iterable[tuple[str, str, str]]:
    """The base by name, and base and adapter by the digests of their weights."""
    store, asked = MlflowStore(), _models_of(config)
    if base := tags.get(BASE):
        now = _or_why(lambda: _pinned(store, asked["base"] or base))
        yield "base", base, now
        if (digest := tags.get(BASE_DIGEST)) and now == base:
            yield "base digest", digest, _or_why(lambda: _base_digest(store, base))
    if (digest := tags.get(ADAPTER)) and asked["adapter"]:
        yield "adapter digest", digest, _or_why(lambda: _adapter_digest(store, asked["adapter"], config))


def _models_of(config: Experiment) -> dict[str, str]:
    keys = identity.flat(config)
    base = keys.get(family(config.recipe).from_key) or ""
    return {"base": str(base), "adapter": str(keys.get("evaluate.adapter") or "")}


def _or_why(value: Callable[[], str]) -> str:
    try:
        return value()
    except StoreUnavailableError:
        raise
    except AsrLabError as error:
        return error.what


def _pinned(store: MlflowStore, uri: str) -> str:
    from asr_lab.models.wav2vec2.bases import on_hub

    return uri if on_hub(uri) else store.resolve_version(uri)  # a run names the revision of what came from the hub


def _base_digest(store: MlflowStore, uri: str) -> str:
    from asr_lab.models import load_model
    from asr_lab.models.adapter import weights_digest

    return weights_digest(load_model(store.resolve(uri), store.resolve).model)


def _adapter_digest(store: MlflowStore, adapter: str, config: Experiment) -> str:
    from asr_lab.models.adapter import AdapterManager

    if adapter.startswith(("models:/", "runs:/")):
        return manifest.file_digest(store.adapter_file(adapter))
    return manifest.file_digest(AdapterManager(str(identity.flat(config)["evaluate.adapter_dir"])).find(adapter))


def _code(sha: str, dirty: str | None, changes: str) -> str:
    """Return the commit, and the digest of the patch of what was not committed, if that is known."""
    return (sha[:12] + (f" with changes {changes}".rstrip() if dirty == "true" else "")) if sha else "no checkout"


def restoring(run: Run) -> list[str]:
    """Return the commands that restore the code and the packages of a run, and what they cannot restore."""
    client, run_id, tags = tracking_client(), run.info.run_id, run.data.tags
    with explain_store_errors("the artifacts cannot be listed"):
        kept = {file.path for file in client.list_artifacts(run_id, "code")}
        has_patch = PATCH in kept and tags.get(DIRTY) == "true" and tags.get(CHANGES)  # else it is of before a resume
        changes = mlflow.artifacts.load_text(f"runs:/{run_id}/{PATCH}") if has_patch else ""
    commands = [f"git checkout {tags[GIT_SHA]}"] if GIT_SHA in tags else []
    if kept:
        commands.append(f"mlflow artifacts download --run-id {run_id} --artifact-path code --dst-path {_RESTORED}")
    if "diff --git" in changes:
        commands.append(f"git apply {_RESTORED}/{PATCH}")
    if PACKAGES in kept:
        commands.append(f"pip install -r {_RESTORED}/{PACKAGES}")
    without = code_state.left_out(changes)
    if without:
        commands.append(f"# changed then too, and not kept (secret, binary, data or large): {listing(without)}")
    elif tags.get(DIRTY) == "true" and not changes:
        commands.append("# what was not committed is not kept with this run")
    return commands


def _versions(then: str, now: str) -> Iterable[tuple[str, str, str]]:
    """Those that differ, or one row that all are the same."""
    old, new = (dict(part.split(" ", 1) for part in text.split(", ") if " " in part) for text in (then, now))
    differing = [(name, old.get(name, "not there"), new.get(name, "not there")) for name in sorted(old | new)
                 if old.get(name) != new.get(name)]  # fmt: skip
    return differing or [("versions", f"{len(old)} packages", f"{len(new)} packages")]


def _data(tags: Mapping[str, str], config: Experiment) -> Iterable[tuple[str, str, str]]:
    for split, path in config.manifests().items():
        then = tags.get(DATA + split, "")
        if path and then:
            try:
                now = Utterances.read(path, speech=split != "noise").digest()
            except AsrLabError as error:
                now = f"{error.what}: {path}"
            yield f"data {split}", then, now


def arrived(repeated: str) -> str:
    """The id on the store of a repetition that has ended.

    Raises `AsrLabError` when it, or a part of it, still waits in the spool: nothing can be held against it then.
    """
    for spool in spools(ROOT):
        if repeated in (spool.id, spool.state.run_id):
            raise AsrLabError(
                f"no verdict: the repetition has ended, with {counted(spool.waiting(), 'event')} still in its spool",
                where=str(spool.folder),
                hint="once they are there, asr-lab compare sets both runs side by side",
                next_command="asr-lab sync",
            )
    client = tracking_client(again=True)
    with explain_store_errors("the repetition cannot be read"):
        run_id = run_of_spool(client, repeated) or repeated
        client.get_run(run_id)
    return run_id


def figures(original: str, repeated: str, tolerance: float) -> pd.DataFrame:
    """A row a metric that both runs could log: `metric, then, now, points, largest, verdict`.

    The last point of every step is held against that of the same step: a run that was continued logged some twice.
    `largest` is the largest difference, relative where the figure is above 1. What the clock says is left out.
    """
    client = tracking_client()

    def history(run: Run, name: str) -> list[Metric]:
        return list(client.get_metric_history(run.info.run_id, name))

    with explain_store_errors("the figures cannot be compared"):
        runs = [client.get_run(run_id) for run_id in (original, repeated)]
        known = [metrics_of(run) for run in runs]
        once = _of_two_ages(runs)
        names = sorted({name for one in known for name in one if not name.startswith((*_OF_THE_CLOCK, *once))})
        rows = []
        for name in names:
            then, now = (
                {0: one[name]} if once and name in VALIDATED and name in one else _last(history(run, name))
                for run, one in zip(runs, known, strict=True)
            )
            largest = _largest(then, now)
            verdict = IDENTICAL if largest == 0 else CLOSE if largest <= tolerance else DIFFERENT
            old, new = (one.get(name, math.nan) for one in known)
            points = f"{len(then)}" if len(then) == len(now) else f"{len(then)}, {len(now)}"
            rows.append((name, old, new, points, largest, verdict))
    return pd.DataFrame(rows, columns=["metric", "then", "now", "points", "largest", "verdict"])


def _of_two_ages(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return ("best/",) if one of two runs has the figures of the best epoch as the last points of its curves."""
    return ("best/",) if len({BEST_STEP in run.data.metrics for run in runs}) > 1 else ()


def _last(points: Iterable[Metric]) -> dict[int, float]:
    """Step -> the value that was logged last."""
    return {point.step: point.value for point in sorted(points, key=lambda point: (point.step, point.timestamp))}


def _largest(then: Mapping[int, float], now: Mapping[int, float]) -> float:
    if then.keys() != now.keys():
        return math.inf
    pairs = [(old, now[step]) for step, old in then.items()]
    differences = [
        0.0 if old == new or (math.isnan(old) and math.isnan(new)) else abs(old - new) / max(1.0, abs(old))
        for old, new in pairs
    ]
    return max((math.inf if math.isnan(one) else one for one in differences), default=0.0)


def verdict_of(table: pd.DataFrame) -> str:
    """The worst verdict of the table."""
    verdicts = set(table["verdict"])
    return next(verdict for verdict in (DIFFERENT, CLOSE, IDENTICAL) if verdict in verdicts or verdict == IDENTICAL)


def record(repeated: str, verdict: str, table: pd.DataFrame) -> None:
    """Write the verdict and the figures side by side on the new run."""
    client = tracking_client()
    with explain_store_errors("the verdict cannot be written"):
        client.set_tag(repeated, REPRODUCED, verdict)
        client.log_text(repeated, csv_text(table), "reproduce/figures.csv")
