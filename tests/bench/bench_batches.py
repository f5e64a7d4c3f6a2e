"""wav2vec2 training throughput: ours against transformers' Trainer as it comes, on utterances of mixed durations.

The plain way is transformers' own network on random batches, padded to the longest; beside it stands its grouping by
length. Ours is what `asr-lab train` does, with reading the audio from disk and augmentation, while the plain ways
have their input ready in memory. All start from the same weights, make updates of the same number of utterances and
hear every utterance whole and once a round; they take turns, and each round draws other batches. Timed is one epoch:
batches, forward, backward, clipping, optimizer.

    python tests/bench/bench_batches.py [--quick] [--utterances 320] [--rounds 2] [--model tiny|base] [--threads 0]
                                        [--processor-time] [--durations FILE] [--arms ours plain grouped network]
                                        [--lora 16] [--values FILE]

`tiny` is the size of experiments/wav2vec2/tiny.yaml, all of which learns; `base` has the shape of wav2vec2-base (group
norm, 512 and 768 channels) with two layers, its feature extractor frozen, as in fine-tuning. With `--lora` all ways
learn LoRA of this rank on all layers, and the head; the plain ways by peft, as it comes. FILE as for bench_training.py;
without one the durations are those of speechocean762.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import figures
import numpy as np
import soundfile
import torch
from bench_training import LETTERS_A_SECOND, durations, show, values_of
from lhotse import CutSet
from peft import LoraConfig, get_peft_model
from rich.progress import track
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PrinterCallback, Trainer, TrainerCallback, Wav2Vec2Config, Wav2Vec2ForCTC

from asr_lab.config.schema import Wav2Vec2Augment, Wav2Vec2Model, Wav2Vec2Train
from asr_lab.data import manifest
from asr_lab.data.augment import FrameMasker
from asr_lab.data.batches import LABEL_PADDING, Batch, EpochBatches, Index, loader
from asr_lab.data.cut_audio import read_cut
from asr_lab.data.text import TextNormalizer, build_vocabulary
from asr_lab.interfaces.in_memory import MemoryRecorder
from asr_lab.interfaces.tracking import RunSpec
from asr_lab.models.wav2vec2 import bases, tuning
from asr_lab.models.wav2vec2.network import SpeechCTC
from asr_lab.models.wav2vec2.recognizer import Wav2Vec2Recognizer
from asr_lab.system.threads import use_threads
from asr_lab.training.callbacks import Curves, DropBrokenUpdates
from asr_lab.training.trainer import AsrTrainer, training_arguments
from asr_lab.units import SAMPLE_RATE, num_samples

LETTERS = "abcdefghijklmnopqrstuvwxyz "
ARMS = {
    "ours": "(a) ours: buckets, our network, from disk",
    "plain": "(b) transformers, random batches",
    "grouped": "(c) transformers, group_by_length",
    "network": "(d) our network, random batches",
}
REFERENCE = "plain"
STRATEGIES = {"plain": "random", "grouped": "group_by_length", "network": "random"}


class Epoch(TrainerCallback):  # type: ignore[misc]
    """Sees the batches of one epoch and tells how long it took, its updates, utterances and share of padding."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock, self.seconds = clock, 0.0
        self.updates = self.utterances = self._samples = self._padded = 0

    @property
    def throughput(self) -> float:
        """Utterances a second."""
        return self.utterances / self.seconds

    @property
    def padding(self) -> float:
        return 1 - self._samples / self._padded

    def seen(self, batch: Batch) -> Batch:
        self.utterances += len(batch["input_values"])
        self._samples += int(batch["attention_mask"].sum())
        self._padded += batch["input_values"].numel()
        return batch

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self.seconds = -self.clock()

    def on_epoch_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds += self.clock()
        self.updates = state.global_step


