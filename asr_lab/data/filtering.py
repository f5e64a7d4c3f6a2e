"""Filter utterances that cannot be used for training, and report them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from lhotse import CutSet
from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.text import outside
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import frames_needed, num_samples


@dataclass(frozen=True)
class FilterResult:
    """The usable utterances, and ids of the others by reason."""

    cuts: CutSet
    too_long: list[str] = field(default_factory=list)
    too_short: list[str] = field(default_factory=list)
    more_labels_than_frames: list[str] = field(default_factory=list)
    no_text: list[str] = field(default_factory=list)
    unknown_characters: Counter[str] = field(default_factory=Counter)

    def warnings(self, split: str) -> list[str]:
        """Return a line per reason."""
        lines = []
        if self.too_long:
            lines.append(f"{split}: {len(self.too_long)} utterances too long, left out: {listing(self.too_long, 5)}")
        if self.too_short:
            lines.append(
                f"{split}: {len(self.too_short)} utterances too short for the model, left out: "
                f"{listing(self.too_short, 5)}"
            )
        if self.more_labels_than_frames:
            lines.append(
                f"{split}: {len(self.more_labels_than_frames)} utterances have more labels than frames, left out: "
                f"{listing(self.more_labels_than_frames, 5)}"
            )
        if self.no_text:
            lines.append(
                f"{split}: {len(self.no_text)} transcripts are empty once normalised, left out: "
                f"{listing(self.no_text, 5)}"
            )
        if self.unknown_characters:
            counts = [f"{character!r} x {n}" for character, n in self.unknown_characters.most_common()]
            lines.append(
                f"{split}: {sum(self.unknown_characters.values())} characters outside the vocabulary: {listing(counts)}"
            )
        return lines


def filter_transcribed(
    cuts: CutSet,
    spell: Callable[[str], Sequence[str]],
    encode: Callable[[str], list[int]],
    vocabulary: dict[str, int],
    max_duration_s: float,
    *,
    output_frames: Callable[[int], int],
    min_duration_s: float = 0.0,
    where: str = "",
) -> FilterResult:
    """Filter by the units of the transcripts, and count characters outside the vocabulary."""
    result = filter_utterances(
        cuts,
        lambda cut: encode(manifest.text(cut)),
        max_duration_s,
        output_frames=output_frames,
        min_duration_s=min_duration_s,
        where=where,
    )
    texts = (spell(manifest.text(cut)) for cut in result.cuts)
    return replace(result, unknown_characters=outside(texts, vocabulary))


def filter_utterances(
    cuts: CutSet,
    labels_of: Callable[[Cut], list[int]],
    max_duration_s: float,
    *,
    output_frames: Callable[[int], int],
    min_duration_s: float = 0.0,
    where: str = "",
) -> FilterResult:
    """Filter out utterances that are too long, too short, or have more labels than frames.

    `output_frames` maps a number of samples to frames of the model's output. Raises `AsrLabError` if none is left.
    """
    usable, too_long, too_short, more_labels, no_text = [], [], [], [], []
    for cut in cuts:
        labels = labels_of(cut)
        if not labels:
            no_text.append(cut.id)
        elif cut.duration > max_duration_s:
            too_long.append(cut.id)
        elif cut.duration < min_duration_s:
            too_short.append(cut.id)
        elif frames_needed(labels) > output_frames(num_samples(cut.duration)):
            more_labels.append(cut.id)
        else:
            usable.append(cut)
    result = FilterResult(CutSet.from_cuts(usable), too_long, too_short, more_labels, no_text)
    if not usable:
        raise AsrLabError("no utterance is usable for training: " + "; ".join(result.warnings("all")), where=where)
    return result
