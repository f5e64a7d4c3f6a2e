"""Write what the tests of this folder read: stores, spools, a bundle and files, as older code left them.

    PYTHONPATH=CHECKOUT python tests/compat/write_fixtures.py [FOLDER]

CHECKOUT is a checkout of the older state; `fixtures/expected.json` names its commit. Fixtures are written once and stay
as they are: a later format is a reason for new fixtures beside these. Runs on Linux, within some minutes.

    fixtures/home.tar.xz     a working folder: store, corpora, adapters, a killed training, a killed sweep
    fixtures/travel.tar.xz   a store and two spools: one of an offline run, one of a run killed while its store was away
    fixtures/bundle.tar.zst  an archived run that the stores do not have
    fixtures/expected.json   what each of them held, and the commit that wrote them

Paths in them begin with ROOT and hosts are called HOST; the tests put their own folder and host in these places. All
machine-specific text is overwritten with text of the same length, for a spool counts its bytes.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from empty_store import moved  # noqa: E402

ROOT = "/tmp/asr-lab-fixtures"
HOST = "laptop"
USER = "ada"


def _figures() -> Any:
    """`.ci/figures` as a module: it calls commands and makes tiny corpora."""
    loader = SourceFileLoader("figures", str(HERE.parents[1] / ".ci" / "figures"))
    spec = spec_from_loader("figures", loader)
    assert spec
    module = module_from_spec(spec)
    sys.modules["figures"] = module
    loader.exec_module(module)
    return module


figures = _figures()

CONFIGS = {
    "base.yaml": """
recipe: deepspeech2
run: {name: base, register_as: deepspeech2, seed: 1}
data: {train: words/train.jsonl.gz, val: words/val.jsonl.gz, test: words/val.jsonl.gz}
model: {hidden_size: 8, num_layers: 1, conv_channels: 2}
augment: {time_masks: 0, freq_masks: 0}
train: {epochs: 3, batch_size: 4, lr: 1.0e-2}
""",
    "cut-off.yaml": """
recipe: deepspeech2
run: {name: cut-off, seed: 2, threads: 1}
data: {train: words/train.jsonl.gz, val: words/val.jsonl.gz, test: words/val.jsonl.gz}
model: {hidden_size: 8, num_layers: 1, conv_channels: 2}
train: {epochs: 12, batch_size: 4, lr: 1.0e-2}
""",
    "adapter.yaml": """
recipe: adapter
adapter: {name: john, hidden_dims: [8]}
data: {train: john/all.jsonl.gz}
train: {epochs: 2}
""",
    "wav2vec2.yaml": """
recipe: wav2vec2
run: {name: tiny, register_as: wav2vec2}
data: {train: words/train.jsonl.gz, val: words/val.jsonl.gz, test: words/val.jsonl.gz}
model: {hidden_size: 16, num_layers: 1, num_heads: 2, conv_channels: 8, dropout: 0.0}
augment: {strength: 0}
train: {epochs: 1, batch_size: 4, lr: 3.0e-3}
""",
    "lora.yaml": """
recipe: wav2vec2
run: {name: lora}
data: {train: words/train.jsonl.gz, val: words/val.jsonl.gz, test: words/val.jsonl.gz}
model: {pretrained: "models:/wav2vec2@champion", tune: lora, freeze_layers: 0, lora: {r: 2}}
train: {epochs: 1, batch_size: 4, lr: 3.0e-3}
""",
    "curriculum.yaml": """
recipe: curriculum
run: {name: kids}
data: {train: words/train.jsonl.gz, val: words/val.jsonl.gz, test: john/all.jsonl.gz}
model: {pretrained: "models:/wav2vec2@champion", tune: lora, freeze_layers: 0, lora: {r: 2}}
train: {batch_size: 4}
phase1: {share: 0.5, epochs: 1, target: 0.0, accept: 1.0}
""",
    "pronunciation.yaml": """
