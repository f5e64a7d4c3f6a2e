"""A tracking store of many runs, written in bulk: `python tests/bench/build_store.py FOLDER --runs 10000`.

A tenth of the runs are called `cross-...`, a tenth are trials of sweeps. MLflow makes the schema; the rows go in by
SQL, for its own way takes about 80 ms a run.
"""

from __future__ import annotations

import argparse
import logging
import random
import sqlite3
import time
from pathlib import Path

from mlflow import MlflowClient

FAMILIES = {"deepspeech2": "deepspeech2", "adapter": "deepspeech2-adapter", "pronunciation": "wav2vec2"}
METRICS = ("train/loss", "train/lr", "grad_norm", "epoch_time", "val/loss", "val/wer", "val/cer", "test/wer",
           "test/cer", "perf/seconds")  # fmt: skip
NAMES = ("cross", "base", "john", "jane", "finetune", "scratch", "noise", "speed", "mina", "kspon")
STEPS = 3


def build(folder: Path, num_runs: int = 10_000, *, seed: int = 0) -> str:
    """Make `folder/mlflow.db`: runs of 10 params and 10 metrics of 3 steps; its URI. One that is there stays."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder.resolve() / "mlflow.db"
    uri = f"sqlite:///{file}"
    if file.exists():
        return uri
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    client = MlflowClient(uri)
    experiments = {family: int(client.create_experiment(family, f"{folder.resolve()}/{family}")) for family in FAMILIES}
    draw = random.Random(seed)
    tables: dict[str, list[tuple[object, ...]]] = {
        name: [] for name in ("runs", "params", "tags", "metrics", "latest_metrics")
    }
    now = int(time.time() * 1000)
    parent = ""
    for number in range(num_runs):
        run_id = f"{draw.getrandbits(128):032x}"
        trial = number % 10 == 5
        if number % 1000 == 0:
            parent = run_id
        family = list(FAMILIES)[number % len(FAMILIES)]
        row = _Row(run_id, number, family, parent if trial else "", now - 60_000 * (num_runs - number))
        _add(tables, row, experiments[family], folder, draw)
    with sqlite3.connect(file) as connection:
        for name, rows in tables.items():
            marks = ",".join("?" * len(rows[0]))
            connection.executemany(f"insert into {name} {_COLUMNS[name]} values ({marks})", rows)
    return uri


_COLUMNS = {
    "runs": "(run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time,"
    " source_version, lifecycle_stage, artifact_uri, experiment_id)",
    "params": "(key, value, run_uuid)",
    "tags": "(key, value, run_uuid)",
    "metrics": "(key, value, timestamp, step, is_nan, run_uuid)",
    "latest_metrics": "(key, value, timestamp, step, is_nan, run_uuid)",
}


class _Row:
    """What makes a run itself."""

    def __init__(self, run_id: str, number: int, family: str, parent: str, start: int) -> None:
        self.run_id, self.family, self.parent, self.start = run_id, family, parent, start
        self.name = f"{NAMES[number % len(NAMES)]}-lr={number}-{run_id[:8]}"


def _add(
    tables: dict[str, list[tuple[object, ...]]], row: _Row, experiment: int, folder: Path, draw: random.Random
) -> None:
    uri = f"{folder.resolve()}/{row.family}/{row.run_id}/artifacts"
    ends = row.start + 50_000
    tables["runs"].append(
        (row.run_id, row.name, "UNKNOWN", "", "", "bench", "FINISHED", row.start, ends, "", "active", uri, experiment)
    )
    params = {"train.lr": draw.choice((1e-4, 3e-4, 1e-3)), "run.seed": draw.randrange(5),
              "model.hidden_size": draw.choice((256, 512)), "train.epochs": 10, "train.batch_size": 16,
              "augment.noise_share": 0.5, "model.rnn_type": "gru", "model.num_layers": 2,
              "data.train": "train.jsonl.gz", "recipe": row.family}  # fmt: skip
    tables["params"] += [(key, str(value), row.run_id) for key, value in params.items()]
    tags = {"mlflow.runName": row.name, "asr_lab.family": row.family, 
            "asr_lab.kind": "trial" if row.parent else "train", 
            "asr_lab.model_type": FAMILIES[row.family], "asr_lab.signature": row.run_id[8:16],
            "asr_lab.data.val": "d" * 16, "asr_lab.data.test": "e" * 16, "asr_lab.text": "nfc-lower-nopunct",
            "asr_lab.command": "asr-lab train"}  # fmt: skip
    if row.parent:
        tags["mlflow.parentRunId"] = row.parent
    tables["tags"] += [(key, value, row.run_id) for key, value in tags.items()]
    for name in METRICS:
        points = [(name, draw.random(), row.start + 1000 * step, step, 0, row.run_id) for step in range(STEPS)]
        tables["metrics"] += points
        tables["latest_metrics"].append(points[-1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=10_000)
    asked = parser.parse_args()
    began = time.monotonic()
    print(f"{build(asked.folder, asked.runs)}: {asked.runs} runs in {time.monotonic() - began:.1f} s")
