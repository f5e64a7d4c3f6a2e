"""Curriculum fine-tuning: phases of growing data, each from the best model of the previous one, with a gate after each.

One parent run has a child run per phase. The same command resumes an interrupted curriculum: finished phases are not
repeated, and the interrupted one continues from its last checkpoint.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd
from lhotse import CutSet

from asr_lab.config.schema import CurriculumExperiment
from asr_lab.data import manifest
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tags import FAMILY, GATE, OVERFITS, PHASE, SCORER_TAG, TEXT, VAL
from asr_lab.interfaces.tracking import PHASES_DONE, ModelStore, Recorder, RegisteredModel, Tracker, is_tracked_uri
from asr_lab.metrics.catalog import of_best_epoch
from asr_lab.metrics.spacing import SCORER
from asr_lab.models import load_model
from asr_lab.models.recognizer import Recognizer
from asr_lab.models.wav2vec2.bases import on_hub
from asr_lab.recipes.curriculum.gates import Gate
from asr_lab.recipes.curriculum.phases import NUMBERS, FinishedPhase, of_phase
from asr_lab.recipes.curriculum.plan import GATES, plan
from asr_lab.recipes.recipe import Recipe
from asr_lab.recipes.recognition.scoring import not_learned, record_scores, score, wer_interval
from asr_lab.recipes.recognition.train import Role, Trained, train
from asr_lab.recipes.run_spec import describe
from asr_lab.recipes.splits import Split, filter_split
from asr_lab.recipes.training_loop import BEST
from asr_lab.recipes.training_overlap import overlap
from asr_lab.reports.markdown import code_span, escape_markdown
from asr_lab.reports.summary import Summary
from asr_lab.reports.table import Table
from asr_lab.system.distributed import connect_processes, from_rank_0
from asr_lab.system.files import write_text
from asr_lab.system.resources import Clock
from asr_lab.system.terminal import Console
from asr_lab.system.threads import use_threads
from asr_lab.units import hms


@dataclass(frozen=True)
class FinishedCurriculum:
    """A finished curriculum."""

    run_id: str
    run_name: str
    done: list[FinishedPhase]
    skipped: dict[int, str]
    """Phase -> reason for skipping it."""
    model_uri: str
    seconds: float
    notes: Sequence[str] = ()

    @property
    def summary(self) -> Summary:
        rows = {"model": self.model_uri, "time": hms(self.seconds)}
        return Summary(
            title=self.run_name,
            parts=[("", Table(frame=self.table(), formats=GATES)), ("", rows)],
            notes=self.notes,
            model=self.model_uri,
            next_commands=[f"asr-lab transcribe FILE.wav --model {shlex.quote(self.model_uri)}"],
        )

    def table(self) -> pd.DataFrame:
        """Return one row per phase, for display."""
        columns = ["number", "run_name", "wer", "target", "accept", "verdict", "seconds"]
        table = pd.DataFrame([asdict(one) for one in self.done], columns=columns)
        names = {"number": "phase", "run_name": "run", "target": "target_wer", "accept": "accept_wer"}
        return table.round({"seconds": 1}).rename(columns=names)


def curriculum(
    config: CurriculumExperiment,
    tracker: Tracker,
    console: Console,
    *,
    store: ModelStore,
    only: Sequence[int] = NUMBERS,
    resume_from: str = "",
) -> FinishedCurriculum:
    """Run the phases `only`, the first from the model `resume_from` if given, else from `model.pretrained`.

    Raises `AsrLabError` if a phase misses its gate; its run and the parent are tagged.
    """
    clock = Clock()
    use_threads(config.run.threads)
    connect_processes()
    planned = plan(config, store)
    splits, training = planned.splits, planned.training
    start = _start(config, store, only, resume_from)
    spec = describe(
        config,
        family="curriculum",
        kind="curriculum",
        model_type="wav2vec2",
        name=config.run.name or "curriculum",
        data=_digests(splits, training) | {"start": start, "only": str(list(only))},
        base=start,
    )
    with tracker.start(spec) as run:
        console.say("{} [bold]{}[/] from {}", "continuing" if run.resumed else "curriculum", run.name, start)
        for split in splits.values():
            run.dataset(split.dataset())
        own = "" if resume_from else start
        phases = _Phases(config, tracker, store, console, run, splits, training, spec.signature, own)
        phases.run_all(only, start, phases.wer_of(resume_from) if resume_from else None)
        uri = phases.conclude()
        run.metrics({"perf/seconds": clock.seconds})
        return FinishedCurriculum(run.run_id, run.name, phases.done, phases.skipped, uri, clock.seconds, phases.notes)


def _digests(splits: dict[str, Split], training: dict[int, CutSet]) -> dict[str, str]:
    """Return the digests of all data, for the signature."""
    of_splits = {name: split.digest for name, split in splits.items()}
    return of_splits | {f"phase{number}": manifest.digest(cuts) for number, cuts in training.items()}


def _start(config: CurriculumExperiment, store: ModelStore, only: Sequence[int], resume_from: str) -> str:
    """Return the pinned initial model; raises `AsrLabError` if a later phase is to start without one."""
    if min(only) > 1 and not resume_from:
        raise AsrLabError(
            f"phase {min(only)} starts from the best model of phase {min(only) - 1}, which is not given",
            allowed="--resume-from RUN, a model's folder, or --phase all",
            next_command="asr-lab list --family curriculum --children",
        )
    base = resume_from or config.model.pretrained
    return base if on_hub(base) else store.resolve_version(base)


@dataclass
class _Phases:
    """The phases of a running curriculum."""

    config: CurriculumExperiment
    tracker: Tracker
    store: ModelStore
    console: Console
    run: Recorder
    splits: dict[str, Split]
    training: dict[int, CutSet]
    signature: str
    own: str
    """The base of the configuration if the first phase starts from it, else ""."""
    done: list[FinishedPhase] = field(default_factory=list)
    skipped: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What to try if the last model has not learned."""

    def run_all(self, only: Sequence[int], start: str, before: float | None) -> None:
        """Run the phases in order, except those that are done or not needed."""
        known = from_rank_0({one.number: one for one in _read(self.run.checkpoints / PHASES_DONE)})
        self._write(list(known.values()))
        for number in only:
            model, wer = (self.done[-1].model, self.done[-1].wer) if self.done else (start, before)
            if number in known:
                self.console.print(f"phase {number} is done: {known[number].run_name}")
                self._add(known[number])
                self._pass(known[number].gate(wer), model)
            elif reason := self._skip_reason(number):
                self.skipped[number] = reason
                self.console.print(f"phase {number} is skipped: {reason}")
            else:
                self._phase(number, model, wer)

    def _skip_reason(self, number: int) -> str:
        """Return why a phase that unfreezes all layers is skipped; "" if it is not."""
        last = self.done[-1] if self.done else None
        if last is None or not self.config.phase(number).unfreeze:
            return ""
        if last.verdict == "met":
            return f"phase {last.number} met its target"
        return "" if last.falling else f"the validation WER of phase {last.number} had stopped improving"

    def _phase(self, number: int, model: str, before: float | None) -> None:
        """Train a phase, apply its gate, and save its model; raises `AsrLabError` if it misses the gate."""
        phase, saved = self.config.phase(number), self.run.checkpoints / f"phase{number}"

        def done_of(trained: Trained) -> FinishedPhase:
            gate = Gate(number, trained.val_wer, phase.target, phase.accept, before)
            model_uri = trained.model_uri if is_tracked_uri(trained.model_uri) else str(saved)
            return FinishedPhase.of(gate, trained, model_uri)

        def save(child: Recorder, trained: Trained) -> None:
            """Save model and outcome before the run ends, since an ended run is not resumed."""
            done = done_of(trained)
            gate = done.gate(before)
            overfitted = {OVERFITS: "true"} if done.overfits else {}
            child.tags({PHASE: str(number), GATE: gate.verdict, **overfitted})
            child.metrics({"gate/target": gate.target, "gate/accept": gate.accept})
            shutil.copytree(child.checkpoints / BEST, saved, dirs_exist_ok=True)
            self._write([*self.done, done])

        config = of_phase(self.config, number, self._manifest(number), model)
        role = Role(family="curriculum", kind="phase", parent=self.run.run_id, name=config.run.name, conclude=save)
        trained = from_rank_0(train(config, self.tracker, self.console, store=self.store, role=role))
        done = from_rank_0(done_of(trained))
        gate = done.gate(before)
        self._add(done)
        self.console.print(f"{gate}" + (", overfitted" if done.overfits else ""))
        self._pass(gate, model)

    def _pass(self, gate: Gate, model: str) -> None:
        """Raise `AsrLabError`, and tag the run, if the last phase, which started from `model`, misses its gate."""
        if not gate.passes:
            self.run.tags({GATE: f"phase {gate.number} {gate.verdict}"})
            self._record()
            raise gate.refuse(self.done[-1].run_name, "" if model == self.own else model)

    def _manifest(self, number: int) -> Path:
        """Write the phase's manifest and return its path, which the phase's `config.yaml` refers to."""
        path = Path("phases") / self.signature / f"phase{number}{manifest.SUFFIX}"
        manifest.write(self.training[number], path)  # also when resuming: the audio may have moved
        return path

    def _add(self, done: FinishedPhase) -> None:
        self.done.append(done)
        step = done.number
        self.run.metrics({"phase/val_wer": done.wer, "phase/target": done.target, "phase/accept": done.accept}, step)

    def _write(self, done: list[FinishedPhase]) -> None:
        write_text(self.run.checkpoints / PHASES_DONE, json.dumps([asdict(one) for one in done]))

    def wer_of(self, model: str) -> float:
        """Return the validation WER of an initial model, on the same utterances as the gates."""
        recognizer = load_model(self.store.resolve(model), self.store.resolve)
        cuts = self._validated(recognizer)
        return wer_interval(score(cuts, recognizer.hypotheses(cuts), recognizer.normalizer)).value

    def _validated(self, recognizer: Recognizer) -> CutSet:
        """Return the validation utterances that a training uses."""
        return filter_split(self.splits["val"], recognizer, self.config.data.max_duration_s).cuts

    def _record(self) -> None:
        table = pd.DataFrame([asdict(one) for one in self.done])
        self.run.table(table, "phases.parquet")
        lines = [
            f"- phase {one.number}: val/wer {one.wer:.1%}, {one.verdict}; {code_span(one.run_name)}"
            for one in self.done
        ]
        lines += [f"- phase {number}: skipped, {escape_markdown(reason)}" for number, reason in self.skipped.items()]
        self.run.note("\n".join(lines))

    def conclude(self) -> str:
        """Score the last phase's model, and register it under `run.register_as`; return its URI."""
        self._record()
        if not self.done:
            return ""
        last, config = self.done[-1], self.config
        folder = self.store.resolve(last.model)
        recognizer = load_model(folder, self.store.resolve)
        self.run.tags({TEXT: recognizer.normalizer.name, SCORER_TAG: SCORER})
        chosen = {"val": self._validated(recognizer)} | {n: s.cuts for n, s in self.splits.items() if n == "test"}
        lineage = self.store.lineage(last.model)
        for name, cuts in chosen.items():
            hypotheses, phonemes = recognizer.hypotheses(cuts), config.data.phonemes
            table = score(cuts, hypotheses, recognizer.normalizer, in_phonemes=phonemes)
            known = overlap(self.splits[name], lineage)
            table = known.mark(table)
            record_scores(self.run, table, name, f"{self.run.name} on {name}")
            self.notes = not_learned(table, name) or self.notes
            for note in known.record(self.run, table, name):
                self.console.say("[yellow]note[/] {}: {}", name, note)
            if name == "val":  # under the name that its phases have
                self.run.metrics({of_best_epoch("val/wer"): wer_interval(table).value})
        if config.run.register_as and recognizer.base_folder:
            recognizer.merge()  # its base is a folder on this machine
            folder = self.run.checkpoints / "merged"
            recognizer.save(folder)
        model = RegisteredModel(
            name=config.run.register_as or "wav2vec2",
            files={"model": folder},
            tags={FAMILY: "curriculum", f"{VAL}wer": f"{last.wer:.4f}"},
        )
        return self.run.model(model, register=bool(config.run.register_as))


def _read(file: Path) -> list[FinishedPhase]:
    if not file.is_file():
        return []
    return [FinishedPhase(**row) for row in json.loads(file.read_text(encoding="utf-8"))]


RECIPE = Recipe(plan, curriculum)
