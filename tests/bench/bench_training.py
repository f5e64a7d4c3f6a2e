"""DeepSpeech2 training throughput: our batches and network against KoSpeech's way, on utterances of mixed durations.

An arm is a network and a way to choose batches. All arms start from the same weights, have the same number of
utterances an update and learn from the same utterances once a round; they take turns. Timed is an epoch: batches,
padding, forward, backward, clipping, AdamW. Features are computed before, of made audio, and are the same in all arms.

    python tests/bench/bench_training.py [--utterances 480] [--rounds 3] [--model demo|3x512] [--threads 0]
                                         [--batch-size 16] [--durations FILE]

`--durations` is a manifest (`*.jsonl.gz`) or a text file with a duration in seconds on each line; its distribution is
used for however many utterances there are. By default it is that of speechocean762 (960 utterances of its train part).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from kospeech_network import KoSpeechDeepSpeech2
from lhotse import CutSet, MonoCut
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers.trainer_pt_utils import LengthGroupedSampler

from asr_lab.data import manifest
from asr_lab.data.batches import LABEL_PADDING, EpochBatches
from asr_lab.data.features import extract
from asr_lab.models.deepspeech2 import DeepSpeech2Config, DeepSpeech2ForCTC, output_length
from asr_lab.models.kospeech import convert_state_dict
from asr_lab.recipes.common import use_threads
from asr_lab.units import num_samples

Utterance = dict[str, Tensor]
Batch = dict[str, Tensor]

CLASSES = 32
MODELS = {
    "demo": DeepSpeech2Config(vocab_size=CLASSES, hidden_size=256, num_layers=2, conv_channels=16),
    "3x512": DeepSpeech2Config(vocab_size=CLASSES, hidden_size=512, num_layers=3, conv_channels=32),
}
PERCENTILES = (0, 5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95, 97.5, 99, 99.5, 100)
DURATIONS_S = (
    *(1.84, 2.40, 2.59, 2.88, 3.13, 3.35, 3.60, 3.89, 4.30, 4.53),
    *(4.84, 5.37, 6.37, 7.89, 9.39, 11.62, 12.58, 17.11),
)
"""Of 960 utterances of speechocean762's train part, 1.10 hours, at those percentiles."""
LETTERS_A_SECOND = 7.0  # in the same 960 utterances


def durations(source: Path | None, utterances: int) -> list[float]:
    """So many durations (s), evenly over the distribution of a file, or of speechocean762."""
    shares = (np.arange(utterances) + 0.5) / utterances
    if source is None:
        return list(np.interp(100 * shares, PERCENTILES, DURATIONS_S))
    if source.name.endswith(manifest.SUFFIX):
        known = [cut.duration for cut in manifest.read(source)]
    else:
        known = [float(line) for line in source.read_text().split()]
    return list(np.quantile(known, shares))


def made_utterances(seconds: Iterable[float]) -> list[Utterance]:
    """Features (T, 80) of noise and random labels (L,)."""
    draw = np.random.default_rng(0)
    made = []
    for duration in seconds:
        samples = draw.normal(0, 0.05, num_samples(duration)).astype(np.float32)
        labels = torch.from_numpy(draw.integers(1, CLASSES, max(1, round(duration * LETTERS_A_SECOND))))
        made.append({"input_features": extract(samples), "labels": labels})
    return made


def networks(config: DeepSpeech2Config) -> dict[str, nn.Module]:
    """Our network and KoSpeech's, new and with the same weights."""
    torch.manual_seed(0)
    kospeech = KoSpeechDeepSpeech2(config)
    ours = DeepSpeech2ForCTC(config)
    ours.load_state_dict(convert_state_dict(kospeech.state_dict()))
    return {"ours": ours, "kospeech": kospeech}


@torch.inference_mode()
def disagreement(config: DeepSpeech2Config, batch: Batch) -> float:
    """The largest difference between the logits of both networks on the real frames of a batch."""
    ours, kospeech = (
        network.eval()(batch["input_features"], batch["feature_lengths"]).logits
        for network in networks(config).values()
    )
    real_BU = torch.arange(ours.size(1)) < output_length(batch["feature_lengths"])[:, None]
    return float((ours - kospeech)[real_BU].abs().max())


