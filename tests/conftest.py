"""What tests share: tiny corpora of real sound, a tracking store of their own, and the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from empty_store import empty_store, moved
from filelock import FileLock
from forks import Forked

# before mlflow is imported: no test ever writes to a store that is not its own
os.environ["MLFLOW_TRACKING_URI"] = "sqlite:////dev/null/set-a-store-of-your-own.db"
os.environ.pop("MLFLOW_RUN_ID", None)

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
if WORKER and hasattr(os, "sched_setaffinity"):  # before torch is imported: each worker has a core of its own,
    cores = sorted(os.sched_getaffinity(0))  # for two that share cores slow each other many times over
    os.sched_setaffinity(0, {cores[int(WORKER.removeprefix("gw")) % len(cores)]})

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
FSDD = SHARED / "data" / "fsdd" / "recordings"


def tone_word(word: str, rng: np.random.Generator, rate: int = 16000) -> np.ndarray:
    """A sound of its own for each letter: two tones, 80 ms, a little noise. Learnable within seconds."""
    pieces = []
    time = np.arange(int(0.08 * rate)) / rate
    for letter in word:
        if letter == " ":
            pieces.append(np.zeros(int(0.06 * rate)))
            continue
        low = 300 + 90 * (ord(letter) - ord("a"))
        pieces.append(0.2 * np.sin(2 * np.pi * low * time) + 0.1 * np.sin(2 * np.pi * (low + 1500) * time))
        pieces.append(np.zeros(int(0.03 * rate)))
    signal = np.concatenate([np.zeros(800), *pieces, np.zeros(800)])
    return (signal + rng.normal(0, 0.003, len(signal))).astype(np.float32)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty tracking store and a working folder with nothing else."""
    import mlflow

    uri = empty_store(tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    mlflow.set_tracking_uri(uri)  # what an earlier test said weighs more than the environment
    return tmp_path


def make_corpus(folder: Path, texts: dict[str, str], *, speaker: str = "ann", seed: int = 0, **custom) -> Path:
    """Write a sound for each text and the manifest `folder/all.jsonl.gz`."""
    from asr_lab.data import manifest

    rng = np.random.default_rng(seed)
    cuts = []
    for id, text in texts.items():
        audio = folder / "audio" / f"{id}.wav"
        audio.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(audio, tone_word(text, rng), 16000, subtype="PCM_16")
        cuts.append(manifest.utterance(id=id, audio=audio, text=text, speaker=speaker, language="en", **custom))
    path = folder / "all.jsonl.gz"
    manifest.write(cuts, path)
    return path


WORDS = ("abba", "cab", "dad", "bed", "ace", "fad", "gab", "beef", "cafe", "egg")


@pytest.fixture
def corpus(tmp_path) -> Path:
    """Twenty-four utterances of two words each; the path of the manifest."""
    rng = np.random.default_rng(1)
    texts = {f"u{i:02d}": " ".join(rng.choice(WORDS, 2)) for i in range(24)}
    return make_corpus(tmp_path / "corpus", texts)


@pytest.fixture
def recognizer():
    """A DeepSpeech2 of random weights, of the letters that `WORDS` have."""
    import torch

    from asr_lab.data.text import TextNormalizer, build_vocabulary
    from asr_lab.models.deepspeech2_pretrained import DeepSpeech2Config, DeepSpeech2ForCTC
    from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer

    torch.manual_seed(0)
    vocabulary = build_vocabulary(["abcdefg"])
    config = DeepSpeech2Config(vocab_size=len(vocabulary), hidden_size=8, num_layers=1, conv_channels=4)
    return DeepSpeech2Recognizer(DeepSpeech2ForCTC(config).eval(), vocabulary, TextNormalizer())


def asr_lab(*arguments: str, cwd: Path, env: dict[str, str] | None = None, timeout: float = 600, forked: bool = True):
    """Run `asr-lab` in a process of its own; the finished process with `stdout` and `stderr` as text.

    It is a fork, which imports nothing anew; `forked=False`: a new Python, as a user starts it.
    """
    words = ["-m", "asr_lab", *map(str, arguments)]
    own = {"MLFLOW_TRACKING_URI": f"sqlite:///{cwd}/mlflow.db", "COLUMNS": "200"}
    environment = {**os.environ, **own, **(env or {})}
    if not forked:
        words = [sys.executable, *words]
        return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout)
    process = Forked(words, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout)
    return subprocess.CompletedProcess(words, process.wait(), out, err)


