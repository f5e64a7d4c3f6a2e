"""Phases of a curriculum: data, training configuration, and outcome of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lhotse import CutSet

from asr_lab.config.schema import CurriculumExperiment, Wav2Vec2Experiment, Wav2Vec2Model
from asr_lab.data.curriculum import check_nested, phases
from asr_lab.data.table_utterances import Utterances
from asr_lab.errors import AsrLabError
from asr_lab.recipes.curriculum.gates import Gate, overfits, still_falling
from asr_lab.recipes.recognition.train import Trained

NUMBERS = (1, 2, 3, 4)


@dataclass(frozen=True)
class FinishedPhase:
    """A finished phase."""

    number: int
    run_id: str
    run_name: str
    model: str
    """Its best model: a URI, or a folder if the model is not in the tracking store yet."""
    wer: float
    target: float
    accept: float
    verdict: str
    falling: bool
    """Whether the last epoch had the lowest validation WER."""
    overfits: bool
    seconds: float

    @classmethod
    def of(cls, gate: Gate, trained: Trained, model: str) -> FinishedPhase:
        """Build it from a training and its gate."""
        return cls(
            number=gate.number,
            run_id=trained.run_id,
            run_name=trained.run_name,
            model=model,
            wer=gate.wer,
            target=gate.target,
            accept=gate.accept,
            verdict=gate.verdict,
            falling=still_falling(trained.history),
            overfits=overfits(trained.history),
            seconds=trained.seconds,
        )

    def gate(self, before: float | None) -> Gate:
        """Return its gate; `before` is the validation WER of its initial model."""
        return Gate(self.number, self.wer, self.target, self.accept, before)


def training_data(config: CurriculumExperiment, train: CutSet) -> dict[int, CutSet]:
    """Return the training data of each phase; raises `AsrLabError` if the phases are not nested."""
    numbers = [number for number in NUMBERS if not config.phase(number).train]
    shares = sorted({config.phase(number).share for number in numbers})
    settings = config.curriculum
    nested = (
        phases(train, shares, order=settings.order, hard_share=settings.hard_share, seed=config.run.seed)
        if shares
        else {}
    )
    by_share = dict(zip(shares, nested.values(), strict=True))
    by_phase = {
        number: CutSet(Utterances.read(phase.train)) if phase.train else by_share[phase.share]
        for number in NUMBERS
        for phase in [config.phase(number)]
    }
    check_nested({f"phase {number}": cuts for number, cuts in by_phase.items()})
    return by_phase


def chosen(text: str) -> tuple[int, ...]:
    """Parse `all` or the number of one phase; raises `AsrLabError` for anything else."""
    if text == "all":
        return NUMBERS
    if text in map(str, NUMBERS):
        return (int(text),)
    raise AsrLabError(f"no phase {text!r}", allowed="all, 1, 2, 3 or 4")


def of_phase(config: CurriculumExperiment, number: int, manifest_path: Path, pretrained: str) -> Wav2Vec2Experiment:
    """Return the training configuration of a phase."""
    phase, settings = config.phase(number), config.curriculum
    name = f"{config.run.name or 'curriculum'}-phase{number}"
    if phase.unfreeze:
        model = Wav2Vec2Model(pretrained=pretrained, freeze_features=False)
    else:
        head = config.model.head if number == 1 else "auto"  # only the first phase has a new head
        model = config.model.model_copy(update={"pretrained": pretrained, "head": head})
    steps = ("epochs", "lr", "warmup_steps", "grad_clip", "patience", "min_delta")
    return Wav2Vec2Experiment(
        run=config.run.model_copy(update={"name": name, "register_as": ""}),
        data=config.data.model_copy(update={"train": str(manifest_path)}),
        augment=config.augment.model_copy(
            update={
                "strength": phase.augment_strength,
                "speed_factors": settings.speed_factors if phase.speed_share else (1.0,),
                "speed_share": phase.speed_share or 1.0,
            }
        ),
        model=model,
        train=config.train.model_copy(update={step: getattr(phase, step) for step in steps}),
    )
