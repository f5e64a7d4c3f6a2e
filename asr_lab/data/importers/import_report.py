"""What an importer tells at the end: labels that mean nothing, and utterances that were left out, by why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from asr_lab.errors import listing


@dataclass
class Telling:
    """Gathered while a corpus is read, told once."""

    labels: Counter[str] = field(default_factory=Counter)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    contradicted: list[str] = field(default_factory=list)
    without_text: list[str] = field(default_factory=list)
    """Imported with their canonical phonemes as text."""

    def leave_out(self, why: str, name: str) -> None:
        """An utterance is not imported."""
        self.left_out.setdefault(why, []).append(name)

    def contradict(self, name: str) -> None:
        """An utterance is imported, but its error labels say otherwise than its phonemes."""
        self.contradicted.append(name)

    def lines(self) -> list[str]:
        """A line for each reason, one for the labels, one for contradictions, and one for lacking words."""
        lines = [f"{len(names)} left out: {why}: {listing(names, 6)}" for why, names in self.left_out.items()]
        if self.labels:
            each = listing((f"{label!r} {n} times" for label, n in self.labels.most_common()), 20)
            lines.append(f"{self.labels.total()} labels that are no phonemes: {each}")
        if self.contradicted:
            which = listing(self.contradicted, 6)
            lines.append(
                f"{len(self.contradicted)} have error labels that contradict the phonemes, which count: {which}"
            )
        if self.without_text:
            which = listing(self.without_text, 6)
            lines.append(f"{len(self.without_text)} have no words, their canonical phonemes are the text: {which}")
        return lines
