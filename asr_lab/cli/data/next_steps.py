"""What comes after a corpus is imported or split, and the manifest of a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from asr_lab.cli.options import echo
from asr_lab.config.nearby import nearby_configs
from asr_lab.data.importers.hints import quoted
from asr_lab.errors import AsrLabError, listing
from asr_lab.families import taken_by

FEWEST_SPEAKERS = 3
"""Of a split into train, val and test, which share no speaker."""
_WHOLE = "all"


def import_command(source: Path) -> str:
    """Return the command that imports what is no manifest."""
    out = Path("corpora") / (source.resolve().name.partition(".")[0] or "mine")
    return f"asr-lab data import {quoted(str(source))} {quoted(str(out))}"


def whole_manifest(path: Path) -> Path:
    """Return a manifest as it is, and of a folder `all.jsonl.gz`, or its only one.

    Raises `AsrLabError` with the next command for a folder without, and for what is no manifest.
    """
    from asr_lab.data.identity import SUFFIX

    if path.is_file() and not path.name.endswith(SUFFIX):
        raise AsrLabError(
            "not a manifest",
            where=str(path),
            allowed=f"a file of Lhotse cuts ({SUFFIX})",
            next_command=import_command(path),
        )
    if not path.is_dir():
        return path
    manifests = sorted(path.glob(f"*{SUFFIX}"))
    whole = [one for one in manifests if one.name == f"{_WHOLE}{SUFFIX}"] or manifests
    if len(whole) == 1:
        return whole[0]
    if not whole:
        raise AsrLabError("the folder has no manifest", where=str(path), next_command=import_command(path))
    raise AsrLabError(
        f"the folder has several manifests, and no all{SUFFIX}",
        where=str(path),
        allowed=f"one of {listing(one.name for one in whole)}",
        next_command=train_command(path) if path / f"train{SUFFIX}" in whole else "",
    )


def train_command(folder: Path) -> str:
    """Return the command that trains on the manifests of a folder."""
    configs = nearby_configs(*taken_by("train"))
    if configs:
        return f"asr-lab train {quoted(configs[0])} --data {quoted(str(folder))}"
    return f"asr-lab init, then asr-lab train deepspeech2.yaml --data {quoted(str(folder))}"


def print_after_import(splits: Mapping[str, Iterable[Any]], out: Path) -> None:
    """Print the command that comes after an import: of a split, or of a training."""
    from asr_lab.data import manifest

    if "train" in splits and "val" in splits:
        echo(f"  next  {train_command(out)}")
    elif _WHOLE in splits or len(splits) == 1:
        (cuts,) = [splits[_WHOLE]] if _WHOLE in splits else splits.values()
        speakers = {str(manifest.supervision(cut).speaker) for cut in cuts}
        echo(f"  next  {split_command(out, out, len(speakers))}")
        if len(speakers) == 1:
            base = "asr-lab adapter --base MODEL --name NAME --data"
            echo(f"  or    {base} {quoted(str(out))}, to adapt a model to this speaker")
    else:
        name = "train" if "train" in splits else min(splits)
        path = out / f"{name}{manifest.SUFFIX}"
        echo(f"  next  asr-lab data split {quoted(str(path))} {quoted(str(out / 'split'))}")


def split_command(source: Path, out: Path, speakers: int) -> str:
    """Return the command that splits a manifest: by sentences if there are not enough speakers."""
    words = [quoted(str(source)), *([quoted(str(out))] if out != source else [])]
    return f"asr-lab data split {' '.join(words)}" + ("" if speakers >= FEWEST_SPEAKERS else " --by text")
