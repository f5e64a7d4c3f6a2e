"""`asr-lab adapters list | info | export | import`."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr_lab.cli.completion import AdapterName
from asr_lab.cli.options import console, echo, format_option
from asr_lab.cli.tables import show
from asr_lab.errors import AsrLabError
from asr_lab.reports.table import Table
from asr_lab.system.files import atomic_file, explain_unwritable
from asr_lab.system.times import local_time, parse_time

if TYPE_CHECKING:
    from asr_lab.models.adapter import AdapterInfo

_PATH = click.Path(path_type=Path)
_dir_option = click.option(
    "--dir", "folder", default="adapters", show_default=True, type=_PATH, help="Folder of the adapter files."
)


@click.group()
def adapters() -> None:
    """List, inspect, export and import adapters.

    \b
    Examples:
      asr-lab adapters list
      asr-lab adapters info john
      asr-lab adapters export john /media/usb
      asr-lab adapters import old/jane_adapter.pt --base models:/deepspeech2@champion --register
    """


@adapters.command("list")
@_dir_option
@click.option("--registry", is_flag=True, help="List the adapters of the model registry instead of the folder.")
@format_option
def list_adapters(folder: Path, registry: bool, style: str) -> None:
    """List the adapters of a folder, or of the registry."""
    import pandas as pd

    rows = _registered() if registry else _in_folder(folder)
    if not rows and style == "table":
        echo(f"no adapters in {'the registry' if registry else folder} yet; try: asr-lab adapter --name NAME")
        return
    show(Table(frame=pd.DataFrame(rows), expendable=("created", "params", "size_mb")), style)


def _in_folder(folder: Path) -> list[dict[str, Any]]:
    from asr_lab.models.adapter import AdapterManager

    manager, rows = AdapterManager(folder), []
    for name in manager.names():
        try:
            rows.append(_row(manager.get_adapter_info(str(manager.path(name)))))
        except AsrLabError as error:
            rows.append({"name": name, "form": f"cannot be used: {error.what}"})
    return rows


def _row(info: AdapterInfo) -> dict[str, Any]:
    return {
        "name": info.adapter_name,
        "form": info.form,
        "base": info.base or "unknown",
        "hidden_dims": ",".join(map(str, info.hidden_dims)),
        "params": info.num_params,
        "size_mb": info.size_bytes / 1e6,
        "wer_base": info.metrics.get("test/wer_base", float("nan")),
        "wer": info.metrics.get("test/wer", float("nan")),
        "created": _local(info.created),
    }


def _registered() -> list[dict[str, Any]]:
    from asr_lab.tracking.models.registry import adapter_versions

    return adapter_versions()


@adapters.command()
@click.argument("name", type=AdapterName())
@_dir_option
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--json", "as_json", is_flag=True, hidden=True, help="As --format json.")
def info(name: str, folder: Path, style: str, as_json: bool) -> None:
    """Show the metadata of an adapter, without reading its weights. NAME: a name, a file, or a registry URI."""
    import json

    from asr_lab.models.adapter import AdapterManager

    file, metadata = _find(name, AdapterManager(folder))
    rows = {"file": str(file), **asdict(metadata)}
    if as_json or style == "json":
        echo(json.dumps(rows, ensure_ascii=False))
        return
    out = console()
    rows["created"] = _local(metadata.created)
    for key, value in rows.items():
        shown = ", ".join(f"{k} {v:.1%}" for k, v in value.items()) if isinstance(value, dict) else value
        out.print(f"  {key:18} {shown if shown not in ('', ()) else '-'}")
    if not metadata.base_digest:
        out.say("  [yellow]its base is unknown; import it with --base to bind it to one[/]")


def _local(created: str) -> str:
    """Return the time in an adapter's file in local time; files of older systems have none."""
    return local_time(parse_time(created)) if created else ""


def _find(name: str, manager: Any) -> tuple[Path, AdapterInfo]:
    """Return the file of a name, file or registry URI, and its metadata."""
    if name.startswith(("models:/", "runs:/")):
        from asr_lab.tracking.models.model_store import MlflowStore

        name = str(MlflowStore().adapter_file(name))
    file: Path = manager.find(name)
    return file, manager.get_adapter_info(str(file))


