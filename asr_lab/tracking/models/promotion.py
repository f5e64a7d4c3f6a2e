"""The gate before an alias: a version gets it if it is significantly better, or not worse than a margin.

Both versions are scored on the same utterances; the verdict is recorded on the version.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Run, RunData, RunInfo, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import _validate_model_alias_name, _validate_model_alias_name_reserved

from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.metrics import floor, ratios
from asr_lab.metrics.catalog import direction
from asr_lab.metrics.significance import FEWEST_DIFFERING, Interval
from asr_lab.reports.markdown import escape_markdown
from asr_lab.system.times import utc_now
from asr_lab.tracking.models.names import uri_of
from asr_lab.tracking.queries import evidence, score_tables, trained_on
from asr_lab.tracking.queries.filters import quoted
from asr_lab.tracking.queries.runs import metrics_of
from asr_lab.tracking.store import client as tracking_client
from asr_lab.tracking.store import explain_store_errors, is_missing
from asr_lab.tracking.tags import DATA, EXPORTED, GATE, GATE_FORCED, REPLACED_BY, VERDICT
from asr_lab.units import counted

_SPLITS = ("test", "val")
_BEHIND_CARD = "\n\n---\nGate: "
_MOST_CHARACTERS = 5000  # of a description, which MLflow keeps
_NAMED = re.compile(r"(?:models:/)?(?P<name>[^/@]+)(?:@(?P<alias>[^/]+)|/(?P<version>\d+))?")


@dataclass(frozen=True)
class Scored:
    """A version's scores, one row per utterance of a split, and the run that logged them."""

    table: pd.DataFrame
    run: Run
    split: str


def unrecorded(tags: Mapping[str, str], metrics: Mapping[str, float]) -> Run:
    """Return a run that is on no store, for scores that are not recorded."""
    info = RunInfo("unrecorded", "", "", "FINISHED", 0, 0, "active")
    values = [Metric(name, value, 0, 0) for name, value in metrics.items()]
    return Run(info, RunData(values, tags=[RunTag(key, value) for key, value in tags.items()]))


Score = Callable[[ModelVersion], Scored]
"""Scores a version on data given by the caller."""


@dataclass(frozen=True)
class Verdict:
    """Result of the gate; `passed`: the version may have the alias."""

    candidate: str
    champion: str
    """Version that has the alias; empty if none."""
    passed: bool
    reason: str
    metric: str = ""
    """Metric of the comparison: `test/wer`, or `test/error_f1` of models that assess pronunciation."""
    figure_candidate: float | None = None
    figure_champion: float | None = None
    delta: Interval | None = None
    """Candidate minus champion, paired."""
    margin: float = 0.0
    utterances: int = 0
    data: str = ""
    runs: tuple[str, ...] = ()

    def as_json(self) -> str:
        """Return the verdict as JSON, as recorded on the version."""
        content = {key: value for key, value in asdict(self).items() if value not in (None, "", ())}
        return json.dumps(content | {"at": utc_now()})


def check_alias(alias: str) -> None:
    """Raise `AsrLabError` if MLflow gives no version this alias."""
    try:
        _validate_model_alias_name(alias)
        _validate_model_alias_name_reserved(alias)
    except MlflowException as error:
        raise AsrLabError(
            f"no version can have the alias {alias!r}",
            where=error.message.splitlines()[0],
            allowed="letters, digits, - and _; neither latest nor v and a number",
        ) from error


def shown(version: ModelVersion) -> str:
    """Return `models:/NAME/3 (RUN)`, with the name of the run behind a version if the store has it."""
    with explain_store_errors("the run of the version cannot be read"):
        try:
            run = tracking_client().get_run(version.run_id).info.run_name if version.run_id else ""
        except MlflowException as error:
            if not is_missing(error):
                raise
            run = ""
    return f"{uri_of(version)} ({run})" if run else uri_of(version)


def find_version(wanted: str) -> ModelVersion:
    """Return the version of `NAME/3`, `NAME@alias` or `NAME` (the newest); raises `AsrLabError` if there is none."""
    parts = _NAMED.fullmatch(wanted)
    if parts is None:
        raise AsrLabError(f"not a registered model: {wanted!r}", allowed="NAME, NAME/3 or NAME@alias")
    client = tracking_client()
    with explain_store_errors("the registry cannot be read"):
        versions = list(client.search_model_versions(f"name = {quoted(parts['name'])}"))
        if not versions:
            names = [model.name for model in client.search_registered_models()]
            near = nearest(parts["name"], names)
            raise AsrLabError(
                f"no registered model {parts['name']!r}" + (f"; did you mean {near!r}?" if near else ""),
                allowed=listing(names) or "the registry is empty",
                next_command="asr-lab register RUN --name NAME",
            )
    if parts["alias"]:
        return _with_alias(client, parts["name"], parts["alias"])
    newest = max(versions, key=lambda version: int(version.version))
    matches = (
        [version for version in versions if str(version.version) == parts["version"]] if parts["version"] else [newest]
    )
    if not matches:
        numbers = sorted(int(version.version) for version in versions)
        raise AsrLabError(f"{parts['name']} has no version {parts['version']}", allowed=listing(numbers))
    return matches[0]


