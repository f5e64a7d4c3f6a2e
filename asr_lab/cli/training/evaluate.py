"""`asr-lab evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr_lab.cli.completion import AdapterName, ConfigKey, ModelName
from asr_lab.cli.config_options import TAKES_CONFIG_KEYS, config_keys, keys_help, overrides_option
from asr_lab.cli.jobs import Jobs, part_options
from asr_lab.cli.options import console, echo, offline_option
from asr_lab.cli.training.experiments import run, show_outcome
from asr_lab.config.dotted import nest
from asr_lab.config.identity import dump_yaml
from asr_lab.config.load import load, parse_overrides, parse_words
from asr_lab.config.yaml_files import read_yaml
from asr_lab.data.importers.hints import quoted
from asr_lab.engines.work import Piece
from asr_lab.errors import AsrLabError
from asr_lab.system.files import write_text

if TYPE_CHECKING:
    from asr_lab.config.schema import EvaluateExperiment
    from asr_lab.recipes.parts import PartsPlan

_USAGE = "asr-lab evaluate MODEL MANIFEST"
_TABLES = (".jsonl.gz", ".jsonl", ".json", ".csv", ".tsv", ".txt", ".xlsx")


@click.command(context_settings=TAKES_CONFIG_KEYS, epilog=keys_help("evaluate"))
@click.option(
    "--model", type=ModelName("models:/"), help="The recogniser: registry URI or name, runs:/ID/model, or folder."
)
@click.option("--data", help="Manifest of the test data, or a folder with test.jsonl.gz; with --tune of val.")
@click.option("--adapter", type=AdapterName(), help="A speaker's adapter: name, file, or registry URI.")
@click.option("--config", type=click.Path(path_type=Path), help="Config file; options override it.")
@click.argument("keys", nargs=-1, type=ConfigKey(("evaluate",)), metavar="[MODEL] [MANIFEST] [KEY=VALUE]...")
@overrides_option
@offline_option
@click.option("--audio", is_flag=True, help="Include the audio in the page; off by default, as voices are private.")
@click.option("--save-predictions", is_flag=True, help="Also log all predictions of each utterance as JSON lines.")
@click.option(
    "--tune",
    is_flag=True,
    help="Search the weights of decode.lm for the lowest WER on DATA, which should be validation data.",
)
@click.option("--learner-pages", is_flag=True, help="Pronunciation: log a page with audio for each speaker.")
@part_options
def evaluate(
    model: str | None,
    data: str | None,
    adapter: str | None,
    config: Path | None,
    keys: tuple[str, ...],
    texts: tuple[str, ...],
    audio: bool,
    save_predictions: bool,
    tune: bool,
    learner_pages: bool,
    offline: bool,
    jobs: Jobs,
    part: str | None,
    job: Path | None,
) -> None:
    """Evaluate a recogniser on a manifest: WER with its interval and CER, in total and by slice (age, gender, SNR,
    duration), recorded as a run with a page of all utterances to filter and, with --audio, to play.

    \b
    Examples:
      asr-lab evaluate models:/deepspeech2@champion corpora/demo/test.jsonl.gz
      asr-lab evaluate --model models:/deepspeech2@champion --adapter john \\
          --data corpora/demo/persons/john/test.jsonl.gz --audio
      asr-lab evaluate --model models:/pronunciation-cross@champion --data corpora/l2/test-hard.jsonl.gz \\
          --save-predictions --learner-pages
      asr-lab evaluate --model models:/deepspeech2@champion --data corpora/demo/val.jsonl.gz decode.lm=demo.arpa --tune
      asr-lab evaluate models:/deepspeech2@champion corpora/large/test.jsonl.gz --engine slurm --jobs 16
    """
    tune = tune or _tunes(keys, texts, config)
    named, rest = _positional(keys, {"model": model or "", "data": data or ""}, "val" if tune else "test")
    options = {f"evaluate.{name}": value for name, value in named.items()} | {"evaluate.adapter": adapter}
    flags = {"audio": audio, "save_predictions": save_predictions, "learners": learner_pages, "tune": tune}
    options |= {"evaluate.split": "val"} if tune else {}
    options |= {f"evaluate.{name}": "true" for name, given in flags.items() if given}
    chosen = {key: value for key, value in options.items() if value}
    settings = chosen | config_keys(texts, rest)
    if config is None:
        _check_complete(settings)
    experiment = load(config, settings, "evaluate")
    if part and job:
        _do_part(experiment, part, job)
        return
    with ExitStack() as stack:  # the files of parts stay until the run is recorded
        parts = partial(_by_jobs, jobs, stack) if jobs.engine else None
        show_outcome(run(experiment, dry_run=False, offline=offline, demo=False, parts=parts))


def _by_jobs(jobs: Jobs, stack: ExitStack, planned: PartsPlan) -> Sequence[Path]:
    """Have each part computed by a job, with a configuration of its own folder."""
    content = dump_yaml(planned.config)

    def pieces(folder: Path) -> list[Piece]:
        file = folder / "config.yaml"
        write_text(file, content)
        return jobs.parts(["evaluate", "--config", str(file)], folder, ".jsonl")

    return stack.enter_context(jobs.results(["evaluate", content, *planned.identity.values()], pieces))


def _do_part(experiment: EvaluateExperiment, part: str, file: Path) -> None:
    from asr_lab.recipes.evaluate import evaluate_part
    from asr_lab.recipes.parts import Part
    from asr_lab.tracking.models.model_store import MlflowStore

    evaluate_part(experiment, MlflowStore(), Part.parse(part), file, console())


def _tunes(words: Sequence[str], texts: Sequence[str], config: Path | None) -> bool:
    """Return whether `evaluate.tune=true` is given as a key, or in a config file that says nothing of the split."""
    given = parse_overrides(texts) | parse_words(word for word in words if word.startswith("evaluate.tune="))
    if "evaluate.tune" in given:
        return given["evaluate.tune"] is True
    in_file = nest(read_yaml(config)).get("evaluate", {}) if config else {}
    return isinstance(in_file, Mapping) and in_file.get("tune") is True and "split" not in in_file


def _positional(words: Sequence[str], options: Mapping[str, str], split: str) -> tuple[dict[str, str], list[str]]:
    """Return the model and the data of options and words, distinguished by their form, and the other words.

    Of a folder of manifests, the data are that of the split. Raises `AsrLabError` if there are two models, or two
    manifests.
    """
    given = {name: [value] for name, value in options.items() if value}
    rest, words = list[str](), list(words)
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            rest += [word, *([] if "=" in word else words[:1])]
            words = words if "=" in word else words[1:]
        elif _is_data(word):
            given.setdefault("data", []).append(word)
        elif "=" in word or word in ("true", "false"):  # the latter after a flag
            rest.append(word)
        else:
            given.setdefault("model", []).append(word)
    for name, several in given.items():
        if len(several) > 1 and name == "model":
            _refuse_folder_without_manifest(several)
        if len(several) > 1:
            kind = "models" if name == "model" else "manifests"
            raise AsrLabError(f"{len(several)} {kind}: {', '.join(several)}", allowed=f"{_USAGE} KEY=VALUE ...")
    chosen = {name: value for name, (value,) in given.items()}
    if "data" in chosen and Path(chosen["data"]).is_dir():
        chosen["data"] = _manifest_of(Path(chosen["data"]), split)
    return chosen, rest


def _refuse_folder_without_manifest(words: Sequence[str]) -> None:
    """Raise `AsrLabError` if one of the words is a folder that holds no model: it is meant as data."""
    for folder in (Path(word) for word in words if Path(word).is_dir()):
        if not (folder / "config.json").is_file():
            raise AsrLabError(
                "the folder holds no manifest",
                where=str(folder),
                allowed="a manifest (*.jsonl.gz), or a folder of them",
                next_command=f"asr-lab data import {quoted(str(folder))} OUT",
            )


def _is_data(word: str) -> bool:
    """Return whether a word looks like a manifest, a table, or a folder of manifests."""
    path = Path(word)
    is_table = path.name.endswith(_TABLES) and (path.is_file() or "=" not in word)
    return is_table or (path.is_dir() and next(path.glob("*.jsonl.gz"), None) is not None)


def _manifest_of(folder: Path, split: str) -> str:
    """Return the manifest of a folder's split, and print it."""
    from asr_lab.data.manifest_folder import split_manifests

    if split not in (splits := split_manifests(folder)):
        raise AsrLabError(
            f"the folder has no {split}.jsonl.gz",
            where=str(folder),
            allowed=f"one of its manifests: {', '.join(map(str, splits.values()))}",
        )
    echo(f"data: {splits[split]}")
    return str(splits[split])


def _check_complete(settings: Mapping[str, Any]) -> None:
    """Raise `AsrLabError` with the command if the model or the manifest is missing."""
    model, data = (str(settings.get(f"evaluate.{name}") or "") for name in ("model", "data"))
    if not (model and data):
        lacking = " and ".join(name for name, given in (("MODEL", model), ("MANIFEST", data)) if not given)
        example = (quoted(model or "models:/NAME@champion"), quoted(data or "corpora/mine/test.jsonl.gz"))
        raise AsrLabError(
            f"{lacking}: required, but not given",
            allowed="a model (models:/NAME@champion, runs:/ID/model, a folder) and a manifest (*.jsonl.gz)",
            next_command=f"asr-lab evaluate {' '.join(example)}",
        )
