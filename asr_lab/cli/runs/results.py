"""`asr-lab results list | record | write | check | remake`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr_lab.cli.completion import RunName
from asr_lab.cli.options import echo, format_option
from asr_lab.cli.tables import show
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.units import all_of, counted, hms

if TYPE_CHECKING:
    from asr_lab.reports.studies import Study
    from asr_lab.tracking.results.check import Finding
    from asr_lab.tracking.results.remake import Remade

_FOLDER = "experiments/results"
_PATH = click.Path(path_type=Path)
_folder_option = click.option(
    "--folder", default=_FOLDER, show_default=True, type=_PATH, help="Folder of the studies and of the page's text."
)
_corpus_option = click.option(
    "--corpus", "corpora", multiple=True, metavar="NAME=FOLDER", help="Where data that a study needs are; repeatable."
)
_work_option = click.option(
    "--work", type=_PATH, help="Run the commands in this folder, and keep it.  [a temporary folder, removed]"
)


@click.group()
def results() -> None:
    """Record figures with what they depend on, find out which are stale, and make them again.

    A study is a file in experiments/results: its commands, and the figures of its runs with their settings, data,
    versions and hardware. experiments/RESULTS.md is made from these files.

    \b
    Examples:
      asr-lab results check
      asr-lab results remake demo
      asr-lab results record john=john-0e352371 jane=jane-5e6f7a8b --study demo --about "two speakers of the demo"
      asr-lab results write
    """


@results.command("list")
@_folder_option
@format_option
def list_studies(folder: Path, style: str) -> None:
    """List the studies: when, of what code, how many figures."""
    import pandas as pd

    from asr_lab.reports.studies import read_studies

    rows = [
        {
            "study": name,
            "about": study.about,
            "date": str(study.date),
            "commit": study.commit,
            "runs": len(study.runs),
            "figures": sum(len(run.figures) for run in study.runs.values()) + len(study.values),
            "cheap": "yes" if study.cheap else "no",
            "needs": ", ".join(study.needs),
        }
        for name, study in read_studies(folder).items()
    ]
    show(pd.DataFrame(rows), style)


@results.command()
@click.argument("labelled", nargs=-1, metavar="LABEL=RUN...", type=RunName())
@click.option("--study", "name", required=True, metavar="NAME", help="The study; a new one is made.")
@click.option("--about", default="", help="A new study in a few words.")
@click.option("--values", type=_PATH, help="JSON of a benchmark: name -> value, or -> value, low and high.")
@click.option("--command", "commands", multiple=True, help="For a new study: the command that makes --values.")
@_folder_option
def record(
    labelled: tuple[str, ...], name: str, about: str, values: Path | None, commands: tuple[str, ...], folder: Path
) -> None:
    """Record the figures of finished runs, each under a LABEL by which pages quote it.

    A new study has the commands of its runs, to be edited in its file: they run in an empty folder beside
    `experiments`. Of a study that is there, the runs with these labels are replaced.

    \b
    Examples:
      asr-lab results record john=john-0e352371 --study demo --about "john's adapter"
      asr-lab results record --study speed --values speed.json
      asr-lab results record --study start --values start.json --about "time to start" --command "python bench.py ..."
    """
    from asr_lab.reports.studies import Study, read_study, write_study
    from asr_lab.tracking.queries.find import find_run
    from asr_lab.tracking.results import record as recording

    _refuse_name(name, "study")
    runs = {label: find_run(word) for label, word in _pairs(labelled, "LABEL=RUN").items()}
    measured = recording.values_of(values) if values else {}
    if not runs and not measured:
        raise AsrLabError("nothing to record", allowed="LABEL=RUN, or --values FILE", next_command="asr-lab list")
    path = folder / f"{name}.yaml"
    if path.is_file() and commands:
        raise AsrLabError("--command is only for a new study", where=str(path), hint="edit the commands in this file")
    if path.is_file():
        old = read_study(path).model_dump()
    elif about:
        old = {"about": about, "commands": (*recording.commands_of(runs.values()), *commands)}
    else:
        raise AsrLabError(
            "the study is new: what is it about?", where=str(path), next_command="the same with --about TEXT"
        )
    if not old["commands"]:
        raise AsrLabError(
            "no command makes these figures", where=str(path), next_command='the same with --command "python BENCH ..."'
        )
    new = {label: recording.recorded(run).model_dump() for label, run in runs.items()}
    left = [label for label in old.get("runs", {}) if label not in new]
    content = old | recording.circumstances(runs.values()) | ({"about": about} if about else {})
    content |= {"runs": {**old.get("runs", {}), **new}, "values": {**old.get("values", {}), **measured}}
    content |= {"files": recording.files_of(content["commands"], _checkout(folder))}
    write_study(Study.model_validate(content), path)
    echo(f"{path}: {counted(len(new), 'run')}, {counted(len(measured), 'value')}")
    if left:
        echo(f"not recorded again, and of the code of before: {listing(left)}", err=True)
    echo("next  asr-lab results write")


@results.command()
@_folder_option
def write(folder: Path) -> None:
    """Make RESULTS.md beside the folder from its text and the studies."""
    from asr_lab.reports.studies import read_studies, results_page
    from asr_lab.system.files import explain_unwritable, write_text
    from asr_lab.tracking.results.check import PAGE

    page = folder.parent / PAGE
    text = results_page(folder, read_studies(folder))
    with explain_unwritable("the page", page, hint=""):
        write_text(page, text)
    echo(f"{page}: {counted(len(text.splitlines()), 'line')}")


@results.command()
@click.argument("names", nargs=-1, metavar="[STUDY]...")
@_corpus_option
@_work_option
@click.option("--no-data", is_flag=True, help="Do not make data again: check settings and pages alone, in seconds.")
@_folder_option
@format_option
def check(
    names: tuple[str, ...], corpora: tuple[str, ...], work: Path | None, no_data: bool, folder: Path, style: str
) -> None:
    """Find figures that no longer stand; exit with 1 if there are any.

    Compared are each run's settings with today's keys and defaults, the configurations that the commands name, the
    digests of the data made again (of cheap studies whose corpora are given), and the text of RESULTS.md and of the
    pages that quote figures.

    \b
    Examples:
      asr-lab results check
      asr-lab results check --no-data
      asr-lab results check fsdd --corpus free-spoken-digit-dataset=/data/fsdd
    """
    import pandas as pd

    from asr_lab.reports.studies import read_studies
    from asr_lab.tracking.results.check import check_pages, check_settings

    studies = read_studies(folder)
    chosen = _chosen(studies, names)
    findings = [finding for name, study in chosen.items() for finding in check_settings(name, study, _checkout(folder))]
    findings += check_pages(folder, studies)
    if not no_data:
        given = {name: Path(path) for name, path in _pairs(corpora, "NAME=FOLDER").items()}
        for name, study in chosen.items():
            if reason := _not_made_again(study, given, asked=bool(names)):
                echo(f"{name}: data not made again: {reason}", err=True)
            else:
                with _working(work, name) as place:
                    findings += _data_findings(name, study, place, folder, given)
    stale = [one for one in findings if one.is_stale]
    columns = {"study": "study", "what": "what", "then": "recorded", "now": "now"}
    rows = [{title: getattr(one, own) for own, title in columns.items()} for one in stale]
    if stale or style != "table":
        show(pd.DataFrame(rows, columns=list(columns.values())), style)
    if stale:
        studies_named = listing(dict.fromkeys(one.study or one.what for one in stale))
        raise AsrLabError(
            f"stale: {len(stale)} of {len(findings)} that were compared ({studies_named})",
            hint="figures: asr-lab results remake STUDY; pages: asr-lab results write",
        )
    if style == "table":
        echo(f"{', '.join(chosen)}: all {len(findings)} that were compared still stand")


def _not_made_again(study: Study, corpora: Mapping[str, Path], *, asked: bool) -> str:
    if missing := [name for name in study.needs if name not in corpora]:
        return f"needs {', '.join(f'--corpus {name}=FOLDER' for name in missing)}"
    if not study.data_commands:
        return "no commands make its data"
    return "" if study.cheap or asked else "it takes long; name the study to do it"


def _data_findings(name: str, study: Study, work: Path, folder: Path, corpora: Mapping[str, Path]) -> Iterable[Finding]:
    from asr_lab.tracking.results.check import check_data
    from asr_lab.tracking.results.remake import lay_out, run_commands

    lay_out(work, _checkout(folder), study.needs, corpora)
    run_commands(study.data_commands, work, _report(name))
    return list(check_data(name, study, work))


@results.command()
@click.argument("names", nargs=-1, metavar="[STUDY]...")
@_corpus_option
@_work_option
@click.option("--record", "records", is_flag=True, help="Record the new figures in place of the old ones.")
@_folder_option
@format_option
def remake(
    names: tuple[str, ...], corpora: tuple[str, ...], work: Path | None, records: bool, folder: Path, style: str
) -> None:
    """Run the commands of STUDY in an empty folder, and hold the new figures against the recorded ones.

    Without STUDY, all cheap ones are made again whose corpora are given. A new figure agrees if it is printed alike, or
    lies within the interval of the old one, or the other way round. Exit with 1 if any does not.

    \b
    Examples:
      asr-lab results remake demo
      asr-lab results remake --corpus free-spoken-digit-dataset=/data/fsdd
      asr-lab results remake fsdd --corpus free-spoken-digit-dataset=/data/fsdd --work /tmp/fsdd --record
    """
    import pandas as pd

    from asr_lab.reports.studies import read_studies
    from asr_lab.reports.table import Table
    from asr_lab.tracking.results import remake as making

    given = {corpus: Path(path).resolve() for corpus, path in _pairs(corpora, "NAME=FOLDER").items()}
    folder, frames = folder.resolve(), []
    for name, study in _to_make(read_studies(folder), names, given).items():
        with _working(work, name) as place:
            making.lay_out(place, _checkout(folder), study.needs, given)
            made = making.remake(study, place, _report(name))
        frames.append(making.compare(study, made).assign(study=name))
        if records:
            _record_again(folder / f"{name}.yaml", study, made)
    frame = pd.concat(frames)[["study", "run", "metric", "then", "now", "verdict"]]
    values = frame.assign(**{when: [one and one.value for one in frame[when]] for when in ("then", "now")})
    show(Table(frame=values, metric_columns={"then": "metric", "now": "metric"}), style)
    wrong = frame[frame["verdict"].isin([making.DIFFERENT, making.MISSING])]
    if len(wrong):
        shown = listing((f"{run} {metric}" for run, metric in zip(wrong["run"], wrong["metric"], strict=True)), 6)
        raise AsrLabError(f"{len(wrong)} of {len(frame)} figures do not agree: {shown}")
    echo(f"{all_of(len(frame), 'figure', 'agree')}", err=True)


def _to_make(studies: Mapping[str, Study], names: Sequence[str], corpora: Mapping[str, Path]) -> dict[str, Study]:
    """Return the studies that were named, or the cheap ones whose corpora are given; report those left out."""
    if names:
        return _chosen(studies, names)
    cheap = {name: study for name, study in studies.items() if study.cheap}
    for name, study in cheap.items():
        if missing := study.needs.keys() - corpora.keys():
            echo(f"{name}: not made again: needs {', '.join(f'--corpus {one}=FOLDER' for one in missing)}", err=True)
    chosen = {name: study for name, study in cheap.items() if study.needs.keys() <= corpora.keys()}
    if not chosen:
        raise AsrLabError("no cheap study can be made", allowed=listing(studies))
    return chosen


def _record_again(path: Path, study: Study, made: Remade) -> None:
    """Write a study with its new figures, if all of them were made."""
    from asr_lab.reports.studies import write_study

    if not made.is_whole(study):
        echo(f"{path}: not recorded, for not all of its figures were made", err=True)
        return
    write_study(made.replace(study, _checkout(path.parent)), path)
    counts = f"{counted(len(made.runs), 'run')}, {counted(len(made.values), 'value')}"
    echo(f"{path}: {counts}; next  asr-lab results write", err=True)


@contextmanager
def _working(work: Path | None, name: str) -> Iterator[Path]:
    """Yield the folder in which commands run: the user's, which must be empty, or a temporary one."""
    if work is None:
        with tempfile.TemporaryDirectory(prefix=f"asr-lab-{name}-") as temporary:
            yield Path(temporary)
        return
    place = work / name
    if place.is_dir() and any(place.iterdir()):
        raise AsrLabError("the folder is not empty: figures of before would be taken for new ones", where=str(place))
    yield place


