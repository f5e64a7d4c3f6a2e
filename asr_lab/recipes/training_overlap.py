"""Scored data that the model was trained on: utterances and speakers of the runs behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from lhotse import CutSet

from asr_lab.data import columns, manifest
from asr_lab.data.columns import take
from asr_lab.data.guesses import GUESSED
from asr_lab.data.leakage import Leakage, same_utterances, scan
from asr_lab.data.splits import draw, hold_out_share, positions
from asr_lab.data.table_utterances import Utterances
from asr_lab.errors import AsrLabError, listing
from asr_lab.interfaces.tags import OVERLAP, UNCHECKED
from asr_lab.interfaces.tracking import Lineage, Recorder, TrainingData
from asr_lab.metrics import ratios
from asr_lab.recipes.splits import Split
from asr_lab.units import all_of

TRAINED_ON, TRAINING_SPEAKER = "trained_on", "training_speaker"
"""Columns of a score table, `yes` or `no`; only where there is an overlap."""
_MOST_NAMED = 3


@dataclass(frozen=True)
class Overlap:
    """What a model was trained on of some data, as far as that is known."""

    utterances: frozenset[str] = frozenset()
    speakers: frozenset[str] = frozenset()
    runs: Sequence[str] = ()
    """Names of the runs that were trained on them."""
    unchecked: Sequence[str] = ()
    """A line on each model, run or manifest that could not be checked."""
    checked: bool = False
    """Whether there was anything to check; False of data that belong to no model."""

    def mark(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a score table with the columns `trained_on` and `training_speaker`, as far as there is an overlap."""
        if self.utterances:
            table = table.assign(**{TRAINED_ON: _yes_or_no(table["id"].isin(self.utterances))})
        if self.speakers and "speaker" in table:
            table = table.assign(**{TRAINING_SPEAKER: _yes_or_no(table["speaker"].isin(self.speakers))})
        return table

    def record(self, run: Recorder, table: pd.DataFrame, split: str, step: int = 0) -> list[str]:
        """Log the overlap with a table that is marked; return notes, with the error rates of both parts."""
        if not self.checked:
            return []
        known, num_speakers = counts(table).values()
        run.metrics({f"{split}/{name}": number for name, number in counts(table).items()}, step)
        notes = []
        if known:
            notes.append(self._of_utterances(table, split, known))
        if num_speakers and known < len(table):
            notes.append(self._of_speakers(table, split, num_speakers))
        if notes:
            all_speakers = table["speaker"].nunique() if "speaker" in table else 0
            run.tags({OVERLAP: f"{known} of {len(table)} utterances, {num_speakers} of {all_speakers} speakers"})
        if self.unchecked:
            run.tags({UNCHECKED: "; ".join(self.unchecked)})
            notes.append(f"not checked whether it was trained on these data: {'; '.join(self.unchecked)}")
        return notes

    def _of_utterances(self, table: pd.DataFrame, split: str, known: int) -> str:
        named = listing(self.runs, _MOST_NAMED)
        if known == len(table):
            return f"{all_of(known, 'utterance', 'were')} trained on ({named}): they do not measure unseen speech"
        parts = _parts(table, split, TRAINED_ON, "these", "the others")
        return f"{known} of {len(table)} utterances were trained on ({named}): {parts}"

    def _of_speakers(self, table: pd.DataFrame, split: str, known: int) -> str:
        all_speakers = table["speaker"].nunique()
        if known == all_speakers:
            return f"all {known} speakers are training speakers: figures may be better than of new voices"
        parts = _parts(table, split, TRAINING_SPEAKER, "these", "the others")
        return f"{known} of {all_speakers} speakers are training speakers: {parts}"


def counts(table: pd.DataFrame) -> dict[str, int]:
    """Return the numbers of utterances trained on and of training speakers of a table that is marked."""
    speakers = table.loc[_is(table, TRAINING_SPEAKER), "speaker"].nunique() if TRAINING_SPEAKER in table else 0
    return {"trained_utterances": int(_is(table, TRAINED_ON).sum()), "training_speakers": int(speakers)}


def _yes_or_no(column: pd.Series) -> pd.Series:
    return column.map({True: "yes", False: "no"})


def _is(table: pd.DataFrame, column: str) -> pd.Series:
    return table[column] == "yes" if column in table else pd.Series(False, index=table.index)


def _parts(table: pd.DataFrame, split: str, column: str, own: str, others: str) -> str:
    """Return `test/wer 15.0% on these, 87.0% on the others`."""
    rate = "error_f1" if "true_rejects" in table else "wer"
    inside = _is(table, column)
    return f"{split}/{rate} {_value(table[inside], rate)} on {own}, {_value(table[~inside], rate)} on {others}"


