"""`asr-lab pool`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from asr_lab.cli.completion import RunName
from asr_lab.cli.training.experiments import show_outcome
from asr_lab.errors import AsrLabError, listing


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN...", type=RunName())
@click.option("--data", required=True, metavar="MANIFEST", help="Manifest that contains the test data of all runs.")
@click.option("--name", default="", help="Name of the evaluation.  [pool]")
@click.option("--split", default="test", show_default=True, help="Split to pool.")
def pool(names: tuple[str, ...], data: str, name: str, split: str) -> None:
    """Pool the test utterances of several runs into one evaluation; each utterance was scored by exactly one run.

    Combines the folds of `asr-lab data split --folds`: corpus WER with its interval, CER, slices and page, recorded as
    a run that `asr-lab compare` can compare with any other on MANIFEST.

    \b
    Examples:
      asr-lab pool children-fold1-1a2b children-fold2-3c4d --data corpora/children/all.jsonl.gz --name children
      asr-lab compare children-5e6f7a8b evaluate-base-9a0b1c2d --vs evaluate-base-9a0b1c2d
    """
    from asr_lab.config.schema import Run
    from asr_lab.config.schema.pool import Pool, PoolExperiment
    from asr_lab.recipes.pool_evaluations import pool as recipe
    from asr_lab.tracking.queries.find import find_each
    from asr_lab.tracking.queries.score_tables import utterances
    from asr_lab.tracking.tags import MODEL_TYPE, TEXT
    from asr_lab.tracking.tracker import MlflowTracker

    runs = find_each(names)
    text = _shared(runs, TEXT, "have different text normalisers")
    model_type = _shared(runs, MODEL_TYPE, "have models of different types")
    config = PoolExperiment(
        run=Run(name=name), pool=Pool(runs=tuple(run.info.run_id for run in runs), data=data, split=split)
    )
    done = recipe(
        config,
        {str(run.info.run_name): utterances(run, split) for run in runs},
        text=text,
        model_type=model_type,
        tracker=MlflowTracker(),
    )
    show_outcome(done)


def _shared(runs: Sequence[Any], tag: str, fault: str) -> str:
    """Return the tag that all runs have in common; raise `AsrLabError` with the `fault` if they differ."""
    values = {str(run.data.tags.get(tag, "")): str(run.info.run_name) for run in runs}
    if len(values) > 1:
        raise AsrLabError(f"these runs {fault}: {listing(f'{name} ({value})' for value, name in values.items())}")
    return values.popitem()[0]
