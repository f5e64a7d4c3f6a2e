"""Synthesise the recordings of one speaker in a process of its own: `python -m asr_lab.data.synthesis.worker`.

eSpeak NG keeps state between calls, so output is reproducible only from a fresh process with the same texts in the
same order. Reads a `Job` (JSON) from standard input; writes a line of JSON per utterance to standard output:
`{"id": ..., "phones": [[symbol, start_s, duration_s], ...]}`. Imports are few on purpose: they cost time per speaker.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from asr_lab.data.noise import Kind, generate, mix
from asr_lab.data.synthesis.espeak import Engine, Phone, Voice
from asr_lab.errors import AsrLabError
from asr_lab.units import SAMPLE_RATE


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """An utterance to synthesise, and its file."""

    id: str
    text: str
    path: str  # of its FLAC file, under the folder of the job
    phonemes: str = ""  # eSpeak phonemes to synthesise instead of the text: "D|@2 k|w|'I|k"
    snr_db: float | None = None  # dB; None = no noise
    noise: Kind = "pink"
    noise_seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Job:
    """The utterances of one speaker, in order."""

    voice: Voice
    folder: str
    utterances: list[Utterance]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        data = json.loads(text)
        utterances = [Utterance(**utterance) for utterance in data["utterances"]]
        return cls(voice=Voice(**data["voice"]), folder=data["folder"], utterances=utterances)


def speak(job: Job) -> Iterator[tuple[str, list[Phone]]]:
    """Write each utterance as 16 kHz mono 16-bit FLAC; yield its id and phonemes."""
    engine = Engine()
    for utterance in job.utterances:
        samples, phones = engine.synthesize(
            utterance.phonemes or utterance.text, job.voice, as_phonemes=bool(utterance.phonemes)
        )
        samples = soxr.resample(samples, engine.sample_rate, SAMPLE_RATE)
        if utterance.snr_db is not None:
            background = generate(utterance.noise, len(samples), np.random.default_rng(utterance.noise_seed))
            samples = mix(samples, background, utterance.snr_db)
        path = Path(job.folder) / utterance.path
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(str(path), samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        yield utterance.id, phones


def main() -> int:
    """Run the job on standard input; on `AsrLabError`, print it to standard error and return 1."""
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
