"""Adapt a recogniser to one person: an MLP on the frozen base's frames, which are computed once.

The base hears each utterance a single time, whatever the number of epochs; its own figures come from the same pass.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lhotse import CutSet
from lhotse.cut import Cut
from rich.console import Console

from asr_lab.data import manifest
from asr_lab.data.splits import groups
from asr_lab.errors import AsrLabError
from asr_lab.metrics import error_rates
from asr_lab.metrics.significance import Interval, difference_interval
from asr_lab.models.adapter import AdapterManager, Base, MLPAdapter
from asr_lab.models.recognizer import Recognizer
from asr_lab.recipes.common import Clock, record_scores, score, use_threads
from asr_lab.recipes.person import Plan, run_spec
from asr_lab.training.callbacks import DropBrokenUpdates, Recording
from asr_lab.training.frames import Frames, frame_loader
from asr_lab.training.recorder import Recorder, RegisteredModel, Tracker
from asr_lab.training.trainer import AsrTrainer


@dataclass(frozen=True)
class Adapted:
    """One person's adapter, and what it is worth on utterances it did not learn from."""

    name: str
    run_id: str
    run_name: str
    base: str
    file: Path
    model_uri: str
    wer_base: float
    wer: float
    delta: Interval
    num_test: int
    trainable_share: float
    size_mb: float
    seconds: float
    training_seconds: float
    peak_memory_mb: float

    def rows(self) -> dict[str, str]:
        """The result in words, a line each."""
        delta = self.delta
        return {
            "WER": f"{self.wer_base:.1%} -> {self.wer:.1%} on {self.num_test} held-out utterances",
            "difference": f"{delta.value:+.1%}, 95 % interval {delta.low:+.1%} to {delta.high:+.1%}",
            "trainable share": f"{self.trainable_share:.1%} of all parameters",
            "file": f"{self.file}, {self.size_mb:.2f} MB",
            "time": f"{self.seconds:.1f} s, of which {self.training_seconds:.1f} s training",
            "peak memory": f"{self.peak_memory_mb:.0f} MB",
            "run": self.run_name,
            "registered": self.model_uri,
        }


def adapt(planned: Plan, tracker: Tracker, console: Console) -> Adapted:
    """Train the adapter, measure it against its base on the same held-out utterances, write and register it."""
    clock = Clock()
    config, recognizer = planned.config, planned.recognizer
    use_threads(config.run.threads)
    for warning in planned.warnings:
        console.print(f"[yellow]warning[/] {warning}", highlight=False)
    base = recognizer.base(planned.base_uri)
    with tracker.start(run_spec(planned)) as run:
        for split in planned.splits.values():
            run.dataset(split.dataset())
        console.print(f"adapting {planned.base_uri} to [bold]{config.adapter.name}[/]: {run.name}", highlight=False)
        cuts = _once([*planned.splits["train"].cuts, *(planned.test or [])])
        frames = Frames.of(recognizer, cuts, console)
        began = time.monotonic()
        adapter = _fit(planned, planned.adapter(), frames, planned.train, run)
        training_seconds = time.monotonic() - began
        base_table, table = _measure(planned, adapter, frames, run)
        delta = _record(planned, run, base_table, table)
        _prove_untouched(recognizer, base, run)
        figures = {"test/wer_base": error_rates.wer(base_table), "test/wer": error_rates.wer(table)}
        file, uri = _keep(planned, adapter, base, figures, run)
        sizes = _sizes(recognizer, adapter, file)
        spent = {
            "perf/seconds": clock.seconds,
            "perf/training_seconds": training_seconds,
            "perf/base_pass_seconds": frames.seconds,
            "perf/peak_memory_mb": clock.peak_memory_mb(),
        }
        run.metrics(sizes | spent)
        adapted = Adapted(
            name=config.adapter.name,
            run_id=run.run_id,
            run_name=run.name,
            base=planned.base_uri,
            file=file,
            model_uri=uri,
            wer_base=figures["test/wer_base"],
            wer=figures["test/wer"],
            delta=delta,
            num_test=len(table),
            trainable_share=sizes["model/trainable_share"],
            size_mb=sizes["model/size_mb"],
            seconds=spent["perf/seconds"],
            training_seconds=training_seconds,
            peak_memory_mb=spent["perf/peak_memory_mb"],
        )
        run.note("\n".join(f"- **{label}** {text}" for label, text in adapted.rows().items()))
        return adapted


def _once(cuts: list[Cut]) -> CutSet:
    """Each utterance a single time: a test share is held out of the training manifest itself."""
    return CutSet.from_cuts({cut.id: cut for cut in cuts}.values())


def _prove_untouched(recognizer: Recognizer, before: Base, run: Recorder) -> None:
    """Log the base's digest before and after; they are the same."""
    after = recognizer.base().digest
    assert after == before.digest, "the frozen base changed while its adapter learned"
    run.tags({"asr_lab.base_digest": before.digest, "asr_lab.base_digest_after": after})


