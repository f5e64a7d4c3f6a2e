"""Model cards in Markdown (Mitchell et al. 2019, "Model Cards for Model Reporting").

The card is the version's description, where the MLflow UI shows it, and `MODEL_CARD.md` among the run's artifacts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from asr_lab.config.schema.base import SPLITS
from asr_lab.families import FAMILIES, ModelCard
from asr_lab.reports.headline import headline
from asr_lab.reports.markdown import code_span, escape_markdown
from asr_lab.reports.numbers import format_logged, format_metric
from asr_lab.tracking.queries import trained_on
from asr_lab.tracking.queries.runs import metrics_of
from asr_lab.tracking.tags import BASE, COMMAND, DIRTY, FAMILY, GIT_SHA, LICENSE, MODEL_TYPE, VERSIONS
from asr_lab.units import hms

FILE = "MODEL_CARD.md"
_MOST_CHARACTERS = 4900  # MLflow allows 5,000; the gate's verdict is appended
_MOST_SLICES = 24
_MISSING = "not given"
_UNKNOWN = ModelCard(use=_MISSING, figures=())


class _Tags(dict[str, str]):
    """A run's tags by their last name, for the text of a card."""

    def __missing__(self, key: str) -> str:
        return self.get(f"asr_lab.{key}", "jiwer" if key == "scorer" else _MISSING)


def card(client: MlflowClient, run: Run, name: str) -> str:
    """Return the card of a run's model: use, licence, data, metrics, slices, origin."""
    params, tags = run.data.params, run.data.tags
    family, base = tags.get(FAMILY, ""), tags.get(BASE, "")
    about = (FAMILIES[family].card if family in FAMILIES else None) or _UNKNOWN
    licence = license_of(client, run) or _MISSING
    lines = [
        summary(run, name),
        f"# {escape_markdown(name)}",
        f"{tags.get(MODEL_TYPE, family)} by run {code_span(run.info.run_name)} ({run.info.run_id})",
        "## Intended use",
        "\n".join(map(escape_markdown, params.get("run.intended_use", "").splitlines())) or about.use,
        "## Licence and base",
        f"- licence: {escape_markdown(licence)}",
        f"- base: {escape_markdown(base) or 'none, trained from scratch'}",
        "## Data",
        *_data(run),
        "## Figures",
        about.scoring.format_map(_Tags(tags)),
        *_figures(about.figures, metrics_of(run)),
        *_trained_on(run),
        *_slices(metrics_of(run)),
        "## Origin",
        f"- command: {code_span(tags.get(COMMAND, _MISSING))}",
        f"- code: {tags.get(GIT_SHA, _MISSING)}"
        + (", with changes not committed" if tags.get(DIRTY) == "true" else ""),
        f"- versions: {tags.get(VERSIONS, _MISSING)}",
    ]
    return "\n".join(lines)[:_MOST_CHARACTERS]


def summary(run: Run, name: str) -> str:
    """Return the first line of a card: the model's result, or what it is where it has none."""
    family = run.data.tags.get(FAMILY, "")
    return headline(family, metrics_of(run)) or escape_markdown(f"{name} by run {run.info.run_name}")


def license_of(client: MlflowClient, run: Run) -> str:
    """Return the licence of the run, or of its base; empty if unknown."""
    own: str = run.data.params.get("run.license", "")
    return own or _of_version(client, run.data.tags.get(BASE, ""), LICENSE)


def _of_version(client: MlflowClient, uri: str, tag: str) -> str:
    name, _, version = uri.removeprefix("models:/").rpartition("/")
    if not (uri.startswith("models:/") and name and version.isdigit()):
        return ""
    try:
        version_of_base: ModelVersion = client.get_model_version(name, version)
    except MlflowException:
        return ""
    return str(version_of_base.tags.get(tag, ""))


def _data(run: Run) -> Iterable[str]:
    inputs = run.inputs.dataset_inputs if run.inputs else []
    for one in inputs:
        split = next((tag.value for tag in one.tags if tag.key == "mlflow.data.context"), "data")
        much = _how_much(one.dataset.profile)
        yield f"- {split}: {escape_markdown(one.dataset.name)}{much}, digest `{one.dataset.digest}`"
    if not inputs:
        yield _MISSING


def _how_much(profile: str | None) -> str:
    """Return `, 48 utterances, 1 min 05 s` for a dataset's profile."""
    try:
        known = json.loads(profile or "")
        return f", {known['utterances']} utterances, {hms(known['hours'] * 3600)}"
    except (ValueError, KeyError, TypeError):
        return ""  # not a dataset of asr_lab


def _figures(names: Iterable[str], metrics: dict[str, float]) -> Iterable[str]:
    for name in names:
        if name not in metrics:
            continue
        low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
        written = [format_logged(name, metrics[name]), *(format_metric(name, bound) for bound in (low, high))]
        interval = f" (95 % interval {written[1]} to {written[2]})" if low is not None and high is not None else ""
        yield f"- {name}: {written[0]}{interval}"


def _trained_on(run: Run) -> Iterable[str]:
    for split in SPLITS[1:]:
        if known := trained_on.describe(run, split):
            yield f"- {split} is partly training data: {known}"
    if doubts := trained_on.unchecked(run):
        yield f"- not checked whether these data were trained on: {escape_markdown(doubts)}"


def _slices(metrics: dict[str, float]) -> Iterable[str]:
    # no metrics of single speakers, for privacy
    names = (name for name in sorted(metrics) if "/wer_by_" in name and "_by_speaker/" not in name)
    sliced = {name: metrics[name] for name in names if name.count("/") == 2}
    some = list(sliced.items())[:_MOST_SLICES]
    shown = [f"- {escape_markdown(name)}: {format_logged(name, value)}" for name, value in some]
    more = len(sliced) - len(shown)
    return ["### Slices", *shown, *([f"- and {more} more, in the run"] if more else [])] if shown else []