def _with_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion:
    version = alias_version(name, alias)
    if version is None:
        aliases = client.get_registered_model(name).aliases
        near = nearest(alias, aliases)
        raise AsrLabError(
            f"{name} has no @{alias}" + (f"; did you mean @{near}?" if near else ""),
            allowed=listing(f"@{other}" for other in aliases) or "a version",
        )
    return version


def alias_version(name: str, alias: str) -> ModelVersion | None:
    """Return the version with the alias, or None; raises `AsrLabError` if the registry cannot be read."""
    client = tracking_client()
    with explain_store_errors("the registry cannot be read"):
        number = client.get_registered_model(name).aliases.get(alias)
        return client.get_model_version(name, str(number)) if number else None


def assess(version: ModelVersion, alias: str, *, margin: float = 0.0, score: Score | None = None) -> Verdict:
    """Compare a version with the one that has the alias.

    It passes if it is significantly better (the paired 95 % interval excludes 0), or, with a `margin`, not worse by
    more (one-sided, Schuirmann 1987), and was trained on none of the utterances. The first one passes if its run shows
    that it beats no output.
    `score` scores both versions; without it the scores of their runs are used, which need the same data and text
    normaliser. An exported model needs `score`: its run scored its origin. Raises `AsrLabError` if they cannot be
    compared.
    """
    champion = alias_version(version.name, alias)
    candidate_uri = uri_of(version)
    if champion is None:
        run = _scored_run(version, score)
        below = _below_floor(run, candidate_uri)
        reason = below or f"{version.name} has no @{alias} to compare with"
        return Verdict(candidate_uri, "", not below, "; ".join([reason, *_doubts(run)]))
    if uri_of(champion) == candidate_uri:
        raise AsrLabError(
            f"{candidate_uri} is @{alias} already", next_command=f"asr-lab promote {shlex.quote(version.name)}/N"
        )
    new, old = (score(version), score(champion)) if score else _own_scores(version, champion)
    aligned = evidence.pair(old.table, old.run, new.table, new.run, new.split)
    rate = "error_f1" if "true_rejects" in old.table else "wer"
    delta, num_differing = ratios.difference(old.table, aligned, rate)
    passed, reason = _decide(delta, margin, num_differing, higher=direction(f"test/{rate}") == "higher")
    if trained := _on_training_data(new, candidate_uri):
        passed, reason = False, f"{trained}; {reason}"
    of_champion = _on_training_data(old, uri_of(champion))
    reason = "; ".join(filter(None, [reason, of_champion, *_doubts(new.run)]))
    return Verdict(
        candidate=candidate_uri,
        champion=uri_of(champion),
        passed=passed,
        reason=reason,
        metric=f"{new.split}/{rate}",
        figure_candidate=ratios.value(new.table, rate),
        figure_champion=ratios.value(old.table, rate),
        delta=delta,
        margin=margin,
        utterances=len(new.table),
        data=f"{new.split} {new.run.data.tags.get(DATA + new.split, '')}",
        runs=(new.run.info.run_id, old.run.info.run_id),
    )


def _below_floor(run: Run | None, uri: str) -> str:
    """Return why a first version may not have an alias: it is no better than no output, or tested on training data."""
    if run is None:
        return ""
    metrics = metrics_of(run)
    split = next((split for split in _SPLITS if f"{split}/utterances" in metrics), "")
    trained = metrics.get(f"{split}/trained_utterances")
    on_training_data = f"{split} figures of {uri} rest on training data: {trained_on.describe(run, split)}"
    return floor.why_below(metrics) or (on_training_data if trained else "")


def _scored_run(version: ModelVersion, score: Score | None) -> Run | None:
    """Return the run with the scores of a version that is alone: an exported model's is scored now."""
    if EXPORTED in version.tags:
        if score is None:
            raise _unscored(version, version)
        return score(version).run
    if not version.run_id:
        return None
    with explain_store_errors("the run of the version cannot be read"):
        return tracking_client().get_run(version.run_id)


def _unscored(exported: ModelVersion, version: ModelVersion) -> AsrLabError:
    return AsrLabError(
        f"{uri_of(exported)} is an exported model: the scores of its run are those of its origin",
        allowed="--data MANIFEST, which is scored now",
        next_command=f"asr-lab promote {shlex.quote(f'{version.name}/{version.version}')} --data MANIFEST",
    )


