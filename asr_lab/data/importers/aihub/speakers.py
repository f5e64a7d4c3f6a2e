"""Assign speakers to utterances of an AI-Hub corpus whose labels name none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lhotse.cut import Cut

from asr_lab.data import guesses, manifest
from asr_lab.data.importers.aihub.folders import Location, within_split
from asr_lab.errors import AsrLabError
from asr_lab.units import counted

_SPEAKERS_AT_ONCE = 10  # a `NumberOfSpeaker` of this or more is a speaker's number, not a count


@dataclass(frozen=True)
class UnnamedSpeaker:
    """An utterance whose label names no speaker."""

    cut: Cut
    location: Location
    number: str
    fault: AsrLabError


def assign_speakers(unnamed: Sequence[UnnamedSpeaker]) -> tuple[list[UnnamedSpeaker], list[str]]:
    """Assign speakers; return (utterances without a speaker, notes).

    `NumberOfSpeaker` is the speaker's number in some corpora, the number of speakers in others. It is used if it varies
    and is no count, or if all paths contain it; else the folder of a file is its speaker, if there are several.
    """
    numbered = [one for one in unnamed if one.number]
    by_number = numbered if _are_speakers(numbered) else []
    for one in by_number:
        segment = manifest.supervision(one.cut)
        segment.speaker = one.number
        guesses.mark(segment, "speaker")
    named = {id(one) for one in by_number}
    rest = [one for one in unnamed if id(one) not in named]
    if len({_folder(one.location) for one in rest}) < 2:
        return rest, []
    in_folder = [one for one in rest if _folder(one.location)]
    for one in in_folder:
        segment = manifest.supervision(one.cut)
        segment.speaker = _folder(one.location)
        guesses.mark(segment, "speaker")
    notes = [f"{counted(len(in_folder), 'utterance', 'name')} no speaker: their folder is used"] if in_folder else []
    return [one for one in rest if not _folder(one.location)], notes


def _are_speakers(numbered: Sequence[UnnamedSpeaker]) -> bool:
    numbers = {one.number for one in numbered}
    counts = all(number.isdecimal() and int(number) < _SPEAKERS_AT_ONCE for number in numbers)
    if len(numbers) > 1 and not counts:
        return True
    return all(_number(one.number) in map(_number, re.findall(r"\d+", "/".join(one.location))) for one in numbered)


def _number(text: str) -> str:
    return text.lstrip("0")


def _folder(location: Location) -> str:
    """Return the folder of a file within its split."""
    return "".join(within_split(location)[-2:-1])
