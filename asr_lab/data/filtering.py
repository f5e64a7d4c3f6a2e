"""What of a manifest can be learned from: utterances that cannot are left out, named and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from lhotse import CutSet
from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.text import outside
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import frames_needed, num_samples


@dataclass(frozen=True)
class FilterResult:
    """The utterances that stay, and why others went."""

    cuts: CutSet
    too_long: list[str] = field(default_factory=list)
    too_short: list[str] = field(default_factory=list)
    more_labels_than_frames: list[str] = field(default_factory=list)
    no_text: list[str] = field(default_factory=list)
    unknown_characters: Counter[str] = field(default_factory=Counter)

    def warnings(self, split: str) -> list[str]:
        """One line for each kind of thing that was found."""
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
            met = [f"{character!r} x {n}" for character, n in self.unknown_characters.most_common()]
            lines.append(
                f"{split}: {sum(self.unknown_characters.values())} characters outside the vocabulary: {listing(met)}"
            )
        return lines


def filter_transcribed(
    cuts: CutSet,
    normalize: Callable[[str], str],
    encode: Callable[[str], list[int]],
    vocabulary: dict[str, int],
    max_duration_s: float,
    *,
    output_frames: Callable[[int], int],
    min_duration_s: float = 0.0,
    where: str = "",
) -> FilterResult:
    """`sift` by the transcripts' characters; those that the vocabulary does not know are counted."""
    found = filter_utterances(
        cuts,
        lambda cut: encode(manifest.text(cut)),
        max_duration_s,
        output_frames=output_frames,
        min_duration_s=min_duration_s,
        where=where,
    )
    texts = (normalize(manifest.text(cut)) for cut in found.cuts)
    return replace(found, unknown_characters=outside(texts, vocabulary))


def filter_utterances(
    cuts: CutSet,
    labels_of: Callable[[Cut], list[int]],
    max_duration_s: float,
    *,
    output_frames: Callable[[int], int],
    min_duration_s: float = 0.0,
    where: str = "",
) -> FilterResult:
    """Leave out utterances longer than `max_duration_s`, shorter than `min_duration_s`, or whose labels do not fit
    their frames (`output_frames`: samples -> frames of the model's output).

    Raises `AsrLabError` when nothing stays.
    """
    kept, too_long, too_short, crowded, no_text = [], [], [], [], []
    for cut in cuts:
        labels = labels_of(cut)
        if not labels:
            no_text.append(cut.id)
        elif cut.duration > max_duration_s:
            too_long.append(cut.id)
        elif cut.duration < min_duration_s:
            too_short.append(cut.id)
        elif frames_needed(labels) > output_frames(num_samples(cut.duration)):
            crowded.append(cut.id)
        else:
            kept.append(cut)
    found = FilterResult(CutSet.from_cuts(kept), too_long, too_short, crowded, no_text)
    if not kept:
        raise AsrLabError("no utterance can be learned from: " + "; ".join(found.warnings("all")), where=where)
    return found
