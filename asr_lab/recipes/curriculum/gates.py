"""The gate behind a phase: whether the curriculum goes on, and what to look at when it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from asr_lab.errors import AsrLabError

Verdict = Literal["met", "accepted", "missed", "no better"]

CHECKLIST = (
    "transcripts: asr-lab data check, and the worst utterances of eval/val.html",
    "noise: the slices by SNR of the run; asr-lab data snr fills in what is not given",
    "the phase's data: its ages, SNRs and durations against those of the validation data (asr-lab data stats)",
    "the steps: train/loss and grad_norm of the run; a lower phaseN.lr, or more epochs",
)


@dataclass(frozen=True)
class Gate:
    """What a phase reached, and what it had to reach."""

    number: int
    wer: float
    target: float
    accept: float
    before: float | None = None
    """Validation WER of the model that the phase started from; None where its head is new."""

    @property
    def verdict(self) -> Verdict:
        """`met`, `accepted` (between target and lowest acceptable), `missed`, or `no better` than before."""
        if self.wer > self.accept:
            return "missed"
        if self.before is not None and self.wer >= self.before > 0:  # without an error, there is nothing to beat
            return "no better"
        return "met" if self.wer <= self.target else "accepted"

    @property
    def goes_on(self) -> bool:
        return self.verdict in ("met", "accepted")

    def __str__(self) -> str:
        asked = f"target {self.target:.1%}, lowest acceptable {self.accept:.1%}"
        since = f", before {self.before:.1%}" if self.before is not None else ""
        return f"phase {self.number}: val/wer {self.wer:.1%} ({asked}{since}): {self.verdict}"

    def refuse(self, run: str, start: str) -> AsrLabError:
        """What the user reads when the curriculum stops at this run.

        `start` is the model that the phase began with; "": the configuration's base.
        """
        resumed = f" --resume-from {start}" if start else ""
        lines = "\n    ".join(f"- {line}" for line in CHECKLIST)
        return AsrLabError(
            f"{self}; the curriculum stops. Look at\n    {lines}",
            where=run,
            hint="the same command stops here again; with --new-run, or a changed configuration, it starts anew",
            next_command=f"asr-lab curriculum CONFIG --phase {self.number}{resumed}, when that is done",
        )


def overfits(history: list[dict[str, Any]]) -> bool:
    """Whether the training loss went on falling behind the best epoch while the validation WER rose."""
    wers = [(row["epoch"], row["eval_wer"]) for row in history if "eval_wer" in row]
    losses = [(row["epoch"], row["loss"]) for row in history if "loss" in row]
    if len(wers) < 2 or not losses:
        return False
    best_epoch, best = min(wers, key=lambda row: (row[1], row[0]))
    before = [loss for epoch, loss in losses if epoch <= best_epoch]
    last_epoch, last = wers[-1]
    return last_epoch > best_epoch and last > best and bool(before) and losses[-1][1] < before[-1]


def still_falling(history: list[dict[str, Any]]) -> bool:
    """Whether the last epoch had the lowest validation WER of all."""
    wers = [row["eval_wer"] for row in history if "eval_wer" in row]
    return bool(wers) and wers[-1] == min(wers) and wers.count(wers[-1]) == 1
