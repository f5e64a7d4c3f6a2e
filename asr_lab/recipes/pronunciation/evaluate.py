"""Evaluate a pronunciation model on a manifest with its own thresholds, and compare it with baselines."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import asdict, dataclass

import pandas as pd
from lhotse import CutSet
from rich.progress import Progress

from asr_lab.data import columns
from asr_lab.data.pronunciation import check_pronunciations
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tracking import ModelStore, Recorder, Tracker
from asr_lab.metrics.catalog import in_a_name
from asr_lab.metrics.pronunciation import SCORER
from asr_lab.models.adapter import weights_digest
from asr_lab.models.pronunciation.assessor import Assessor, PhonemeAssessment
from asr_lab.models.pronunciation.decisions import Decisions
from asr_lab.recipes.evaluate import EvaluationPlan, Method
from asr_lab.recipes.parts import Row
from asr_lab.recipes.pronunciation import scoring
from asr_lab.recipes.recognition.scoring import embedded, record_predictions
from asr_lab.recipes.run_spec import describe
from asr_lab.recipes.splits import Split
from asr_lab.reports.learner import learner_page
from asr_lab.reports.markdown import escape_markdown
from asr_lab.reports.summary import Summary, interval_text
from asr_lab.reports.table import Table
from asr_lab.system.resources import Clock
from asr_lab.system.terminal import Console


@dataclass(frozen=True)
class EvaluatedPronunciation:
    """A finished evaluation."""

    run_id: str
    run_name: str
    assessed: scoring.Assessed
    predictors: pd.DataFrame
    """One row per predictor (`scoring.summary`)."""
    notes: list[str]
    seconds: float

    @property
    def table(self) -> pd.DataFrame:
        """One row per utterance."""
        return self.assessed.table

    @property
    def summary(self) -> Summary:
        intervals = {"error_f1": self.assessed.f1["model"], "pr_auc": self.assessed.pr_auc}
        rows = {
            name: f"{interval.value:.3f}, {interval_text(interval.low, interval.high, '.3f')} ({SCORER})"
            for name, interval in intervals.items()
            if interval
        }
        rows["utterances"] = f"{len(self.table)}, {self.seconds:.1f} s"
        return Summary(title=self.run_name, parts=[("", Table(frame=self.predictors)), ("", rows)], notes=self.notes)


def evaluate_pronunciation(
    planned: EvaluationPlan, tracker: Tracker, console: Console, store: ModelStore
) -> EvaluatedPronunciation:
    """Score a split and record it as a run of kind `evaluate`; no threshold is chosen here."""
    config, settings, split, uri = planned.config, planned.config.evaluate, planned.split, planned.uri
    clock, assessor = Clock(), planned.recognizer
    assert isinstance(assessor, Assessor)  # its family names this function
    if settings.phonemes or settings.adapter:
        raise AsrLabError(
            "evaluate.phonemes and --adapter are for recognisers of text",
            where=uri,
            allowed="neither: the output of a pronunciation model is phonemes",
        )
    check_pronunciations(split.cuts, settings.data)
    scoring.refuse_crowded(split, assessor)
    spec = describe(
        config,
        family="evaluate",
        kind="evaluate",
        model_type=assessor.kind,
        name=config.run.name or f"evaluate-{assessor.kind}",
        data={settings.split: split.digest, "base": uri},
        base=uri,
        base_digest=weights_digest(assessor.model),
        scorer=SCORER,
    )
    rows = planned.rows_of_parts(config, planned.decoding) if planned.parts else ()
    assessments = {row["id"]: PhonemeAssessment(**row["assessment"]) for row in rows}
    with tracker.start(spec) as run:
        run.dataset(split.dataset())
        table = scoring.assessment_table(split.cuts, assessments or _assessments(planned, console))
        seconds = clock.seconds
        assessed = scoring.decide(planned.overlap.mark(table), assessor.decisions)
        more = scoring.wrong_text(assessor, split.cuts, assessed, assessor.decisions.threshold)
        notes = scoring.record(run, assessed, settings.split, more=more)
        notes += planned.overlap.record(run, assessed.table, settings.split)
        run.note("\n\n".join(map(escape_markdown, notes)))
        if settings.save_predictions:
            record_predictions(run, assessed.table, settings.split)
        if settings.learners:
            notes += _record_learners(run, split, assessed, assessor.decisions, uri)
        run.metrics(
            {
                "perf/seconds": clock.seconds,
                "perf/real_time_factor": seconds / columns.seconds(split.cuts),
                **clock.peak_memory(),
            }
        )
        shown = scoring.summary({settings.split: assessed})
        return EvaluatedPronunciation(run.run_id, run.name, assessed, shown, notes, clock.seconds)


def _assessments(planned: EvaluationPlan, console: Console) -> dict[str, PhonemeAssessment]:
    assessor, cuts = planned.recognizer, planned.split.cuts
    assert isinstance(assessor, Assessor)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("assessing", total=len(cuts))
        size = planned.config.evaluate.batch_size
        return dict(assessor.iterate_assessments(cuts, size, lambda done: bar.advance(task, done)))


def _assessed(planned: EvaluationPlan, console: Console) -> Iterator[Row]:
    """Yield the rows of a part: the assessments of its utterances."""
    for id, assessment in _assessments(planned, console).items():
        yield {"id": id, "assessment": asdict(assessment)}


def _record_learners(
    run: Recorder, split: Split, assessed: scoring.Assessed, decisions: Decisions, uri: str
) -> list[str]:
    """Log a page with audio for each speaker; return one line per omission."""
    if decisions.calibration is None:
        return ["no learner pages: the model has no calibration of scores, its validation data had no errors"]
    per, trivial = assessed.figures["per"], assessed.figures["trivial/per"]
    if per is not None and trivial is not None and not per < trivial:
        return [f"no learner pages: the model's PER of {per:.1%} is not below the {trivial:.1%} of reporting no error"]
    f1 = assessed.f1["model"]
    quality = [f"PER {per:.1%} (of reporting no error: {trivial:.1%})"] if per is not None and trivial else []
    quality += [f"error F1 {f1.value:.2f}, {interval_text(f1.low, f1.high, '.2f')}"] if f1 else []
    model = f"{uri}; on this data: {', '.join(quality)}" if quality else uri
    notes = []
    for speaker, rows in assessed.table.groupby("speaker"):
        mine = set(rows["id"])
        audio, left_out = embedded(of_ids(split.cuts, mine))
        page = learner_page(rows, decisions.calibration, learner=str(speaker), model=model, audio=audio, note=left_out)
        run.text(page, f"learners/{in_a_name(str(speaker))}.html")
        notes += [f"{speaker}: {left_out}"] if left_out else []
    return notes


def of_ids(cuts: CutSet, ids: Set[str]) -> CutSet:
    """Return the utterances with these ids; unlike what `cuts.filter` returns, they can be counted."""
    return CutSet.from_cuts(cut for cut in cuts if cut.id in ids)


METHOD = Method(evaluate_pronunciation, _assessed)
