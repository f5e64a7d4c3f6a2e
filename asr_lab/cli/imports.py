"""`asr-lab data import`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from asr_lab.cli.manifests import bar, keep_what_is_there, overwrite_option, remove_left_over, say, span, written_aside
from asr_lab.errors import AsrLabError, listing

if TYPE_CHECKING:
    from asr_lab.data.importers.aihub.faults import Fault

_PATH = click.Path(path_type=Path)
KINDS: dict[str, tuple[str, ...]] = {
    "fsdd": ("join", "blocks", "copies", "seed"),
    "speechocean762": ("scores",),
    "l2-arctic": (),
    "l2-json": ("audio",),
    "kospeech": ("audio", "vocab", "drop_silence"),
    "aihub": ("keys", "as_one", "skip_faulty"),
    "lhotse": ("option",),
    "csv": (),
    "jsonl": (),
}
"""Kind of corpus -> its own options."""

FAULTS = "faults.tsv"
_SPLITS = ("train", "val", "test", "all")
_SHORTEST_S = 0.025  # s; one frame of wav2vec2, the shortest that any model here hears


@click.command("import")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("places", metavar="[NAME] SOURCE OUT", nargs=-1, required=True)
@click.option("--join", help="fsdd: join digits into strings of so many, such as 1-5.")
@click.option("--blocks", default=10, show_default=True, help="fsdd: blocks of indices.")
@click.option("--copies", default=1, show_default=True, help="fsdd: join the recordings so many times differently.")
@click.option("--seed", default=0, show_default=True, help="fsdd: seed of the strings.")
@click.option("--scores", type=_PATH, help="speechocean762: the experts' scores.  [SOURCE/resource/scores.json]")
@click.option("--audio", type=_PATH, help="kospeech, l2-json: folder the audio paths start from.  [that of SOURCE]")
@click.option("--vocab", type=_PATH, help="kospeech: vocabulary file, to check the ids of the transcripts.")
@click.option("--drop-silence", is_flag=True, help="kospeech: write FLAC without silence, as KoSpeech reads PCM.")
@click.option(
    "--keys", metavar="FIELD=KEY,...", help="aihub: keys of the labels: text=, speaker=, age=, gender=, snr_db=."
)
@click.option("--as-one", is_flag=True, help="aihub: write all.jsonl.gz, whatever the splits, for asr-lab data split.")
@click.option("--skip-faulty", is_flag=True, help="aihub: leave out what has a fault, and list it in OUT/faults.tsv.")
@click.option("--option", multiple=True, metavar="KEY=VALUE", help="lhotse: an option of the recipe; may be repeated.")
@overwrite_option
@click.pass_context
def import_corpus(ctx: click.Context, /, kind: str, places: tuple[str, ...], overwrite: bool, **options: Any) -> None:
    """Write the manifest OUT/all.jsonl.gz of a corpus that lies at SOURCE, or one for each split that it has.

    \b
    Examples:
      asr-lab data import fsdd free-spoken-digit-dataset/recordings corpora/fsdd --join 1-5
      asr-lab data import speechocean762 speechocean762 corpora/speechocean762
      asr-lab data import l2-arctic L2-ARCTIC corpora/l2-arctic     (train, val, test by speakers)
      asr-lab data import l2-json data corpora/l2                   (train, val, eval .json of the older system)
      asr-lab data import kospeech KsponSpeech/transcripts.txt corpora/kspon --audio KsponSpeech
      asr-lab data import aihub child_subset_100h corpora/children     (WAV, JSON labels, subset_metadata*.csv)
      asr-lab data import lhotse cmu_kids LDC97S63 corpora/cmu-kids    (any recipe of Lhotse's)
      asr-lab data import csv mina/table.csv corpora/mina       (columns audio, text, speaker, ...)
    """
    from asr_lab.data import manifest

    _check_options(ctx, kind, options)
    name, source, out = _places(ctx, kind, places)
    if not source.exists():
        raise AsrLabError("no such file or folder", where=str(source))
    several = kind in ("aihub", "lhotse", "l2-arctic", "l2-json")
    there = sorted(out.glob(f"{'*' if several else 'all'}{manifest.SUFFIX}"))
    keep_what_is_there([*there, out / FAULTS] if kind == "aihub" else there, overwrite)
    with bar(f"importing {name or kind}") as progress:
        parts = _import(kind, name, source, out, {name: options[name] for name in KINDS[kind]}, progress)
    for part, cuts in parts.items():
        path = out / f"{part}{manifest.SUFFIX}"
        say(manifest.write(cuts, path), path)
    _warn_of_clicks(parts)
    if several:
        written = {f"{part}{manifest.SUFFIX}" for part in parts}
        splits = {f"{name}{manifest.SUFFIX}" for name in _SPLITS}
        remove_left_over([path for path in there if path.name in splits - written], source)


def _warn_of_clicks(parts: Mapping[str, Iterable[Any]]) -> None:
    short = [cut.id for cuts in parts.values() for cut in cuts if cut.duration < _SHORTEST_S]
    if short:
        least = f"{1000 * _SHORTEST_S:.0f} ms"
        click.echo(f"{len(short)} utterances are shorter than {least}, which no model can hear: {listing(short)}")


def _check_options(ctx: click.Context, kind: str, options: Mapping[str, Any]) -> None:
    foreign = [
        f"--{name.replace('_', '-')}"
        for name in options
        if name not in KINDS[kind] and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if foreign:
        own = listing(f"--{name.replace('_', '-')}" for name in KINDS[kind]) or "no options of its own"
        raise AsrLabError(f"{listing(foreign)} has no effect on {kind}", allowed=f"{kind} has {own}")


def _places(ctx: click.Context, kind: str, places: tuple[str, ...]) -> tuple[str, Path, Path]:
    """(Name of Lhotse's recipe or "", source, out)."""
    wanted = ("NAME", "SOURCE", "OUT") if kind == "lhotse" else ("SOURCE", "OUT")
    if len(places) != len(wanted):
        ctx.fail(f"{kind} takes {' '.join(wanted)}, not {len(places)} arguments")
    return places[0] if kind == "lhotse" else "", Path(places[-2]), Path(places[-1])


def _pairs(texts: Iterable[str], what: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise AsrLabError(f"{what} {text!r} is no KEY=VALUE")
        pairs[key.strip()] = value.strip()
    return pairs


def _import(
    kind: str, name: str, source: Path, out: Path, options: dict[str, Any], progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Name of a manifest -> its utterances."""
    if kind == "aihub":
        return _aihub(source, out, options, progress)
    if kind == "lhotse":
        from asr_lab.data.importers.lhotse_recipes import import_prepared

        parts, notes = import_prepared(name, source, out, _pairs(options["option"], "--option"), progress=progress)
        for note in notes:
            click.echo(note)
        return dict(parts)
    if kind in ("l2-arctic", "l2-json"):
        return _learners(kind, source, options, progress)
    return {"all": _whole(kind, source, out, options, progress)}


def _aihub(source: Path, out: Path, options: dict[str, Any], progress: Callable[[int, int], None]) -> dict[str, Any]:
    from asr_lab.data.curriculum import check_disjoint
    from asr_lab.data.importers.aihub.importer import import_aihub

    keys = _pairs((options["keys"] or "").split(",") if options["keys"] else (), "--keys")
    found = import_aihub(source, keys=keys, skip_faulty=options["skip_faulty"], progress=progress)
    for note in found.notes:
        click.echo(note)
    parts: dict[str, Any] = dict(found.parts)
    if options["as_one"]:
        parts = {"all": [cut for cuts in parts.values() for cut in cuts]}
    try:
        check_disjoint(parts)
    except AsrLabError as error:
        again = f"asr-lab data import aihub {source} OUT --as-one, then asr-lab data split OUT/all.jsonl.gz OUT"
        raise AsrLabError(error.what, where=str(source), allowed=error.allowed, next_command=again) from error
    _list_faults(out / FAULTS, found.faults)
    return parts


def _list_faults(path: Path, faults: Sequence[Fault]) -> None:
    from asr_lab.data.importers.aihub.faults import as_table

    if faults:
        written_aside(path, as_table(faults))
        click.echo(f"{path}: the {len(faults)} faults")
    elif path.exists():
        path.unlink()
        click.echo(f"{path}: removed, there are no faults any more")


def _learners(kind: str, source: Path, options: dict[str, Any], progress: Callable[[int, int], None]) -> dict[str, Any]:
    if kind == "l2-arctic":
        from asr_lab.data.importers.l2arctic import import_l2arctic

        parts, notes = import_l2arctic(source, progress)
    else:
        from asr_lab.data.importers.l2_asr_json import import_l2json

        parts, notes = import_l2json(source, progress=progress, **options)
    for note in notes:
        click.echo(note)
    return dict(parts)


def _whole(kind: str, source: Path, out: Path, options: dict[str, Any], progress: Callable[[int, int], None]) -> Any:
    if kind == "fsdd":
        from asr_lab.data.importers.fsdd import import_fsdd

        low, high = span(options["join"], "--join") if options["join"] else (0, 0)
        options["join"] = (int(low), int(high)) if options["join"] else None
        return import_fsdd(source, out, progress=progress, **options)
    if kind == "speechocean762":
        from asr_lab.data.importers.speechocean762 import import_speechocean

        cuts, notes = import_speechocean(source, progress=progress, **options)
        for note in notes:
            click.echo(note)
        return cuts
    if kind == "kospeech":
        from asr_lab.data.importers.kospeech import import_kospeech

        vocabulary = _vocabulary(options.pop("vocab"))
        cuts, notes = import_kospeech(source, out, vocabulary=vocabulary, progress=progress, **options)
        for note in notes:
            click.echo(note)
        return cuts
    from asr_lab.data.importers.table import import_table

    return import_table(source, "csv" if kind == "csv" else "jsonl", progress=progress)


def _vocabulary(path: Path | None) -> dict[str, int] | None:
    if path is None:
        return None
    from asr_lab.models.kospeech import read_vocabulary

    return read_vocabulary(path)
