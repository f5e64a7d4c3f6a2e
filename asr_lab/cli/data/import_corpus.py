"""`asr-lab data import`: one command for all importers of the registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from asr_lab.cli.data.import_help import note_kind, write_help_of_kind
from asr_lab.cli.data.manifest_output import (
    check_overwrite,
    overwrite_option,
    parse_range,
    print_summary,
    progress_bar,
    remove_stale,
)
from asr_lab.cli.data.next_steps import import_command, print_after_import
from asr_lab.cli.options import echo
from asr_lab.data.importers import registry
from asr_lab.data.importers.contract import Importer, Option
from asr_lab.data.importers.hints import quoted
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.system.files import write_bytes
from asr_lab.units import counted

FAULTS = "faults.tsv"
_TWO = 2  # SOURCE and OUT
_SPLITS = ("train", "val", "test", "all")
_TYPES = {"integer": click.INT, "path": click.Path(path_type=Path)}


class _ImportCommand(click.Command):
    """Command whose kinds and options come from the registry of importers."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        self.params = [*_parameters(), *(own for own in self.params if own.name == "overwrite")]
        return super().make_context(*args, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        note_kind(ctx, args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if not write_help_of_kind(self, ctx, formatter):
            super().format_help(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Kinds"):
            formatter.write_dl([(name, importer.description) for name, importer in registry.IMPORTERS.items()])


def _parameters() -> list[click.Parameter]:
    importers: dict[str, dict[str, Option]] = {}
    for kind, importer in registry.IMPORTERS.items():
        for option in importer.options:
            if not option.positional:
                importers.setdefault(option.flag, {})[kind] = option
    return [
        click.Argument(["words"], metavar="[KIND [NAME]] SOURCE OUT", nargs=-1, required=True),
        *(_click_option(flag, own) for flag, own in importers.items()),
    ]


def _click_option(flag: str, importers: Mapping[str, Option]) -> click.Option:
    """Return the option of one or several kinds of corpus; options of the same name have the same type."""
    option = next(iter(importers.values()))
    is_flag = option.kind == "flag"
    kinds = "all kinds" if len(importers) == len(registry.IMPORTERS) else ", ".join(importers)
    return click.Option(
        [flag, option.alias] if option.alias else [flag],
        help=f"{kinds}: {option.help}",
        type=None if is_flag else _TYPES.get(option.kind, click.STRING),
        is_flag=is_flag,
        default=False if is_flag else option.default,
        show_default=not is_flag,
        multiple=option.multiple,
        metavar=option.metavar,
    )


@click.command("import", cls=_ImportCommand)
@overwrite_option
@click.pass_context
def import_corpus(ctx: click.Context, /, words: tuple[str, ...], overwrite: bool, **options: Any) -> None:
    """Import the corpus at SOURCE: write the manifest OUT/all.jsonl.gz, or one per split if the corpus has splits.

    Without KIND the corpus is recognised by its files and columns; what it is taken for, by what, and the command that
    names it are printed first. Where several kinds fit, or none, nothing is imported.

    \b
    Examples:
      asr-lab data import mina/table.csv corpora/mina           a table: audio, text, speaker, ... or 파일명, 내용, 화자
      asr-lab data import recordings corpora/mine               a folder: audio with texts, Kaldi, AI-Hub, ...
      asr-lab data import me.csv corpora/me --speaker me        a table without speakers
      asr-lab data import csv a.csv corpora/a --audio wavs --columns audio=path,text=sentence,speaker=client_id
      asr-lab data import fsdd free-spoken-digit-dataset/recordings corpora/fsdd --join 1-5
      asr-lab data import l2-arctic L2-ARCTIC corpora/l2-arctic     (train, val, test by speakers)
      asr-lab data import kospeech KsponSpeech/transcripts.txt corpora/kspon --audio KsponSpeech
      asr-lab data import aihub child_subset_100h corpora/children     (WAV, JSON labels, subset_metadata*.csv)
      asr-lab data import aihub 208 corpora/patients --speaker-from '(?P<speaker>PA_\\d+)'
      asr-lab data import lhotse cmu_kids LDC97S63 corpora/cmu-kids    (any recipe of Lhotse's)
      asr-lab data import folder recordings corpora/mine --speaker-from '^([a-z]+)_'   (a .txt beside each audio)
      asr-lab data import KIND --help                           the layout of a kind, and its options
    """
    from asr_lab.data import manifest

    kind, source, out, given = _asked(ctx, words, options)
    importer = registry.IMPORTERS[kind]
    if not source.exists():
        raise AsrLabError("no such file or folder", where=str(source))
    existing = sorted(out.glob(f"{'*' if importer.has_splits else 'all'}{manifest.SUFFIX}"))
    check_overwrite([*existing, out / FAULTS], overwrite)
    with progress_bar(f"importing {given.get('name') or kind}") as progress:
        result = registry.import_corpus(kind, source, out, given, progress)
    for line in (*result.report.lines(), result.summary):
        echo(line)
    _write_faults(out / FAULTS, result.report)
    paths = {split: out / f"{split}{manifest.SUFFIX}" for split in result.splits}
    for split, cuts in result.splits.items():
        print_summary(manifest.write(cuts, paths[split]), paths[split])
    for warning in result.warnings:
        echo(warning)
    if importer.has_splits:
        splits = {out / f"{name}{manifest.SUFFIX}" for name in _SPLITS}
        remove_stale([path for path in existing if path in splits - set(paths.values())], source)
    print_after_import(result.splits, out)


def _asked(
    ctx: click.Context, words: tuple[str, ...], options: Mapping[str, Any]
) -> tuple[str, Path, Path, dict[str, Any]]:
    """Return (kind, source, out, options) as the command line names them, or as the source is recognised."""
    is_kind = words[0] in registry.IMPORTERS and not (len(words) == _TWO and Path(words[0]).exists())
    if is_kind:
        kind, importer = words[0], registry.IMPORTERS[words[0]]
        _check_options(ctx, kind, importer, options)
        positional, source, out = _locations(ctx, kind, importer, words[1:])
        own = [one for one in importer.options if not one.positional]
        return kind, source, out, positional | {one.name: _value(one, options[one.name]) for one in own}
    if len(words) == 1:
        raise AsrLabError(
            "OUT, the folder for the manifest, is not given",
            allowed="asr-lab data import SOURCE OUT",
            next_command=import_command(Path(words[0])),
        )
    if len(words) > _TWO and (spaced := Path(" ".join(words[:-1]))).exists():
        raise AsrLabError(
            "a path with spaces needs quotes",
            where=str(spaced),
            next_command=f"asr-lab data import {quoted(str(spaced))} {quoted(words[-1])}",
        )
    if len(words) > _TWO:
        near = nearest(words[0], registry.IMPORTERS)
        ctx.fail(
            f"no kind of corpus {words[0]!r}"
            + (f"; did you mean {near!r}?" if near else "")
            + f"; the kinds are {listing(registry.IMPORTERS, 30)}, and without any it is recognised: SOURCE OUT"
        )
    return _recognized(ctx, Path(words[0]), Path(words[1]), options)


def _recognized(
    ctx: click.Context, source: Path, out: Path, options: Mapping[str, Any]
) -> tuple[str, Path, Path, dict[str, Any]]:
    """Recognise the source, and print what it is taken for with the command that names it."""
    from asr_lab.data.importers.recognition import recognize

    reading = recognize(source, out)
    importer = reading.importer
    _check_options(ctx, reading.kind, importer, options)
    given = {
        one.name: _value(one, options[one.name])
        for one in importer.options
        if not one.positional and ctx.get_parameter_source(one.name) is ParameterSource.COMMANDLINE
    }
    reading = reading.with_options(given)
    echo(reading.sentence)
    echo(f"  as  {reading.command(out)}")
    usual = {one.name: _value(one, options[one.name]) for one in importer.options if not one.positional}
    return reading.kind, reading.source, out, usual | dict(reading.settings)


def _check_options(ctx: click.Context, kind: str, importer: Importer, options: Mapping[str, Any]) -> None:
    unsupported = [
        f"--{name.replace('_', '-')}"
        for name in options
        if not importer.accepts(name) and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if unsupported:
        own = listing(option.flag for option in importer.options if not option.positional) or "no options of its own"
        raise AsrLabError(f"{listing(unsupported)} has no effect on {kind}", allowed=f"{kind} has {own}")


def _locations(
    ctx: click.Context, kind: str, importer: Importer, arguments: tuple[str, ...]
) -> tuple[dict[str, str], Path, Path]:
    """Return (values of the arguments before SOURCE by name, source, out)."""
    positional = [option for option in importer.options if option.positional]
    expected = [*(option.flag for option in positional), "SOURCE", "OUT"]
    if len(arguments) != len(expected):
        needed = f"asr-lab data import {kind} {' '.join(expected)}"
        ctx.fail(f"{kind} takes {' '.join(expected)}, not {len(arguments)} arguments\n  try: {needed}")
    values = {option.name: value for option, value in zip(positional, arguments, strict=False)}
    return values, Path(arguments[-2]), Path(arguments[-1])


def _value(option: Option, given: Any) -> Any:
    """Convert the value of an option to the type its importer expects."""
    if option.kind == "range" and given:
        low, high = parse_range(given, option.flag)
        return int(low), int(high)
    if option.kind == "pairs":
        return _pairs(given if option.multiple else given.split(",") if given else (), option.flag)
    return given


def _pairs(texts: Iterable[str], flag: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise AsrLabError(f"{flag} {text!r} is no KEY=VALUE")
        pairs[key.strip()] = value.strip()
    return pairs


def _write_faults(path: Path, report: ImportReport) -> None:
    if report.faults:
        write_bytes(path, report.as_table())
        echo(f"{path}: {counted(len(report.faults), 'fault')}")
    elif path.exists():
        path.unlink()
        echo(f"{path}: removed, there are no faults any more")
