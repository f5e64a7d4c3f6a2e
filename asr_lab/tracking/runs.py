"""Finding runs: by pattern, family, filter and age; one by its name or id.

A run belongs to asr_lab by its tag `asr_lab.family`, in whatever experiment it lies.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from mlflow.entities import Run as Run
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from asr_lab.errors import AsrLabError, listing
from asr_lab.tracking import conditions
from asr_lab.tracking.store import client, experiment_ids, reaching

_MOST_RUNS = 50_000
_PAGE = 1000
_FEW = 20  # of which one is chosen, or which are told
_NEWEST_FIRST = ["attributes.start_time DESC"]
_FILTERS = "metrics.`val/wer` < 0.2, params.`train.lr` = '0.001', tags.speaker = 'john', status = 'FINISHED'"


def find(
    pattern: str = "",
    family: str = "",
    *,
    status: str = "",
    where: str = "",
    since: str = "",
    archived: bool = True,
    children: bool = True,
    limit: int = _MOST_RUNS,
) -> list[Run]:
    """Runs of asr_lab, newest first.

    `pattern` is a glob or a plain part of the run's name, model type or family, case-blind; `where` a filter in
    MLflow's grammar; `since` an age (`7d`) or a date. Without `archived`, archived runs are left out; without
    `children`, the trials of sweeps, folds and phases, which belong to another run. Raises `AsrLabError` for a filter
    or a time that is not understood.
    """
    asked = conditions.queries(
        pattern, family, status=status, where=where, since=since, archived=archived, children=children
    )
    found: dict[str, Run] = {}
    try:
        experiments = experiment_ids(client())
        for query in asked:
            found |= {run.info.run_id: run for run in _search(experiments, query, pattern, limit)}
    except MlflowException as error:
        if where and error.error_code == "INVALID_PARAMETER_VALUE":
            raise _wrong_filter(where, error) from error
        with reaching("the runs cannot be listed"):
            raise
    return sorted(found.values(), key=lambda run: run.info.start_time or 0, reverse=True)[:limit]


def _search(experiments: list[str], query: str, pattern: str = "", limit: int = _MOST_RUNS,
            view: int = ViewType.ACTIVE_ONLY) -> list[Run]:  # fmt: skip
    tracking, token, found = client(), None, list[Run]()
    while len(found) < limit:
        page = tracking.search_runs(
            experiments, query, view, min(_PAGE, max(limit, _FEW)), _NEWEST_FIRST, page_token=token
        )
        found += [run for run in page if matches(run, pattern)]
        token = page.token
        if not token:
            break
    return found


def _wrong_filter(where: str, error: MlflowException) -> AsrLabError:
    return AsrLabError(
        f"the filter {where!r} is not understood: {error.message.splitlines()[0]}",
        allowed=f"conditions joined by AND, such as {_FILTERS}",
    )


def matches(run: Run, pattern: str) -> bool:
    """Whether a run's name, model type or family is like the pattern."""
    tags = run.data.tags
    return conditions.is_like(pattern, run.info.run_name, tags.get("asr_lab.model_type"), tags.get("asr_lab.family"))


def one(wanted: str) -> Run:
    """The run of this id, of an id that begins so, or of this name, or else the only one that is called like it.

    Archived ones and parts of others count too. Raises `AsrLabError` when not exactly one is meant.
    """
    with reaching("the run cannot be found"):
        hits = _called(wanted) or find(wanted, limit=_FEW)
        if len(hits) == 1:
            return hits[0]
        if hits:
            raise AsrLabError(
                f"{len(hits)}{' or more' if len(hits) == _FEW else ''} runs are called like {wanted!r}",
                allowed=listing((run.info.run_name or run.info.run_id for run in hits), 8),
                next_command=f"asr-lab list --pattern {wanted}",
            )
        if deleted := _called(wanted, ViewType.DELETED_ONLY):
            raise AsrLabError(
                f"the run {deleted[0].info.run_name} was deleted",
                where=deleted[0].info.run_id,
                next_command=f"asr-lab restore {deleted[0].info.run_id[:8]}",
            )
    raise AsrLabError(f"no run {wanted!r}", allowed=_near(wanted), next_command="asr-lab list")


def several(wanted: Sequence[str]) -> list[Run]:
    """The runs of these names or ids, in their order, each once."""
    found = [one(name) for name in wanted]
    return list({run.info.run_id: run for run in found}.values())


def _called(wanted: str, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    """Runs of exactly this name or id, else runs whose id begins so."""
    experiments = experiment_ids(client())
    is_id = re.fullmatch(r"[0-9a-f]{4,32}", wanted)
    exact = f"attributes.run_name = {conditions.quoted(wanted)} and {conditions.OURS}"
    return (
        _search(experiments, exact, limit=_FEW, view=view)
        or (
            _search(experiments, f"attributes.run_id LIKE '{wanted}%' and {conditions.OURS}", limit=_FEW, view=view)
            if is_id
            else []
        )
        or (
            _search(experiments, f"tags.`asr_lab.restored_from` LIKE '{wanted}%' and {conditions.OURS}", limit=_FEW)
            if is_id
            else []
        )
    )


def _near(wanted: str) -> str:
    """Names of runs like the wanted one, else those of the newest."""
    names = [run.info.run_name or run.info.run_id for run in find(limit=_PAGE)]
    plain = {re.sub(r"-[0-9a-f]{8}$", "", name): name for name in reversed(names)}
    near = [plain[name] for name in get_close_matches(wanted, plain, n=5, cutoff=0.4)]
    return listing(near or names, 8) or "there are no runs yet"
