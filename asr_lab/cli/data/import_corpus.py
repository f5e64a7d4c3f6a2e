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
from asr_lab.cli.options import echo
from asr_lab.data.importers import registry
from asr_lab.data.importers.contract import Importer, Option
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.errors import AsrLabError, listing
from asr_lab.system.files import write_bytes

FAULTS = "faults.tsv"
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
        click.Argument(["kind"], type=click.Choice(list(registry.IMPORTERS))),
        click.Argument(["arguments"], metavar="[NAME] SOURCE OUT", nargs=-1, required=True),
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
def import_corpus(
    ctx: click.Context, /, kind: str, arguments: tuple[str, ...], overwrite: bool, **options: Any
) -> None:
    """Import the corpus at SOURCE: write the manifest OUT/all.jsonl.gz, or one per split if the corpus has splits.

    \b
    Examples:
      asr-lab data import fsdd free-spoken-digit-dataset/recordings corpora/fsdd --join 1-5
      asr-lab data import speechocean762 speechocean762 corpora/speechocean762
      asr-lab data import l2-arctic L2-ARCTIC corpora/l2-arctic     (train, val, test by speakers)
      asr-lab data import l2-json data corpora/l2                   (train, val, eval .json of the older system)
      asr-lab data import kospeech KsponSpeech/transcripts.txt corpora/kspon --audio KsponSpeech
      asr-lab data import aihub child_subset_100h corpora/children     (WAV, JSON labels, subset_metadata*.csv)
      asr-lab data import aihub 208 corpora/patients --speaker-from '(?P<speaker>PA_\\d+)'
      asr-lab data import lhotse cmu_kids LDC97S63 corpora/cmu-kids    (any recipe of Lhotse's)
      asr-lab data import csv mina/table.csv corpora/mina       (columns audio, text, speaker, ...)
      asr-lab data import csv 녹음.csv corpora/mina --columns audio=파일명,text=내용 --one-speaker mina
      asr-lab data import folder recordings corpora/mine --speaker-from '^([a-z]+)_'   (a .txt beside each audio)
      asr-lab data import nemo train_manifest.json corpora/nemo        (audio_filepath, offset, duration, text)
      asr-lab data import huggingface zeroth corpora/zeroth            (metadata.csv, parquet, save_to_disk)
      asr-lab data import ksponspeech KsponSpeech corpora/kspon        (as it lies: .pcm, .txt, *.trn)
      asr-lab data import kaldi data/train corpora/train               (wav.scp, text, utt2spk, segments)
    """
    from asr_lab.data import manifest

    importer = registry.IMPORTERS[kind]
    _check_options(ctx, kind, importer, options)
    positional, source, out = _locations(ctx, kind, importer, arguments)
    if not source.exists():
        raise AsrLabError("no such file or folder", where=str(source))
    existing = sorted(out.glob(f"{'*' if importer.has_splits else 'all'}{manifest.SUFFIX}"))
    check_overwrite([*existing, out / FAULTS], overwrite)
    given = positional | {own.name: _value(own, options[own.name]) for own in importer.options if not own.positional}
    with progress_bar(f"importing {' '.join(positional.values()) or kind}") as progress:
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
        ctx.fail(f"{kind} takes {' '.join(expected)}, not {len(arguments)} arguments")
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
        echo(f"{path}: the {len(report.faults)} faults")
    elif path.exists():
        path.unlink()
        echo(f"{path}: removed, there are no faults any more")
