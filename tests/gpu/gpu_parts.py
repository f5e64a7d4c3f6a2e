"""The parts of `measure.py`, each a function from what is given to its figures.

All run the product's own code on whatever PyTorch finds: a GPU, or the CPU where `CUDA_VISIBLE_DEVICES` is empty.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import bench_adapter_cost
import bench_batches
import bench_lora_speed
import numpy as np
import torch
from bench_training import durations
from conftest import WORDS, make_corpus
from learners import TINY as TINY_ASSESSOR
from learners import learners
from measure import HERE, Given, Part, SkipPart
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchaudio.compliance import kaldi
from transformers import PrinterCallback, Trainer, TrainerCallback, Wav2Vec2Config, Wav2Vec2ForCTC

from asr_lab.config.load import load, parse_overrides
from asr_lab.config.schema import Wav2Vec2Augment, Wav2Vec2Train
from asr_lab.data import manifest
from asr_lab.data.augment import FrameMasker
from asr_lab.data.batches import Batch, InOrder, for_model, loader
from asr_lab.data.features import filter_bank
from asr_lab.interfaces.in_memory import FolderStore, MemoryRecorder, MemoryTracker
from asr_lab.models import load_model
from asr_lab.models.adapter import MLPAdapter
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.models.recognizer import SpeakerAdapter, best_device
from asr_lab.models.wav2vec2 import bases
from asr_lab.models.wav2vec2.network import SpeechCTC
from asr_lab.recipes.recipe import recipe_of
from asr_lab.system.resources import Clock
from asr_lab.system.terminal import Console
from asr_lab.training.trainer import AsrTrainer, training_arguments
from asr_lab.units import FRAME_LENGTH_S, FRAME_SHIFT_S, NUM_MEL_BINS, SAMPLE_RATE, num_samples

QUIET = Console(quiet=True)
FROZEN = 8  # lower layers of the encoder
TINY_NET = ("model.hidden_size=24", "model.conv_channels=4", "train.batch_size=6", "train.lr=5e-3")
TINY_ENCODER = ("model.hidden_size=32", "model.num_layers=2", "model.num_heads=2", "model.conv_channels=8")
SMALL_XLSR = {
    **bench_lora_speed.SHAPE,
    **{"hidden_size": 32, "num_hidden_layers": 12, "num_attention_heads": 2, "intermediate_size": 64},
    **{"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4},
}


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(work: Callable[[], object], rounds: int) -> float:
    """Return the median seconds of `work`, after one call that does not count."""
    work()
    seconds = []
    for _ in range(rounds):
        synchronize()
        began = time.perf_counter()
        work()
        synchronize()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))


# --- corpora ---


def corpora(given: Given) -> Path:
    """Make the folder of the demo corpus; of tones where it is quick."""
    folder = given.folder / "corpora"
    if folder.is_dir():
        return folder
    if not given.quick:
        from asr_lab.data.synthesis.corpus import make_demo

        make_demo(folder)
        return folder
    train, john = tones(folder / "tones", 24, seed=0), tones(folder / "persons" / "john", 16, seed=1)
    for split in ("train", "val", "test"):
        manifest.write(train, folder / f"{split}.jsonl.gz")
    for split, cuts in {"train": john[:8], "test": john[8:]}.items():
        manifest.write(cuts, folder / "persons" / "john" / f"{split}.jsonl.gz")
    return folder


def tones(folder: Path, count: int, seed: int) -> list[Any]:
    """Utterances of two words each, of tones, by a speaker called as the folder."""
    draw = np.random.default_rng(seed)
    texts = {f"{folder.name}{number:02d}": " ".join(draw.choice(WORDS, 2)) for number in range(count)}
    return list(manifest.read(make_corpus(folder, texts, speaker=folder.name, seed=seed)))


def data_of(folder: Path) -> list[str]:
    return [f"data.{split}={folder / split}.jsonl.gz" for split in ("train", "val", "test")]


def trained(recipe: str, name: str, given: Given, *settings: str) -> MemoryRecorder:
    """Run a recipe; its finished run."""
    tracker = MemoryTracker(Path(tempfile.mkdtemp(prefix=name, dir=given.folder)))
    config = load(None, parse_overrides([f"run.name={name}", *settings]), recipe)
    recipe_of(config).run(config, tracker, QUIET, store=FolderStore())
    return tracker.runs[0]


def model_folder(run: MemoryRecorder) -> Path:
    return Path(run.models[-1].files["model"])


def last(run: MemoryRecorder, metric: str) -> float:
    return run.all_metrics[metric][-1][1]


def mean_loss(run: MemoryRecorder) -> float:
    """Mean training loss over all that was logged."""
    return float(np.mean([value for _, value in run.all_metrics["train/loss"]]))


# --- parts ---


def demo(given: Given) -> Mapping[str, float]:
    """The demo: a base, its logits here and on the CPU, and john's adapter."""
    began, folder = time.monotonic(), corpora(given)
    made_s = time.monotonic() - began
    tiny = (*TINY_NET, "train.epochs=3") if given.quick else ()
    base = trained("deepspeech2", "base", given, *data_of(folder), *tiny)
    adapter = trained("adapter", "john", given, *of_john(folder, model_folder(base), given))
    test = manifest.read(folder / "test.jsonl.gz")
    return {
        "corpus_s": made_s,
        "base_wer": last(base, "test/wer"),
        "base_training_s": last(base, "perf/seconds"),
        "john_wer_base": last(adapter, "test/wer_base"),
        "john_wer": last(adapter, "test/wer"),
        "john_training_s": last(adapter, "perf/seconds"),
        **{f"deepspeech2_{name}": value for name, value in agreement(model_folder(base), test).items()},
    }


