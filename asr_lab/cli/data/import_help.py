"""The help of one kind of `asr-lab data import`: what it is, its layout, and its own options."""

from __future__ import annotations

from collections.abc import Sequence

import click

from asr_lab.data.importers.registry import IMPORTERS

_KIND = "asr_lab.import_kind"


def note_kind(ctx: click.Context, args: Sequence[str]) -> None:
    """Note the kind that the arguments name, before click shows the help."""
    ctx.meta[_KIND] = next((arg for arg in args if arg in IMPORTERS), "")


def write_help_of_kind(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> bool:
    """Write the help of the kind that the command line names; return False if it names none."""
    if not (kind := ctx.meta.get(_KIND)):
        return False
    importer = IMPORTERS[kind]
    names = [option.flag for option in importer.options if option.positional]
    formatter.write_usage(ctx.command_path, " ".join([kind, *names, "[OPTIONS]", "SOURCE", "OUT"]))
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(f"{importer.description}.")
    if importer.layout:
        with formatter.section("SOURCE"):
            for line in importer.layout.splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
    own = {option.name: option.help for option in importer.options}
    rows = []
    for parameter in command.get_params(ctx):
        if not isinstance(parameter, click.Option) or (record := parameter.get_help_record(ctx)) is None:
            continue
        if parameter.name in own or parameter.name in ("overwrite", "help"):
            rows.append((record[0], own.get(parameter.name, record[1])))
    with formatter.section("Options"):
        formatter.write_dl(rows)
    return True
