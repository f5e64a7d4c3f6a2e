"""The named speakers of synthetic speech: eSpeak NG voices with a gender and an age.

Typical speakers belong to the split `train`, `val` or `test`; no voice is in two, and no variant of a test speaker is
in training. The atypical speakers of the demo (`PERSONS`) have a clearly higher error rate with a recogniser trained
on the typical ones, which an adapter reduces: foreign accents (eSpeak's Hindi and Korean voices reading English),
another accent of English, and a child-like voice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from asr_lab.data.synthesis.espeak import Voice
from asr_lab.errors import AsrLabError, listing, nearest

Part = Literal["train", "val", "test", "person"]


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """A synthetic speaker; `age` in years, `language` as in manifests."""

    voice: Voice
    gender: Literal["female", "male"]
    age: int
    part: Part
    language: str = "en"

    @property
    def name(self) -> str:
        """The speaker id of manifests."""
        return self.voice.name


def _speaker(
    name: str,
    voice: str,
    gender: Literal["female", "male"],
    age: int,
    part: Part,
    *,
    rate: int = 170,
    pitch: int = 50,
    pitch_range: int = 50,
) -> Speaker:
    base, _, variant = voice.partition("+")
    spoken = Voice(name=name, voice=base, variant=variant, rate=rate, pitch=pitch, pitch_range=pitch_range)
    return Speaker(
        voice=spoken,
        gender=gender,
        age=age,
        part=part,
        language="ko" if base == "ko" and part != "person" else "en",
    )


_ENGLISH = (
    _speaker("adam", "en-us", "male", 34, "train"),
    _speaker("bruno", "en-us+m1", "male", 71, "train", rate=155, pitch_range=40),
    _speaker("carl", "en-us+m2", "male", 45, "train", pitch=40, rate=180),
    _speaker("david", "en-us+m3", "male", 29, "train", pitch=60, rate=165, pitch_range=60),
    _speaker("emil", "en-us+m5", "male", 38, "train", rate=175),
    _speaker("frank", "en-us+m7", "male", 24, "train", pitch=55, rate=185, pitch_range=65),
    _speaker("george", "en-us+m8", "male", 56, "train", pitch=45, rate=160),
    _speaker("hugh", "en-gb-scotland", "male", 41, "train", rate=165),
    _speaker("irene", "en-us+f1", "female", 68, "train", rate=160),
    _speaker("julia", "en-us+f2", "female", 31, "train", pitch=45, pitch_range=60),
    _speaker("karen", "en-us+f3", "female", 27, "train", rate=180),
    _speaker("laura", "en-us+f4", "female", 49, "train", pitch=40, rate=165, pitch_range=40),
    _speaker("nora", "en-us+f5", "female", 36, "train", pitch=50, pitch_range=40),
    _speaker("olive", "en-us+Annie", "female", 22, "train", rate=175),
    _speaker("pippa", "en-us+f3", "female", 10, "train", pitch=75, rate=155, pitch_range=65),
    _speaker("toby", "en-us+f1", "male", 8, "train", pitch=92, rate=160, pitch_range=65),
    _speaker("paula", "en-us+f2", "female", 44, "val", pitch=60, rate=175, pitch_range=45),
    _speaker("quentin", "en-us+m6", "male", 52, "val", rate=165),
    _speaker("rachel", "en-us+linda", "female", 33, "test", rate=165),
    _speaker("simon", "en-us+m4", "male", 47, "test", rate=170),
    _speaker("thomas", "en-us+Alex", "male", 26, "test", rate=175, pitch_range=60),
)
_KOREAN = (
    _speaker("dohyun", "ko+m1", "male", 66, "train", rate=155),
    _speaker("eunji", "ko+f1", "female", 63, "train", rate=160),
    _speaker("hana", "ko+f3", "female", 25, "train", rate=180, pitch_range=60),
    _speaker("hyunwoo", "ko+m3", "male", 31, "train", pitch=60, rate=165),
    _speaker("jihoon", "ko", "male", 37, "train"),
    _speaker("jiwon", "ko+f2", "female", 29, "train", pitch=45),
    _speaker("junho", "ko+m7", "male", 23, "train", pitch=55, rate=185, pitch_range=60),
    _speaker("seungmin", "ko+m8", "male", 54, "train", pitch=45, rate=160),
    _speaker("soyeon", "ko+f4", "female", 47, "train", pitch=40, rate=165, pitch_range=40),
    _speaker("yuna", "ko+f3", "female", 9, "train", pitch=75, rate=155, pitch_range=65),
    _speaker("minji", "ko+f2", "female", 40, "val", pitch=60, rate=175),
    _speaker("taeyang", "ko+m6", "male", 50, "val", rate=165),
    _speaker("jungwoo", "ko+m4", "male", 44, "test"),
    _speaker("sujin", "ko+linda", "female", 34, "test", rate=165),
)
_PERSONS = (
    _speaker("john", "hi", "male", 35, "person"),
    _speaker("jane", "ko+f2", "female", 30, "person"),
    _speaker("oliver", "en-gb-x-rp", "male", 58, "person"),
    _speaker("minho", "ko", "male", 28, "person"),
    _speaker("leo", "en-us+f5", "male", 7, "person", pitch=99, pitch_range=80),
)

_CHILDREN = (
    _speaker("areum", "ko+f3", "female", 7, "train", pitch=92, rate=150, pitch_range=75),
    _speaker("byul", "ko+f1", "female", 6, "train", pitch=99, rate=140, pitch_range=80),
    _speaker("chanho", "ko+m1", "male", 10, "train", pitch=85, rate=160, pitch_range=60),
    _speaker("daeun", "ko+f4", "female", 9, "train", pitch=88, rate=155, pitch_range=65),
    _speaker("eunchae", "ko+f2", "female", 8, "train", pitch=95, rate=150, pitch_range=70),
    _speaker("gunwoo", "ko+m7", "male", 11, "train", pitch=80, rate=165, pitch_range=60),
    _speaker("haneul", "ko+f3", "female", 5, "train", pitch=99, rate=135, pitch_range=85),
    _speaker("inho", "ko+m3", "male", 9, "train", pitch=90, rate=155, pitch_range=65),
    _speaker("jaemin", "ko+m8", "male", 8, "train", pitch=95, rate=150, pitch_range=70),
    _speaker("kyuri", "ko+f1", "female", 12, "train", pitch=78, rate=165, pitch_range=60),
    _speaker("mirae", "ko+f5", "female", 6, "val", pitch=96, rate=145, pitch_range=80),
    _speaker("nuri", "ko+m2", "male", 10, "val", pitch=86, rate=160, pitch_range=65),
    _speaker("saebom", "ko+linda", "female", 7, "test", pitch=94, rate=150, pitch_range=75),
    _speaker("woojin", "ko+m4", "male", 11, "test", pitch=84, rate=160, pitch_range=60),
)

CHILDREN: dict[str, Speaker] = {speaker.name: speaker for speaker in _CHILDREN}
"""Child-like Korean voices for the curriculum example; selected by `children`, or by their names."""
PERSONS: dict[str, Speaker] = {speaker.name: speaker for speaker in _PERSONS}
SPEAKERS: dict[str, Speaker] = {speaker.name: speaker for speaker in (*_ENGLISH, *_KOREAN)}


def speaker(name: str) -> Speaker:
    """Return the speaker of this name; raises `AsrLabError` for an unknown one."""
    all_speakers = SPEAKERS | PERSONS | CHILDREN
    if name not in all_speakers:
        close = nearest(name, all_speakers)
        raise AsrLabError(
            f"unknown speaker {name!r}",
            allowed=listing(sorted(all_speakers), limit=60),
            hint=f"did you mean {close}?" if close else "",
        )
    return all_speakers[name]


def ordinary(language: str) -> list[Speaker]:
    """Return the typical speakers of a language, training speakers first."""
    speakers = [one for one in SPEAKERS.values() if one.language == language]
    if not speakers:
        languages = sorted({one.language for one in SPEAKERS.values()})
        raise AsrLabError(f"no voices that speak language {language!r}", allowed=", ".join(languages))
    return speakers