def of_john(folder: Path, base: Path, given: Given) -> list[str]:
    john = folder / "persons" / "john"
    tiny = ["adapter.hidden_dims=16,8", "train.epochs=3"] if given.quick else []
    saved = f"adapter.save_dir={given.folder / 'adapters'}"
    data = [f"data.train={john / 'train.jsonl.gz'}", f"data.test={john / 'test.jsonl.gz'}"]
    return ["adapter.name=john", f"adapter.base={base}", saved, *data, *tiny]


def agreement(folder: Path, cuts: Any) -> dict[str, float]:
    """Largest difference of a model's log-probabilities here and on the CPU, and the share of equal texts."""
    recognizer: Any = load_model(folder)
    differences, same = [], []
    for ids, here_BUV, lengths_B in recognizer.iterate_logits(cuts):
        batch = recognizer.collator()([(cuts[id], 0) for id in ids])
        recognizer.model.to("cpu")
        with torch.inference_mode():
            there_BUV, _ = recognizer.logits(batch)
        real = torch.arange(here_BUV.size(1)) < lengths_B.cpu()[:, None]
        here, there = here_BUV.float().cpu().log_softmax(-1), there_BUV.float().log_softmax(-1)
        differences.append(float((here - there)[real].abs().max()))
        texts = zip(*(recognizer.decode(one, lengths_B.cpu()) for one in (here, there)), strict=True)
        same += [one == other for one, other in texts]
        recognizer.model.to(best_device())
    return {"logits_difference": max(differences), "same_texts": float(np.mean(same))}


def precision(given: Given) -> Mapping[str, float]:
    """Mean training loss of each family with mixed precision, as a multiple of that in float32."""
    folder = corpora(given)
    learned = learners(given.folder / "learners", 12 if given.quick else 240)
    epochs = f"train.epochs={2 if given.quick else 3}"
    tiny = given.quick
    families = {
        "deepspeech2": [*data_of(folder), epochs, *(TINY_NET if tiny else ())],
        "wav2vec2": [*data_of(folder), epochs, "augment.strength=0.25", *(TINY_ENCODER if tiny else ())],
        "pronunciation": [f"data.{split}={learned}" for split in ("train", "val")]
        + ["data.test=", "model.type=simple", epochs, *(TINY_ASSESSOR if tiny else ())],
    }
    figures, base = {}, Path()
    for family, settings in families.items():
        runs = {mode: _precise(family, mode, given, settings) for mode in ("auto", "no")}
        figures |= _compared(family, runs)
        if family == "deepspeech2":
            base = model_folder(runs["no"])
        elif family == "wav2vec2":
            test = manifest.read(folder / "test.jsonl.gz")
            figures |= {f"{family}_{name}": value for name, value in agreement(model_folder(runs["no"]), test).items()}
    of_person = of_john(folder, base, given)
    return figures | _compared("adapter", {m: _precise("adapter", m, given, of_person) for m in ("auto", "no")})


