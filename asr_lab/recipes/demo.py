"""Create the corpus and the base model of the demo, once, before a speaker's adapter is trained."""

from __future__ import annotations

from pathlib import Path

from rich.progress import Progress

from asr_lab.config.load import load
from asr_lab.config.schema import Adapter, AdapterExperiment
from asr_lab.errors import AsrLabError, listing
from asr_lab.interfaces.tracking import ModelStore, Tracker
from asr_lab.recipes.recognition.train import train
from asr_lab.system.terminal import Console

CORPUS = Path("corpora/demo")
BASE = str(Adapter.model_fields["base"].default)
_BASE_CONFIG = Path("experiments/deepspeech2/base.yaml")


def is_demo(path: str) -> bool:
    """Return whether a manifest belongs to the demo corpus."""
    return CORPUS in Path(path).parents


def ensure_corpus(console: Console, *, make: bool = True) -> None:
    """Create the demo corpus if it is missing, or without `make` raise `AsrLabError`."""
    if (CORPUS / "train.jsonl.gz").is_file():
        return
    if not make:
        raise AsrLabError("the demo corpus is not there yet", where=str(CORPUS), next_command="asr-lab data synth")
    from asr_lab.data.synthesis.corpus import make_demo

    console.print(f"making the demo corpus in {CORPUS} (once)")
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("synthesising", total=None)
        make_demo(CORPUS, progress=lambda done, total: bar.update(task, completed=done, total=total))


def ensure_base(tracker: Tracker, store: ModelStore, console: Console) -> None:
    """Train and register the base model of the demo if the registry has no champion."""
    if store.exists(BASE):
        return
    console.print(f"there is no {BASE} yet: training it (once)")
    named = {"run.name": "base", "run.register_as": "deepspeech2"}
    config = load(_BASE_CONFIG if _BASE_CONFIG.is_file() else None, named, "deepspeech2")
    train(config, tracker, console, own=True)


def with_demo_speaker(config: AdapterExperiment) -> AdapterExperiment:
    """Return the configuration with the manifests of a demo speaker. Raise `AsrLabError` if there is none."""
    if config.data.test:
        raise AsrLabError("data.test is set, data.train is not", allowed="both, or neither for the demo's speakers")
    name = config.adapter.name
    folder = CORPUS / "persons" / name
    if not folder.is_dir():
        speakers = sorted(path.name for path in (CORPUS / "persons").iterdir())
        raise AsrLabError(
            f"the demo corpus has no speaker {name!r}",
            allowed=listing(speakers),
            next_command=f"mlflow run . -e adapter -P name={name} -P data=MANIFEST.jsonl.gz, for a speaker of your own",
        )
    data = config.data.model_copy(
        update={"train": str(folder / "train.jsonl.gz"), "test": str(folder / "test.jsonl.gz")}
    )
    return config.model_copy(update={"data": data})
