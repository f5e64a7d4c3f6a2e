"""Gate after a phase: decide whether the curriculum continues, and list checks if it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from asr_lab.errors import AsrLabError

Verdict = Literal["met", "accepted", "missed", "no better"]

CHECKLIST = (
    "transcripts: asr-lab data check, and the worst utterances of eval/val.html",
    "noise: the run's slices by SNR; asr-lab data snr estimates missing SNRs",
    "data: compare ages, SNRs and durations of the phase with the validation data (asr-lab data stats)",
    "optimisation: train/loss and grad_norm of the run; try another phaseN.lr, or more epochs",
)


@dataclass(frozen=True)
class Gate:
    """Validation WER of a phase, its target and its limit."""

    number: int
    wer: float
    target: float
    accept: float
    before: float | None = None
    """Validation WER of the phase's initial model; None if its head is new."""

    @property
    def verdict(self) -> Verdict:
        """Return `met`, `accepted` (between target and limit), `missed`, or `no better` than the initial model."""
        if self.wer > self.accept:
            return "missed"
        if self.before is not None and self.wer >= self.before > 0:  # a WER of 0 cannot improve
            return "no better"
        return "met" if self.wer <= self.target else "accepted"

    @property
    def passes(self) -> bool:
        return self.verdict in ("met", "accepted")

    def __str__(self) -> str:
        asked = f"target {self.target:.1%}, accepted up to {self.accept:.1%}"
        since = f", before {self.before:.1%}" if self.before is not None else ""
        return f"phase {self.number}: val/wer {self.wer:.1%} ({asked}{since}): {self.verdict}"

    def refuse(self, run: str, start: str) -> AsrLabError:
        """Return the error with which the curriculum stops at this run.

        `start` is the initial model of the phase; "": the base of the configuration.
        """
        resumed = f" --resume-from {start}" if start else ""
        lines = "\n    ".join(f"- {line}" for line in CHECKLIST)
        return AsrLabError(
            f"{self}; the curriculum stops. Check\n    {lines}",
            where=run,
            hint="the same command stops here again; --new-run, or a changed configuration, restarts the curriculum",
            next_command=f"asr-lab curriculum CONFIG --phase {self.number}{resumed}, after these checks",
        )


def overfits(history: list[dict[str, Any]]) -> bool:
    """Return whether, after the best epoch, the training loss fell further while the validation WER rose."""
    wers = [(row["epoch"], row["eval_wer"]) for row in history if "eval_wer" in row]
    losses = [(row["epoch"], row["loss"]) for row in history if "loss" in row]
    if len(wers) < 2 or not losses:
        return False
    best_epoch, best = min(wers, key=lambda row: (row[1], row[0]))
    before = [loss for epoch, loss in losses if epoch <= best_epoch]
    last_epoch, last = wers[-1]
    return last_epoch > best_epoch and last > best and bool(before) and losses[-1][1] < before[-1]


def still_falling(history: list[dict[str, Any]]) -> bool:
    """Return whether the last epoch had the lowest validation WER."""
    wers = [row["eval_wer"] for row in history if "eval_wer" in row]
    return bool(wers) and wers[-1] == min(wers) and wers.count(wers[-1]) == 1
