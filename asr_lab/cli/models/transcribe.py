"""`asr-lab transcribe`."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asr_lab.cli.completion import AdapterName
from asr_lab.cli.decode_keys import decode_help, decode_settings, split_keys
from asr_lab.cli.jobs import Jobs, command_words, part_options
from asr_lab.cli.options import console, echo, segment_option
from asr_lab.errors import AsrLabError
from asr_lab.system.terminal import Console
from asr_lab.units import hms

if TYPE_CHECKING:
    from asr_lab.config.schema import Decode
    from asr_lab.recipes.parts import Part
    from asr_lab.serving.engine import Engine
    from asr_lab.serving.long_recordings import Segmentation
    from asr_lab.serving.sources import Source
    from asr_lab.serving.transcribe import Job, Speed
    from asr_lab.serving.transcript_journal import TranscriptJournal

_PATH = click.Path(path_type=Path)
_CONTINUES = "what was transcribed is in the journal: the same command with --resume continues"


@click.command(epilog=decode_help())
@click.argument("words", nargs=-1, required=True, type=_PATH, metavar="FILE|FOLDER|MANIFEST|-... [KEY=VALUE]...")
@click.option(
    "--adapter", "adapters", type=AdapterName(), multiple=True, help="A speaker's adapter: name, file, or registry URI."
)
@click.option("--adapter-by", type=click.Choice(["speaker"]), help="Use the adapter of each utterance's speaker.")
@click.option("--model", default="", help="The recogniser.  [the adapter's base, else models:/deepspeech2@champion]")
@click.option("--adapter-dir", default="adapters", show_default=True, help="Folder of the adapter files.")
@click.option(
    "--out",
    type=_PATH,
    help="Write into this .txt, .jsonl, .srt, .vtt, .ctm or .textgrid; {}: the name of each recording.",
)
@click.option("--resume", is_flag=True, help="With --out: transcribe only what is missing, has changed, or failed.")
@click.option("--overwrite", is_flag=True, help="Replace existing files of --out.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes of one thread each.  [one per free core]")
@segment_option
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--json", "as_json", is_flag=True, hidden=True, help="As --format json.")
@part_options
def transcribe(
    words: tuple[Path, ...],
    adapters: tuple[str, ...],
    adapter_by: str | None,
    model: str,
    adapter_dir: str,
    out: Path | None,
    resume: bool,
    overwrite: bool,
    workers: int | None,
    segment: Segmentation,
    style: str,
    as_json: bool,
    jobs: Jobs,
    part: str | None,
    job: Path | None,
) -> None:
    """Transcribe audio: files, folders, manifests (.jsonl.gz), or - for standard input.

    A file that cannot be read is named and skipped; the exit code is then 1. With --out, results are kept in a journal
    as they come: after an interruption, add --resume to continue. References in a manifest give the WER.
    decode.* keys are those of asr-lab evaluate: a language model, hot words.

    \b
    Examples:
      asr-lab transcribe recording.wav --adapter john
      asr-lab transcribe recordings/ --model models:/deepspeech2/1 --out texts.jsonl --resume
      asr-lab transcribe talk.flac --out talk.srt
      asr-lab transcribe recordings/ --out "subtitles/{}.vtt"
      asr-lab transcribe corpora/demo/test.jsonl.gz --adapter-by speaker --out test.ctm
      asr-lab transcribe talk.flac decode.lm=demo.arpa "decode.hot_words=bletchley,ada lovelace"
      asr-lab transcribe recordings/ --out texts.jsonl --engine slurm --jobs 16
    """
    chosen = _chosen(adapters, adapter_by)
    as_json = as_json or style == "json"
    _check_output(out, as_json=as_json, resume=resume, overwrite=overwrite)
    from asr_lab.recipes.parts import Part
    from asr_lab.serving import transcribe as job_of
    from asr_lab.serving.long_recordings import check_segmentation

    check_segmentation(segment)
    keys, files = split_keys(map(str, words))
    decode = decode_settings(keys)
    sources = _sources(files, out, jobs)
    if out is not None:
        sources = job_of.unique(sources)
        job_of.check_out(out, sources, resume=resume or part is not None, overwrite=overwrite)
    speakers = _speakers(sources) if adapter_by else []
    count = job_of.usable_workers(workers or 0, len(sources))
    engine, uri = _open(model, [*filter(None, [chosen]), *speakers], adapter_dir, count, decode)
    engine.segmentation = segment
    _report_notes(engine.decoders.notes())
    work = job_of.Job(sources, (lambda source: source.speaker) if adapter_by else (lambda _: chosen), count)
    if out is not None and part and job:
        _part_into_journal(engine, work, out, uri, Part.parse(part), job)
    elif out is not None:
        _into_file(engine, work, out, uri, resume=resume, jobs=jobs)
    else:
        _onto_terminal(engine, work, as_json=as_json)


def _check_output(out: Path | None, *, as_json: bool, resume: bool, overwrite: bool) -> None:
    """Raise `AsrLabError` for options of --out without it, and those that exclude each other."""
    if (resume or overwrite) and out is None:
        raise AsrLabError(f"--{'resume' if resume else 'overwrite'} needs --out: there is no file to go on with")
    if resume and overwrite:
        raise AsrLabError("--resume and --overwrite exclude each other", allowed="one of them")
    if out is not None and as_json:
        raise AsrLabError("--format is for the terminal; the suffix of --out is its format", allowed="--out NAME.jsonl")


def _sources(files: Sequence[str], out: Path | None, jobs: Jobs) -> list[Source]:
    """Return what is to be transcribed; raise `AsrLabError` if that is nothing, or jobs cannot transcribe it."""
    from asr_lab.serving.sources import find_sources

    if not files:
        raise AsrLabError("there is nothing to transcribe", allowed="files, folders, manifests (.jsonl.gz), or -")
    if jobs.engine and (out is None or "-" in files):
        raise AsrLabError("--engine needs --out, and files", allowed="--out NAME.jsonl, and no standard input")
    return find_sources(map(Path, files), sys.stdin.buffer)


def _chosen(adapters: tuple[str, ...], adapter_by: str | None) -> str:
    """Return the one adapter; raise `AsrLabError` for several."""
    if len(adapters) > 1:
        raise AsrLabError(
            f"--adapter was given {len(adapters)} times: {', '.join(adapters)}",
            allowed="one, for all files; --adapter-by speaker takes the adapter of each utterance's speaker",
        )
    if adapters and adapter_by:
        raise AsrLabError("--adapter and --adapter-by exclude each other", allowed="one of them")
    return adapters[0] if adapters else ""


def _speakers(sources: list[Source]) -> list[str]:
    unknown = [source.name for source in sources if not source.speaker]
    if unknown:
        raise AsrLabError(
            f"--adapter-by speaker: the speaker of {len(unknown)} of {len(sources)} is not known",
            where=unknown[0],
            allowed="a manifest (.jsonl.gz), which names the speakers",
        )
    return sorted({source.speaker for source in sources})


def _open(model: str, adapters: list[str], folder: str, workers: int, decode: Decode) -> tuple[Engine, str]:
    from asr_lab.serving.opening import open_engine
    from asr_lab.system.threads import use_threads
    from asr_lab.tracking.models.model_store import MlflowStore

    if workers > 1:
        use_threads(1)  # forked processes have no part in a pool of threads
    return open_engine(MlflowStore(), model, adapters, folder, _registered_speakers, decode)


def _registered_speakers() -> set[str]:
    from asr_lab.tracking.models.registry import adapter_versions

    return {str(row["name"]) for row in adapter_versions()}


def _report_notes(notes: list[str]) -> None:
    for note in notes:
        console(stderr=True).say("  note {}", note)


def _onto_terminal(engine: Engine, job: Job, *, as_json: bool) -> None:
    from asr_lab.serving.transcribe import transcribe as transcripts

    out, err, rows = console(), console(stderr=True), []
    for _, row in transcripts(engine, job, words=as_json):
        if as_json:
            echo(json.dumps(row, ensure_ascii=False))
        elif row["error"]:
            err.say("{}: [red]{}[/]", row["file"], row["error"])
        else:
            out.say("{}{}", f"{row['file']}: " if len(job.sources) > 1 else "", row["text"])
        if row["note"] and not as_json:
            err.say("[dim]{}: {}[/]", row["file"], row["note"])
        if row["error"] or "reference" in row or "hot_words" in row:
            rows.append({name: row[name] for name in ("error", "reference", "text", "hot_words") if name in row})
    _report_hot_words(iter(rows))
    _report_wer(engine, iter(rows), err)
    _end(sum(bool(row["error"]) for row in rows), len(job.sources))


def _into_file(engine: Engine, job: Job, out: Path, uri: str, *, resume: bool, jobs: Jobs) -> None:
    from asr_lab.serving.transcribe import write
    from asr_lab.serving.transcript_journal import TranscriptJournal
    from asr_lab.system.files import explain_unwritable

    journal, err = TranscriptJournal(out), console(stderr=True)
    with explain_unwritable("the journal", journal.path, hint=_CONTINUES):
        journal.begin(_settings(engine, job, uri), resume=resume)
    rest = [source for source in job.sources if not journal.is_done(source)]
    if len(rest) < len(job.sources):
        err.say("{} of {} were transcribed before", len(job.sources) - len(rest), len(job.sources))
    speed = "" if jobs.engine else _transcribe(engine, replace(job, sources=rest), journal)
    if jobs.engine and rest:
        _by_jobs(jobs, rest, journal, uri)
    files = write(out, job.sources, journal, {source.name for source in rest})
    err.say("{}", str(files[0]) if len(files) == 1 else f"{len(files)} files as {out}")
    if rest and speed:
        err.say("  {}", speed)
    _report_hot_words(journal.rows(job.sources))
    _report_wer(engine, journal.rows(job.sources), err)
    _end(sum(bool(row["error"]) for row in journal.rows(job.sources)), len(job.sources), resume=True)


def _settings(engine: Engine, job: Job, uri: str) -> dict[str, str]:
    """Return what all results depend on."""
    from asr_lab.serving.decoders import GREEDY
    from asr_lab.serving.long_recordings import cut_by

    settings = {"model": uri, "adapter": job.adapters(engine), "decoding": engine.decoders.name}
    settings["decoding"] = settings["decoding"].removeprefix(GREEDY).strip()
    return settings | {"segmentation": cut_by(engine.segmentation)}


def _transcribe(engine: Engine, job: Job, journal: TranscriptJournal) -> str:
    """Transcribe into a journal with a progress bar; return how fast."""
    from asr_lab.serving.transcribe import Speed
    from asr_lab.serving.transcribe import transcribe as transcripts
    from asr_lab.system.files import explain_unwritable

    err, speed = console(stderr=True), Speed(time.monotonic())
    results = transcripts(engine, job, words=True)
    for source, row in _with_progress(results, len(job.sources), speed):
        with explain_unwritable("the journal", journal.path, hint=_CONTINUES):
            journal.add(source, row)
        if row["error"]:
            err.say("{}: [red]{}[/]", row["file"], row["error"])
    return f"{hms(speed.speech_s)} of speech in {hms(time.monotonic() - speed.began)}: {speed.text}"


def _by_jobs(jobs: Jobs, rest: list[Source], journal: TranscriptJournal, uri: str) -> None:
    """Have jobs transcribe what is left, each a part, and merge their journals."""
    from asr_lab.serving.transcript_journal import TranscriptJournal
    from asr_lab.system.files import explain_unwritable

    words = [*command_words(click.get_current_context()), *([f"--model={uri}"] if uri else [])]
    states = hashlib.sha256("\n".join(f"{source.name} {source.state}" for source in rest).encode()).hexdigest()
    with jobs.results([*words, states], lambda folder: jobs.parts(words, folder, ".done")) as results:
        for result in results:
            part = TranscriptJournal(result, result.with_suffix(".journal"))
            part.begin({}, resume=True)
            with explain_unwritable("the journal", journal.path, hint=_CONTINUES):
                journal.merge(part, rest)


def _part_into_journal(engine: Engine, job: Job, out: Path, uri: str, part: Part, result: Path) -> None:
    """Transcribe every so many-th of what the journal of the whole has not, into a journal of its own."""
    from asr_lab.serving.transcript_journal import TranscriptJournal
    from asr_lab.system.files import write_text

    whole, own = TranscriptJournal(out), TranscriptJournal(out, result.with_suffix(".journal"))
    settings = _settings(engine, job, uri)
    whole.begin(settings, resume=True)
    own.begin(settings, resume=True)
    rest = [source for source in job.sources if not whole.is_done(source)][part.number - 1 :: part.count]
    _transcribe(engine, replace(job, sources=[source for source in rest if not own.is_done(source)]), own)
    write_text(result, "")


def _with_progress(
    results: Iterator[tuple[Source, dict[str, Any]]], count: int, speed: Speed
) -> Iterator[tuple[Source, dict[str, Any]]]:
    """Yield the results; show how many are done, the speed and what is left on a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"))
    err = console(stderr=True)
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("transcribing", total=count, speed="")
        for source, row in results:
            speed.done, speed.speech_s = speed.done + 1, speed.speech_s + row["duration_s"]
            bar.update(task, completed=speed.done, speed=f"{speed.text}, {speed.left(count - speed.done)} left")
            yield source, row


def _report_hot_words(rows: Iterator[Any]) -> None:
    """Report how often hot words were recognised, and which were without effect."""
    from asr_lab.decoding.hot_word_counts import HotWordCount, hot_word_notes, total

    counts = total([HotWordCount(**one) for one in row.get("hot_words", ())] for row in rows)
    _report_notes(hot_word_notes(counts, "these recordings"))


def _report_wer(engine: Engine, rows: Iterator[Any], err: Console) -> None:
    from asr_lab.reports.summary import interval_text
    from asr_lab.serving.transcribe import word_error_rate

    if scored := word_error_rate(rows, engine.recognizer.normalizer):
        wer, count = scored
        err.say("  WER {}, {}, on {} utterances", f"{wer.value:.1%}", interval_text(wer.low, wer.high), count)


def _end(failed: int, count: int, *, resume: bool = False) -> None:
    if failed:
        hint = "the same command with --resume transcribes those alone" if resume else ""
        raise AsrLabError(f"{failed} of {count} files could not be read", hint=hint)
