"""Synthetic corpora: plan utterances, synthesise them, write manifests.

Speech comes from eSpeak NG (`espeak.py`), sentences from a small grammar (`sentences.py`), speakers from a table
(`voices.py`). The same specification gives the same bytes, whatever the number of workers: each speaker is synthesised
in a fresh process (`worker.py`). A corpus is written to a temporary folder and renamed when complete.
"""

from __future__ import annotations

import os
import random
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lhotse.cut import Cut
from lhotse.supervision import AlignmentItem

from asr_lab.data import manifest
from asr_lab.data.noise import Kind
from asr_lab.data.synthesis import espeak, voices
from asr_lab.data.synthesis.sentences import Given, Sentences
from asr_lab.data.synthesis.voices import PERSONS, SPEAKERS, Speaker
from asr_lab.data.synthesis.worker import Job, Utterance
from asr_lab.data.synthesis.worker_pool import Spoken, speak_all
from asr_lab.errors import AsrLabError
from asr_lab.system.files import atomic_folder

__all__ = ["PERSONS", "SPEAKERS", "SynthSpec", "make_demo", "plan", "synthesize"]

DEMO = Path("corpora/demo")
WORKERS = min(4, os.cpu_count() or 1)

# The demo: utterances per speaker, about 1.5 s each
DEMO_TRAIN = 44
DEMO_VAL = 30
DEMO_TEST = 50
DEMO_PERSON = 100  # for training, and as many for testing

Progress = Callable[[int, int], None]  # (utterances done, total)


