"""Utterances as Lhotse cuts: their fields, their contract, and the rows of a manifest that they are built from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lhotse import MonoCut, MultiCut, SupervisionSegment
from lhotse.cut import Cut

from asr_lab.data.audio_places import absolute
from asr_lab.data.identity import OVER_S, OWN, identity
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import counted


def supervision(cut: Cut) -> SupervisionSegment:
    """The one supervision of an utterance."""
    return cut.supervisions[0]


def text(cut: Cut) -> str:
    """Return the transcript of an utterance, not normalised; "" if there is none."""
    return supervision(cut).text or ""


def field(cut: Cut, name: str) -> Any:
    """Return a field of the supervision, or of its `custom`; None if absent, NaN or infinite."""
    segment = supervision(cut)
    if name in OWN:
        return getattr(segment, name)
    value = (segment.custom or {}).get(name)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check(cuts: Sequence[Cut], where: str = "", *, speech: bool = True) -> None:
    """Raise one `AsrLabError` that lists every violation of the utterance contract.

    Audio that is not `speech`, such as noise, needs no supervision.
    """
    problems: list[str] = []
    if not cuts:
        problems.append("it holds no utterance")
    duplicates = [id for id, n in Counter(cut.id for cut in cuts).items() if n > 1]
    if duplicates:
        problems.append(f"{counted(len(duplicates), 'duplicate id')}: {listing(sorted(duplicates))}")
    invalid = [f"{cut.id} ({cut.start} + {cut.duration})" for cut in cuts if not _has_valid_times(cut)]
    if invalid:
        problems.append(
            f"{counted(len(invalid), 'utterance')} with an invalid start or duration (s): {listing(invalid)}"
        )
    several = [cut.id for cut in cuts if len(cut.supervisions) != 1 and speech]
    if several:
        problems.append(
            f"{counted(len(several), 'utterance')} without exactly one supervision: {listing(several)}; "
            "Lhotse's cuts.trim_to_supervisions() makes one utterance of each"
        )
    single = [cut for cut in cuts if len(cut.supervisions) == 1 and speech]
    outside = [f"{cut.id} ({_span(cut)})" for cut in single if _has_valid_times(cut) and not _is_inside(cut)]
    if outside:
        problems.append(
            f"{counted(len(outside), 'utterance')} whose supervision is not inside the cut (s): {listing(outside)}"
        )
    untranscribed = [cut.id for cut in single if not text(cut).strip()]
    if untranscribed:
        problems.append(f"{counted(len(untranscribed), 'utterance')} without a transcript: {listing(untranscribed)}")
    anonymous = [cut.id for cut in single if not supervision(cut).speaker]
    if anonymous:
        problems.append(f"{counted(len(anonymous), 'utterance')} without a speaker: {listing(anonymous)}")
    if problems:
        raise AsrLabError("the manifest breaks the utterance contract: " + "; ".join(problems), where=where)


def _has_valid_times(cut: Cut) -> bool:
    return _are_times(cut.start, cut.duration) and cut.start >= 0 and cut.duration > 0


def _is_inside(cut: Cut) -> bool:
    """Return whether the supervision of a cut is a stretch of it."""
    start, duration = supervision(cut).start, supervision(cut).duration
    if not _are_times(start, duration) or duration <= 0:
        return False
    return bool(-OVER_S <= start < cut.duration and start + duration <= cut.duration + OVER_S)


def _are_times(*values: Any) -> bool:
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)


def _span(cut: Cut) -> str:
    segment = supervision(cut)
    return f"{segment.start} + {segment.duration} of {cut.duration}"


def located(row: dict[str, Any], root: Path) -> dict[str, Any]:
    """Make the audio paths of a row absolute; raises `AsrLabError` if it is mixed or padded."""
    if row.get("type") in ("MixedCut", "PaddingCut"):
        raise AsrLabError(
            f"{row.get('id')} is mixed or padded: a {row['type']} of Lhotse, not a stretch of a recording",
            allowed="cuts of one recording",
            next_command="asr-lab data import cuts MANIFEST OUT, which renders them",
        )
    for source in row["recording"]["sources"]:
        source["source"] = absolute(source["source"], root)
    return row


def built(row: Mapping[str, Any]) -> Cut:
    """Return the cut of a row."""
    kind = MultiCut if row.get("type") == "MultiCut" else MonoCut
    return kind.from_dict({key: value for key, value in row.items() if key != "type"})


def identity_of(cut: Cut) -> str:
    """Return what identifies an utterance, as JSON."""
    segment = supervision(cut) if cut.supervisions else None
    own = {name: getattr(segment, name, None) for name in (*OWN, "custom")}
    of_cut = {name: getattr(cut, name) for name in ("id", "start", "duration", "channel")}
    return identity(of_cut, own, cut.recording.sources[0].source)
