"""Synthetic speech of second-language learners with known pronunciation errors.

Sentences are converted to phonemes (`phonemize.py`), errors are drawn (`mispronunciation.py`, `accents.py`), and all
sentences, also those without errors, are synthesised from phonemes, so that the synthesis does not reveal the labels.
Labels come from eSpeak's phoneme events. If eSpeak changed an unchanged phoneme (it assimilates some neighbours), the
utterance is left out and counted.
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
from asr_lab.data.synthesis.corpus import WORKERS, Planned, Progress, speech_cut, write_corpus
from asr_lab.data.synthesis.learner_voices import PARTS, VOICES
from asr_lab.data.synthesis.mispronunciation import Utterance, mispronounce, scale
from asr_lab.data.synthesis.phonemize import read, spoken_phonemes, to_espeak
from asr_lab.data.synthesis.sentences import Given, Sentences
from asr_lab.data.synthesis.worker import Utterance as Speech
from asr_lab.data.synthesis.worker_pool import Spoken
from asr_lab.errors import AsrLabError

SHARES = {"train": 1.0, "val": 1 / 3, "test": 2 / 3, "test-hard": 2 / 3}
"""Utterances per speaker of each part, relative to a training speaker."""


@dataclass(frozen=True, kw_only=True)
class L2Spec:
    """Settings of a synthetic learner corpus."""

    languages: tuple[str, ...] = tuple(ACCENTS)  # first languages, assigned to the voices in turn
    utterances: int = 60  # per training speaker; about 1.9 s each
    error_scale: float = 1.0  # factor of the error rates of the accents
    correct: float = 0.2  # share of sentences without errors; the error rates over all sentences stay
    texts: tuple[str, ...] = ()  # sentences to draw from for each speaker; () = a grammar, without repetition
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.languages:
            accent(name)
        if not self.languages or len(set(self.languages)) < len(self.languages):
            raise AsrLabError("first languages: at least one, none twice", allowed=", ".join(ACCENTS))
        if len(self.languages) > min(sum(one.part == part for one in VOICES) for part in PARTS):
            raise AsrLabError(f"{len(self.languages)} first languages, more than voices in each part")
        if self.utterances < 1:
            raise AsrLabError(f"utterances is {self.utterances}, allowed is 1 or more (per training speaker)")
        if self.error_scale < 0 or not 0 <= self.correct < 1:
            raise AsrLabError(f"error scale {self.error_scale}, correct share {self.correct}", allowed=">= 0; 0 to < 1")


@dataclass(frozen=True)
class _PlannedLearner:
    """A planned utterance with its realisation."""

    planned: Planned
    l1: str
    utterance: Utterance


@dataclass
class L2Corpus:
    """The manifests of a corpus, and the utterances left out of each."""

    manifests: dict[str, Path] = field(default_factory=dict)
    dropped: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def synthesize_l2(
    out: Path, spec: L2Spec | None = None, progress: Progress | None = None, *, workers: int = WORKERS
) -> L2Corpus:
    """Synthesise the corpus in the new folder `out`: `train`, `val`, `test`, `test-hard`, with disjoint speakers.

    Raises `AsrLabError` if `out` is not empty, or eSpeak NG is not installed.
    """
    learners = {one.planned.utterance.id: one for one in plan_l2(spec or L2Spec())}
    corpus = L2Corpus()

    def to_cut(planned: Planned, folder: Path, spoken: Spoken) -> Cut | None:
        cut = _cut(learners[planned.utterance.id], folder, spoken)
        if cut is None:
            corpus.dropped[planned.manifest].append(planned.utterance.id)
            (folder / planned.utterance.path).unlink()
        return cut

    corpus.manifests = write_corpus([one.planned for one in learners.values()], out, progress, workers, to_cut)
    return corpus


def plan_l2(spec: L2Spec) -> list[_PlannedLearner]:
    """Plan speakers, sentences and errors, without synthesis; each part has the error rate of the first language."""
    espeak.require()
    sentences = Given(spec.texts, spec.seed) if spec.texts else Sentences("en-phonemic", spec.seed)
    learners: list[_PlannedLearner] = []
    numbers: dict[str, int] = defaultdict(int)
    for part in PARTS:
        voices = [one for one in VOICES if one.part == part]
        by_l1: dict[str, list[Planned]] = {l1: [] for l1 in spec.languages}
        for index, voice in enumerate(voices):
            l1 = spec.languages[index % len(spec.languages)]
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
        learners += [one for l1, planned in by_l1.items() for one in _with_errors(planned, l1, spec)]
    return learners


def _with_errors(planned: list[Planned], l1: str, spec: L2Spec) -> list[_PlannedLearner]:
    """Draw the errors of a first language in a part, at its rate."""
    draws = {one.utterance.id: random.Random(f"l2 {spec.seed} {one.utterance.id}") for one in planned}
    words = {one.utterance.id: read(one.utterance.text) for one in planned}
    wrong = [id for id, draw in draws.items() if draw.random() >= spec.correct]
    spoken = accent(l1)
    rate = spec.error_scale * spoken.error_rate
    phonemes = sum(len(word) for one in words.values() for word in one)
    factor = scale(spoken, [words[id] for id in wrong], rate, phonemes) if wrong and rate else 0.0
    learners = []
    for one in planned:
        id = one.utterance.id
        utterance = mispronounce(words[id], spoken, factor if id in wrong else 0.0, draws[id])
        speech = to_espeak(utterance.spoken_words(), rhotic=one.speaker.voice.voice.startswith("en-us"))
        speaking = replace(one, utterance=replace(one.utterance, phonemes=speech))
        learners.append(_PlannedLearner(speaking, l1, utterance))
    return learners


def _cut(learner: _PlannedLearner, folder: Path, spoken: Spoken) -> Cut | None:
    """Return the utterance with its labels; None if eSpeak changed an unchanged phoneme."""
    labels = label(learner.utterance, spoken)
    if labels is None:
        return None
    cut = speech_cut(learner.planned, folder, corpus="synth-l2", language="en", l1=learner.l1, **labels.to_custom())
    phones = [
        AlignmentItem(one.phoneme, one.start_s, round(one.end_s - one.start_s, 3)) for one in spoken_phonemes(spoken)
    ]
    manifest.supervision(cut).alignment = {"phone": phones}
    return cut


def label(utterance: Utterance, spoken: Spoken) -> Pronunciation | None:
    """Return the labels of an utterance from eSpeak's phonemes; None if an unchanged phoneme differs."""
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
    for phoneme, realized_as in zip(canonical, utterance.realized, strict=True):
        actual = [next(rest) for _ in realized_as]
        if realized_as == (phoneme,) and actual[0].phoneme != phoneme:
            return None
        perceived.append(actual[0].phoneme if actual else DELETED)
        times.append((actual[0].start_s, actual[0].end_s) if actual else None)
        insertions.append(tuple(one.phoneme for one in actual[1:]))
    return Pronunciation(
        canonical=tuple(canonical),
        perceived=tuple(perceived),
        errors=tuple(int(a != b) for a, b in zip(canonical, perceived, strict=True)),
        insertions=tuple(insertions),
        words=tuple(index for index, word in enumerate(utterance.words) for _ in word),
        phone_times=tuple(times),
    )
