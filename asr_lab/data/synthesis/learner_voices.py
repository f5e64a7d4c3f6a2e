"""Voices of synthetic learners: 18 for training, six each for validation, test and hard test.

No voice is in two parts, and no variant of a test voice is in training. The distance of a voice to its nearest training
voice is the root mean square difference of the mean normalised log-mel spectra of their phonemes: 0.11 to 0.26 for
typical test voices (0.14 to 0.50 among training voices). The hard test voices are a British one, one in noise, and
four at a distance of 0.42 to 0.52: two child-like, an old and an unusual one. Two validation voices, at 0.39 and 0.44,
lie between, so that thresholds are not chosen on easy voices only.

All voices produce every phoneme of `arpabet.TO_ESPEAK`. eSpeak's voices of other languages lack sounds of English and
are not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from asr_lab.data.synthesis.espeak import Voice
from asr_lab.data.synthesis.voices import Speaker

PARTS = ("train", "val", "test", "test-hard")


@dataclass(frozen=True, kw_only=True)
class LearnerVoice:
    """A voice without a speaker name, which depends on the first languages of the corpus."""

    part: str
    voice: str  # eSpeak's, with its variant: "en-us+m1"
    gender: Literal["female", "male"]
    age: int  # years
    rate: int = 170
    pitch: int = 50
    pitch_range: int = 50
    snr_db: float | None = None

    def speaker(self, name: str) -> Speaker:
        """Return the learner of this name with this voice."""
        base, _, variant = self.voice.partition("+")
        spoken = Voice(
            name=name,
            voice=base,
            variant=variant,
            rate=self.rate,
            pitch=self.pitch,
            pitch_range=self.pitch_range,
        )
        part: Literal["train", "val", "test"] = "train" if self.part == "train" else "val"
        if self.part.startswith("test"):
            part = "test"
        return Speaker(voice=spoken, gender=self.gender, age=self.age, part=part, language="en")


VOICES: tuple[LearnerVoice, ...] = (
    LearnerVoice(part="train", voice="en-us", gender="male", age=34),
    LearnerVoice(part="train", voice="en-us+f1", gender="female", age=41, rate=160),
    LearnerVoice(part="train", voice="en-us+m1", gender="male", age=58, rate=155, pitch_range=40),
    LearnerVoice(part="train", voice="en-us+f2", gender="female", age=31, pitch=45, pitch_range=60),
    LearnerVoice(part="train", voice="en-us+m2", gender="male", age=45, rate=180, pitch=40),
    LearnerVoice(part="train", voice="en-us+f3", gender="female", age=27, rate=180),
    LearnerVoice(part="train", voice="en-us+m5", gender="male", age=38, rate=175),
    LearnerVoice(part="train", voice="en-us+f4", gender="female", age=49, rate=165, pitch=40, pitch_range=40),
    LearnerVoice(part="train", voice="en-us+m7", gender="male", age=24, rate=185, pitch=55, pitch_range=65),
    LearnerVoice(part="train", voice="en-us+Annie", gender="female", age=22, rate=175),
    LearnerVoice(part="train", voice="en-us+m8", gender="male", age=56, rate=160, pitch=45),
    LearnerVoice(part="train", voice="en-us+steph", gender="female", age=36, rate=165),
    LearnerVoice(part="train", voice="en-us+Andy", gender="male", age=29),
    LearnerVoice(part="train", voice="en-us+anika", gender="female", age=33, rate=165),
    LearnerVoice(part="train", voice="en-us+edward", gender="male", age=47, rate=165),
    LearnerVoice(part="train", voice="en-us+belinda", gender="female", age=52, rate=160),
    LearnerVoice(part="train", voice="en-us+m1", gender="male", age=19, rate=185, pitch=65, pitch_range=60),
    LearnerVoice(part="train", voice="en-us+f2", gender="female", age=16, rate=175, pitch=65, pitch_range=60),
    LearnerVoice(part="val", voice="en-us+m6", gender="male", age=52, rate=165),
    LearnerVoice(part="val", voice="en-us+f3", gender="female", age=35, pitch=40, pitch_range=40),
    LearnerVoice(part="val", voice="en-us+max", gender="male", age=40),
    LearnerVoice(part="val", voice="en-us+Andrea", gender="female", age=28),
    LearnerVoice(part="val", voice="en-us+Denis", gender="male", age=44, rate=165),
    LearnerVoice(part="val", voice="en-us+f4", gender="female", age=23, rate=180, pitch=60, pitch_range=60),
    LearnerVoice(part="test", voice="en-us+linda", gender="female", age=33, rate=165),
    LearnerVoice(part="test", voice="en-us+m4", gender="male", age=47),
    LearnerVoice(part="test", voice="en-us+aunty", gender="female", age=61, rate=160),
    LearnerVoice(part="test", voice="en-us+Alex", gender="male", age=26, rate=175, pitch_range=60),
    LearnerVoice(part="test", voice="en-us+Nguyen", gender="male", age=39, rate=165),
    LearnerVoice(part="test", voice="en-us+steph3", gender="female", age=30),
    LearnerVoice(part="test-hard", voice="en-gb-x-rp", gender="male", age=58),
    LearnerVoice(part="test-hard", voice="en-us+f5", gender="female", age=7, rate=160, pitch=99, pitch_range=80),
    LearnerVoice(part="test-hard", voice="en-us+m3", gender="male", age=43, snr_db=15),
    LearnerVoice(part="test-hard", voice="en+f5", gender="female", age=9, rate=165, pitch=85, pitch_range=70),
    LearnerVoice(part="test-hard", voice="en-us+victor", gender="male", age=45, rate=175),
    LearnerVoice(part="test-hard", voice="en-us+grandma", gender="female", age=74, rate=150, pitch=60),
)