def _value(table: pd.DataFrame, rate: str) -> str:
    try:
        return f"{ratios.value(table, rate):.1%}"
    except AsrLabError:
        return "undefined"


def overlap(split: Split, lineage: Lineage) -> Overlap:
    """Look for the utterances and speakers of a split in the training data of a model.

    A manifest is read once, and only used if it still has the digest that the run logged.
    """
    cuts, found = split.cuts, _Found(unchecked=list(lineage.unknown))
    for source, of_source in _by_source(lineage.data):
        found.add(cuts, split.digest, Path(source), of_source)
    guessed = columns.factor(cuts, GUESSED).values
    if found.speakers and any("speaker" in str(fields).split(",") for fields in guessed):
        found.unchecked.append("speakers are guessed, so training speakers are too")
    return found.overlap()


def in_training(split: Split, cuts: CutSet, lineage: Lineage, train: CutSet, leakage: Leakage, run: str) -> Overlap:
    """Return the overlap of the scored `cuts` of a split with the training data of `run`, and of the base before it.

    `leakage` is that between the splits of the run, which says whether there is anything to look for.
    """
    before, pair = overlap(split, lineage), f"train and {split.name}"
    shared = frozenset(same_utterances(cuts, train)) if pair in leakage.utterances else frozenset()
    speakers = before.speakers | set(leakage.speakers.get(pair, ()))
    runs = [*before.runs, *([run] if shared else [])]
    return Overlap(before.utterances | shared, speakers, runs, before.unchecked, checked=True)


def _by_source(data: Iterable[TrainingData]) -> list[tuple[str, list[TrainingData]]]:
    by_source: dict[str, list[TrainingData]] = {}
    for one in data:
        by_source.setdefault(one.source, []).append(one)
    return list(by_source.items())


@dataclass
class _Found:
    """Collects overlaps from manifest to manifest."""

    utterances: set[str] = field(default_factory=set)
    speakers: set[str] = field(default_factory=set)
    runs: dict[str, None] = field(default_factory=dict)
    unchecked: list[str] = field(default_factory=list)

    def add(self, cuts: CutSet, digest: str, source: Path, data: Sequence[TrainingData]) -> None:
        """Compare utterances, whose digest is given, with what runs used of one manifest."""
        whole = [one for one in data if not (one.part or one.held_out or one.drawn)]
        same = [one for one in whole if one.digest == digest]
        for one in same:  # the very same data, wherever the manifest is
            self._note(one, set(columns.ids(cuts).to_pylist()), _speakers(cuts))
        others = [one for one in data if one not in same]
        if not others:
            return
        if not source.is_file():
            self._doubt(source, "is not here", others)
            return
        try:
            rest = [one for one in others if one in whole]
            if rest:
                scanned = scan(source, cuts)
                changed = [one for one in rest if one.digest != scanned.digest]
                for one in rest:
                    if one not in changed:
                        self._note(one, set(scanned.utterances), set(scanned.speakers))
                if changed:
                    self._doubt(source, "has changed", changed)
            if parts := [one for one in others if one not in whole]:
                self._parts(cuts, source, parts)
        except AsrLabError as error:
            self._doubt(source, f"cannot be read ({error.what})", others)

    def _parts(self, cuts: CutSet, source: Path, data: Sequence[TrainingData]) -> None:
        rows = Utterances.read(source)
        for one in data:
            used = take(rows, positions(rows, one.part[0]).get(one.part[1], [])) if one.part else rows
            if not len(used) or manifest.digest(used) != one.digest:
                self._doubt(source, "has changed", [one])
                continue
            if one.held_out:
                used, _ = hold_out_share(used, one.held_out[0], seed=one.held_out[1])
            if one.drawn:
                used = draw(used, one.drawn[0], seed=one.drawn[1])
            self._note(one, set(same_utterances(cuts, used)), _speakers(cuts) & _speakers(used))

    def _note(self, data: TrainingData, utterances: set[str], speakers: set[str]) -> None:
        self.utterances |= utterances
        if not data.personal:
            self.speakers |= speakers
        if utterances:
            self.runs[data.run] = None

    def _doubt(self, source: Path, why: str, data: Sequence[TrainingData]) -> None:
        names = listing(dict.fromkeys(one.run for one in data), _MOST_NAMED)
        self.unchecked.append(f"{source}, on which {names} was trained, {why}")

    def overlap(self) -> Overlap:
        return Overlap(
            frozenset(self.utterances), frozenset(self.speakers), list(self.runs), self.unchecked, checked=True
        )


def _speakers(cuts: Any) -> set[str]:
    return {str(value or "") for value in columns.factor(cuts, "speaker").values} - {""}
