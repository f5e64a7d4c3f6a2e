"""`asr-lab init`."""

from __future__ import annotations

from pathlib import Path

import click

from asr_lab.cli.options import echo
from asr_lab.config.new_project import STARTERS, make_project
from asr_lab.data.importers.hints import quoted
from asr_lab.errors import listing


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=".")
@click.option("--family", default="deepspeech2", show_default=True, metavar="FAMILY", help=f"{listing(STARTERS)}.")
def init(folder: Path, family: str) -> None:
    """Begin a project in FOLDER: configurations of a family, a sample table, and the next commands. Existing files are
    never replaced.

    \b
    Examples:
      asr-lab init mine
      asr-lab init mine --family adapter
      asr-lab init . --family pronunciation
    """
    project = make_project(folder, family)
    if project.written:
        echo(f"{folder}: {', '.join(project.written)}")
    if project.kept:
        echo(f"{folder}: {', '.join(project.kept)} were there before, and stay as they are")
    if str(folder) in STARTERS:
        echo(f"  note {folder} is the folder; its family is {family} (--family {folder} is another)")
    echo("next")
    for command in ([f"cd {quoted(str(folder))}"] if folder.resolve() != Path.cwd() else []) + project.commands:
        echo(f"  {command}")
