"""What a whole adapter training costs, as a multiple of one plain forward pass of its base over the same audio.

KoSpeech's size: 3 x 1024 bidirectional GRU, 2001 classes, adapter 512-256, 10 epochs. The weights are random (time does
not depend on them), the audio is made. Both arms read the files, extract features and run the base; they take turns.

    python tests/bench/bench_adapter_cost.py [--utterances 48] [--rounds 3] [--threads 0] [--form residual plain]
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from rich.progress import track

from asr_lab.config.schema import AdapterExperiment
from asr_lab.data import manifest
from asr_lab.data.text import BLANK, SPACE, UNKNOWN, TextNormalizer
from asr_lab.models.deepspeech2 import DeepSpeech2Config, DeepSpeech2ForCTC
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.recipes.adaptation.fit import AdapterTrainer, encode
from asr_lab.recipes.adaptation.plan import AdaptationPlan, plan
from asr_lab.recipes.splits import Split
from asr_lab.system.terminal import Console
from asr_lab.system.threads import use_threads
from asr_lab.units import SAMPLE_RATE

CLASSES = 2001
SYLLABLES_A_SECOND = 4.0


def kospeech_base() -> DeepSpeech2Recognizer:
    """A recogniser of KoSpeech's size for Korean syllables, its weights drawn."""
    torch.manual_seed(0)
    units = [BLANK, UNKNOWN, SPACE, *(chr(0xAC00 + index) for index in range(CLASSES - 3))]
    config = DeepSpeech2Config(vocab_size=CLASSES, hidden_size=1024, num_layers=3, conv_channels=32)
    model = DeepSpeech2ForCTC(config)
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
    began = time.perf_counter()
    for _, frames_BUH, _ in planned.recognizer.iterate_encoder_outputs(planned.training_cuts):
        with torch.inference_mode():
            planned.recognizer.model.head(frames_BUH)
    return time.perf_counter() - began


def whole_training(planned: AdaptationPlan, folder: Path) -> tuple[float, float]:
    """(Seconds of the whole adapter training, of it the pass of the base.)"""
    began = time.perf_counter()
    console = Console(file=io.StringIO())
    frames = encode(planned.recognizer, planned.all_cuts, planned.config, console, folder)
    AdapterTrainer(planned.recognizer, frames, planned.config).fit(planned.training_cuts)
    return time.perf_counter() - began, frames.seconds


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--utterances", type=int, default=48)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--threads", type=int, default=0)
    options.add_argument("--form", nargs="+", choices=["residual", "plain"], default=["residual", "plain"])
    options.add_argument("--frames", choices=["memory", "disk"], default="memory")
    chosen = options.parse_args()
    use_threads(chosen.threads)
    recognizer = kospeech_base()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        split = made_person(folder, chosen.utterances)
        print(f"{chosen.utterances} utterances, {split.hours * 60:.1f} min, {torch.get_num_threads()} threads")
        plans = {}
        for form in chosen.form:
            config = AdapterExperiment.model_validate(
                {"adapter": {"name": "made", "form": form, "frames": chosen.frames}, "data": {"cross_fit": 2}}
            )
            plans[form] = plan(config, "made", recognizer, split)
        once: list[float] = []
        whole: dict[str, list[float]] = {form: [] for form in plans}
        for _ in track(range(chosen.rounds), "rounds", transient=True):
            for form, planned in plans.items():
                once.append(plain_pass(planned))
                whole[form].append(whole_training(planned, folder)[0])
        base = statistics.median(once)
        print(f"plain pass       {base:7.2f} s  ({min(once):.2f} to {max(once):.2f})")
        for form, seconds in whole.items():
            ratios = [taken / base for taken in seconds]
            print(
                f"{form:9} whole  {statistics.median(seconds):7.2f} s  "
                f"ratio {statistics.median(ratios):.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()
