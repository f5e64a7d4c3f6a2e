"""The splits of a configuration that names only some: those of the same corpus, never those of the demo.

The demo corpus is the default of `data.train`, `data.val` and `data.test` together. Once one of them is given, a split
that is not given is the manifest beside it, or the configuration is refused.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from asr_lab.config.dotted import nest
from asr_lab.config.identity import defaults
from asr_lab.config.load import validate
from asr_lab.config.schema import Experiment
from asr_lab.config.schema.base import SPLITS
from asr_lab.data.identity import SUFFIX
from asr_lab.data.manifest_folder import manifest_in, sibling
from asr_lab.errors import AsrLabError, listing

E = TypeVar("E", bound=Experiment)


@dataclass(frozen=True)
class Splits:
    """The manifests of splits that were not given, or given as a folder, and a line on each."""

    paths: Mapping[str, str]
    """Split -> manifest."""
    notes: list[str]


def with_own_splits(config: E) -> tuple[E, list[str]]:
    """Return the configuration with the splits that it does not name, and a line on each of these.

    A folder given for a manifest stands for the one in it. Nothing else changes if all splits are given, or
    none. Raises `AsrLabError` if a split that is needed is neither given nor beside the others.
    """
    config, notes = _with_manifests_of_parts(config)
    data = getattr(config, "data", None)
    if data is None:
        return config, notes
    given = {split: str(getattr(data, split)) for split in SPLITS if split in data.model_fields_set}
    completed = complete(type(config), given, config.part_manifests())
    notes += completed.notes
    return _changed(config, {f"data.{split}": path for split, path in completed.paths.items()}), notes


def _with_manifests_of_parts(config: E) -> tuple[E, list[str]]:
    """Return the configuration with manifests in place of folders for parts that have data of their own."""
    parts = {key: Path(path) for key, path in config.part_manifests().items()}
    folders = {key: path for key, path in parts.items() if path.is_dir()}
    named = {key: str(manifest_in(folder, config.split_of(key), key)) for key, folder in folders.items()}
    return _changed(config, named), [f"{key} is {path}" for key, path in named.items()]


def _changed(config: E, keys: Mapping[str, str]) -> E:
    content = nest(keys, nest(config.model_dump(exclude_unset=True)))  # methods have dotted keys too
    return validate(type(config), content, "the command line") if keys else config


def complete(kind: type[Experiment], given: Mapping[str, str], parts: Mapping[str, str] | None = None) -> Splits:
    """Return the splits that are not `given` (split -> manifest, or its folder) to a kind of experiment.

    `parts` are further manifests that are given: config key -> manifest of training data.
    """
    folders = {split: Path(path) for split, path in given.items() if path and Path(path).is_dir()}
    named = {split: str(manifest_in(folder, split, f"data.{split}")) for split, folder in folders.items()}
    others = _beside(kind, {**given, **named}, parts or {})
    notes = [f"data.{split} is {path}" for split, path in named.items()]
    return Splits({**named, **others.paths}, notes + others.notes)


def _beside(kind: type[Experiment], given: Mapping[str, str], parts: Mapping[str, str]) -> Splits:
    """Return the splits that are not given; those given are manifests."""
    usual = {key.removeprefix("data."): str(value) for key, value in defaults(kind).items() if key.startswith("data.")}
    usual = {split: usual[split] for split in SPLITS if usual.get(split)}
    named = {f"data.{split}": path for split, path in given.items() if path} | dict(parts)
    missing = [split for split in usual if split not in given]
    if not usual or not named:
        return Splits({}, [])  # everything is the demo's
    if not missing:
        return Splits({}, _of_the_demo(usual, named))
    key = next((f"data.{split}" for split in SPLITS if f"data.{split}" in named), next(iter(named)))
    split, beside = key.removeprefix("data.") if key.startswith("data.") else "train", Path(named[key])
    paths, notes = {}, []
    for wanted in missing:
        of_the_demo = Path(usual[wanted])
        if of_the_demo.parent == beside.parent:
            continue  # its default is the manifest beside the given one
        if not beside.is_file():
            raise AsrLabError("no such manifest", where=str(beside), allowed=f"a file of Lhotse cuts ({SUFFIX})")
        if found := sibling(beside, split, wanted):
            paths[wanted] = str(found)
            notes.append(f"data.{wanted} is {found}, which is beside {key}")
        elif wanted == "test":
            paths[wanted] = ""
            notes.append(f"not tested: data.test is not given, and no test{SUFFIX} belongs to {key}={beside}")
        else:
            raise _missing(key, beside, [one for one in missing if one not in paths], named)
    return Splits(paths, notes + _of_the_demo(usual, named))


def _missing(key: str, beside: Path, missing: Iterable[str], named: Mapping[str, str]) -> AsrLabError:
    keys = [f"data.{split}" for split in missing]
    given = listing(f"{name}={path}" for name, path in named.items())
    return AsrLabError(
        f"{given} {'is' if len(named) == 1 else 'are'} given, but not {listing(keys)}, and not found beside {key}",
        where=str(beside.parent),
        allowed=f"{' '.join(f'{name}=MANIFEST' for name in keys)}; the demo's are used only where no data are given",
        next_command=f"asr-lab data split {shlex.quote(str(beside))} {shlex.quote(str(beside.parent))}"
        if key == "data.train"
        else "",
    )


def _of_the_demo(usual: Mapping[str, str], named: Mapping[str, str]) -> list[str]:
    """Return a line if some of the given manifests are in the folder of the demo, and others are not."""
    folder = Path(next(iter(usual.values()))).parent
    demo = [f"{key}={path}" for key, path in named.items() if folder in Path(path).parents]
    if not demo or len(demo) == len(named):
        return []
    return [f"beside data of your own the configuration names the demo's: {listing(demo)}"]
