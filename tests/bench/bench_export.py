"""How fast exported recognisers are beside PyTorch, one utterance at a time: only the ratios of a line count.

The network alone with its features, by PyTorch, by onnxruntime in float and with weights of 8 bits, each on one thread;
they alternate in each round, by processor time, and the first round is not counted. Weights are drawn: speed does not
depend on them. KoSpeech's size has 3 bidirectional GRUs of 1024.

    OMP_NUM_THREADS=1 python tests/bench/bench_export.py --rounds 5

`--exported FOLDER...` adds to the figures what `asr-lab export` measured when it wrote these folders.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

import figures
import onnxruntime
import torch
from bench_serving import TINY, UNITS, deepspeech2, measure, signals, wav2vec2

from asr_lab.data.audio import Signal
from asr_lab.data.text import TextNormalizer
from asr_lab.models.deepspeech2_pretrained import DeepSpeech2Config, DeepSpeech2ForCTC
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.models.onnx_graph import write_graph
from asr_lab.models.onnx_int8 import quantize
from asr_lab.models.onnx_recognizer import OnnxNetwork
from asr_lab.models.recognizer import Recognizer
from asr_lab.units import SAMPLE_RATE


def kospeech() -> DeepSpeech2Recognizer:
    """One of KoSpeech's usual sizes."""
    torch.manual_seed(0)
    config = DeepSpeech2Config(vocab_size=len(UNITS), hidden_size=1024, num_layers=3)
    return DeepSpeech2Recognizer(DeepSpeech2ForCTC(config).eval(), dict(UNITS), TextNormalizer())


def by_torch(recognizer: Recognizer, given: list[Signal]) -> None:
    for one in given:
        recognizer.logits(recognizer.collator().pad([recognizer.extract(one)]))


def by_onnxruntime(network: OnnxNetwork, given: list[Signal]) -> None:
    for one in given:
        network(torch.from_numpy(one)[None], torch.tensor([len(one)]))


MADE = {"demo": deepspeech2, "kospeech": kospeech, "wav2vec2": lambda: wav2vec2(TINY)}
"""DeepSpeech2 of the demo's and of KoSpeech's sizes, wav2vec2 of those of tiny.yaml."""


def measured(folder: Path) -> dict[str, figures.Value]:
    """What `asr-lab export` measured: size, largest difference, equal texts, error rates."""
    figures_of = json.loads((folder / "config.json").read_text())["measured"]
    return {f"{folder.name}/{name}": value for name, value in figures_of.items() if not isinstance(value, str)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0, help="of the longest; the shortest has a tenth")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", choices=list(MADE), default=list(MADE))
    parser.add_argument("--exported", nargs="+", type=Path, default=[], metavar="FOLDER")
    figures.add_values_option(parser)
    wanted = parser.parse_args()
    made: dict[str, figures.Value] = {}
    torch.set_num_threads(1)
    print(f"load {os.getloadavg()[0]:.1f}, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}")
    given = signals(wanted.utterances, wanted.seconds)
    speech_s = sum(map(len, given)) / SAMPLE_RATE
    with tempfile.TemporaryDirectory() as staging:
        whole, small = Path(staging, "model.onnx"), Path(staging, "int8.onnx")
        for title in wanted.sizes:
            recognizer = MADE[title]()
            write_graph(recognizer, whole)
            quantize(whole, small)
            sizes = [file.stat().st_size / 1e6 for file in (whole, small)]
            networks = [OnnxNetwork(file, recognizer.blank) for file in (whole, small)]
            seconds = measure(
                {
                    "torch": lambda: by_torch(recognizer, given),  # noqa: B023 - called in this round
                    "onnx": lambda: by_onnxruntime(networks[0], given),  # noqa: B023
                    "int8": lambda: by_onnxruntime(networks[1], given),  # noqa: B023
                },
                wanted.rounds,
            )
            print(f"\n{title}: {sizes[0]:.2f} MB, int8 {sizes[1]:.2f} MB ({sizes[1] / sizes[0]:.2f})")
            made[f"{title}_int8_size"] = sizes[1] / sizes[0]
            for name in ("onnx", "int8"):
                shares = [one / other for one, other in zip(seconds["torch"], seconds[name], strict=True)]
                made[f"{title}_{name}_speed"] = figures.of_rounds(shares)
                spread = f"{min(shares):.2f} to {max(shares):.2f}"
                factor = statistics.median(seconds[name]) / speech_s
                print(
                    f"  {name}: {statistics.median(shares):.2f} times torch ({spread}), real-time factor {factor:.5f}"
                )
    for folder in wanted.exported:
        made |= measured(folder)
    figures.write(made, wanted.values)


if __name__ == "__main__":
    main()
