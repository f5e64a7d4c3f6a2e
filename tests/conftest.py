"""What tests share: tiny corpora of real sound, a tracking store of their own, and the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

# before mlflow is imported: no test ever writes to a store that is not its own
os.environ["MLFLOW_TRACKING_URI"] = "sqlite:////nonexistent/set-a-store-of-your-own.db"
os.environ.pop("MLFLOW_RUN_ID", None)

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
FSDD = SHARED / "data" / "fsdd" / "recordings"


def tone_word(word: str, rng: np.random.Generator, rate: int = 16000) -> np.ndarray:
    """A sound of its own for each letter: two tones, 80 ms, a little noise. Learnable within seconds."""
    pieces = []
    time = np.arange(int(0.08 * rate)) / rate
    for letter in word:
        if letter == " ":
            pieces.append(np.zeros(int(0.06 * rate)))
            continue
        low = 300 + 90 * (ord(letter) - ord("a"))
        pieces.append(0.2 * np.sin(2 * np.pi * low * time) + 0.1 * np.sin(2 * np.pi * (low + 1500) * time))
        pieces.append(np.zeros(int(0.03 * rate)))
    signal = np.concatenate([np.zeros(800), *pieces, np.zeros(800)])
    return (signal + rng.normal(0, 0.003, len(signal))).astype(np.float32)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty tracking store and an empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return tmp_path


def make_corpus(folder: Path, texts: dict[str, str], *, speaker: str = "ann", seed: int = 0, **custom) -> Path:
    """Write a sound for each text and the manifest `folder/all.jsonl.gz`."""
    from asr_lab.data import manifest

    rng = np.random.default_rng(seed)
    cuts = []
    for id, text in texts.items():
        audio = folder / "audio" / f"{id}.wav"
        audio.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(audio, tone_word(text, rng), 16000, subtype="PCM_16")
        cuts.append(manifest.utterance(id=id, audio=audio, text=text, speaker=speaker, language="en", **custom))
    path = folder / "all.jsonl.gz"
    manifest.write(cuts, path)
    return path


WORDS = ("abba", "cab", "dad", "bed", "ace", "fad", "gab", "beef", "cafe", "egg")


@pytest.fixture
def corpus(tmp_path) -> Path:
    """Twenty-four utterances of two words each; the path of the manifest."""
    rng = np.random.default_rng(1)
    texts = {f"u{i:02d}": " ".join(rng.choice(WORDS, 2)) for i in range(24)}
    return make_corpus(tmp_path / "corpus", texts)


def asr_lab(*arguments: str, cwd: Path, env: dict[str, str] | None = None, timeout: float = 600):
    """Run `asr-lab` as a user does; the finished process with `stdout` and `stderr` as text."""
    return subprocess.run(
        [sys.executable, "-m", "asr_lab", *map(str, arguments)],
        cwd=cwd,
        env={
            **os.environ,
            "MLFLOW_TRACKING_URI": f"sqlite:///{cwd}/mlflow.db",
            "COLUMNS": "200",
            **(env or {}),
        },
        capture_output=True,
        text=True,
        timeout=timeout,
    )
