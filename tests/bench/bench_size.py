"""What commands cost on manifests of growing size: processor seconds and peak memory of each as a whole process.

    python tests/bench/bench_size.py FOLDER [--sizes 10000:82 1770000:2000] [--commands stats ...] [--values FILE]

FOLDER keeps the manifests (tests/bench/make_manifest.py) from call to call. Each command runs once where a table of
its manifest is there, `first` (stats) and `dry-first` once where there is none. `batch-50` reads the training
data and takes the first batch of 16 utterances after half of an epoch, with its audio, as a training that goes on does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import figures

_DRY_RUN = (
    "train {config} --dry-run data.train={folder}/train.jsonl.gz data.val={folder}/val.jsonl.gz "
    "data.test={folder}/test.jsonl.gz"
)
COMMANDS = {
    "first": "data stats {folder}/all.jsonl.gz",
    "stats": "data stats {folder}/all.jsonl.gz",
    "split": "data split {folder}/all.jsonl.gz {out}/split",
    "folds": "data split {folder}/all.jsonl.gz {out}/folds --folds 3",
    "hard": "data split {folder}/all.jsonl.gz {out}/hard --hard-share 0.25",
    "phases": "data phases {folder}/all.jsonl.gz {out}/phases",
    "dry-first": _DRY_RUN,
    "dry-run": _DRY_RUN,
    **{f"batch-{percent}": f"{percent} {{folder}}/train.jsonl.gz" for percent in (0, 10, 50, 90)},
}
_FIRST_BATCH = "from bench_size import first_batch; import sys; first_batch(int(sys.argv[1]), sys.argv[2])"
_BATCH_SIZE = 16
CONFIG = Path(__file__).parents[2] / "experiments" / "deepspeech2" / "base.yaml"


def run(words: list[str]) -> tuple[float, float, str]:
    """Run a command; return processor seconds, peak MB, and its output if it failed."""
    program = ["-c", _FIRST_BATCH] if words[0].isdigit() else ["-m", "asr_lab"]
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, *program, *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": paths},
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode() if process.returncode else ""
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text[-2000:]


def first_batch(percent: int, manifest: str) -> None:
    """Take the first batch after so much of an epoch, as Trainer does when a training goes on."""
    import torch
    from accelerate import skip_first_batches

    from asr_lab.data.batches import Collator, EpochBatches, loader
    from asr_lab.recipes.splits import Split

    batches = EpochBatches(Split.read("train", manifest).cuts, _BATCH_SIZE)
    batches.set_epoch(3)
    rest = skip_first_batches(loader(batches, Collator(torch.from_numpy)), len(batches) * percent // 100)
    assert len(next(iter(rest))["cut_ids"]) > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", nargs="+", default=["10000:82", "100000:500", "1770000:2000"])
    parser.add_argument("--commands", nargs="+", choices=list(COMMANDS), default=list(COMMANDS))
    parser.add_argument("--config", type=Path, default=CONFIG)
    figures.add_values_option(parser)
    options = parser.parse_args()
    values: dict[str, figures.Value] = {}
    for size in options.sizes:
        utterances, speakers = size.split(":")
        folder = options.folder / f"{utterances}-{speakers}"
        if not (folder / "train.jsonl.gz").exists():
            maker = Path(__file__).with_name("make_manifest.py")
            arguments = [folder, "--utterances", utterances, "--speakers", speakers, "--splits"]
            subprocess.run([sys.executable, maker, *map(str, arguments)], check=True)
        for name in options.commands:
            if name in ("first", "dry-first"):
                shutil.rmtree(folder / ".tables", ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=options.folder) as out:
                words = COMMANDS[name].format(folder=folder, out=out, config=options.config).split()
                seconds, megabytes, error = run(words)
            print(f"{size:>14} {name:8} {seconds:7.1f} s {megabytes:6.0f} MB {error}", flush=True)
            if not error:
                values |= {f"{name}_{utterances}_s": round(seconds, 1), f"{name}_{utterances}_mb": round(megabytes)}
    figures.write(values, options.values)


if __name__ == "__main__":
    main()