def _precise(family: str, mode: str, given: Given, settings: Sequence[str]) -> MemoryRecorder:
    return trained(family, f"{family}-{mode}", given, *settings, f"train.mixed_precision={mode}")


def _compared(family: str, runs: Mapping[str, MemoryRecorder]) -> dict[str, float]:
    losses = {mode: mean_loss(run) for mode, run in runs.items()}
    seconds = {mode: last(run, "perf/seconds") for mode, run in runs.items()}
    return {
        f"{family}_loss_float32": losses["no"],
        f"{family}_loss_ratio": losses["auto"] / losses["no"],
        f"{family}_speed_ratio": seconds["no"] / seconds["auto"],
    }


class _Timing(TrainerCallback):  # type: ignore[misc]
    """Seconds of one epoch."""

    seconds = 0.0

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        synchronize()
        self.seconds = -time.perf_counter()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        synchronize()
        self.seconds += time.perf_counter()


def xlsr(given: Given) -> Mapping[str, float]:
    """LoRA on a network of XLS-R's size, lower layers frozen, beside transformers' Trainer on the same batches."""
    shape = SMALL_XLSR if given.quick else bench_lora_speed.SHAPE
    size, count = (2, 8) if given.quick else (8, 96)
    cuts = bench_batches.made_corpus(durations(None, count), _folder(given, "xlsr"))
    ours = bench_lora_speed.recognizer(16, shape=shape)
    augmenter = FrameMasker(Wav2Vec2Augment(), seed=0)
    collator = ours.collator(labelled=True, augmenter=augmenter)
    batches = [for_model(batch) for batch in loader(InOrder(cuts, size), collator)]
    figures: dict[str, float] = {"frozen_layers_with_gradient": frozen_with_gradient(ours.model, batches[0])}
    del ours
    speed: dict[str, float] = {}
    for rank in (16, 32):
        model = bench_lora_speed.recognizer(rank, shape=shape).model
        speed[f"lora{rank}"], memory = epoch(model, batches, given)
        figures |= {f"lora{rank}_utterances_per_s": speed[f"lora{rank}"], f"lora{rank}_memory_mb": memory}
        del model
        plain = plain_lora(rank, shape)
        speed[f"plain{rank}"], memory = epoch(plain, batches, given, plain=True)
        figures |= {f"plain{rank}_utterances_per_s": speed[f"plain{rank}"], f"plain{rank}_memory_mb": memory}
        del plain
        figures[f"lora{rank}_speed_ratio"] = speed[f"lora{rank}"] / speed[f"plain{rank}"]
        figures[f"lora{rank}_memory_ratio"] = figures[f"lora{rank}_memory_mb"] / figures[f"plain{rank}_memory_mb"]
    return figures


def _folder(given: Given, name: str) -> Path:
    folder = given.folder / name
    folder.mkdir(exist_ok=True)
    return folder


def plain_lora(rank: int, shape: Mapping[str, Any]) -> Any:
    """transformers' network with peft's adapters on the same layers as ours, and nothing else done."""
    torch.manual_seed(0)
    network = Wav2Vec2ForCTC(bases.for_ctc(Wav2Vec2Config(**shape), len(bench_lora_speed.JAMO), {}))
    network.config.apply_spec_augment = True
    ours = bench_lora_speed.recognizer(rank, shape=shape).model
    return bench_batches.plain_lora(network, ours, rank).to(best_device())


def frozen_with_gradient(model: SpeechCTC, batch: Batch) -> float:
    """Count the frozen lower layers whose output asks for a gradient in training."""
    asking: list[bool] = []

    def note(layer: nn.Module, inputs: Any, output: Any) -> None:
        asking.append((output[0] if isinstance(output, tuple) else output).requires_grad)

    hooks = [layer.register_forward_hook(note) for layer in model.encoder.encoder.layers[:FROZEN]]
    model.train()(**for_model(batch, model.device))
    for hook in hooks:
        hook.remove()
    return float(sum(asking))


