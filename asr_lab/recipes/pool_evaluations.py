"""One evaluation of several: each utterance scored once, by the model that did not learn from its speaker."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from asr_lab.config.schema.pool import PoolExperiment
from asr_lab.errors import AsrLabError, listing
from asr_lab.interfaces.tracking import Tracker
from asr_lab.recipes.evaluate import EvaluatedRecognition
from asr_lab.recipes.recognition.scoring import record_scores
from asr_lab.recipes.run_spec import describe
from asr_lab.recipes.splits import Split
from asr_lab.system.resources import Clock


def pool(
    config: PoolExperiment, tables: Mapping[str, pd.DataFrame], *, text: str, model_type: str, tracker: Tracker
) -> EvaluatedRecognition:
    """Record the score tables (by the runs' names) as one evaluation of `pool.data`.

    `text` is the text normaliser they were scored after. Raises `AsrLabError` unless they hold each utterance of the
    manifest exactly once.
    """
    clock, settings = Clock(), config.pool
    split = Split.read(settings.split, settings.data)
    table = pooled(tables, [cut.id for cut in split.cuts], settings.data)
    spec = describe(
        config,
        family="evaluate",
        kind="evaluate",
        model_type=model_type,
        name=config.run.name or "pool",
        data={settings.split: split.digest},
        text=text,
    )
    with tracker.start(spec) as run:
        run.dataset(split.dataset())
        interval = record_scores(run, table, settings.split, f"{run.name} on {settings.data}")
        run.note(f"Each utterance scored by one of {listing(tables)}.")
        return EvaluatedRecognition(run.run_id, run.name, interval, table, settings.split, clock.seconds)


def pooled(tables: Mapping[str, pd.DataFrame], ids: list[str], where: str) -> pd.DataFrame:
    """The rows of all tables in the order of `ids`; raises `AsrLabError` unless each is in exactly one of them."""
    table = pd.concat(tables.values(), ignore_index=True)
    twice = sorted(set(table["id"][table["id"].duplicated()]))
    others, missing = sorted(set(table["id"]) - set(ids)), sorted(set(ids) - set(table["id"]))
    faults = {"were scored by several runs": twice, "were scored by none": missing, "are not in it": others}
    told = [f"{len(which)} utterances {what}: {listing(which, 3)}" for what, which in faults.items() if which]
    if told:
        raise AsrLabError(
            f"the runs' utterances are not those of the manifest: {'; '.join(told)}",
            where=where,
            allowed="the manifest that `asr-lab data split --folds` parted, and one run of each fold",
        )
    return table.set_index("id").loc[ids].reset_index()
