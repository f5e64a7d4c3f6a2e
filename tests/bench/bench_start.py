"""Processor seconds until a command is done whose work is small, against a bare client: `asr-lab list`, `--help`, and
`asr-lab transcribe` of a second of speech by a DeepSpeech2 of the demo's sizes and a wav2vec2 of tiny.yaml's.

    python tests/bench/bench_start.py FOLDER [--rounds 3] [--values FILE]   (makes build_store.py's store if needed)

Nearly all of it is imports. The bare client asks the same store for as many runs; they take turns.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import figures
import soundfile
from bench_compare import measure
from bench_serving import TINY, deepspeech2, signals, wav2vec2
from build_store import build

from asr_lab.models.recognizer import Recognizer
from asr_lab.units import SAMPLE_RATE

BARE = """
import sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
experiments = [one.experiment_id for one in client.search_experiments()]
print(len(client.search_runs(experiments, "", max_results=20, order_by=["attributes.start_time DESC"])))
"""


def transcription(folder: Path, recognizer: Recognizer) -> list[str]:
    """Return the command that transcribes a second of speech with a model whose weights are drawn."""
    model, audio = folder / recognizer.model_type, folder / "second.wav"
    recognizer.save(model)
    soundfile.write(audio, signals(2, 1.0)[-1], SAMPLE_RATE)
    return [sys.executable, "-m", "asr_lab", "transcribe", str(audio), "--model", str(model)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    figures.add_values_option(parser)
    asked = parser.parse_args()
    uri = build(asked.folder, asked.runs)
    commands = {
        "bare": [sys.executable, "-c", BARE, uri],
        "list": [sys.executable, "-m", "asr_lab", "list"],
        "help": [sys.executable, "-m", "asr_lab", "--help"],
        "transcribe": transcription(asked.folder, deepspeech2()),
        "transcribe_wav2vec2": transcription(asked.folder, wav2vec2(TINY)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(asked.rounds):
        for name, command in commands.items():
            seconds[name].append(measure(command, uri)[1])
    ratios = [own / bare for own, bare in zip(seconds["list"], seconds["bare"], strict=True)]
    for name, taken in seconds.items():
        print(f"{name:10} {' '.join(f'{one:.2f}' for one in taken)} s of processor time")
    print(f"list as a multiple of the bare client: {' '.join(f'{one:.2f}' for one in ratios)}")
    values: dict[str, figures.Value] = {f"{name}_s": figures.of_rounds(taken) for name, taken in seconds.items()}
    figures.write(values | {"list_ratio": figures.of_rounds(ratios)}, asked.values)


if __name__ == "__main__":
    main()