@adapters.command()
@click.argument("name", type=AdapterName())
@click.argument("to", type=_PATH)
@_dir_option
@click.option("--plain", is_flag=True, help="Convert to the plain form of older systems, by distillation.")
@click.option("--data", help="With --plain: manifest of the speaker's audio, to distil on.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def export(name: str, to: Path, folder: Path, plain: bool, data: str | None, overwrite: bool) -> None:
    """Write an adapter's file to the folder TO. NAME: a name, a file, or a registry URI.

    \b
    Examples:
      asr-lab adapters export john /media/usb
      asr-lab adapters export models:/deepspeech2-adapter-john@champion backup
      asr-lab adapters export john older-system --plain --data corpora/john/all.jsonl.gz
    """
    from asr_lab.models.adapter import AdapterManager

    file, metadata = _find(name, AdapterManager(folder))
    target = AdapterManager(to).path(metadata.adapter_name)
    _check_overwrite(target, overwrite)
    if not plain or metadata.form == "plain":
        with explain_unwritable("the adapter", target, hint=""), atomic_file(target) as written:
            shutil.copyfile(file, written)
        AdapterManager().get_adapter_info(str(target))
        echo(f"{target}: {metadata.form}, {target.stat().st_size / 1e6:.2f} MB")
        return
    if not data:
        raise AsrLabError(
            f"{metadata.adapter_name} is residual: conversion to a plain one needs the speaker's audio",
            next_command=f"asr-lab adapters export {name} {shlex.quote(str(to))} --plain --data MANIFEST",
        )
    if not metadata.base:
        raise AsrLabError(
            f"the base of {metadata.adapter_name} is unknown, and the conversion needs it",
            where=str(file),
            next_command=f"asr-lab adapters import {shlex.quote(str(file))} --base models:/NAME@champion --overwrite",
        )
    from asr_lab.recipes.adaptation.adapter_files import distil_to_plain
    from asr_lab.recipes.adaptation.plan import load_base
    from asr_lab.tracking.models.model_store import MlflowStore

    _, recognizer = load_base(metadata.base, MlflowStore())
    done = distil_to_plain(metadata, file, recognizer, data, to, console())
    echo(f"{done.file}: plain, {done.file.stat().st_size / 1e6:.2f} MB")
    echo(f"  WER on {data}: residual {done.wer_residual:.1%}, plain {done.wer_plain:.1%}")


def _check_overwrite(target: Path, overwrite: bool) -> None:
    if target.exists() and not overwrite:
        raise AsrLabError(f"{target} would be replaced", allowed="another name or folder, or --overwrite")


@adapters.command("import")
@click.argument("file", type=_PATH)
@_dir_option
@click.option("--name", help="Name of the adapter.  [the one in the file]")
@click.option("--base", help="Its base model: the adapter is checked against it and bound to it.")
@click.option("--register", is_flag=True, help="Register it as deepspeech2-adapter-NAME; needs a base.")
@click.option("--overwrite", is_flag=True, help="Replace an existing adapter of that name.")
def import_adapter(
    file: Path, folder: Path, name: str | None, base: str | None, register: bool, overwrite: bool
) -> None:
    """Import an adapter's FILE, also of an older system. A file that would run code is refused.

    \b
    Examples:
      asr-lab adapters import backup/john_adapter.pt
      asr-lab adapters import old/jane_adapter.pt --base models:/deepspeech2@champion --register
    """
    from asr_lab.models.adapter import AdapterManager, check_name
    from asr_lab.recipes.adaptation import adapter_files as recipe
    from asr_lab.recipes.adaptation.plan import load_base
    from asr_lab.tracking.connection import check_usable
    from asr_lab.tracking.models.model_store import MlflowStore
    from asr_lab.tracking.tracker import MlflowTracker

    if register:
        check_usable()
    target = AdapterManager(folder)
    name = check_name(name or AdapterManager().get_adapter_info(str(file)).adapter_name)
    _check_overwrite(target.path(name), overwrite)
    imported = recipe.import_adapter_file(file, name, target, load_base(base, MlflowStore()) if base else None)
    echo(f"{target.path(name)}: {imported.form}, {imported.num_params} parameters, base {imported.base or 'unknown'}")
    if not imported.base_digest:
        echo("  it was not checked against a base: give --base if you know it")
    if register:
        uri = recipe.register(imported, target.path(name), MlflowTracker(new_run=True))
        echo(f"  registered as {uri}")