def _on_training_data(scored: Scored, uri: str) -> str:
    number = trained_on.trained_rows(scored.table)
    return f"{number} of {len(scored.table)} utterances are training data of {uri}" if number else ""


def _doubts(run: Run | None) -> list[str]:
    unchecked = trained_on.unchecked(run) if run else ""
    return [f"overlap with training data is not fully known: {unchecked}"] if unchecked else []


def unassessed(version: ModelVersion, alias: str, why: str) -> Verdict:
    """Return a failed verdict for a version that could not be compared."""
    champion = alias_version(version.name, alias)
    return Verdict(uri_of(version), uri_of(champion) if champion else "", False, why)


def _decide(delta: Interval, margin: float, num_differing: int, *, higher: bool = False) -> tuple[bool, str]:
    """Return whether the version passes, and why; `higher`: higher values are better."""
    difference = f"{delta.value:+.1%}, 95 % interval {delta.low:+.1%} to {delta.high:+.1%}"
    worst = -delta.low if higher else delta.high  # how much worse it may be
    if worst < 0 and num_differing >= FEWEST_DIFFERING:
        return True, f"significantly better: {difference}"
    if margin > 0 and worst < margin:
        return True, f"not worse by {margin:.1%} or more: {difference}"
    if margin > 0:
        return False, f"it may be worse by {margin:.1%} or more: {difference}"
    few = f"; only {counted(num_differing, 'utterance', 'differ')}: too few to decide" if worst < 0 else ""
    return False, f"not significantly better: {difference}{few}"


def _own_scores(version: ModelVersion, champion: ModelVersion) -> tuple[Scored, Scored]:
    """Return the scores logged by the runs of both versions, of a split that both have."""
    if exported := next((one for one in (version, champion) if EXPORTED in one.tags), None):
        raise _unscored(exported, version)
    client = tracking_client()
    with explain_store_errors("the runs of the versions cannot be read"):
        runs = [client.get_run(str(version.run_id)) for version in (version, champion)]
    why = "their runs have no scores of the same split"
    for split in _SPLITS:
        try:
            new, old = (Scored(score_tables.utterances(run, split), run, split) for run in runs)
            evidence.pair(old.table, old.run, new.table, new.run, split)
            return new, old
        except AsrLabError as error:
            why = why if "no utterances" in error.what else error.what
    raise AsrLabError(
        f"{uri_of(version)} and {uri_of(champion)} cannot be compared: {why}",
        allowed="--data MANIFEST, on which both are scored now",
        next_command=f"asr-lab promote {shlex.quote(f'{version.name}/{version.version}')} --data MANIFEST",
    )


def record(version: ModelVersion, verdict: Verdict, *, forced: str = "") -> None:
    """Record the verdict on the version; `forced`: why it gets the alias without passing."""
    client = tracking_client()
    summary = verdict.reason + (f" against {verdict.champion}" if verdict.champion else "")
    summary += f". Forced: {forced}" if forced else "" if verdict.passed else ". Refused"
    summary = escape_markdown(summary)
    with explain_store_errors("the verdict cannot be written"):
        client.set_model_version_tag(version.name, version.version, GATE, verdict.as_json())
        client.set_model_version_tag(version.name, version.version, VERDICT, summary)
        if forced:
            client.set_model_version_tag(version.name, version.version, GATE_FORCED, forced)
        written = client.get_model_version(version.name, version.version).description or ""
        card = written.split(_BEHIND_CARD)[0][: _MOST_CHARACTERS - len(_BEHIND_CARD + summary)]
        client.update_model_version(version.name, version.version, card + _BEHIND_CARD + summary)


def promote(version: ModelVersion, alias: str, verdict: Verdict) -> None:
    """Move the alias to the version; tag the previous version with its successor.

    Raises `AsrLabError` if the alias has moved since the verdict.
    """
    client = tracking_client()
    now = alias_version(version.name, alias)
    if (uri_of(now) if now else "") != verdict.champion:
        raise AsrLabError(
            f"@{alias} went to {uri_of(now) if now else 'no version'} while {uri_of(version)} was compared with "
            f"{verdict.champion or 'none'}",
            next_command=f"asr-lab promote {shlex.quote(f'{version.name}/{version.version}')}",
        )
    with explain_store_errors("the alias cannot be moved"):
        client.set_registered_model_alias(version.name, alias, version.version)
        if verdict.champion:
            old = verdict.champion.rpartition("/")[2]
            client.set_model_version_tag(version.name, old, REPLACED_BY, version.version)
