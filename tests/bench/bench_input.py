"""What reaches the network: hours of audio per processor second, as a share of bare soundfile.read of the same files.

    python tests/bench/bench_input.py MANIFEST [--shards MANIFEST] [--rounds 3] [--batch-size 16] [--utterances 960]
                                      [--values FILE]

Everything takes turns in each round, and medians are printed. Processor seconds are those of this process, the loader's
threads with it, start and end included. `--shards` is what `asr-lab data shard` wrote of MANIFEST.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import figures
import numpy as np
import soundfile
import torch
from lhotse import CutSet
from rich.progress import track

from asr_lab.data import columns
from asr_lab.data.batches import Collator, EpochBatches, loader
from asr_lab.data.cut_audio import read_cut
from asr_lab.data.features import extract
from asr_lab.data.table_utterances import Utterances
from asr_lab.system.threads import use_threads
from asr_lab.units import SAMPLE_RATE

BARE = "soundfile.read"


def processor_seconds() -> float:
    """Of this process and its threads, and of processes that it started and that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def bare(paths: Sequence[str]) -> None:
    for path in paths:
        soundfile.read(path, dtype="float32")


def read_all(cuts: Utterances, order: Sequence[int]) -> None:
    for position in order:
        read_cut(cuts[position])


def load(cuts: Utterances, batch_size: int, collator: Collator, num_workers: int) -> None:
    number = 0
    for batch in loader(EpochBatches(CutSet(cuts), batch_size), collator, num_workers):
        number += len(batch["cut_ids"])
    assert number == len(cuts), f"{number} of {len(cuts)} utterances"


def measured(cuts: Utterances, shards: Utterances | None, batch_size: int) -> dict[str, Callable[[], Any]]:
    """Return what is measured, by its name."""
    paths, in_order = columns.sources(CutSet(cuts)), range(len(cuts))
    at_random = np.random.default_rng(0).permutation(len(cuts)).tolist()
    ways: dict[str, Callable[[], Any]] = {
        BARE: lambda: bare(paths),
        "files, in order": lambda: read_all(cuts, in_order),
        "files, at random": lambda: read_all(cuts, at_random),
    }
    if shards is not None:
        ways["shards, in order"] = lambda: read_all(shards, in_order)
        ways["shards, at random"] = lambda: read_all(shards, at_random)
    inputs = {"samples": Collator(torch.from_numpy), "filter banks": Collator(extract)}
    for source, read in {"files": cuts, "shards": shards}.items():
        for name, collator in inputs.items() if read is not None else ():
            for workers in (0, 1, 2):
                ways[f"{source}, {name}, {workers}"] = lambda read=read, c=collator, w=workers: load(
                    read, batch_size, c, w
                )
    return ways


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--shards", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--utterances", type=int, default=960)
    parser.add_argument("--only", default="", help="what has this in its name, beside soundfile.read")
    figures.add_values_option(parser)
    options = parser.parse_args()
    use_threads(1)
    chosen = slice(options.utterances)
    cuts = Utterances.read(options.manifest)[chosen]
    shards = Utterances.read(options.shards)[chosen] if options.shards else None
    hours = columns.seconds(CutSet(cuts)) / 3600
    ways = measured(cuts, shards, options.batch_size)
    ways = {name: way for name, way in ways.items() if name == BARE or options.only in name}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in track(range(options.rounds), "measuring", transient=True):
        for name, way in ways.items():
            start = processor_seconds()
            way()
            seconds[name].append(processor_seconds() - start)
    print(f"{len(cuts)} utterances, {hours:.2f} h of audio; medians of {options.rounds} rounds")
    print(f"{'':38}  h / CPU s   of bare")
    stored = sum(Path(one).stat().st_size for one in columns.sources(CutSet(cuts)))
    share = stored / (hours * 3600 * SAMPLE_RATE * 2)
    print(f"the files have {share:.2f} of the bytes of 16-bit samples")
    made: dict[str, figures.Value] = {"utterances": len(cuts), "hours": hours, "share_of_bytes": share}
    for name, own in seconds.items():
        rates = [hours / one for one in own]
        shares = [one / other for one, other in zip(seconds[BARE], own, strict=True)]
        print(f"{name:38} {median(rates):9.2f} {median(shares):9.2f}")
        label = "bare" if name == BARE else name.replace(", ", "_").replace(" ", "_")
        made |= {f"{label}_hours_per_s": figures.of_rounds(rates), f"{label}_of_bare": figures.of_rounds(shares)}
    figures.write(made, options.values)


if __name__ == "__main__":
    main()
