"""One speaker's recordings, made in a process of its own: `python -m asr_lab.data.corpora.speaking`.

eSpeak NG keeps its state between calls, so the same bytes come only from a fresh process that says the same
texts in the same order. The job (`Job`, as JSON) is read from standard input; for each utterance written, a
line of JSON `{"id": ..., "phones": [[symbol, start_s, duration_s], ...]}` goes to standard output. Imports
are few on purpose: the start of this process is paid once a speaker.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from asr_lab.data.corpora.espeak import Engine, Phone, Voice
from asr_lab.errors import AsrLabError
from asr_lab.units import SAMPLE_RATE

Noise = Literal["pink", "white"]
_FULL_SCALE = 0.99  # louder mixtures are turned down as a whole, which keeps their SNR


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """What to say and where to write it."""

    id: str
    text: str
    path: str  # of its FLAC file, under the folder of the job
    snr_db: float | None = None  # dB; None = no noise
    noise: Noise = "pink"
    noise_seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Job:
    """One speaker's utterances, in the order they are said."""

    voice: Voice
    folder: str
    utterances: list[Utterance]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        data = json.loads(text)
        utterances = [Utterance(**each) for each in data["utterances"]]
        return cls(voice=Voice(**data["voice"]), folder=data["folder"], utterances=utterances)


def speak(job: Job) -> Iterator[tuple[str, list[Phone]]]:
    """Write every utterance as 16 kHz mono 16-bit FLAC; yields its id and phonemes as it is written."""
    engine = Engine()
    for each in job.utterances:
        samples, phones = engine.say(each.text, job.voice)
        samples = soxr.resample(samples, engine.sample_rate, SAMPLE_RATE)
        if each.snr_db is not None:
            samples = add_noise(samples, each.snr_db, each.noise, each.noise_seed)
        path = Path(job.folder) / each.path
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(str(path), samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        yield each.id, phones


def add_noise(samples: npt.NDArray[np.float32], snr_db: float, noise: Noise, seed: int) -> npt.NDArray[np.float32]:
    """The speech with noise at `snr_db`, the ratio of their mean powers over the whole utterance in dB.

    Pink noise has a power density of 1/f (above 50 Hz, flat below), white noise a flat one.
    """
    rng = np.random.default_rng(seed)
    background = rng.standard_normal(len(samples))
    if noise == "pink":
        frequencies = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)  # Hz
        spectrum = np.fft.rfft(background) / np.sqrt(np.maximum(frequencies, 50.0))
        background = np.fft.irfft(spectrum, len(samples))
    power = np.mean(samples.astype(np.float64) ** 2)
    wanted = power / 10 ** (snr_db / 10)
    mixed = samples + background * np.sqrt(wanted / np.mean(background**2))
    peak = float(np.max(np.abs(mixed)))
    scaled: npt.NDArray[np.float32] = (mixed * min(1.0, _FULL_SCALE / peak)).astype(np.float32)
    return scaled


def main() -> int:
    """Do the job on standard input; exit code 1 with one message on standard error for a user's mistake."""
    try:
        for id, phones in speak(Job.from_json(sys.stdin.read())):
            rows = [[phone.symbol, phone.start_s, phone.duration_s] for phone in phones]
            print(json.dumps({"id": id, "phones": rows}), flush=True)
    except AsrLabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
