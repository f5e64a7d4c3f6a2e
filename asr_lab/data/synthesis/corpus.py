"""Corpora of made speech: plan who says what, have it spoken, write manifests.

Speech comes from eSpeak NG (`espeak.py`), sentences from a small grammar (`sentences.py`), speakers from a
table (`voices.py`). Same specification, same bytes: every speaker is made in a fresh process
(`speaking.py`), whatever the number of workers. A corpus is made beside its place and renamed when it is
whole.
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
from asr_lab.system.files import whole_folder

__all__ = ["PERSONS", "SPEAKERS", "SynthSpec", "demo_manifests", "make_demo", "plan", "synthesize"]

DEMO = Path("corpora/demo")
WORKERS = min(4, os.cpu_count() or 1)

# The demo: utterances a speaker, about 1.5 s each
DEMO_TRAIN = 44
DEMO_VAL = 30
DEMO_TEST = 50
DEMO_PERSON = 100  # for training, and as many for testing

Progress = Callable[[int, int], None]  # utterances made, utterances in all


@dataclass(frozen=True, kw_only=True)
class SynthSpec:
    """A corpus to make."""

    language: str = "en"  # "en" or "ko"
    speakers: tuple[str, ...] = ()  # names of `SPEAKERS` or `PERSONS`; () = all ordinary ones of the language
    utterances: int = 50  # per speaker
    texts: tuple[str, ...] = ()  # sentences to draw from for each speaker; () = those of a grammar, none said twice
    snr_db: float | tuple[float, float] | None = None  # dB; (low, high): drawn for each; None: clean
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
    """Who says what, at which SNR; nothing is made. No sentence of the grammar is said twice in a corpus.

    The manifest is the speaker's part: `train`, `val` or `test`; `persons/<name>/all` for a person.
    """
    chosen = [voices.speaker(name) for name in spec.speakers] or voices.ordinary(spec.language)
    wrong = [each.name for each in chosen if each.language != spec.language]
    if wrong:
        raise AsrLabError(
            f"these speakers do not speak language {spec.language!r}: {', '.join(wrong)}",
            allowed=", ".join(each.name for each in voices.ordinary(spec.language)),
        )
    sentences = Given(spec.texts, spec.seed) if spec.texts else Sentences(spec.language, spec.seed)
    planned: list[Planned] = []
    for each in chosen:
        name = f"persons/{each.name}/all" if each.part == "person" else each.part
        planned += _said_by(each, name, sentences.take(spec.utterances), language=spec.language)
    return [_noisy(each, spec) for each in planned]


def plan_demo(seed: int = 0) -> list[Planned]:
    """The demo: ordinary English speakers in `train`, `val`, `test`; persons in `persons/<name>/...`."""
    sentences = Sentences("en", seed)
    counts = {"train": DEMO_TRAIN, "val": DEMO_VAL, "test": DEMO_TEST}
    planned: list[Planned] = []
    for each in voices.ordinary("en"):
        planned += _said_by(each, each.part, sentences.take(counts[each.part]))
    for each in PERSONS.values():
        for position, part in enumerate(("train", "test")):
            texts = sentences.take(DEMO_PERSON)
            name = f"persons/{each.name}/{part}"
            planned += _said_by(each, name, texts, first=position * DEMO_PERSON)
    return planned


def synthesize(
    out: Path, spec: SynthSpec, progress: Progress | None = None, *, workers: int = WORKERS
) -> dict[str, Path]:
    """Make the corpus of `spec` in the new folder `out`; returns its manifests by name (see `plan`).

    Raises `AsrLabError` when `out` holds something already, or eSpeak NG is not installed.
    """
    return make(plan(spec), out, progress, workers)


def make_demo(
    out: Path = DEMO, seed: int = 0, progress: Progress | None = None, *, workers: int = WORKERS
) -> dict[str, Path]:
    """Make the demo corpus (about 50 minutes of speech, 70 MB); returns its manifests by name.

    The names are `train`, `val`, `test` and `persons/<name>/train`, `persons/<name>/test`.
    """
    return make(plan_demo(seed), out, progress, workers)


def make(
    planned: Sequence[Planned],
    out: Path,
    progress: Progress | None,
    workers: int = WORKERS,
    to_cut: Callable[[Planned, Path, Spoken], Cut | None] | None = None,
) -> dict[str, Path]:
    """Have a plan spoken and write its manifests: the folder gets its name once all is in it.

    `to_cut` makes the utterance from its plan, the folder of the corpus and the phonemes; None leaves it out.
    """
    to_cut = to_cut or _cut
    espeak.require()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise AsrLabError(
            "there is something already where the corpus would go",
            where=str(out),
            hint="remove it first, or choose another folder",
        )
    whole = out.resolve()
    shutil.rmtree(whole.with_name(f"{whole.name}.making"), ignore_errors=True)  # of a killed earlier version
    names = list(dict.fromkeys(each.manifest for each in planned))
    with whole_folder(whole) as making:
        phones = speak_all(_jobs(planned, making), progress, workers)
        for name in names:
            made = [to_cut(each, making, phones[each.utterance.id]) for each in planned if each.manifest == name]
            cuts = [cut for cut in made if cut is not None]
            if not cuts:
                what = f"none of the {len(made)} utterances of {name} was said as asked"
                raise AsrLabError(what, hint="ask for more")
            manifest.write(cuts, making / f"{name}{manifest.SUFFIX}")
    return {name: out / f"{name}{manifest.SUFFIX}" for name in names}


def demo_manifests(out: Path = DEMO) -> dict[str, Path]:
    """Where the manifests of the demo corpus are, made or not."""
    names = [
        "train",
        "val",
        "test",
        *(f"persons/{name}/{part}" for name in PERSONS for part in ("train", "test")),
    ]
    return {name: out / f"{name}{manifest.SUFFIX}" for name in names}


def _said_by(
    speaker: Speaker, name: str, texts: Sequence[str], *, language: str = "en", first: int = 0
) -> list[Planned]:
    """Clean utterances of a speaker, numbered from `first`."""
    planned = []
    for number, text in enumerate(texts, start=first):
        id = f"{speaker.name}-{number:04d}"
        utterance = Utterance(id=id, text=text, path=f"audio/{speaker.name}/{id}.flac")
        planned.append(Planned(manifest=name, speaker=speaker, language=language, utterance=utterance))
    return planned


def _noisy(planned: Planned, spec: SynthSpec) -> Planned:
    """The utterance with its SNR drawn (to 0.1 dB) and its noise seeded, both by the seed and its id."""
    if spec.snr_db is None:
        return planned
    low, high = spec.snr_db if isinstance(spec.snr_db, tuple) else (spec.snr_db, spec.snr_db)
    key = f"{spec.seed} {planned.utterance.id}"
    snr_db = float(low) if low == high else round(random.Random(key).uniform(low, high), 1)
    noise_seed = zlib.crc32(key.encode())
    said = replace(planned.utterance, snr_db=snr_db, noise=spec.noise, noise_seed=noise_seed)
    return replace(planned, utterance=said)


def _jobs(planned: Sequence[Planned], folder: Path) -> list[Job]:
    """One job a speaker, so that each speaks in a fresh engine."""
    by_speaker: dict[str, list[Planned]] = {}
    for each in planned:
        by_speaker.setdefault(each.speaker.name, []).append(each)
    return [
        Job(
            voice=members[0].speaker.voice,
            folder=str(folder),
            utterances=[each.utterance for each in members],
        )
        for members in by_speaker.values()
    ]


def _cut(planned: Planned, folder: Path, phones: Spoken) -> Cut:
    """The utterance as a cut; its alignment `phone` has eSpeak's mnemonics and times in seconds."""
    said = planned.utterance
    noise: dict[str, Any] = {} if said.snr_db is None else {"snr_db": said.snr_db, "noise": said.noise}
    cut = manifest.utterance(
        id=said.id,
        audio=folder / said.path,
        text=said.text,
        speaker=planned.speaker.name,
        gender=planned.speaker.gender,
        language=planned.language,
        corpus="synth",
        age=planned.speaker.age,
        **noise,
    )
    manifest.supervision(cut).alignment = {"phone": [AlignmentItem(*phone) for phone in phones]}
    return cut