ON_CORPUS = ["data.train=corpus/all.jsonl.gz", "data.val=corpus/all.jsonl.gz"]

TINY = [
    "data.test=",
    "model.hidden_size=32",
    "model.conv_channels=8",
    "train.epochs=8",
    "train.batch_size=4",
    "train.lr=5e-3",
    "augment.time_masks=0",
    "augment.freq_masks=0",
    "run.seed=1",
]


def run(*arguments: str):
    """A command in this process; click's result."""
    from asr_lab.cli import cli

    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def ok(*arguments: str) -> str:
    """The output of a command that succeeds."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output + str(result.exception)
    return result.output


def refused(*arguments: str) -> str:
    """The message of a command that a user's mistake ends: exit code 1, no traceback."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture(scope="session")
def furnished(tmp_path_factory):
    """What `home` is a copy of, made once for all processes of a session."""
    everyone = tmp_path_factory.getbasetemp().parent if WORKER else tmp_path_factory.getbasetemp()
    folder = everyone / "furnished"
    with FileLock(everyone / "furnished.lock"):
        if not (folder / "adapter.txt").exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a process left that was killed, or failed
            folder.mkdir()
            furnish(folder)
    return folder


def furnish(folder: Path) -> None:
    """A corpus, a registered base and john's adapter, all tiny, and a store that knows them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", empty_store(folder / "mlflow.db"))
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        rng = np.random.default_rng(1)
        texts = {f"u{i:02d}": " ".join(rng.choice(WORDS, 2)) for i in range(48)}
        make_corpus(folder / "corpus", texts)
        john = {f"j{i:02d}": " ".join(rng.choice(WORDS, 2)) for i in range(20)}
        make_corpus(folder / "john", john, speaker="john", seed=5)
        shutil.copy(folder / "john" / "all.jsonl.gz", folder / "john.jsonl.gz")
        (folder / "base.yaml").write_text("recipe: deepspeech2\nrun: {name: base, register_as: deepspeech2}\n")
        corpus = folder / "corpus" / "all.jsonl.gz"
        folder.joinpath("train.txt").write_text(
            ok("train", "base.yaml", f"data.train={corpus}", f"data.val={corpus}", *TINY)
        )
        folder.joinpath("adapter.txt").write_text(
            ok("adapter", "--name", "john", "--data", "john/all.jsonl.gz", "--hidden-dims", "32,16")
        )


@pytest.fixture(scope="module")
def home(furnished, tmp_path_factory):
    """A folder with a corpus, a registered base and john's adapter, all tiny."""
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()  # where the artifacts of a run lie, as MLflow remembers it by the run's id
    folder = shutil.copytree(furnished, tmp_path_factory.mktemp("home"), dirs_exist_ok=True)
    moved(folder / "mlflow.db", str(furnished), str(folder))
    return folder


@pytest.fixture
def at_home(home, monkeypatch):
    """Stand in `home`, with its store."""
    import mlflow

    monkeypatch.chdir(home)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")


def newest(family: str, kind: str = "train"):
    """The newest run of a family and kind."""
    import mlflow

    client = mlflow.MlflowClient()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    condition = f"tags.`asr_lab.family` = '{family}' and tags.`asr_lab.kind` = '{kind}'"
    return client.search_runs(experiments, condition, order_by=["attributes.start_time DESC"])[0]


def artifacts(run_id: str, folder: str = "") -> set[str]:
    """Paths of the artifacts in a folder of a run."""
    import mlflow

    return {item.path for item in mlflow.MlflowClient().list_artifacts(run_id, folder)}


@pytest.fixture
def scored():
    """A score table of four utterances with ages, genders, noise and durations; one is left out, one has markup."""
    from asr_lab.metrics import error_rates

    references = {"a": "the cat sat", "b": "the dog ran", "c": "a bird", "d": "<b>fish</b> & chips"}
    table = error_rates.score(references, {"a": "the cat sat", "b": "the fog ran off", "c": "", "d": "fish chips"})
    table["age"], table["gender"] = [6, 7, 12, 40], ["female", "male", None, "male"]
    table["snr_db"], table["duration_s"] = [3.0, 12.5, 25.0, 9.99], [1.0, 2.0, 5.5, 20.0]
    return table