def _keep(planned: Plan, adapter: MLPAdapter, base: Base, figures: dict[str, float], run: Recorder) -> tuple[Path, str]:
    """Write the adapter's file and register it; (the file, its registry URI)."""
    settings = planned.config.adapter
    created = datetime.now(UTC).isoformat(timespec="seconds")
    file = AdapterManager(settings.save_dir).save_adapter(
        settings.name, adapter, base, created=created, metrics=figures
    )
    run.file(file)
    model = RegisteredModel(
        name=planned.config.run.register_as or f"deepspeech2-adapter-{settings.name}",
        files={"adapter": file} | _own_base(planned),
        base_uri=planned.base_uri,
        tags={"asr_lab.base": planned.base_uri, "asr_lab.base_digest": base.digest},
    )
    return file, run.model(model, register=True)


def _own_base(planned: Plan) -> dict[str, Path]:
    """A base that is only a folder travels with its adapter: no registry can give it to others."""
    return {"model": Path(planned.base_uri)} if Path(planned.base_uri).is_dir() else {}


def _sizes(recognizer: Recognizer, adapter: MLPAdapter, file: Path) -> dict[str, float]:
    own = sum(parameter.numel() for parameter in adapter.parameters())
    whole = own + sum(parameter.numel() for parameter in recognizer.model.parameters())
    return {
        "model/params": whole,
        "model/trainable_params": own,
        "model/trainable_share": own / whole,
        "model/size_mb": file.stat().st_size / 1e6,
    }


def _fit(planned: Plan, adapter: MLPAdapter, frames: Frames, cuts: CutSet, run: Recorder | None) -> MLPAdapter:
    """Train on the stored frames of `cuts`; nothing is chosen on anything, the last epoch is kept."""
    config = planned.config
    labels = {cut.id: planned.recognizer.encode_text(manifest.supervision(cut).text or "") for cut in cuts}
    trainer = AsrTrainer(
        adapter,
        frame_loader(frames, labels, config.train.batch_size, seed=config.run.seed),
        None,
        config.train,
        folder=Path(run.checkpoints if run else "checkpoints"),
        seed=config.run.seed,
        callbacks=[Recording(run), DropBrokenUpdates(run)] if run else [],
        checkpoints=False,
    )
    trainer.train()
    return adapter.eval().to(planned.recognizer.model.device)


def _measure(planned: Plan, adapter: MLPAdapter, frames: Frames, run: Recorder) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of the base and of the adapted recogniser on the same utterances, which it did not learn from."""
    recognizer = planned.recognizer
    if planned.test is not None:
        test, adapted = planned.test, frames.hypotheses(recognizer, planned.test, adapter)
    else:
        test, adapted = _cross_fit(planned, frames, run)
    plain = frames.hypotheses(recognizer, test, None)
    return score(test, plain, recognizer.normalizer), score(test, adapted, recognizer.normalizer)


def _cross_fit(planned: Plan, frames: Frames, run: Recorder) -> tuple[CutSet, dict[str, str]]:
    """Each value of the field in turn is recognised by an adapter that learned from all the others."""
    found: dict[str, str] = {}
    tested: list[Any] = []
    field = planned.config.data.cross_fit
    by_value, to_test = groups(planned.train, field), groups(planned.splits["test"].cuts, field)
    if len(by_value) < 2:
        raise AsrLabError(
            f"cross-fitting needs two values of {planned.config.data.cross_fit!r}, there is only {list(by_value)}"
        )
    for fold, value in enumerate(sorted(to_test)):
        others = CutSet.from_cuts(cut for other, cuts in by_value.items() if other != value for cut in cuts)
        held_out = CutSet.from_cuts(to_test[value])
        adapter = _fit(planned, planned.adapter(), frames, others, None)
        hypotheses = frames.hypotheses(planned.recognizer, held_out, adapter)
        found |= hypotheses
        tested += list(held_out)
        run.metrics({"fold/wer": error_rates.wer(score(held_out, hypotheses, planned.recognizer.normalizer))}, fold)
    return CutSet.from_cuts(tested), found


def _record(planned: Plan, run: Recorder, base: pd.DataFrame, adapted: pd.DataFrame) -> Interval:
    """Log both scores and their paired difference with its interval."""
    name = planned.config.adapter.name
    record_scores(run, adapted, "test", f"{name}, adapted ({run.name})")
    record_scores(run, base, "base_test", f"{name}, base alone ({planned.base_uri})")
    errors_base, errors, lengths = _paired(base, adapted, planned.config.data.interval_unit)
    delta = difference_interval(errors_base, errors, lengths, seed=planned.config.run.seed)
    run.metrics(
        {
            "test/wer_base": error_rates.wer(base),
            "test/cer_base": error_rates.cer(base),
            "test/wer_delta": delta.value,
            "test/wer_delta_low": delta.low,
            "test/wer_delta_high": delta.high,
            "test/wer_delta_p": delta.p if delta.p is not None else float("nan"),
        }
    )
    return delta


def _paired(base: pd.DataFrame, adapted: pd.DataFrame, unit: str) -> tuple[Any, Any, Any]:
    """Errors of base and adapter and reference words, a row an utterance or a row a reference word."""
    if unit == "utterance":
        return error_rates.word_errors(base), error_rates.word_errors(adapted), base["words"]
    columns = [
        np.concatenate([error_rates.errors_by_word(r, h) for r, h in zip(t["reference"], t["hypothesis"], strict=True)])
        for t in (base, adapted)
    ]
    return columns[0], columns[1], np.ones_like(columns[0])
