"""DeepSpeech2 training throughput: our batches and network against KoSpeech's way, on utterances of mixed durations.

An arm is a network and a way to choose batches. All arms start from the same weights, make batches of the same number
of utterances and hear the same utterances once a round; they take turns, and each round draws other batches. Timed is
one epoch of transformers' Trainer: batches, forward, backward, clipping, optimizer. Features are ready before (of made
audio, the same for all arms); there is no validation, no checkpoint and no augmentation.

    python tests/bench/bench_training.py [--utterances 480] [--rounds 5] [--model demo|3x512] [--threads 0]
                                         [--durations FILE] [--arms ours kospeech grouped random]
                                         [--processor-time] [--values FILE]

FILE is a manifest (`*.jsonl.gz`) or a text with a duration in seconds on each line; any number of utterances is spread
over its distribution. Without one it is that of speechocean762, of which random batches of 16 are half padding.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
import numpy as np
import torch
from kospeech_network import KoSpeechDeepSpeech2
from lhotse import CutSet, MonoCut
from rich.progress import track
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PrinterCallback, SequenceFeatureExtractor, Trainer, TrainerCallback

from asr_lab.config.schema import Train
from asr_lab.data import manifest
from asr_lab.data.batches import LABEL_PADDING, Batch, EpochBatches, Index, loader
from asr_lab.data.features import extract
from asr_lab.interfaces.in_memory import MemoryRecorder
from asr_lab.interfaces.tracking import RunSpec
from asr_lab.models.deepspeech2 import output_length
from asr_lab.models.deepspeech2_pretrained import DeepSpeech2Config, DeepSpeech2ForCTC
from asr_lab.models.kospeech import convert_state_dict
from asr_lab.system.threads import use_threads
from asr_lab.training.callbacks import Curves, DropBrokenUpdates
from asr_lab.training.trainer import AsrTrainer, training_arguments
from asr_lab.units import FRAME_SHIFT_S, NUM_MEL_BINS, SAMPLE_RATE, num_samples

Utterance = dict[str, Tensor]

CLASSES = 32
MODELS = {
    "demo": DeepSpeech2Config(vocab_size=CLASSES, hidden_size=256, num_layers=2, conv_channels=16),
    "3x512": DeepSpeech2Config(vocab_size=CLASSES, hidden_size=512, num_layers=3, conv_channels=32),
}
QUANTILES_S = {
    **{0: 1.84, 5: 2.40, 10: 2.59, 20: 2.88, 30: 3.13, 40: 3.35, 50: 3.60, 60: 3.89, 70: 4.30},
    **{75: 4.53, 80: 4.84, 85: 5.37, 90: 6.37, 95: 7.89, 97.5: 9.39, 99: 11.62, 99.5: 12.58, 100: 17.11},
}
"""Percentile -> duration of 960 utterances of speechocean762's train part (mean 4.13 s)."""
LETTERS_A_SECOND = 7.0  # in the same utterances


@dataclass(frozen=True)
class Arm:
    """`network`: `ours` or `kospeech`; `batches`: `buckets` (ours) or one of transformers' sampling strategies."""

    says: str
    network: str
    batches: str


ARMS = {
    "ours": Arm("(a) our network, our buckets", "ours", "buckets"),
    "kospeech": Arm("(b) KoSpeech's network, random batches", "kospeech", "random"),
    "grouped": Arm("(c) our network, group_by_length", "ours", "group_by_length"),
    "random": Arm("(d) our network, random batches", "ours", "random"),
}
REFERENCE = "kospeech"


class Epoch(TrainerCallback):  # type: ignore[misc]
    """Makes the batches of one epoch and tells how long it took, its updates, utterances and share of padding."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.updates = self.utterances = self._frames = self._padded_frames = 0

    @property
    def throughput(self) -> float:
        """Utterances a second."""
        return self.utterances / self.seconds

    @property
    def padding(self) -> float:
        return 1 - self._frames / self._padded_frames

    def collate(self, rows: Sequence[Utterance]) -> Batch:
        """A padded batch, longest first, as KoSpeech's network wants it."""
        rows = sorted(rows, key=lambda row: -len(row["input_features"]))
        lengths = [len(row["input_features"]) for row in rows]
        self.utterances += len(rows)
        self._frames += sum(lengths)
        self._padded_frames += lengths[0] * len(rows)
        return {
            "input_features": pad_sequence([row["input_features"] for row in rows], batch_first=True),
            "feature_lengths": torch.tensor(lengths),
            "labels": pad_sequence([row["labels"] for row in rows], batch_first=True, padding_value=LABEL_PADDING),
        }

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self.seconds = -figures.now()

    def on_epoch_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds += figures.now()
        self.updates = state.global_step