@dataclass(frozen=True, kw_only=True)
class SynthSpec:
    """Settings of a synthetic corpus."""

    language: str = "en"  # "en" or "ko"
    speakers: tuple[str, ...] = ()  # names of `SPEAKERS` or `PERSONS`; () = all typical ones of the language
    utterances: int = 50  # per speaker
    texts: tuple[str, ...] = ()  # sentences to draw from for each speaker; () = a grammar, without repetition
    snr_db: float | tuple[float, float] | None = None  # dB; (low, high): drawn per utterance; None: clean
    noise: Kind = "pink"
    seed: int = 0  # of sentences and noise

    def __post_init__(self) -> None:
        if self.utterances < 1:
            raise AsrLabError(f"utterances is {self.utterances}, allowed is 1 or more (per speaker)")
        if isinstance(self.snr_db, tuple) and self.snr_db[0] > self.snr_db[1]:
            raise AsrLabError(f"snr_db is {self.snr_db}, the lower bound comes first")
        twice = sorted({name for name in self.speakers if self.speakers.count(name) > 1})
        if twice:
            raise AsrLabError(f"speakers named twice: {', '.join(twice)}")


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One utterance of a plan; its path is relative to the folder of the corpus."""

    manifest: str  # name of its manifest: the path under the folder of the corpus, without suffix
    speaker: Speaker
    language: str
    utterance: Utterance


def plan(spec: SynthSpec) -> list[Planned]:
    """Plan speakers, sentences and SNRs, without synthesis. Sentences of the grammar are not repeated.

    The manifest is the speaker's part: `train`, `val` or `test`; `persons/<name>/all` for those of `PERSONS`.
    """
    chosen = [voices.speaker(name) for name in spec.speakers] or voices.ordinary(spec.language)
    wrong = [one.name for one in chosen if one.language != spec.language]
    if wrong:
        raise AsrLabError(
            f"these speakers do not speak language {spec.language!r}: {', '.join(wrong)}",
            allowed=", ".join(one.name for one in voices.ordinary(spec.language)),
        )
    sentences = Given(spec.texts, spec.seed) if spec.texts else Sentences(spec.language, spec.seed)
    planned: list[Planned] = []
    for one in chosen:
        name = f"persons/{one.name}/all" if one.part == "person" else one.part
        planned += _utterances_of(one, name, sentences.take(spec.utterances), language=spec.language)
    return [_noisy(one, spec) for one in planned]


def plan_demo(seed: int = 0) -> list[Planned]:
    """Plan the demo: typical English speakers in `train`, `val`, `test`; `PERSONS` in `persons/<name>/...`."""
    sentences = Sentences("en", seed)
    counts = {"train": DEMO_TRAIN, "val": DEMO_VAL, "test": DEMO_TEST}
    planned: list[Planned] = []
    for one in voices.ordinary("en"):
        planned += _utterances_of(one, one.part, sentences.take(counts[one.part]))
    for one in PERSONS.values():
        for position, part in enumerate(("train", "test")):
            texts = sentences.take(DEMO_PERSON)
            name = f"persons/{one.name}/{part}"
            planned += _utterances_of(one, name, texts, first=position * DEMO_PERSON)
    return planned


def synthesize(
    out: Path, spec: SynthSpec, progress: Progress | None = None, *, workers: int = WORKERS
) -> dict[str, Path]:
    """Synthesise the corpus of `spec` in the new folder `out`; return its manifests by name (see `plan`).

    Raises `AsrLabError` if `out` is not empty, or eSpeak NG is not installed.
    """
    return write_corpus(plan(spec), out, progress, workers)


def make_demo(out: Path, seed: int = 0, progress: Progress | None = None) -> dict[str, Path]:
    """Synthesise the demo corpus (about 50 minutes of speech, 70 MB); return its manifests by name.

    The names are `train`, `val`, `test`, `persons/<name>/train` and `persons/<name>/test`.
    """
    return write_corpus(plan_demo(seed), out, progress)


def write_corpus(
    planned: Sequence[Planned],
    out: Path,
    progress: Progress | None,
    workers: int = WORKERS,
    to_cut: Callable[[Planned, Path, Spoken], Cut | None] | None = None,
) -> dict[str, Path]:
    """Synthesise a plan and write its manifests; the folder is renamed to `out` when complete.

    `to_cut` builds an utterance from its plan, the folder of the corpus and the phonemes, or None to leave it out.
    """
    to_cut = to_cut or _cut
    espeak.require()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AsrLabError(
            "the folder of the corpus is not empty",
            where=str(out),
            hint="remove it first, or choose another folder",
        )
    target = out.resolve()
    shutil.rmtree(target.with_name(f"{target.name}.making"), ignore_errors=True)  # of a killed earlier version
    names = list(dict.fromkeys(one.manifest for one in planned))
    with atomic_folder(target) as folder_in_progress:
        phones = speak_all(_jobs(planned, folder_in_progress), progress, workers)
        for name in names:
            made = [
                to_cut(one, folder_in_progress, phones[one.utterance.id]) for one in planned if one.manifest == name
            ]
            cuts = [cut for cut in made if cut is not None]
            if not cuts:
                what = f"eSpeak NG changed phonemes in all {len(made)} utterances of {name}"
                raise AsrLabError(what, hint="more utterances")
            manifest.write(cuts, folder_in_progress / f"{name}{manifest.SUFFIX}")
    return {name: out / f"{name}{manifest.SUFFIX}" for name in names}


def _utterances_of(
    speaker: Speaker, name: str, texts: Sequence[str], *, language: str = "en", first: int = 0
) -> list[Planned]:
    """Plan clean utterances of a speaker, numbered from `first`."""
    planned = []
    for number, text in enumerate(texts, start=first):
        id = f"{speaker.name}-{number:04d}"
        utterance = Utterance(id=id, text=text, path=f"audio/{speaker.name}/{id}.flac")
        planned.append(Planned(manifest=name, speaker=speaker, language=language, utterance=utterance))
    return planned


def _noisy(planned: Planned, spec: SynthSpec) -> Planned:
    """Draw the SNR (to 0.1 dB) and the noise seed of an utterance from the seed and its id."""
    if spec.snr_db is None:
        return planned
    low, high = spec.snr_db if isinstance(spec.snr_db, tuple) else (spec.snr_db, spec.snr_db)
    key = f"{spec.seed} {planned.utterance.id}"
    snr_db = float(low) if low == high else round(random.Random(key).uniform(low, high), 1)
    noise_seed = zlib.crc32(key.encode())
    utterance = replace(planned.utterance, snr_db=snr_db, noise=spec.noise, noise_seed=noise_seed)
    return replace(planned, utterance=utterance)


def _jobs(planned: Sequence[Planned], folder: Path) -> list[Job]:
    """Return one job per speaker, each for a fresh engine."""
    by_speaker: dict[str, list[Planned]] = {}
    for one in planned:
        by_speaker.setdefault(one.speaker.name, []).append(one)
    return [
        Job(
            voice=members[0].speaker.voice,
            folder=str(folder),
            utterances=[one.utterance for one in members],
        )
        for members in by_speaker.values()
    ]


def _cut(planned: Planned, folder: Path, phones: Spoken) -> Cut:
    """Return the utterance as a cut; its alignment `phone` has eSpeak's phonemes and times in seconds."""
    cut = speech_cut(planned, folder, corpus="synth", language=planned.language)
    manifest.supervision(cut).alignment = {"phone": [AlignmentItem(*phone) for phone in phones]}
    return cut


def speech_cut(planned: Planned, folder: Path, *, corpus: str, language: str, **custom: Any) -> Cut:
    """Return an utterance of a corpus as a cut, with its speaker, its noise if any, and `custom` fields."""
    speech, speaker = planned.utterance, planned.speaker
    noise: dict[str, Any] = {} if speech.snr_db is None else {"snr_db": speech.snr_db, "noise": speech.noise}
    return manifest.utterance(
        id=speech.id,
        audio=folder / speech.path,
        text=speech.text,
        speaker=speaker.name,
        gender=speaker.gender,
        language=language,
        corpus=corpus,
        age=speaker.age,
        **custom,
        **noise,
    )
