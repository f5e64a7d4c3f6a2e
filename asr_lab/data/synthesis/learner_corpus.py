"""Made speech of second-language learners, whose errors are known because they were put there.

A sentence is read by eSpeak NG (`reading.py`), a learner's errors are drawn (`mispronouncing.py`, `accents.py`), and
what is left is said from its phonemes, sentences without errors too: how speech is made tells nothing of its labels.
The labels are what eSpeak reports to have said. Where that differs from what was asked for in a phoneme that was not
changed (eSpeak assimilates some neighbours), the utterance is left out and counted.
"""

from __future__ import annotations

import random
import zlib
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from lhotse.cut import Cut
from lhotse.supervision import AlignmentItem

from asr_lab.data import manifest
from asr_lab.data.pronunciation import DELETED, Pronunciation
from asr_lab.data.synthesis import espeak
from asr_lab.data.synthesis.accents import ACCENTS, accent
from asr_lab.data.synthesis.corpus import WORKERS, Planned, Progress, make
from asr_lab.data.synthesis.learner_voices import PARTS, VOICES
from asr_lab.data.synthesis.mispronunciation import Utterance, mispronounce, scale
from asr_lab.data.synthesis.phonemize import read, spoken_phonemes, to_espeak
from asr_lab.data.synthesis.sentences import Given, Sentences
from asr_lab.data.synthesis.worker import Utterance as Speech
from asr_lab.data.synthesis.worker_pool import Spoken
from asr_lab.errors import AsrLabError

SHARES = {"train": 1.0, "val": 1 / 3, "test": 2 / 3, "test-hard": 2 / 3}
"""Utterances of a speaker of each part, as a share of those of a training speaker."""


@dataclass(frozen=True, kw_only=True)
class L2Spec:
    """A corpus of learners to make."""

    languages: tuple[str, ...] = tuple(ACCENTS)  # first languages; the voices are shared out among them in turn
    utterances: int = 60  # of a training speaker; about 1.9 s each
    error_scale: float = 1.0  # times the error rates of the accents
    correct: float = 0.2  # share of sentences without errors; the others have the more, the rates stay
    texts: tuple[str, ...] = ()  # sentences to draw from for each speaker; () = those of a grammar, none said twice
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.languages:
            accent(name)
        if not self.languages or len(set(self.languages)) < len(self.languages):
            raise AsrLabError("first languages: each once, one at least", allowed=", ".join(ACCENTS))
        if len(self.languages) > min(sum(each.part == part for each in VOICES) for part in PARTS):
            raise AsrLabError(f"{len(self.languages)} first languages, there are not as many voices in each part")
        if self.utterances < 1:
            raise AsrLabError(f"utterances is {self.utterances}, allowed is 1 or more (per training speaker)")
        if self.error_scale < 0 or not 0 <= self.correct < 1:
            raise AsrLabError(f"error scale {self.error_scale}, correct share {self.correct}", allowed=">= 0; 0 to < 1")


@dataclass(frozen=True)
class _Learner:
    """One utterance of the plan and what is to be said in it."""

    planned: Planned
    l1: str
    utterance: Utterance


@dataclass
class L2Corpus:
    """What came of a corpus: its manifests, and how many utterances of each were left out."""

    manifests: dict[str, Path] = field(default_factory=dict)
    dropped: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def synthesize_l2(
    out: Path, spec: L2Spec | None = None, progress: Progress | None = None, *, workers: int = WORKERS
) -> L2Corpus:
    """Make the corpus in the new folder `out`: `train`, `val`, `test` and `test-hard`, no speaker in two of them.

    Raises `AsrLabError` when `out` holds something already, or eSpeak NG is not installed.
    """
    learners = {each.planned.utterance.id: each for each in plan_l2(spec or L2Spec())}
    making = L2Corpus()

    def to_cut(planned: Planned, folder: Path, spoken: Spoken) -> Cut | None:
        cut = _cut(learners[planned.utterance.id], folder, spoken)
        if cut is None:
            making.dropped[planned.manifest].append(planned.utterance.id)
            (folder / planned.utterance.path).unlink()
        return cut

    making.manifests = make([each.planned for each in learners.values()], out, progress, workers, to_cut)
    return making