def by_buckets(lengths: list[int], batch_size: int, epoch: int) -> Iterator[list[int]]:
    """Ours: Lhotse's buckets of like duration."""
    cuts = CutSet.from_cuts(
        MonoCut(id=str(index), start=0.0, duration=length / 100, channel=0) for index, length in enumerate(lengths)
    )
    batches = EpochBatches(cuts, batch_size)
    batches.set_epoch(epoch)
    for batch in batches:
        yield [int(cut.id) for cut, _ in batch]


def by_group(lengths: list[int], batch_size: int, epoch: int) -> Iterator[list[int]]:
    """transformers' `group_by_length`."""
    generator = torch.Generator().manual_seed(epoch)
    order = list(LengthGroupedSampler(batch_size, lengths=lengths, generator=generator))
    yield from (order[start : start + batch_size] for start in range(0, len(order), batch_size))


def at_random(lengths: list[int], batch_size: int, epoch: int) -> Iterator[list[int]]:
    """Any utterances together."""
    order = np.random.default_rng(epoch).permutation(len(lengths)).tolist()
    yield from (order[start : start + batch_size] for start in range(0, len(order), batch_size))


ARMS = {
    "ours: buckets": ("ours", by_buckets),
    "KoSpeech's way: random batches, its masks": ("kospeech", at_random),
    "our network, transformers' length groups": ("ours", by_group),
    "our network, random batches": ("ours", at_random),
}
PLAIN = "KoSpeech's way: random batches, its masks"


def padded(rows: list[Utterance]) -> Batch:
    """A batch, longest first (KoSpeech's network wants them so)."""
    rows = sorted(rows, key=lambda row: -len(row["input_features"]))
    return {
        "input_features": pad_sequence([row["input_features"] for row in rows], batch_first=True),
        "feature_lengths": torch.tensor([len(row["input_features"]) for row in rows]),
        "labels": pad_sequence([row["labels"] for row in rows], batch_first=True, padding_value=LABEL_PADDING),
    }


def epoch(network: nn.Module, utterances: list[Utterance], batches: Iterator[list[int]]) -> tuple[float, int, float]:
    """(Seconds, utterances learned from, share of padding) of one epoch."""
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    real = held = seen = 0
    began = time.perf_counter()
    for indices in batches:
        batch = padded([utterances[index] for index in indices])
        loss = network(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        real += int(batch["feature_lengths"].sum())
        held += batch["input_features"].shape[0] * batch["input_features"].shape[1]
        seen += len(indices)
    return time.perf_counter() - began, seen, 1 - real / held


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--utterances", type=int, default=480)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--model", choices=list(MODELS), default="demo")
    options.add_argument("--threads", type=int, default=0)
    options.add_argument("--batch-size", type=int, default=16)
    options.add_argument("--durations", type=Path)
    chosen = options.parse_args()
    use_threads(chosen.threads)
    utterances = made_utterances(durations(chosen.durations, chosen.utterances))
    lengths = [len(row["input_features"]) for row in utterances]
    minutes = sum(lengths) / 6000
    print(f"{chosen.model}, {len(lengths)} utterances ({min(lengths) / 100:.1f} to {max(lengths) / 100:.1f} s, "
          f"{minutes:.1f} min), {chosen.batch_size} an update, {torch.get_num_threads()} threads")  # fmt: skip
    config = MODELS[chosen.model]
    print(f"largest difference of the two networks' logits: {disagreement(config, padded(utterances[:4])):.1e}")
    rates: dict[str, list[float]] = {arm: [] for arm in ARMS}
    padding: dict[str, float] = {}
    for number in range(chosen.rounds):
        for arm, (network, choose) in ARMS.items():
            batches = choose(lengths, chosen.batch_size, number)
            seconds, seen, padding[arm] = epoch(networks(config)[network], utterances, batches)
            assert seen == len(utterances)
            rates[arm].append(seen / seconds)
    plain = statistics.median(rates[PLAIN])
    for arm, found in rates.items():
        print(f"{arm:44} {statistics.median(found):7.2f} utterances/s ({min(found):.2f} to {max(found):.2f})  "
              f"ratio {statistics.median(found) / plain:.2f}  padding {padding[arm]:.0%}")  # fmt: skip


if __name__ == "__main__":
    main()