@dataclass(frozen=True)
class Bench:
    """What all arms share."""

    shape: Wav2Vec2Config
    freezes: bool
    cuts: CutSet
    vocabulary: dict[str, int]
    batch_size: int
    folder: Path
    clock: Callable[[], float]
    lora: int
    """The rank; 0: the weights themselves learn."""

    def network(self, *, masks: bool) -> Any:
        """A new network with the same weights; with `masks`, it masks itself as transformers does."""
        torch.manual_seed(0)
        shape = Wav2Vec2Config(**self.shape.to_dict())
        shape.apply_spec_augment = masks
        network = Wav2Vec2ForCTC(shape)
        if self.freezes:
            network.freeze_feature_encoder()
        return network.train()

    def model(self) -> SpeechCTC:
        """Ours, with the same weights."""
        model = SpeechCTC(self.network(masks=False))
        if self.lora:
            settings = Wav2Vec2Model(pretrained="made", tune="lora", freeze_layers=0, lora={"r": self.lora})
            tuning.set_trainable(model, settings, "made")
        return model.train()

    def plain(self) -> nn.Module:
        """transformers' network, which masks itself."""
        network = self.network(masks=True)
        return plain_lora(network, self.model(), self.lora) if self.lora else network

    def recognizer(self) -> Wav2Vec2Recognizer:
        extractor = bases.usual_extractor(self.shape)
        return Wav2Vec2Recognizer(self.model(), self.vocabulary, TextNormalizer(), feature_extractor=extractor)

    def in_memory(self) -> list[dict[str, Any]]:
        """Input and labels of each utterance, ready."""
        recognizer = self.recognizer()
        return [
            {
                "input_values": recognizer.extract(read_cut(cut)).numpy(),
                "labels": torch.tensor(recognizer.encode_text(manifest.text(cut))),
            }
            for cut in self.cuts
        ]

    def epoch(self, arm: str, rows: list[dict[str, Any]], seed: int) -> Epoch:
        """Train one epoch from the beginning."""
        epoch, settings = Epoch(self.clock), Wav2Vec2Train(epochs=1, batch_size=self.batch_size, lr=1e-4)
        trainer = self._ours(epoch, settings, seed) if arm == "ours" else self._plain(arm, rows, epoch, settings, seed)
        trainer.train()
        assert epoch.utterances == len(self.cuts), "not every utterance was heard once"
        return epoch

    def _ours(self, epoch: Epoch, settings: Wav2Vec2Train, seed: int) -> Trainer:
        """As `recipes/train.py` puts it together."""
        recognizer = self.recognizer()
        collator = recognizer.collator(labelled=True, augmenter=FrameMasker(Wav2Vec2Augment(), seed=seed))

        def collate(indices: Sequence[Index]) -> Batch:
            return epoch.seen(collator(indices))

        spec = RunSpec(family="bench", kind="train", model_type="", name="", signature="", params={}, config_yaml="")
        return AsrTrainer(
            recognizer.model.train(),
            loader(EpochBatches(self.cuts, settings.batch_size, seed=seed), collate),
            None,
            settings,
            folder=self.folder,
            seed=seed,
            callbacks=[DropBrokenUpdates(Curves(MemoryRecorder(spec, self.folder))), epoch],
            checkpoints=False,
        )

    def _plain(self, arm: str, rows: list[dict[str, Any]], epoch: Epoch, settings: Wav2Vec2Train, seed: int) -> Trainer:
        """transformers' Trainer with its own loader, and our arguments otherwise."""
        extractor = bases.usual_extractor(self.shape)

        def collate(chosen: Sequence[dict[str, Any]]) -> Batch:
            inputs = [{"input_values": row["input_values"]} for row in chosen]
            batch = dict(extractor.pad(inputs, padding="longest", return_attention_mask=True, return_tensors="pt"))
            labels = [row["labels"] for row in chosen]
            batch["labels"] = pad_sequence(labels, batch_first=True, padding_value=LABEL_PADDING)
            return epoch.seen(batch)

        batches = -(-len(rows) // settings.batch_size)
        arguments = training_arguments(
            settings, folder=self.folder, seed=seed, batches=batches, validates=False, checkpoints=False
        )
        arguments.train_sampling_strategy = STRATEGIES[arm]
        arguments.dataloader_pin_memory = torch.cuda.is_available()
        network = self.model() if arm == "network" else self.plain()
        trainer = Trainer(
            network, arguments, train_dataset=rows, data_collator=collate, processing_class=extractor, callbacks=[epoch]
        )
        trainer.remove_callback(PrinterCallback)
        return trainer


def plain_lora(network: Wav2Vec2ForCTC, ours: SpeechCTC, rank: int) -> nn.Module:
    """transformers' network with peft's adapters on the same layers as ours, and nothing else done."""
    adapted = [name for name, layer in ours.network.named_modules() if hasattr(layer, "lora_A")]
    targets = [name.removeprefix("base_model.model.") for name in adapted]
    settings = LoraConfig(r=rank, lora_alpha=32, lora_dropout=0.05, target_modules=targets, modules_to_save=["lm_head"])
    return get_peft_model(network, settings)


def shape(model: str, classes: int) -> Wav2Vec2Config:
    """A configuration of `tiny` or `base`."""
    text = asdict(TextNormalizer())
    if model == "tiny":
        return bases.for_ctc(bases.tiny(Wav2Vec2Model()), classes, text)
    return bases.for_ctc(Wav2Vec2Config(num_hidden_layers=2), classes, text)


def made_corpus(seconds: Sequence[float], folder: Path) -> CutSet:
    """Utterances of noise with random letters, as FLAC."""
    draw = np.random.default_rng(0)
    cuts = []
    for number, duration in enumerate(seconds):
        path = folder / f"{number:05d}.flac"
        soundfile.write(path, draw.normal(0, 0.05, num_samples(duration)), SAMPLE_RATE)
        text = "".join(draw.choice(list(LETTERS), max(2, round(duration * LETTERS_A_SECOND)))).strip() or "a"
        cuts.append(manifest.utterance(id=path.stem, audio=path, text=text, speaker="nobody"))
    return CutSet.from_cuts(cuts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="64 utterances, batches of 4, one round: minutes")
    parser.add_argument("--utterances", type=int, default=320)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", choices=["tiny", "base"], default="tiny")
    parser.add_argument("--threads", type=int, default=0, help="0: one for each core this process may use")
    parser.add_argument("--processor-time", action="store_true", help="count it instead, where others work beside")
    parser.add_argument("--durations", type=Path, metavar="FILE")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--lora", type=int, default=0, metavar="RANK")
    figures.add_values_option(parser)
    options = parser.parse_args()
    if options.quick:
        options.utterances, options.batch_size, options.rounds = 64, 4, 1
    use_threads(options.threads)
    seconds = durations(options.durations, options.utterances)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cuts = made_corpus(seconds, folder)
        vocabulary = build_vocabulary([LETTERS])
        config = shape(options.model, len(vocabulary))
        clock = time.process_time if options.processor_time else time.perf_counter
        bench = Bench(
            config, options.model == "base", cuts, vocabulary, options.batch_size, folder, clock, options.lora
        )
        weights = bench.model().parameters()
        learned, size = map(sum, zip(*((one.numel() * one.requires_grad, one.numel()) for one in weights), strict=True))
        print(
            f"{len(cuts)} utterances, {sum(seconds) / 60:.1f} min, {min(seconds):.1f} to {max(seconds):.1f} s; "
            f"batches of {options.batch_size}; {options.model}, {size / 1e6:.2f} M parameters, {learned:,} learn; "
            f"{torch.get_num_threads()} threads; {options.rounds} rounds"
        )
        rows = bench.in_memory()
        few = replace(bench, cuts=cuts.subset(first=8))
        for arm in options.arms:
            few.epoch(arm, rows[:8], seed=0)  # warm-up
        rounds = []
        for number in track(range(options.rounds), "rounds", transient=True):
            turn = number % len(options.arms)
            order = options.arms[turn:] + options.arms[:turn]
            rounds.append({arm: bench.epoch(arm, rows, seed=number) for arm in order})
    show({name: ARMS[name] for name in options.arms}, REFERENCE, rounds)
    figures.write(values_of(options.arms, REFERENCE, rounds, "lora" if options.lora else "wav2vec2"), options.values)


if __name__ == "__main__":
    main()
