"""Adapt a recogniser to one speaker: train an MLP on the encoder outputs of a frozen base.

Each utterance is encoded once, whatever the number of epochs; the base is scored on the same outputs.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from asr_lab.data.manifest import file_digest
from asr_lab.interfaces.tags import ADAPTER_FILE, BASE, BASE_DIGEST, BASE_DIGEST_AFTER
from asr_lab.interfaces.tracking import Recorder, RegisteredModel, Tracker
from asr_lab.models.adapter import REGISTERED, AdapterManager, Base, MLPAdapter
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.recipes.adaptation.fit import AdapterTrainer, encode
from asr_lab.recipes.adaptation.improvement import Improvement
from asr_lab.recipes.adaptation.plan import AdaptationPlan
from asr_lab.reports.markdown import escape_markdown
from asr_lab.reports.summary import Summary
from asr_lab.system.resources import Clock
from asr_lab.system.terminal import Console
from asr_lab.system.threads import use_threads
from asr_lab.system.times import utc_now
from asr_lab.training.encoder_outputs import EncoderOutputs

_NOT_SHOWN = (
    "no improvement is shown: the interval of the difference includes 0, or the WER rose. Record more utterances, or "
    "train longer (train.epochs) or with another train.lr"
)


@dataclass(frozen=True)
class AdaptedSpeaker:
    """The adapter of one speaker, and its improvement on held-out utterances."""

    name: str
    run_id: str
    run_name: str
    base: str
    file: Path
    model_uri: str
    improvement: Improvement
    costs: Mapping[str, float]
    """The logged metrics of time, memory and size."""
    overlaps: list[str] = field(default_factory=list)
    """Notes on tested utterances that the base was trained on."""

    def rows(self) -> dict[str, str]:
        """Return label -> result in words."""
        cost = self.costs
        return self.improvement.rows() | {
            "trainable share": f"{cost['model/trainable_share']:.1%} of all parameters",
            "file": f"{self.file}, {cost['model/size_mb']:.2f} MB",
            "time": f"{cost['perf/seconds']:.1f} s, of which {cost['perf/training_seconds']:.1f} s training",
            "peak memory": f"{cost['perf/peak_memory_mb']:.0f} MB",
            "run": self.run_name,
            "registered": self.model_uri,
        }

    @property
    def note(self) -> str:
        """The results as Markdown, for the run's description."""
        rows = [f"- **{label}** {escape_markdown(text)}" for label, text in self.rows().items()]
        return "\n".join([*rows, *(f"- {escape_markdown(note)}" for note in self.overlaps)])

    @property
    def summary(self) -> Summary:
        is_shown = self.improvement.delta.excludes_zero and self.improvement.delta.value < 0
        notes = [] if is_shown else [_NOT_SHOWN]
        known = self.name if self.file.parent == AdapterManager().folder else str(self.file)
        return Summary(
            title=f"{self.name}'s adapter on {self.base}",
            parts=[("", self.rows())],
            notes=[*notes, *self.overlaps],
            model=self.model_uri,
            next_commands=[f"asr-lab transcribe FILE.wav --adapter {shlex.quote(known)}"],
        )