def epoch(model: nn.Module, batches: Sequence[Batch], given: Given, *, plain: bool = False) -> tuple[float, float]:
    """Train on the batches, in order; utterances a second of the second epoch, and peak memory (MB) of both."""
    clock, timing = Clock(), _Timing()
    settings = Wav2Vec2Train(epochs=2, batch_size=len(batches[0]["input_values"]), lr=1e-4)
    folder = given.folder / "checkpoints"
    kept = ("input_values", "attention_mask", "labels") if plain else tuple(batches[0])
    rows = [{key: batch[key] for key in kept} for batch in batches]
    if plain:
        arguments = training_arguments(
            settings, folder=folder, seed=0, batches=len(rows), validates=False, checkpoints=False
        )
        arguments.per_device_train_batch_size = 1  # of ready batches
        arguments.dataloader_pin_memory = torch.cuda.is_available()
        trainer = Trainer(model, arguments, train_dataset=rows, data_collator=lambda one: one[0], callbacks=[timing])
        trainer.remove_callback(PrinterCallback)
    else:
        ready = DataLoader(rows, batch_size=None)
        trainer = AsrTrainer(
            model.train(), ready, None, settings, folder=folder, seed=0, callbacks=[timing], checkpoints=False
        )
    trainer.train()
    memory = clock.peak_memory()
    return sum(len(row["input_values"]) for row in rows) / timing.seconds, memory.get(
        "perf/peak_gpu_memory_mb", memory["perf/peak_memory_mb"]
    )


def adapter_cost(given: Given) -> Mapping[str, float]:
    """A whole adapter training at KoSpeech's size, as a multiple of one plain pass of its base."""
    size, count, rounds = ((64, 2), 4, 1) if given.quick else ((1024, 3), 96, 3)
    forms = ("residual",) if given.quick else ("residual", "plain")
    folder = _folder(given, "person")
    base = bench_adapter_cost.kospeech_base(*size)
    person = bench_adapter_cost.made_person(folder, count)
    seconds = bench_adapter_cost.measure(base, person, folder, rounds, forms)
    once = float(np.median(seconds.pop("base")))
    figures = {f"{form}_ratio": float(np.median(taken)) / once for form, taken in seconds.items()}
    return figures | {"base_pass_s": once}


