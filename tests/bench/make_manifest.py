"""Make manifests of any number of utterances and speakers, without audio: to measure what commands cost at size.

    python tests/bench/make_manifest.py OUT --utterances 1770000 --speakers 2000 [--splits] [--seed 0]

Writes OUT/all.jsonl.gz, with --splits also train, val and test (80, 10 and 10 % of the speakers). Utterances are Korean
texts of 7 s on average with an age, a gender, an SNR and a digest of their audio, each a piece of its speaker's
recording, which is a WAV file of silence with holes (it takes no room).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from asr_lab.units import SAMPLE_RATE

_MEAN_S, _SPREAD = 6.0, 0.55  # median and spread of log-normal durations: 7.0 s on average
_LETTERS_A_SECOND = 4.0
_PIECES = 100  # of one recording: more, and its size would not fit in the header of a WAV file


def recording(folder: Path, name: str) -> dict[str, object]:
    """Write a recording of silence and return its description."""
    path, frames = folder / "audio" / f"{name}.wav", _PIECES * 30 * SAMPLE_RATE
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.setnframes(frames)
        file.writeframesraw(b"")
    header = path.read_bytes()
    sizes = (frames * 2 + len(header) - 8).to_bytes(4, "little"), (frames * 2).to_bytes(4, "little")
    path.write_bytes(header[:4] + sizes[0] + header[8:-4] + sizes[1])
    os.truncate(path, len(header) + frames * 2)
    return {
        "id": name,
        "sources": [{"type": "file", "channels": [0], "source": f"audio/{name}.wav"}],
        "sampling_rate": SAMPLE_RATE,
        "num_samples": frames,
        "duration": frames / SAMPLE_RATE,
        "channel_ids": [0],
    }


def vocabulary(seed: int) -> list[str]:
    """Return 20,000 words of 1,200 syllables."""
    draw = np.random.default_rng(seed)
    syllables = [chr(code) for code in draw.choice(np.arange(0xAC00, 0xD7A4), 1_200, replace=False)]
    return ["".join(draw.choice(syllables, length)) for length in draw.integers(1, 5, 20_000)]


def lines(folder: Path, utterances: int, speakers: range, seed: int, first: int = 0) -> Iterator[str]:
    """Yield the lines of a manifest; speakers have from one half to one and a half of the mean number of utterances."""
    draw = np.random.default_rng([seed, first])
    words = vocabulary(seed)
    weights = draw.uniform(0.5, 1.5, len(speakers))
    ends = np.round(np.cumsum(weights) / weights.sum() * utterances).astype(int)
    done = 0
    for speaker, end in zip(speakers, ends, strict=True):
        name, age, gender = f"s{speaker:05d}", int(draw.integers(4, 60)), "fm"[int(draw.integers(2))]
        count = int(end) - done
        seconds = np.clip(draw.lognormal(np.log(_MEAN_S), _SPREAD, count), 0.5, 29.0).round(3).tolist()
        snrs = draw.normal(18, 7, count).round(1).tolist()
        picks = draw.integers(0, len(words), (count, 40)).tolist()
        for number in range(count):
            if number % _PIECES == 0:
                audio = recording(folder, f"{name}-{number // _PIECES:03d}")
            yield _line(
                name, number, audio, seconds[number], age, gender, snrs[number], [words[i] for i in picks[number]]
            )
        done = int(end)


def _line(
    speaker: str,
    number: int,
    audio: dict[str, object],
    duration_s: float,
    age: int,
    gender: str,
    snr_db: float,
    words: list[str],
) -> str:
    id, room, text = f"{speaker}-{number:06d}", duration_s * _LETTERS_A_SECOND, ""
    for word in words:
        if len(text) > room:
            break
        text += f" {word}"
    segment = {
        "id": id,
        "recording_id": audio["id"],
        "start": 0.0,
        "duration": duration_s,
        "channel": 0,
        "text": text.strip() + "."[number % 3 :],
        "language": "ko",
        "speaker": speaker,
        "gender": gender,
        "custom": {
            "corpus": "made",
            "audio_digest": hashlib.sha256(id.encode()).hexdigest()[:32],
            "age": age,
            "snr_db": snr_db,
        },
    }
    row = {
        "id": id,
        "start": float(number % _PIECES * 30),
        "duration": duration_s,
        "channel": 0,
        "supervisions": [segment],
        "recording": audio,
        "type": "MonoCut",
    }
    return json.dumps(row, ensure_ascii=False) + "\n"


def write(path: Path, utterances: int, speakers: range, seed: int, first: int = 0) -> None:
    """Write a manifest as importers do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
        file.writelines(lines(path.parent, utterances, speakers, seed, first))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--utterances", type=int, default=10_000)
    parser.add_argument("--speakers", type=int, default=82)
    parser.add_argument("--splits", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    total, speakers = options.utterances, options.speakers
    write(options.out / "all.jsonl.gz", total, range(speakers), options.seed)
    if options.splits:
        tenth = speakers // 10
        parts = {"val": range(tenth), "test": range(tenth, 2 * tenth), "train": range(2 * tenth, speakers)}
        for number, (name, own) in enumerate(parts.items(), start=1):
            share = 0.8 if name == "train" else 0.1
            write(options.out / f"{name}.jsonl.gz", round(total * share), own, options.seed, number)


if __name__ == "__main__":
    main()
