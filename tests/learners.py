"""A tiny corpus of pronunciations: each phoneme is two tones of its own, errors are put in, labels are exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

PHONEMES = ("AA", "B", "IY", "K", "L", "M", "S", "T")
TINY = [
    "model.hidden_size=48",
    "model.num_layers=2",
    "model.num_heads=2",
    "model.head_size=32",
    "model.head_layers=1",
    "model.head_heads=2",
    "model.cross_size=16",
    "model.dropout=0",
    "augment.strength=0",
    "train.batch_size=4",
    "train.lr=4e-3",
    "train.encoder_lr=4e-3",
    "run.threads=1",
]


def said_aloud(phonemes: list[str], rng: np.random.Generator, rate: int = 16000) -> np.ndarray:
    """100 ms of two tones for each phoneme, a little noise."""
    time = np.arange(int(0.1 * rate)) / rate
    pieces = [np.zeros(800)]
    for phoneme in phonemes:
        place = PHONEMES.index(phoneme)
        tone = 0.2 * np.sin(2 * np.pi * (300 + 220 * place) * time)
        pieces.append(tone + 0.1 * np.sin(2 * np.pi * (2600 + 300 * place) * time))
    signal = np.concatenate([*pieces, np.zeros(800)])
    return (signal + rng.normal(0, 0.003, len(signal))).astype(np.float32)


def learners(folder: Path, count: int, *, name: str = "all", seed: int = 0, error_rate: float = 0.2) -> Path:
    """A manifest of so many utterances of three words by two speakers; its path."""
    from asr_lab.data import manifest
    from asr_lab.data.pronunciation import DELETED, Pronunciation

    rng = np.random.default_rng(seed)
    cuts = []
    for place in range(count):
        canonical = [str(one) for one in rng.choice(PHONEMES, 6)]
        perceived = list(canonical)
        for n in np.flatnonzero(rng.random(6) < error_rate):
            others = [one for one in PHONEMES if one != canonical[n]]
            perceived[n] = DELETED if rng.random() < 0.2 else str(rng.choice(others))
        errors = tuple(int(a != b) for a, b in zip(canonical, perceived, strict=True))
        truth = Pronunciation(
            canonical=tuple(canonical), perceived=tuple(perceived), errors=errors, words=(0, 0, 1, 1, 2, 2)
        )
        id = f"{name}{place:03d}"
        audio = folder / "audio" / f"{id}.wav"
        audio.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(audio, said_aloud(list(truth.spoken) or ["S"], rng), 16000, subtype="PCM_16")
        speaker, language = ("mina", "korean") if place % 2 else ("juan", "spanish")
        fields = {**truth.to_custom(), "l1": language}
        cuts.append(manifest.utterance(id=id, audio=audio, text="a b c", speaker=speaker, language="en", **fields))
    path = folder / f"{name}.jsonl.gz"
    manifest.write(cuts, path)
    return path
