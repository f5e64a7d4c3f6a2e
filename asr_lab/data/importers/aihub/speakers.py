"""Speakers of utterances whose labels name none, in an AI-Hub corpus."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lhotse.cut import Cut

from asr_lab.data import manifest
from asr_lab.data.importers.aihub.folders import Place, below_split
from asr_lab.errors import AsrLabError

_SPEAKERS_AT_ONCE = 10  # a `NumberOfSpeaker` from here on is no count: it is a speaker's number


@dataclass(frozen=True)
class UnnamedSpeaker:
    """An utterance whose label names no speaker."""

    cut: Cut
    place: Place
    number: str
    fault: AsrLabError


def assign_speakers(unnamed: Sequence[UnnamedSpeaker]) -> tuple[list[UnnamedSpeaker], list[str]]:
    """(Utterances whose speaker stays unknown, notes); the others get theirs.

    `NumberOfSpeaker` is the speaker's number in some corpora and how many speak in others. It is taken where it
    varies and is no count, or where each path has it; else the folder of a file stands for its speaker, as long as
    there is more than one folder.
    """
    numbered = [one for one in unnamed if one.number]
    by_number = numbered if _are_speakers(numbered) else []
    for one in by_number:
        manifest.supervision(one.cut).speaker = one.number
    named = {id(one) for one in by_number}
    rest = [one for one in unnamed if id(one) not in named]
    if len({_folder(one.place) for one in rest}) < 2:
        return rest, []
    in_folder = [one for one in rest if _folder(one.place)]
    for one in in_folder:
        segment = manifest.supervision(one.cut)
        segment.speaker = _folder(one.place)
        segment.custom = {**(segment.custom or {}), "speaker_is_folder": True}
    notes = [f"{len(in_folder)} utterances name no speaker: the folder of a file stands for one"] if in_folder else []
    return [one for one in rest if not _folder(one.place)], notes


def _are_speakers(numbered: Sequence[UnnamedSpeaker]) -> bool:
    numbers = {one.number for one in numbered}
    counts = all(number.isdecimal() and int(number) < _SPEAKERS_AT_ONCE for number in numbers)
    if len(numbers) > 1 and not counts:
        return True
    return all(_number(one.number) in map(_number, re.findall(r"\d+", "/".join(one.place))) for one in numbered)


def _number(text: str) -> str:
    return text.lstrip("0")


def _folder(place: Place) -> str:
    """The folder inside the split that a file lies in."""
    return "".join(below_split(place)[-2:-1])