def adapt(
    planned: AdaptationPlan,
    tracker: Tracker,
    console: Console,
    *,
    outputs: EncoderOutputs | None = None,
    parent: str = "",
    folder: Path | None = None,
    conclude: Callable[[Recorder, EncoderOutputs], None] = lambda run, outputs: None,
) -> AdaptedSpeaker:
    """Train the adapter, compare it with its base on the same held-out utterances, write and register it.

    `outputs` are encoder outputs computed before; `parent` is the id of the parent run; `folder` replaces
    `adapter.save_dir`; `conclude` is called before the run ends.
    """
    clock = Clock()
    config, recognizer = planned.config, planned.recognizer
    use_threads(config.run.threads)
    base = recognizer.base(planned.base_uri)
    console.warn(planned.warnings)
    with tracker.start(replace(planned.spec, parent=parent), own=bool(parent)) as run:
        for split in planned.splits.values():
            run.dataset(split.dataset())
        console.say("adapting {} to [bold]{}[/]: {}", planned.base_uri, config.adapter.name, run.name)
        outputs = outputs or encode(recognizer, planned.all_cuts, config, console, run.checkpoints)
        trainer = AdapterTrainer(recognizer, outputs, config)
        began = time.monotonic()
        adapter = trainer.fit(planned.training_cuts, run)
        training_seconds = time.monotonic() - began
        improvement, notes = _improvement(planned, trainer, adapter, run)
        _prove_untouched(recognizer, base, run)
        file = _write(
            AdapterManager(folder or config.adapter.save_dir), config.adapter.name, adapter, base, improvement
        )
        run.file(file)
        run.tags({ADAPTER_FILE: file_digest(file)})
        sizes = _sizes(recognizer, adapter, file)
        run.metrics(sizes)  # before the model, which a sweep for small ones keeps by them
        uri = _register(config.run.register_as or REGISTERED.format(config.adapter.name), file, base, run)
        spent = {
            "perf/seconds": clock.seconds,
            "perf/training_seconds": training_seconds,
            "perf/base_pass_seconds": outputs.seconds,
            "perf/peak_memory_mb": clock.peak_memory_mb(),
        }
        run.metrics(spent)
        adapted = AdaptedSpeaker(
            name=config.adapter.name,
            run_id=run.run_id,
            run_name=run.name,
            base=planned.base_uri,
            file=file,
            model_uri=uri,
            improvement=improvement,
            costs=sizes | spent,
            overlaps=notes,
        )
        run.note(adapted.note)
        conclude(run, outputs)
        return adapted


def _improvement(
    planned: AdaptationPlan, trainer: AdapterTrainer, adapter: MLPAdapter, run: Recorder
) -> tuple[Improvement, list[str]]:
    """Score base and adapter on the held-out utterances; return the difference, and notes on those trained on."""
    config = planned.config
    tables = [planned.overlap.mark(table) for table in trainer.measure(planned.folds, adapter, run)]
    improvement = Improvement.of(*tables, unit=config.data.interval_unit, seed=config.run.seed)
    improvement.record(run, config.adapter.name, planned.base_uri)
    return improvement, planned.overlap.record(run, improvement.adapted, "test")


def _prove_untouched(recognizer: DeepSpeech2Recognizer, before: Base, run: Recorder) -> None:
    """Log the digest of the base before and after training, and assert that they are the same."""
    after = recognizer.base().digest
    assert after == before.digest, "the frozen base changed while its adapter was trained"
    run.tags({BASE_DIGEST: before.digest, BASE_DIGEST_AFTER: after})


def _write(manager: AdapterManager, name: str, adapter: MLPAdapter, base: Base, improvement: Improvement) -> Path:
    wer = {key: value for key, value in improvement.metrics().items() if key in ("test/wer_base", "test/wer")}
    return manager.save_adapter(name, adapter, base, created=utc_now(), metrics=wer)


def _register(name: str, file: Path, base: Base, run: Recorder) -> str:
    """Register the adapter, with its base if that is a folder: no registry has it. Return its URI."""
    model = RegisteredModel(
        name=name,
        files={"adapter": file} | ({"model": Path(base.uri)} if Path(base.uri).is_dir() else {}),
        base_uri=base.uri,
        tags={BASE: base.uri, BASE_DIGEST: base.digest},
    )
    return run.model(model, register=True)


def _sizes(recognizer: DeepSpeech2Recognizer, adapter: MLPAdapter, file: Path) -> dict[str, float]:
    own = sum(parameter.numel() for parameter in adapter.parameters())
    total = own + sum(parameter.numel() for parameter in recognizer.model.parameters())
    return {
        "model/params": total,
        "model/trainable_params": own,
        "model/trainable_share": own / total,
        "model/size_mb": file.stat().st_size / 1e6,
    }