recipe: pronunciation
run: {name: simple, register_as: pronunciation-simple}
data: {train: l2/train.jsonl.gz, val: l2/val.jsonl.gz, test: l2/test.jsonl.gz}
model: {type: simple, hidden_size: 16, num_layers: 1, num_heads: 2, head_size: 8, head_layers: 1, dropout: 0}
train: {epochs: 1, batch_size: 4}
""",
    "evaluate.yaml": """
recipe: evaluate
evaluate: {model: "models:/deepspeech2/1", data: john/all.jsonl.gz, adapter: john}
""",
    "sweep.yaml": """
recipe: sweep
experiment: adapter.yaml
space:
  adapter.dropout: [0.0, 0.2]
  train.lr: {low: 1.0e-3, high: 1.0e-2, log: true}
objective: test/wer
seed: 3
trials: 4
""",
    "arms.yaml": """
recipe: arms
run: {name: ways}
data: {train: words/train.jsonl.gz, val: words/val.jsonl.gz, test: john/all.jsonl.gz}
augment: {strength: 0}
model: {pretrained: "models:/wav2vec2@champion"}
train: {epochs: 1, batch_size: 4}
arms:
  base: untouched
  head: {model.tune: head}
compare: {utterances: 2, rounds: 2}
""",
}
CALLS = {
    "base.yaml": ["train", "base.yaml"],
    "cut-off.yaml": ["train", "cut-off.yaml"],
    "adapter.yaml": ["adapter", "--config", "adapter.yaml"],
    "wav2vec2.yaml": ["train", "wav2vec2.yaml"],
    "lora.yaml": ["train", "lora.yaml"],
    "curriculum.yaml": ["curriculum", "curriculum.yaml", "--phase", "1"],
    "pronunciation.yaml": ["train", "pronunciation.yaml"],
    "evaluate.yaml": ["evaluate", "--config", "evaluate.yaml"],
    "sweep.yaml": ["sweep", "sweep.yaml"],
    "arms.yaml": ["arms", "arms.yaml"],
}
"""Configuration -> the command that takes it, in the order in which they can run."""
FINISHED = ("base.yaml", "adapter.yaml", "wav2vec2.yaml", "lora.yaml", "curriculum.yaml", "pronunciation.yaml",
            "evaluate.yaml", "arms.yaml")  # fmt: skip


def on_a_laptop(words: list[str], folder: str, environment: dict[str, str], log: str) -> None:
    """A command on a machine called HOST, of somebody called USER."""
    socket.gethostname = lambda: HOST
    names = dict.fromkeys(("USER", "LOGNAME", "USERNAME"), USER)
    figures.in_a_process(words, folder, environment | names, log)


class Commands(figures.Commands):  # type: ignore[name-defined,misc]
    target = staticmethod(on_a_laptop)


def main(out: Path) -> None:
    shutil.rmtree(ROOT, ignore_errors=True)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    home, travel, apart = (Commands(Path(ROOT) / name) for name in ("home", "travel", "apart"))
    corpora(home)
    for name in FINISHED:
        home.run(*CALLS[name])
    home.run("adapters", "export", "john", "exported")
    expected: dict[str, Any] = {"commit": commit(), "runs": runs_of(home), "bundle": bundle(home, out)}
    for other in (travel, apart):
        without_runs = shutil.ignore_patterns("mlflow.db", "mlruns", "adapters", "exported")
        shutil.copytree(home.folder, other.folder, dirs_exist_ok=True, ignore=without_runs)
    apart.run(*CALLS["cut-off.yaml"])
    (expected["whole"],) = runs_of(apart).values()
    kill_a_training(home)
    kill_a_sweep(home)
    expected["signatures"] = signatures(home)
    expected["half"] = half_sent(travel)
    expected["offline"] = offline(travel)  # a later one that is not offline would send it
    for path in travel.folder.iterdir():
        if path.name not in ("mlflow.db", "mlruns", "spool"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for commands in (home, travel):
        pack(commands.folder, out / f"{commands.folder.name}.tar.xz")
    (out / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")
    shutil.rmtree(ROOT)


def commit() -> str:
    """The commit of the code that writes."""
    words = ["git", "rev-parse", "HEAD"]
    return subprocess.run(words, cwd=figures.checkout(), capture_output=True, text=True, check=True).stdout.strip()


def corpora(home: Commands) -> None:
    """Pure tones, which nearly vanish when compressed, and the configurations."""
    for name, text in CONFIGS.items():
        (home.folder / name).write_text(text.lstrip())
    figures.words_corpus(home, "words/train.jsonl.gz", {"ann": 6, "ben": 6}, seed=0, noise=0.0)
    figures.words_corpus(home, "words/val.jsonl.gz", {"cho": 4}, seed=1, noise=0.0)
    figures.words_corpus(home, "john/all.jsonl.gz", {"john": 8}, seed=2, noise=0.0)
    figures.learners_corpus(home, "l2", {"train": 8, "val": 4, "test": 4}, noise=0.0)


def runs_of(commands: Commands) -> dict[str, Any]:
    """Name -> id, family, status and figures of each run."""
    runs: dict[str, Any] = figures.Reader(commands.folder).all()
    ids = dict(commands.rows("select name, run_uuid from runs"))
    found = {}
    for name, run in runs.items():
        run_id = next(one for full, one in ids.items() if full == f"{name}-{one[:8]}")
        kept = {key: run[key] for key in ("status", "metrics")} | {"signature": run["tags"].get("signature", "")}
        found[name] = {"id": run_id, "family": run["tags"]["family"], **kept}
    return found


def bundle(home: Commands, out: Path) -> dict[str, Any]:
    """Archive the evaluation, and leave its bundle alone of it; what it is."""
    name, run = next((name, run) for name, run in runs_of(home).items() if run["family"] == "evaluate")
    copy = Commands(Path(ROOT) / "archive")
    shutil.copytree(home.folder, copy.folder, dirs_exist_ok=True)
    moved(copy.folder / "mlflow.db", str(home.folder), str(copy.folder))
    scrub_store(copy.folder / "mlflow.db")
    copy.run("archive", run["id"], "--to", "bundles")
    (file,) = (copy.folder / "bundles").iterdir()
    shutil.copy(file, out / "bundle.tar.zst")
    return {"name": name, "file": file.name, **run}


def kill_a_training(home: Commands) -> None:
    """A training that is gone when it has written two checkpoints of twelve."""
    process = home.start(*CALLS["cut-off.yaml"])
    until = time.monotonic() + 300
    while len(list((home.folder / "checkpoints").glob("*/checkpoint-*/COMPLETE"))) < 2 and process.is_alive():
        assert time.monotonic() < until
        time.sleep(0.002)
    process.kill()
    process.join()


def kill_a_sweep(home: Commands) -> None:
    """A sweep that is gone in its second trial."""
    query = "select count(*) from runs join tags using (run_uuid) where key = 'asr_lab.kind' and value = 'trial'"
    process = home.start(*CALLS["sweep.yaml"])
    until = time.monotonic() + 300
    while home.rows(query) in ([], [(0,)], [(1,)]) and process.is_alive():
        assert time.monotonic() < until
        time.sleep(0.02)
    process.kill()
    process.join()


def signatures(home: Commands) -> dict[str, str]:
    """Configuration -> signature of its run."""
    query = (
        "select value from runs join tags using (run_uuid) where key = 'asr_lab.signature' and name like '{}-%' "
        "order by start_time"
    )
    names = {"base.yaml": "base", "cut-off.yaml": "cut-off", "adapter.yaml": "john", "wav2vec2.yaml": "tiny",
             "lora.yaml": "lora", "curriculum.yaml": "kids", "pronunciation.yaml": "simple",
             "evaluate.yaml": "evaluate", "sweep.yaml": "sweep", "arms.yaml": "ways"}  # fmt: skip
    return {file: home.rows(query.format(name))[0][0] for file, name in names.items()}


def offline(travel: Commands) -> dict[str, Any]:
    """A training that never saw its store; what it recorded."""
    known = set((travel.folder / "spool").iterdir())
    travel.run("train", "base.yaml", "run.name=offline", "run.register_as=", "train.epochs=2", "--offline")
    (spool,) = set((travel.folder / "spool").iterdir()) - known
    return {"id": spool.name, "metrics": recorded(spool)}


def half_sent(travel: Commands) -> dict[str, Any]:
    """A training whose store went away while it ran, and that was killed then; what it recorded."""
    process = travel.start("train", "cut-off.yaml", "run.name=half")
    while not travel.rows("select 1 from metrics"):
        assert process.is_alive()
        time.sleep(0.005)
    (spool,) = (travel.folder / "spool").iterdir()
    with closing(sqlite3.connect(travel.folder / "mlflow.db", timeout=60, isolation_level=None)) as store:
        store.execute("begin exclusive")
        begun = lines = (spool / "events.jsonl").read_text().count("\n")
        while process.is_alive() and lines < begun + 5:
            lines = (spool / "events.jsonl").read_text().count("\n")
            time.sleep(0.005)
        process.kill()
        process.join()
    return {"id": spool.name, "metrics": recorded(spool)}


def recorded(spool: Path) -> dict[str, float]:
    """The last value of each metric of a spool, of those that are no times."""
    values: dict[str, float] = {}
    for line in (spool / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["kind"] == "metrics":
            values |= event["values"]
    return {name: value for name, value in values.items() if not figures.TIMES.search(name)}


# --- what belongs to the machine goes ---


def pack(folder: Path, archive: Path) -> None:
    """Scrub a folder and compress it."""
    (folder / "log.txt").unlink(missing_ok=True)
    hardware = scrub_store(folder / "mlflow.db")
    words = [*hardware, str(figures.checkout()), sys.prefix, str(HERE.parents[1])]
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".db":
            scrub(path, words)
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for path in sorted(folder.rglob("*"), key=lambda path: (path.suffix, path.name, str(path))):
            if path.is_file() and is_needed(path.relative_to(folder)):
                packed.add(path, str(path.relative_to(folder)), filter=anonymous)
    print(f"{archive}: {archive.stat().st_size / 1e3:.0f} kB")


def scrub_store(file: Path) -> set[str]:
    """Take machine and user out of a store; what the machine was called."""
    with closing(sqlite3.connect(file)) as store:
        store.execute("pragma wal_checkpoint(truncate)")
        hardware = {row[0] for row in store.execute("select value from tags where key = 'asr_lab.hardware'")}
        store.execute("update tags set value = 'processor' where key = 'asr_lab.hardware'")
        store.execute(f"update tags set value = '{USER}' where key = 'mlflow.user'")
        store.execute(f"update runs set user_id = '{USER}'")
        store.commit()
        store.execute("vacuum")
    return hardware


def is_needed(path: Path) -> bool:
    """Pictures, and the copies of the code that come with each model, would be nine tenths of an archive."""
    picture = path.suffix == ".png" and path.parts[0] != "spool"
    return path.name != "lock" and not picture and not (path.suffix == ".py" and "code" in path.parts)


def anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def scrub(path: Path, words: list[str]) -> None:
    """Overwrite these words in a file with as many characters, and say where they remain."""
    content = path.read_bytes()
    for word in words:
        plain = "processor".ljust(len(word.encode()), ".").encode()[: len(word.encode())]
        content = content.replace(word.encode(), plain)
    if content != path.read_bytes():
        times = path.stat()
        path.write_bytes(content)
        os.utime(path, (times.st_atime, times.st_mtime))
    for word in (os.uname().nodename, str(Path.home())):
        if word.encode() in content and len(word) > 4:
            print(f"{path} names {word}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "fixtures")
