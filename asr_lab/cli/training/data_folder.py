"""`--data FOLDER` of commands that train, and what users give in place of CONFIG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from asr_lab.config.load import keys
from asr_lab.config.nearby import nearby_configs
from asr_lab.config.yaml_files import read_yaml
from asr_lab.data.importers.hints import quoted
from asr_lab.errors import AsrLabError, listing
from asr_lab.families import FAMILIES, config_class

F = TypeVar("F", bound=Callable[..., Any])

_MANIFEST = ".jsonl.gz"
_CONFIGS = (".yaml", ".yml")


def data_option(function: F) -> F:
    """`--data FOLDER`."""
    return click.option(
        "--data", metavar="FOLDER", help="Folder with train, val and test manifests, as asr-lab data split writes them."
    )(function)


def split_keys(data: str | None, recipe: str) -> dict[str, str]:
    """Return the config keys of the manifests of a folder; without a test there, none is tested.

    A manifest is `data.train`. Raises `AsrLabError` if a split that is needed is missing, with the command that makes
    it.
    """
    if not data:
        return {}
    from asr_lab.data.manifest_folder import split_manifests

    folder = Path(data)
    if folder.is_file() and folder.name.endswith(_MANIFEST):
        return {"data.train": data}
    if folder.is_file():
        raise _not_imported(folder)
    splits = split_manifests(folder)
    own = keys(config_class(recipe))
    if missing := [split for split in ("train", "val") if f"data.{split}" in own and split not in splits]:
        raise AsrLabError(
            f"the folder has no {listing(f'{split}{_MANIFEST}' for split in missing)}",
            where=str(folder),
            allowed=f"train{_MANIFEST}, val{_MANIFEST}; it has {listing(path.name for path in splits.values())}",
            next_command=f"asr-lab data split MANIFEST {quoted(data)}",
        )
    optional = {f"data.{split}": "" for split in ("test", "test_hard") if f"data.{split}" in own}
    return optional | {f"data.{split}": str(path) for split, path in splits.items() if f"data.{split}" in own}


def checked_config(config: Path | None, data: str | None, command: str, recipes: Sequence[str]) -> Path:
    """Return the configuration; raises `AsrLabError` with the next command if it is missing, data, or a table."""
    if config is not None and config.suffix in _CONFIGS and not config.is_dir():
        return config
    if config is None or (not config.exists() and "=" in str(config)):
        raise _no_config("no configuration is given", "", data, command, recipes)
    if config.name.endswith(_MANIFEST):
        folder = str(config.parent) if config.stem.partition(".")[0] in ("train", "val", "test") else str(config)
        raise _no_config("a manifest, not a configuration", str(config), folder, command, recipes)
    if config.is_dir():
        raise _folder_as_config(config, command, recipes)
    if config.is_file():
        try:
            read_yaml(config)
        except AsrLabError:
            raise _not_imported(config) from None
    return config


def recipe_of_config(config: Path, recipes: Sequence[str]) -> str:
    """Return the recipe that a configuration names, the first of `recipes` if it names none."""
    named = str(read_yaml(config).get("recipe", recipes[0]))
    return named if named in FAMILIES else recipes[0]


def _folder_as_config(folder: Path, command: str, recipes: Sequence[str]) -> AsrLabError:
    if next(folder.glob(f"*{_MANIFEST}"), None):
        return _no_config("a folder of manifests, not a configuration", str(folder), str(folder), command, recipes)
    inside = sorted(str(path) for path in folder.iterdir() if path.suffix in _CONFIGS)
    if inside:
        return AsrLabError(
            "a folder, not a configuration",
            where=str(folder),
            allowed=listing(inside),
            next_command=f"asr-lab {command} {quoted(inside[0])}",
        )
    return _not_imported(folder)


def _no_config(what: str, where: str, data: str | None, command: str, recipes: Sequence[str]) -> AsrLabError:
    configs = nearby_configs(*recipes)
    option = f" --data {quoted(data)}" if data else ""
    family = f" --family {recipes[0]}" if len(recipes) == 1 else ""
    return AsrLabError(
        what,
        where=where,
        allowed=listing(configs) if configs else "a YAML file; asr-lab init writes one",
        next_command=f"asr-lab {command} {quoted(configs[0])}{option}"
        if configs
        else f"asr-lab init{family}, then asr-lab {command} {recipes[0]}.yaml{option}",
    )


def _not_imported(path: Path) -> AsrLabError:
    """Return the refusal of something that has to become manifests first."""
    out = quoted(f"corpora/{path.resolve().name.partition('.')[0] or 'mine'}")
    return AsrLabError(
        "neither a configuration nor manifests",
        where=str(path),
        allowed=f"a YAML file; data become manifests first, and are split: asr-lab data split {out}",
        next_command=f"asr-lab data import {quoted(str(path))} {out}",
    )