class Features(SequenceFeatureExtractor):  # type: ignore[misc]
    """Tells transformers which field's lengths `group_by_length` is about."""

    model_input_names = ("input_features",)


@dataclass(frozen=True)
class Bench:
    """What all arms share."""

    config: DeepSpeech2Config
    utterances: list[Utterance]
    batch_size: int
    folder: Path

    def networks(self) -> dict[str, nn.Module]:
        """Ours and KoSpeech's, new, with the same weights."""
        torch.manual_seed(0)
        kospeech, ours = KoSpeechDeepSpeech2(self.config), DeepSpeech2ForCTC(self.config)
        ours.load_state_dict(convert_state_dict(kospeech.state_dict()))
        return {"ours": ours, "kospeech": kospeech}

    @torch.inference_mode()
    def disagreement(self) -> float:
        """The largest difference between both networks' logits on the real frames of a batch, in evaluation."""
        batch = Epoch().collate(self.utterances[:: max(1, len(self.utterances) // 8)])
        features, lengths = batch["input_features"], batch["feature_lengths"]
        ours, kospeech = (network.eval()(features, lengths).logits for network in self.networks().values())
        real_BU = torch.arange(ours.size(1)) < output_length(lengths)[:, None]
        return float((ours - kospeech)[real_BU].abs().max())

    def epoch(self, arm: Arm, seed: int) -> Epoch:
        """Train one epoch from the beginning."""
        epoch, network = Epoch(), self.networks()[arm.network]
        settings = Train(epochs=1, batch_size=self.batch_size, lr=1e-4)
        make = self._ours if arm.batches == "buckets" else self._plain
        make(arm, network.train(), epoch, settings, seed).train()
        assert epoch.utterances == len(self.utterances), "not every utterance was heard once"
        return epoch

    def _ours(self, arm: Arm, network: nn.Module, epoch: Epoch, settings: Train, seed: int) -> Trainer:
        """As `recipes/train.py` puts it together."""
        cuts = CutSet.from_cuts(
            MonoCut(id=str(index), start=0.0, duration=len(row["input_features"]) * FRAME_SHIFT_S, channel=0)
            for index, row in enumerate(self.utterances)
        )

        def collate(indices: Sequence[Index]) -> Batch:
            return epoch.collate([self.utterances[int(cut.id)] for cut, _ in indices])

        spec = RunSpec(family="bench", kind="train", model_type="", name="", signature="", params={}, config_yaml="")
        return AsrTrainer(
            network,
            loader(EpochBatches(cuts, settings.batch_size, seed=seed), collate),
            None,
            settings,
            folder=self.folder,
            seed=seed,
            callbacks=[DropBrokenUpdates(Curves(MemoryRecorder(spec, self.folder))), epoch],
            checkpoints=False,
        )

    def _plain(self, arm: Arm, network: nn.Module, epoch: Epoch, settings: Train, seed: int) -> Trainer:
        """transformers' Trainer with its own loader, and our arguments otherwise."""
        batches = len(self.utterances) // settings.batch_size
        arguments = training_arguments(
            settings, folder=self.folder, seed=seed, batches=batches, validates=False, checkpoints=False
        )
        arguments.train_sampling_strategy = arm.batches
        arguments.dataloader_pin_memory = torch.cuda.is_available()
        trainer = Trainer(
            network,
            arguments,
            train_dataset=self.utterances,
            data_collator=epoch.collate,
            processing_class=Features(NUM_MEL_BINS, SAMPLE_RATE, padding_value=0.0),
            callbacks=[epoch],
        )
        trainer.remove_callback(PrinterCallback)
        return trainer


def durations(source: Path | None, utterances: int) -> list[float]:
    """So many durations (s), spread evenly over the distribution of a file, or of speechocean762."""
    shares = (np.arange(utterances) + 0.5) / utterances
    if source is None:
        return list(np.interp(100 * shares, list(QUANTILES_S), list(QUANTILES_S.values())))
    if source.name.endswith(manifest.SUFFIX):
        known = [cut.duration for cut in manifest.read(source)]
    else:
        known = [float(line) for line in source.read_text().split()]
    return list(np.quantile(known, shares))


def made_utterances(seconds: Iterable[float]) -> list[Utterance]:
    """Features (T, 80) of noise, and random labels (L,)."""
    draw = np.random.default_rng(0)
    made = []
    for duration in seconds:
        samples = draw.normal(0, 0.05, num_samples(duration)).astype(np.float32)
        labels = torch.from_numpy(draw.integers(1, CLASSES, max(1, round(duration * LETTERS_A_SECOND))))
        made.append({"input_features": extract(samples), "labels": labels})
    return made


def show(says: Mapping[str, str], reference: str, rounds: Sequence[Mapping[str, Any]]) -> None:
    """A line an arm, under what it `says`; ratios are to the reference in the same round, if it took part."""
    print(f"{'':42}{'utterances/s':>16}{'range':>18}{'ratio to (b)':>15}{'range':>16}{'padding':>10}{'updates':>10}")
    for name, said in says.items():
        epochs = [one[name] for one in rounds]
        speeds = [epoch.throughput for epoch in epochs]
        line = f"{said:42}{statistics.median(speeds):16.1f}{_range(speeds, 1):>18}"
        if reference in says:
            ratios = [one[name].throughput / one[reference].throughput for one in rounds]
            line += f"{statistics.median(ratios):15.2f}{_range(ratios, 2):>16}"
        else:
            line += " " * 31
        padding = statistics.mean(epoch.padding for epoch in epochs)
        updates = statistics.mean(epoch.updates for epoch in epochs)
        print(f"{line}{padding:10.0%}{updates:10.1f}")


def values_of(
    arms: Iterable[str], reference: str, rounds: Sequence[Mapping[str, Any]], prefix: str
) -> dict[str, figures.Value]:
    """Return each arm's speed as a multiple of the reference's, utterances a second, share of padding, and updates."""
    values: dict[str, figures.Value] = {}
    for name in arms:
        epochs = [one[name] for one in rounds]
        if name != reference:
            ratios = [one[name].throughput / one[reference].throughput for one in rounds]
            values[f"{prefix}_{name}_ratio"] = figures.of_rounds(ratios)
        values[f"{prefix}_{name}_utterances_per_s"] = figures.of_rounds([epoch.throughput for epoch in epochs])
        values[f"{prefix}_{name}_padding"] = statistics.mean(epoch.padding for epoch in epochs)
        values[f"{prefix}_{name}_updates"] = statistics.mean(epoch.updates for epoch in epochs)
    return values


def _range(values: list[float], digits: int) -> str:
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=480)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", choices=list(MODELS), default="demo")
    parser.add_argument("--threads", type=int, default=0, help="0: one for each core this process may use")
    parser.add_argument("--durations", type=Path, metavar="FILE")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    figures.add_clock_option(parser)
    figures.add_values_option(parser)
    options = parser.parse_args()
    figures.choose_clock(processor_time=options.processor_time)
    use_threads(options.threads)
    seconds = durations(options.durations, options.utterances)
    began = time.perf_counter()
    utterances = made_utterances(seconds)
    making = (time.perf_counter() - began) / len(utterances)
    print(
        f"{len(seconds)} utterances, {sum(seconds) / 60:.1f} min, {min(seconds):.1f} to {max(seconds):.1f} s; "
        f"batches of {options.batch_size}; {options.model}; {torch.get_num_threads()} threads; {options.rounds} rounds"
    )
    print(f"not counted: {1000 * making:.1f} ms an utterance to make it and its features")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(MODELS[options.model], utterances, options.batch_size, Path(folder))
        print(f"largest difference between the networks' logits: {bench.disagreement():.1e}")
        warm_up = Bench(bench.config, utterances[:: max(1, len(utterances) // 64)], options.batch_size, bench.folder)
        for name in options.arms:
            warm_up.epoch(ARMS[name], seed=0)
        rounds = []
        for number in track(range(options.rounds), "rounds", transient=True):
            turn = number % len(options.arms)
            order = options.arms[turn:] + options.arms[:turn]
            rounds.append({name: bench.epoch(ARMS[name], seed=number) for name in order})
    show({name: ARMS[name].says for name in options.arms}, REFERENCE, rounds)
    figures.write(values_of(options.arms, REFERENCE, rounds, "deepspeech2"), options.values)


if __name__ == "__main__":
    main()
