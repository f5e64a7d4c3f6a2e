"""What a whole adapter training costs, as a multiple of one plain forward pass of its base over the same audio.

KoSpeech's size: 3 x 1024 bidirectional GRU, 2001 classes, adapter 512-256, 10 epochs. The weights are random (time does
not depend on them), the audio is made. Both arms read the files, extract features and run the base; they take turns.

    python tests/bench/bench_adapter_cost.py [--utterances 48] [--rounds 3] [--threads 0] [--form residual plain]
                                             [--processor-time] [--values FILE]
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import figures
import numpy as np
import soundfile
import torch
from rich.progress import track

from asr_lab.config.schema import AdapterExperiment
from asr_lab.data import manifest
from asr_lab.data.text import BLANK, SPACE, UNKNOWN, TextNormalizer
from asr_lab.models.deepspeech2_pretrained import DeepSpeech2Config, DeepSpeech2ForCTC
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.models.recognizer import best_device
from asr_lab.recipes.adaptation.fit import AdapterTrainer, encode
from asr_lab.recipes.adaptation.plan import AdaptationPlan, plan
from asr_lab.recipes.splits import Split
from asr_lab.system.terminal import Console
from asr_lab.system.threads import use_threads
from asr_lab.units import SAMPLE_RATE

CLASSES = 2001
SYLLABLES_A_SECOND = 4.0


def kospeech_base(hidden_size: int = 1024, num_layers: int = 3) -> DeepSpeech2Recognizer:
    """A recogniser for Korean syllables, by default of KoSpeech's size, its weights drawn; on a GPU if there is one."""
    torch.manual_seed(0)
    units = [BLANK, UNKNOWN, SPACE, *(chr(0xAC00 + index) for index in range(CLASSES - 3))]
    config = DeepSpeech2Config(vocab_size=CLASSES, hidden_size=hidden_size, num_layers=num_layers, conv_channels=32)
    model = DeepSpeech2ForCTC(config).to(best_device())
    model.freeze_base_model()
    return DeepSpeech2Recognizer(model, {unit: index for index, unit in enumerate(units)}, TextNormalizer())


def made_person(folder: Path, utterances: int) -> Split:
    """Noise of 2 to 10 s with random syllables."""
    draw = np.random.default_rng(0)
    cuts = []
    for number in range(utterances):
        seconds = float(draw.uniform(2, 10))
        audio = folder / f"{number:04d}.wav"
        soundfile.write(audio, draw.normal(0, 0.05, int(seconds * SAMPLE_RATE)), SAMPLE_RATE, subtype="PCM_16")
        text = "".join(chr(0xAC00 + draw.integers(CLASSES - 3)) for _ in range(int(seconds * SYLLABLES_A_SECOND)))
        cuts.append(manifest.utterance(id=audio.stem, audio=audio, text=text, speaker="made"))
    path = folder / "all.jsonl.gz"
    manifest.write(cuts, path)
    return Split.read("train", str(path))


def plain_pass(planned: AdaptationPlan) -> float:
    """Seconds of one plain forward pass of the base over what an adapter hears, head and all."""
    began = figures.now()
    for _, frames_BUH, _ in planned.recognizer.iterate_encoder_outputs(planned.training_cuts):
        with torch.inference_mode():
            planned.recognizer.model.head(frames_BUH)
    _wait_for_gpu()
    return figures.now() - began


def whole_training(planned: AdaptationPlan, folder: Path) -> tuple[float, float]:
    """(Seconds of the whole adapter training, of it the pass of the base.)"""
    began = figures.now()
    console = Console(file=io.StringIO())
    frames = encode(planned.recognizer, planned.all_cuts, planned.config, console, folder)
    AdapterTrainer(planned.recognizer, frames, planned.config).fit(planned.training_cuts)
    _wait_for_gpu()
    return figures.now() - began, frames.seconds


def _wait_for_gpu() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure(
    recognizer: DeepSpeech2Recognizer,
    split: Split,
    folder: Path,
    rounds: int,
    forms: Sequence[str] = ("residual", "plain"),
    outputs: str = "memory",
) -> dict[str, list[float]]:
    """Return the seconds of each round of a plain pass (`base`) and of a whole training by form, in turns."""
    plans = {}
    for form in forms:
        config = AdapterExperiment.model_validate(
            {"adapter": {"name": "made", "form": form, "frames": outputs}, "data": {"cross_fit": 2}}
        )
        plans[form] = plan(config, "made", recognizer, split)
    seconds: dict[str, list[float]] = {"base": [], **{form: [] for form in plans}}
    for _ in track(range(rounds), "rounds", transient=True):
        for form, planned in plans.items():
            seconds["base"].append(plain_pass(planned))
            seconds[form].append(whole_training(planned, folder)[0])
    return seconds


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--utterances", type=int, default=48)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--threads", type=int, default=0)
    options.add_argument("--form", nargs="+", choices=["residual", "plain"], default=["residual", "plain"])
    options.add_argument("--frames", choices=["memory", "disk"], default="memory")
    figures.add_clock_option(options)
    figures.add_values_option(options)
    chosen = options.parse_args()
    figures.choose_clock(processor_time=chosen.processor_time)
    use_threads(chosen.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        split = made_person(folder, chosen.utterances)
        print(f"{chosen.utterances} utterances, {split.hours * 60:.1f} min, {torch.get_num_threads()} threads")
        seconds = measure(kospeech_base(), split, folder, chosen.rounds, chosen.form, chosen.frames)
    once = seconds.pop("base")
    base = statistics.median(once)
    print(f"plain pass       {base:7.2f} s  ({min(once):.2f} to {max(once):.2f})")
    for form, taken in seconds.items():
        ratios = [one / base for one in taken]
        print(
            f"{form:9} whole  {statistics.median(taken):7.2f} s  "
            f"ratio {statistics.median(ratios):.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    values = {f"adapter_{form}": figures.of_rounds([one / base for one in taken]) for form, taken in seconds.items()}
    figures.write(values, chosen.values)


if __name__ == "__main__":
    main()
