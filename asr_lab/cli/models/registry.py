"""`asr-lab register`, `asr-lab promote`."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr_lab.cli.options import Finite, console, echo
from asr_lab.errors import AsrLabError, listing

if TYPE_CHECKING:
    from asr_lab.tracking.models.promotion import Score, Scored, Verdict


@click.command()
@click.argument("run", required=False)
@click.option("--best", metavar="METRIC", help="The run that is best in this metric, instead of RUN.")
@click.option("--pattern", default="", help="With --best: glob or part of a run's name, model type or family.")
@click.option("--family", default="", help="With --best: only this family, such as deepspeech2.")
@click.option("--name", required=True, help="Name in the model registry, such as deepspeech2.")
@click.option("--merged", is_flag=True, help="Of adapters make one plain model first, which needs no base.")
def register(run: str | None, best: str | None, pattern: str, family: str, name: str, merged: bool) -> None:
    """Make the model of RUN, or of the best run, a version of NAME, with its model card.

    The first version becomes @champion; later ones through the gate of `asr-lab promote`. What --merged makes, plain
    transformers reads (AutoModelForCTC.from_pretrained); the run keeps its adapters.

    \b
    Examples:
      asr-lab register base-1a2b3c4d --name deepspeech2
      asr-lab register --best val/wer --family deepspeech2 --pattern "base-*" --name deepspeech2
      asr-lab register korean-lora-1a2b3c4d --name wav2vec2-korean --merged
    """
    from asr_lab.tracking.models import registry
    from asr_lab.tracking.models.merge_adapters import register_merged
    from asr_lab.tracking.queries.find import find_run

    if bool(run) == bool(best):
        raise AsrLabError("one run is registered: RUN or --best METRIC", next_command="asr-lab register --help")
    chosen = find_run(run) if run else _best(str(best), pattern, family)
    whole = register_merged(chosen.info.run_id, name) if merged else None
    version = whole or registry.register_run(chosen.info.run_id, name)
    echo(f"{chosen.info.run_name} is {registry.uri_of(version)}")
    if registry.CHAMPION not in (registry.aliases_of(version)):
        echo(f"  to make it the champion: asr-lab promote {shlex.quote(f'{version.name}/{version.version}')}")
    if merged and not whole:
        echo("  --merged changes nothing: its model is a plain one already", err=True)
    if not whole and (base := _folder_of_base(chosen)):
        echo(f"  warning: these are adapters alone, which load only where {base} is; with --merged", err=True)
        echo("  they become one plain model that needs no base", err=True)


def _folder_of_base(run: Any) -> str:
    """The folder of a machine that the adapters which the run kept need; "" where they need none."""
    params, base = run.data.params, str(run.data.tags.get("asr_lab.base", ""))
    adapters = params.get("model.tune") == "lora" and params.get("model.merged") != "True"
    return base if adapters and not params.get("run.register_as") and Path(base).is_absolute() else ""


def _best(metric: str, pattern: str, family: str) -> Any:
    """The best finished run that logged a model."""
    from asr_lab.interfaces.tracking import REPRODUCE
    from asr_lab.metrics.catalog import direction
    from asr_lab.tracking.queries import run_tables, runs
    from asr_lab.tracking.queries.runs import metrics_of

    if direction(metric) == "neither":
        raise AsrLabError(f"{metric!r} has no better side", allowed="a metric such as val/wer, test/wer or val/loss")
    found = [
        run
        for run in runs.find(pattern, family, status="FINISHED", archived=False)
        if run.data.tags.get("asr_lab.kind") != REPRODUCE  # what it repeats counts already
    ]
    able = [
        run
        for run in found
        if math.isfinite(metrics_of(run).get(metric, math.nan)) and run.outputs and run.outputs.model_outputs
    ]
    if not able:
        have = sorted({name for run in found for name in run.data.metrics if direction(name) != "neither"})
        raise AsrLabError(
            f"none of {len(found)} finished runs has {metric} and a model", allowed=listing(have) or "no metric yet"
        )
    reason = run_tables.not_comparable(able, metric)
    if reason:
        raise AsrLabError(reason, hint="--pattern and --family choose runs of the same data")
    return (min if direction(metric) == "lower" else max)(able, key=lambda run: run.data.metrics[metric])


@click.command()
@click.argument("model")
@click.option("--alias", default="champion", show_default=True, help="The alias to give.")
@click.option(
    "--non-inferior",
    "margin",
    type=Finite(0, 1),
    default=0.0,
    help="Let it pass if it is not worse by this much (0.01 is one point of WER).",
)
@click.option("--data", default="", help="Manifest on which both are scored now.  [the scores of their own runs]")
@click.option(
    "--force", "forced", metavar="WHY", default="", help="Give the alias whatever the gate says; WHY is kept."
)
@click.option("--dry-run", is_flag=True, help="Say what the gate finds; write nothing.")
def promote(model: str, alias: str, margin: float, data: str, forced: str, dry_run: bool) -> None:
    """Give MODEL (NAME, NAME/3 or NAME@alias) an alias, if it is significantly better than the version that has it.

    Both are compared on the same utterances by a paired bootstrap; the verdict is written on the version.

    \b
    Examples:
      asr-lab promote deepspeech2                          the newest version, as champion
      asr-lab promote deepspeech2/4 --data corpora/demo/test.jsonl.gz
      asr-lab promote deepspeech2@candidate --non-inferior 0.01
      asr-lab promote deepspeech2/4 --force "the champion's licence ran out"
    """
    from asr_lab.tracking.models import promotion

    version = promotion.find_version(model)
    score = _scoring(data, recorded=not dry_run) if data else None
    verdict = _judged(version, alias, margin, score, forced)
    out = console()
    uri = f"models:/{version.name}/{version.version}"
    out.say("[bold]{}[/] for @{}", uri, alias)
    if verdict.delta:
        rate = {"wer": "WER", "error_f1": "error F1"}[verdict.metric.partition("/")[2]]
        out.print(f"  {verdict.champion}  {rate} {verdict.figure_champion:.1%}")
        out.print(f"  {uri}  {rate} {verdict.figure_candidate:.1%}")
        out.print(f"  on {verdict.utterances} utterances ({verdict.data[:14]})")
    out.print(f"  {verdict.reason}")
    if dry_run:
        out.print("nothing was written (--dry-run)")
        return
    given = verdict.passed or bool(forced)
    promotion.record(version, verdict, forced="" if verdict.passed else forced)
    if not given:
        raise AsrLabError(
            f"{uri} does not become @{alias}: {verdict.reason}",
            hint='--non-inferior 0.01 asks for less; --force "why" gives it all the same, and is kept',
        )
    promotion.promote(version, alias, verdict)
    out.print(f"{uri} is @{alias} now" + (", by force" if not verdict.passed else ""))


def _judged(version: Any, alias: str, margin: float, score: Score | None, forced: str) -> Verdict:
    from asr_lab.tracking.models import promotion

    try:
        return promotion.assess(version, alias, margin=margin, score=score)
    except AsrLabError as error:
        if not forced or "already" in error.what:
            raise
        return promotion.unassessed(version, alias, error.what)


def _scoring(data: str, *, recorded: bool) -> Score:
    """Scores a version on the manifest, `recorded` as an evaluation, or leaving no trace."""
    from asr_lab.config.load import load
    from asr_lab.interfaces.in_memory import MemoryTracker
    from asr_lab.recipes.evaluate import evaluate
    from asr_lab.tracking.models.promotion import Scored, unrecorded
    from asr_lab.tracking.models.registry import MlflowStore, is_adapter, uri_of
    from asr_lab.tracking.queries.find import find_run
    from asr_lab.tracking.tracker import MlflowTracker

    def score(version: Any) -> Scored:
        base = version.tags.get("asr_lab.base", "") if is_adapter(version) else ""
        keys = {"evaluate.data": data, "evaluate.model": base or uri_of(version)}
        keys |= {"evaluate.adapter": uri_of(version)} if base else {}
        experiment = load(None, keys, "evaluate")
        memory = MemoryTracker(Path("checkpoints"))
        tracker = MlflowTracker(new_run=True) if recorded else memory
        done = evaluate(experiment, tracker, console(stderr=True), store=MlflowStore())
        run = find_run(done.run_id) if recorded else unrecorded(memory.runs[-1].all_tags)
        return Scored(done.table, run, experiment.evaluate.split)

    return score