def plan_l2(spec: L2Spec) -> list[_Learner]:
    """Who says what with which errors; nothing is spoken. The rate of a first language is kept in each part."""
    espeak.require()
    sentences = Given(spec.texts, spec.seed) if spec.texts else Sentences("en-phonemic", spec.seed)
    learners: list[_Learner] = []
    numbers: dict[str, int] = defaultdict(int)
    for part in PARTS:
        voices = [each for each in VOICES if each.part == part]
        by_l1: dict[str, list[Planned]] = {l1: [] for l1 in spec.languages}
        for place, voice in enumerate(voices):
            l1 = spec.languages[place % len(spec.languages)]
            numbers[l1] += 1
            speaker = voice.speaker(f"{l1}-{numbers[l1]:02d}")
            for number, text in enumerate(sentences.take(max(1, round(SHARES[part] * spec.utterances)))):
                id = f"{speaker.name}-{number:04d}"
                speech = Speech(
                    id=id,
                    text=text,
                    path=f"audio/{speaker.name}/{id}.flac",
                    snr_db=voice.snr_db,
                    noise_seed=zlib.crc32(f"{spec.seed} {id}".encode()),
                )
                by_l1[l1].append(Planned(manifest=part, speaker=speaker, language="en", utterance=speech))
        learners += [each for l1, planned in by_l1.items() for each in _with_errors(planned, l1, spec)]
    return learners


def _with_errors(planned: list[Planned], l1: str, spec: L2Spec) -> list[_Learner]:
    """The utterances of a first language and a part, with the errors that make up its rate."""
    draws = {each.utterance.id: random.Random(f"l2 {spec.seed} {each.utterance.id}") for each in planned}
    words = {each.utterance.id: read(each.utterance.text) for each in planned}
    wrong = [id for id, draw in draws.items() if draw.random() >= spec.correct]
    spoken = accent(l1)
    rate = spec.error_scale * spoken.error_rate
    phonemes = sum(len(word) for each in words.values() for word in each)
    factor = scale(spoken, [words[id] for id in wrong], rate, phonemes) if wrong and rate else 0.0
    found = []
    for each in planned:
        id = each.utterance.id
        utterance = mispronounce(words[id], spoken, factor if id in wrong else 0.0, draws[id])
        said = to_espeak(utterance.spoken_words(), rhotic=each.speaker.voice.voice.startswith("en-us"))
        speaking = replace(each, utterance=replace(each.utterance, phonemes=said))
        found.append(_Learner(speaking, l1, utterance))
    return found


def _cut(learner: _Learner, folder: Path, spoken: Spoken) -> Cut | None:
    """The utterance with its labels; None where eSpeak said something else that nobody asked for."""
    labels = label(learner.utterance, spoken)
    if labels is None:
        return None
    planned, said = learner.planned, learner.planned.utterance
    noise = {} if said.snr_db is None else {"snr_db": said.snr_db, "noise": said.noise}
    cut = manifest.utterance(
        id=said.id,
        audio=folder / said.path,
        text=said.text,
        speaker=planned.speaker.name,
        gender=planned.speaker.gender,
        language="en",
        corpus="synth-l2",
        age=planned.speaker.age,
        l1=learner.l1,
        **noise,
        **labels.to_custom(),
    )
    phones = [
        AlignmentItem(each.phoneme, each.start_s, round(each.end_s - each.start_s, 3))
        for each in spoken_phonemes(spoken)
    ]
    manifest.supervision(cut).alignment = {"phone": phones}
    return cut


def label(utterance: Utterance, spoken: Spoken) -> Pronunciation | None:
    """The labels of an utterance from what eSpeak said; None where an unchanged phoneme was said otherwise."""
    try:
        phones = spoken_phonemes(spoken)
    except KeyError:
        return None
    if len(phones) != sum(map(len, utterance.realized)):
        return None
    canonical = [sound.phoneme for word in utterance.words for sound in word]
    perceived: list[str] = []
    times: list[tuple[float, float] | None] = []
    insertions: list[tuple[str, ...]] = [()]
    rest = iter(phones)
    for phoneme, asked in zip(canonical, utterance.realized, strict=True):
        got = [next(rest) for _ in asked]
        if asked == (phoneme,) and got[0].phoneme != phoneme:
            return None
        perceived.append(got[0].phoneme if got else DELETED)
        times.append((got[0].start_s, got[0].end_s) if got else None)
        insertions.append(tuple(each.phoneme for each in got[1:]))
    return Pronunciation(
        canonical=tuple(canonical),
        perceived=tuple(perceived),
        errors=tuple(int(a != b) for a, b in zip(canonical, perceived, strict=True)),
        insertions=tuple(insertions),
        words=tuple(index for index, word in enumerate(utterance.words) for _ in word),
        phone_times=tuple(times),
    )