def bmm(given: Given) -> Mapping[str, float]:
    """Heads of several people in one batch: one after the other as asr_lab does, against all by `torch.bmm`."""
    base = bench_adapter_cost.kospeech_base(*((64, 2) if given.quick else (1024, 3)))
    people, frames = (4, 50) if given.quick else (16, 600)
    hidden = (16, 8) if given.quick else (512, 256)
    adapters = [_drawn_adapter(base, hidden, seed) for seed in range(people)]
    batch = {
        "input_features": torch.randn(people, frames, 80),
        "feature_lengths": torch.linspace(frames // 2, frames, people).long().flip(0),
    }
    stacked = [stack(layers) for layers in zip(*(one.weights.layers for one in adapters), strict=True)]

    def together() -> Tensor:
        with torch.inference_mode():
            encoded_BUH, _ = base.encode(batch)
            return by_bmm(base, encoded_BUH, stacked)

    looped, lengths = base.adapted_logits(batch, adapters)
    real = torch.arange(looped.size(1), device=looped.device) < lengths[:, None]
    rounds = 3 if given.quick else 10
    seconds = {"loop": timed(lambda: base.adapted_logits(batch, adapters), rounds), "bmm": timed(together, rounds)}
    return {
        "people": people,
        "loop_s": seconds["loop"],
        "bmm_s": seconds["bmm"],
        "encoder_s": timed(lambda: base.encode(batch), rounds),
        "speed_ratio": seconds["loop"] / seconds["bmm"],
        "logits_difference": float((looped - together())[real].abs().max()),
    }


def _drawn_adapter(base: DeepSpeech2Recognizer, hidden: tuple[int, ...], seed: int) -> SpeakerAdapter:
    torch.manual_seed(seed)
    config = base.model.config
    weights = MLPAdapter(config.rnn_output_size, hidden, config.vocab_size, residual=True)
    nn.init.normal_(weights.layers[-2].weight, std=0.02)
    return SpeakerAdapter(f"person{seed}", weights.eval().to(best_device()))


def stack(layers: Sequence[nn.Module]) -> tuple[Tensor, Tensor] | None:
    """Return weights (B, in, out) and biases (B, 1, out) of a linear layer of each person; None of other layers."""
    if not isinstance(layers[0], nn.Linear):
        return None
    weights = torch.stack([layer.weight.detach().T for layer in layers])
    return weights, torch.stack([layer.bias.detach() for layer in layers])[:, None]


def by_bmm(base: DeepSpeech2Recognizer, encoded_BUH: Tensor, stacked: Iterable[tuple[Tensor, Tensor] | None]) -> Tensor:
    """Log-probabilities (B, U, V) of residual adapters, one for each row."""
    linear = [one for one in stacked if one]
    x_BUH = encoded_BUH
    for number, (weights, biases) in enumerate(linear):
        x_BUH = torch.baddbmm(biases, x_BUH, weights)
        if number < len(linear) - 1:
            x_BUH = x_BUH.relu()
    return (base.head(encoded_BUH) + x_BUH).log_softmax(dim=-1)


KALDI = {
    "num_mel_bins": NUM_MEL_BINS,
    "frame_length": FRAME_LENGTH_S * 1000,
    "frame_shift": FRAME_SHIFT_S * 1000,
    "window_type": "hamming",
    "dither": 0.0,
    "sample_frequency": SAMPLE_RATE,
}
"""torchaudio's settings of the same filter banks."""


def filter_banks(given: Given) -> Mapping[str, float]:
    """Filter banks on the CPU, as asr_lab computes them, against the device, copying included."""
    draw, device = np.random.default_rng(0), best_device()
    seconds = durations(None, 8 if given.quick else 64)
    signals = [draw.normal(0, 0.05, num_samples(one)).astype(np.float32) for one in seconds]

    def on_device() -> list[Tensor]:
        return [kaldi.fbank(torch.from_numpy(one)[None].to(device), **KALDI).cpu() for one in signals]

    here, there = [filter_bank(one) for one in signals], on_device()
    rounds = 1 if given.quick else 5
    taken = {"cpu": timed(lambda: [filter_bank(one) for one in signals], rounds), "device": timed(on_device, rounds)}
    return {
        "cpu_utterances_per_s": len(signals) / taken["cpu"],
        "device_utterances_per_s": len(signals) / taken["device"],
        "speed_ratio": taken["cpu"] / taken["device"],
        "difference": max(float((one - other).abs().max()) for one, other in zip(here, there, strict=True)),
    }


def training(given: Given) -> Mapping[str, float]:
    """A small training of tones, for `torchrun` to repeat."""
    data = given.folder / "tones.jsonl.gz"
    manifest.write(tones(given.folder / "tones", 24, seed=3), data)
    name = f"tones-{os.environ.get('LOCAL_RANK', 'alone')}"
    settings = [f"data.train={data}", f"data.val={data}", "data.test=", "train.epochs=2", "run.threads=1"]
    return {"loss": mean_loss(trained("deepspeech2", name, given, *settings, *TINY_NET))}


def torchrun(given: Given) -> Mapping[str, float]:
    """The same training in one process of torchrun, and alone: the losses should be the same."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    values = given.folder / "torchrun.json"
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "1", "--master-addr", "127.0.0.1"]
    own = [str(HERE / "measure.py"), "--device", given.device, "--only", "training", "--values", str(values)]
    done = subprocess.run(
        [sys.executable, *launcher, "--master-port", str(port), *own], capture_output=True, text=True, check=False
    )
    if done.returncode or not values.is_file():
        raise RuntimeError(f"torchrun ended with {done.returncode}: {done.stderr[-1000:]}")
    there = json.loads(values.read_text())
    if "training.loss" not in there:
        raise SkipPart(f"no loss: {done.stdout[-1000:]}")
    alone = training(given)["loss"]
    return {"loss": there["training.loss"], "loss_ratio": there["training.loss"] / alone}


PARTS: dict[str, tuple[Part, float]] = {
    "demo": (demo, 130.0),
    "precision": (precision, 130.0),
    "xlsr": (xlsr, 80.0),
    "adapter_cost": (adapter_cost, 50.0),
    "bmm": (bmm, 20.0),
    "filter_banks": (filter_banks, 20.0),
    "training": (training, 20.0),
    "torchrun": (torchrun, 50.0),
}
"""Each part and the seconds it may take on a GPU."""
