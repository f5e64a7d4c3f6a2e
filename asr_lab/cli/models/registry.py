"""`asr-lab register`, `asr-lab promote`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr_lab.cli.completion import ModelName, RunName
from asr_lab.cli.options import Finite, console, echo
from asr_lab.cli.store.confirm import plan_option
from asr_lab.errors import AsrLabError, listing
from asr_lab.interfaces.tags import BASE
from asr_lab.units import counted

if TYPE_CHECKING:
    from asr_lab.tracking.models.promotion import Score, Scored, Verdict


@click.command()
@click.argument("run", required=False, type=RunName())
@click.option("--best", metavar="METRIC", help="Register the run with the best value of this metric, instead of RUN.")
@click.option("--pattern", default="", help="With --best: glob or part of a run's name, model type or family.")
@click.option("--family", default="", help="With --best: only this family, such as deepspeech2.")
@click.option("--name", required=True, help="Name in the model registry, such as deepspeech2.")
@click.option("--merged", is_flag=True, help="Merge adapters into their base first, so that the model needs no base.")
@plan_option
def register(
    run: str | None, best: str | None, pattern: str, family: str, name: str, merged: bool, dry_run: bool
) -> None:
    """Register the model of RUN, or of the best run, as a version of NAME with a model card.

    The first version that beats no output becomes @champion; later ones do so by `asr-lab promote`. Plain transformers
    can load a merged model (AutoModelForCTC.from_pretrained); the run itself does not change.

    \b
    Examples:
      asr-lab register base-1a2b3c4d --name deepspeech2
      asr-lab register --best val/wer --family deepspeech2 --pattern "base-*" --name deepspeech2 --dry-run
      asr-lab register korean-lora-1a2b3c4d --name wav2vec2-korean --merged
    """
    from asr_lab.tracking.models import registry
    from asr_lab.tracking.models.merge_adapters import register_merged
    from asr_lab.tracking.models.names import uri_of
    from asr_lab.tracking.queries.find import find_run

    if bool(run) == bool(best):
        raise AsrLabError("give either RUN or --best METRIC", next_command="asr-lab register --help")
    chosen = find_run(run) if run else _best(str(best), pattern, family)
    echo(_intended(chosen, name, merged))
    if dry_run:
        return
    merged_version = register_merged(chosen.info.run_id, name) if merged else None
    version = merged_version or registry.register_run(chosen.info.run_id, name)
    echo(f"{chosen.info.run_name} is {uri_of(version)}")
    if standing := registry.standing(uri_of(version)):
        echo(f"  {standing}")
    if merged and not merged_version:
        echo("  --merged has no effect: the model has no adapters", err=True)
    if not merged_version and (base := _folder_of_base(chosen)):
        echo(f"  warning: these adapters load only on a machine with {base};", err=True)
        echo("  --merged registers a model that needs no base", err=True)


def _intended(run: Any, name: str, merged: bool) -> str:
    """What will be registered; raises `AsrLabError` if it cannot be."""
    from asr_lab.metrics.floor import why_below
    from asr_lab.tracking.models import registry
    from asr_lab.tracking.queries.find import candidate_of
    from asr_lab.tracking.queries.runs import metrics_of

    registry.model_of(run.info.run_id, name)
    if known := registry.known_version(run.info.run_id, name, merged=merged):
        return f"{candidate_of(run)} is {known.name}/{known.version} already"
    what = "becomes, with any adapters merged," if merged else "becomes"
    then = "" if registry.has_champion(name) or why_below(metrics_of(run)) else ", the champion"
    return f"{candidate_of(run)} {what} a new version of {name}{then}"


def _folder_of_base(run: Any) -> str:
    """Return the local base folder that the run's adapters need; "" if they need none."""
    params, base = run.data.params, str(run.data.tags.get(BASE, ""))
    adapters = params.get("model.tune") == "lora" and params.get("model.merged") != "True"
    return base if adapters and not params.get("run.register_as") and Path(base).is_absolute() else ""


def _best(metric: str, pattern: str, family: str) -> Any:
    """Return the best finished run that logged a model."""
    from asr_lab.interfaces.tracking import REPRODUCE
    from asr_lab.metrics.catalog import direction
    from asr_lab.tracking.queries import run_set, runs
    from asr_lab.tracking.queries.runs import metrics_of
    from asr_lab.tracking.tags import KIND

    if direction(metric) == "neither":
        raise AsrLabError(
            f"metric {metric!r} has no known direction", allowed="a metric such as val/wer, test/wer or val/loss"
        )
    finished = [
        run
        for run in runs.find(pattern, family, status="FINISHED", archived=False)
        if run.data.tags.get(KIND) != REPRODUCE  # the reproduced run already counts
    ]
    able = [
        run
        for run in finished
        if math.isfinite(metrics_of(run).get(metric, math.nan)) and run.outputs and run.outputs.model_outputs
    ]
    if not able:
        have = sorted({name for run in finished for name in metrics_of(run) if direction(name) != "neither"})
        raise AsrLabError(
            f"none of {len(finished)} finished runs has {metric} and a model", allowed=listing(have) or "no metric yet"
        )
    reason = run_set.not_comparable(able, metric)
    if reason:
        raise AsrLabError(reason, hint="--pattern and --family choose runs of the same data")
    return (min if direction(metric) == "lower" else max)(able, key=lambda run: metrics_of(run)[metric])


