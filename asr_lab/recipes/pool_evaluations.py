"""Pool cross-validation folds into one evaluation: each utterance is scored once, by the model not trained on it."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from asr_lab.config.schema.pool import PoolExperiment
from asr_lab.data import columns
from asr_lab.errors import AsrLabError, listing
from asr_lab.interfaces.tracking import Tracker
from asr_lab.metrics.spacing import SCORER, without_spaces
from asr_lab.recipes.evaluate import EvaluatedRecognition
from asr_lab.recipes.recognition.scoring import record_scores
from asr_lab.recipes.run_spec import describe
from asr_lab.recipes.splits import Split
from asr_lab.recipes.training_overlap import TRAINED_ON, TRAINING_SPEAKER, counts
from asr_lab.reports.markdown import escape_markdown
from asr_lab.system.resources import Clock
from asr_lab.units import counted


def pool(
    config: PoolExperiment, tables: Mapping[str, pd.DataFrame], *, text: str, model_type: str, tracker: Tracker
) -> EvaluatedRecognition:
    """Record score tables, by run name, as one evaluation of `pool.data`.

    `text` is their text normaliser. Raise `AsrLabError` unless they contain each utterance of the manifest once.
    """
    clock, settings = Clock(), config.pool
    split = Split.read(settings.split, settings.data)
    table = pooled(tables, columns.ids(split.cuts).to_pylist(), settings.data)
    spec = describe(
        config,
        family="evaluate",
        kind="evaluate",
        model_type=model_type,
        name=config.run.name or "pool",
        data={settings.split: split.digest},
        text=text,
        scorer=SCORER,
    )
    with tracker.start(spec) as run:
        run.dataset(split.dataset())
        interval = record_scores(run, table, settings.split, f"{run.name} on {settings.data}")
        if {TRAINED_ON, TRAINING_SPEAKER} & set(table):
            run.metrics({f"{settings.split}/{name}": number for name, number in counts(table).items()})
        run.note(f"Each utterance scored by one of {listing(map(escape_markdown, tables))}.")
        return EvaluatedRecognition(run.run_id, run.name, interval, table, settings.split, clock.seconds)


def pooled(tables: Mapping[str, pd.DataFrame], ids: list[str], where: str) -> pd.DataFrame:
    """Concatenate the tables in the order of `ids`. Raise `AsrLabError` unless each id is in exactly one of them."""
    table = pd.concat([without_spaces(one) for one in tables.values()], ignore_index=True)
    for column in {TRAINED_ON, TRAINING_SPEAKER} & set(table):  # only tables with an overlap have them
        table[column] = table[column].fillna("no")
    twice = sorted(set(table["id"][table["id"].duplicated()]))
    others, missing = sorted(set(table["id"]) - set(ids)), sorted(set(ids) - set(table["id"]))
    faults = [
        ("were", "scored by several runs", twice),
        ("were", "scored by none", missing),
        ("are", "not in it", others),
    ]
    problems = [
        f"{counted(len(which), 'utterance', verb)} {what}: {listing(which, 3)}" for verb, what, which in faults if which
    ]
    if problems:
        raise AsrLabError(
            f"the runs' utterances are not those of the manifest: {'; '.join(problems)}",
            where=where,
            allowed="the manifest that `asr-lab data split --folds` parted, and one run of each fold",
        )
    return table.set_index("id").loc[ids].reset_index()
