"""One speaker's recordings, made in a process of its own: `python -m asr_lab.data.synthesis.worker`.

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

import numpy as np
import soundfile
import soxr

from asr_lab.data.noise import Kind, generate, mix
from asr_lab.data.synthesis.espeak import Engine, Phone, Voice
from asr_lab.errors import AsrLabError
from asr_lab.units import SAMPLE_RATE


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """What to say and where to write it."""

    id: str
    text: str
    path: str  # of its FLAC file, under the folder of the job
    phonemes: str = ""  # eSpeak's phonemes that are said instead of the text: "D|@2 k|w|'I|k"
    snr_db: float | None = None  # dB; None = no noise
    noise: Kind = "pink"
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
        samples, phones = engine.synthesize(each.phonemes or each.text, job.voice, as_phonemes=bool(each.phonemes))
        samples = soxr.resample(samples, engine.sample_rate, SAMPLE_RATE)
        if each.snr_db is not None:
            background = generate(each.noise, len(samples), np.random.default_rng(each.noise_seed))
            samples = mix(samples, background, each.snr_db)
        path = Path(job.folder) / each.path
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(str(path), samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        yield each.id, phones


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