def _report(name: str) -> Any:
    return lambda command, seconds: echo(f"{name}: {hms(seconds)}  {command.strip().splitlines()[0]}", err=True)


def _checkout(folder: Path) -> Path:
    return folder.resolve().parent.parent


def _chosen(studies: Mapping[str, Study], names: Iterable[str]) -> dict[str, Study]:
    for name in names:
        if name not in studies:
            near = nearest(name, studies)
            raise AsrLabError(
                f"no study {name!r}" + (f"; did you mean {near!r}?" if near else ""), allowed=listing(studies)
            )
    return {name: studies[name] for name in names} or dict(studies)


def _pairs(words: Iterable[str], form: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words:
        label, equals, value = word.partition("=")
        if not equals or not label or not value:
            raise AsrLabError(f"{word!r} is not {form}")
        if label in pairs:
            raise AsrLabError(f"{label} is given twice")
        pairs[label] = value
    for label in pairs if form.startswith("LABEL") else ():
        _refuse_name(label, "label")
    return pairs


def _refuse_name(name: str, what: str) -> None:
    if not name.isidentifier() or name in ("values", "commands", "date", "versions", "hardware", "commit", "about"):
        raise AsrLabError(
            f"a {what} cannot be called {name!r}",
            allowed="letters, digits and _, as pages quote it: no word of a study",
        )