@click.command()
@click.argument("model", type=ModelName())
@click.option("--alias", default="champion", show_default=True, help="Alias to give.")
@click.option(
    "--non-inferior",
    "margin",
    type=Finite(0, 1),
    default=0.0,
    help="Margin of a non-inferiority test (0.01 is one point of WER): pass if it is not worse by this much.",
)
@click.option("--data", default="", help="Manifest to evaluate both on.  [compare the scores of their runs]")
@click.option("--force", "forced", metavar="WHY", default="", help="Give the alias in any case; WHY is recorded.")
@click.option("--dry-run", is_flag=True, help="Only show the result of the test.")
def promote(model: str, alias: str, margin: float, data: str, forced: str, dry_run: bool) -> None:
    """Give MODEL (NAME, NAME/3 or NAME@alias) an alias if it is significantly better than the version that has it.

    Both are compared on the same utterances by a paired bootstrap; the verdict is recorded with the version. Exported
    models need --data: the scores of their runs are those of their origins.

    \b
    Examples:
      asr-lab promote deepspeech2                          the newest version, as champion
      asr-lab promote deepspeech2/4 --data corpora/demo/test.jsonl.gz
      asr-lab promote deepspeech2@candidate --non-inferior 0.01
      asr-lab promote deepspeech2/4 --force "the champion's licence ran out"
    """
    from asr_lab.tracking.models import promotion

    promotion.check_alias(alias)
    version = promotion.find_version(model)
    out = console()
    uri = f"models:/{version.name}/{version.version}"
    holder = promotion.alias_version(version.name, alias)
    now = f", now {promotion.shown(holder)}" if holder else ""
    out.say("[bold]{}[/] for @{}{}", promotion.shown(version), alias, now)
    score = _scoring(data, recorded=not dry_run) if data else None
    verdict = _assess(version, alias, margin, score, forced)
    if verdict.delta:
        rate = {"wer": "WER", "error_f1": "error F1"}[verdict.metric.partition("/")[2]]
        out.print(f"  {verdict.champion}  {rate} {verdict.figure_champion:.1%}")
        out.print(f"  {uri}  {rate} {verdict.figure_candidate:.1%}")
        out.print(f"  on {counted(verdict.utterances, 'utterance')} ({verdict.data[:14]})")
    out.print(f"  {verdict.reason}")
    if dry_run:
        out.print("nothing was written (--dry-run)")
        return
    promotion.record(version, verdict, forced="" if verdict.passed else forced)
    if not (verdict.passed or forced):
        raise AsrLabError(
            f"{uri} does not become @{alias}: {verdict.reason}",
            hint="--non-inferior 0.01 is a weaker condition, --data MANIFEST scores other utterances; "
            '--force "why" gives it in any case, and is recorded',
        )
    promotion.promote(version, alias, verdict)
    out.print(f"{uri} is @{alias} now" + (", by force" if not verdict.passed else ""))


def _assess(version: Any, alias: str, margin: float, score: Score | None, forced: str) -> Verdict:
    from asr_lab.tracking.models import promotion

    try:
        return promotion.assess(version, alias, margin=margin, score=score)
    except AsrLabError as error:
        if not forced or "already" in error.what:
            raise
        return promotion.unassessed(version, alias, error.what)


def _scoring(data: str, *, recorded: bool) -> Score:
    """Return a function that scores a version on the manifest; `recorded`: as an evaluation run."""
    from asr_lab.config.load import load
    from asr_lab.interfaces.in_memory import MemoryTracker
    from asr_lab.recipes.evaluate import evaluate
    from asr_lab.recipes.splits import Split
    from asr_lab.tracking.models.model_store import MlflowStore
    from asr_lab.tracking.models.names import uri_of
    from asr_lab.tracking.models.promotion import Scored, unrecorded
    from asr_lab.tracking.models.registry import is_adapter
    from asr_lab.tracking.queries.find import find_run
    from asr_lab.tracking.tracker import MlflowTracker

    Split.read("test", data)  # also where nothing has to be scored

    def score(version: Any) -> Scored:
        base = version.tags.get(BASE, "") if is_adapter(version) else ""
        keys = {"evaluate.data": data, "evaluate.model": base or uri_of(version)}
        keys |= {"evaluate.adapter": uri_of(version)} if base else {}
        experiment = load(None, keys, "evaluate")
        memory = MemoryTracker(Path("checkpoints"))
        tracker = MlflowTracker(new_run=True) if recorded else memory
        done = evaluate(experiment, tracker, console(stderr=True), store=MlflowStore())
        if recorded:
            return Scored(done.table, find_run(done.run_id), experiment.evaluate.split)
        made = memory.runs[-1]
        run = unrecorded(made.all_tags, {name: points[-1][1] for name, points in made.all_metrics.items()})
        return Scored(done.table, run, experiment.evaluate.split)

    return score
