"""`asr-lab data select`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr_lab.cli.data.manifest_output import check_overwrite, overwrite_option, print_summary, progress_bar
from asr_lab.cli.jobs import Jobs, command_words, part_options
from asr_lab.cli.options import Finite, echo
from asr_lab.reports.table import csv_text
from asr_lab.system.files import write_text
from asr_lab.units import counted

if TYPE_CHECKING:
    import pandas as pd
    from lhotse import CutSet

    from asr_lab.data.active_selection import Budget
    from asr_lab.recipes.parts import Part
    from asr_lab.recipes.selection.inference_cache import InferenceCache
    from asr_lab.recipes.selection.select import By, Selected

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("pool", type=_PATH)
@click.argument("out", type=_PATH)
@click.option("--model", required=True, help="The recogniser: registry URI, runs:/ID/model, or folder.")
@click.option("--by", type=click.Choice(["auto", "wer", "confidence"]), default="auto", show_default=True,
              help="Measure of difficulty; auto: the WER if there are transcripts.")  # fmt: skip
@click.option("--share", type=Finite(), default=0.1, show_default=True, help="Share of the duration of POOL to choose.")
@click.option(
    "--speaker-share", type=Finite(), default=0.2, show_default=True, help="Largest share of that for one speaker."
)
@click.option("--max-wer", type=Finite(), help="Leave out utterances above this WER (1.5): probably wrong transcripts.")
@click.option("--add-to", type=_PATH, help="Training manifest so far: not chosen again, and included in OUT.")
@click.option("--used", type=_PATH, multiple=True, help="Further manifests whose utterances are not chosen.")
@overwrite_option
@part_options
def select(
    pool: Path, out: Path, model: str, by: str, share: float, speaker_share: float, max_wer: float | None,
    add_to: Path | None, used: tuple[Path, ...], overwrite: bool, jobs: Jobs,
    part: str | None, job: Path | None,
) -> None:  # fmt: skip
    """Transcribe the utterances of POOL and write the hardest ones to OUT: active selection for the next phase.

    A table (.csv) beside OUT has the difficulty and hypothesis of each utterance, or why it could not be transcribed.
    Utterances without a transcript are chosen by confidence, and need one before training. The same command resumes
    an interrupted selection: transcriptions are stored beside OUT until all are done.

    \b
    Examples:
      asr-lab data select corpora/children/pool.jsonl.gz corpora/children/phase4.jsonl.gz \\
          --model models:/wav2vec2-korean-children@champion --add-to corpora/children/phase3.jsonl.gz
      asr-lab data select unheard.jsonl.gz hard.jsonl.gz --model runs:/1a2b3c4d/model --by confidence --share 0.02
      asr-lab data select unheard.jsonl.gz hard.jsonl.gz --model models:/deepspeech2@champion --engine slurm --jobs 16
    """
    from lhotse import CutSet

    from asr_lab.data import manifest
    from asr_lab.data.active_selection import Budget, exclude_used, transcribed
    from asr_lab.data.table_utterances import Utterances
    from asr_lab.recipes.parts import Part
    from asr_lab.recipes.selection.inference_cache import InferenceCache

    stem = out.name.removesuffix(manifest.SUFFIX)
    report, cache = out.with_name(f"{stem}.csv"), InferenceCache(out.with_name(f".{stem}.heard.jsonl"))
    check_overwrite([out, report], overwrite)
    budget = Budget(share, speaker_share)
    previous = Utterances.read(add_to) if add_to else None
    taken = [one for one in (previous, *(Utterances.read(path, speech=False) for path in used)) if one is not None]
    candidates = exclude_used(CutSet(Utterances.read(pool, speech=False)), [CutSet(one) for one in taken])
    if part and job:
        _transcribe_part(candidates, model, Part.parse(part), cache, job)
        return
    if jobs.engine:
        model = _by_jobs(jobs, model, cache)
    is_transcribed = bool(transcribed(candidates).all())
    criterion: By = "wer" if by == "wer" or (by == "auto" and is_transcribed) else "confidence"
    selection = _choose(candidates, model, criterion, budget, max_wer=max_wer, cache=cache)
    written = manifest.write([*(previous or ()), *selection.cuts], out, speech=is_transcribed)
    write_text(report, csv_text(selection.table))
    cache.delete()
    mean = _mean_difficulty(selection.table)
    echo(f"{len(selection.cuts)} of {len(candidates)} utterances chosen, {mean}; see {report}")
    if selection.recalled:
        echo(f"  {selection.recalled} of them were already transcribed by an interrupted call")
    if selection.left_out:
        echo(f"  warning: {_left_out(selection.left_out)}", err=True)
    if selection.note:
        echo(f"  warning: {selection.note} (--speaker-share)", err=True)
    if is_transcribed:
        print_summary(written, out)
    else:
        echo(f"{out}: {counted(len(written), 'utterance')}, some without a transcript, which they need for training")


def _by_jobs(jobs: Jobs, model: str, cache: InferenceCache) -> str:
    """Have jobs transcribe the candidates, each a part, into the cache; return the pinned URI of the model."""
    from asr_lab.tracking.models.model_store import MlflowStore

    uri = MlflowStore().resolve_version(model)
    words = [*command_words(click.get_current_context()), f"--model={uri}"]
    with jobs.results(words, lambda folder: jobs.parts(words, folder, ".done")) as results:
        for result in results:
            cache.merge(_cache_of_part(result))
    return uri


def _cache_of_part(result: Path) -> Path:
    return result.with_suffix(".jsonl")


def _transcribe_part(candidates: CutSet, model: str, part: Part, known: InferenceCache, result: Path) -> None:
    from asr_lab.models import load_model
    from asr_lab.recipes.selection.inference_cache import InferenceCache, transcribe_part
    from asr_lab.tracking.models.model_store import MlflowStore

    store = MlflowStore()
    recognizer = load_model(store.resolve(model), store.resolve)
    transcribe_part(candidates, recognizer, part, known, InferenceCache(_cache_of_part(result)), lambda _: None)
    write_text(result, "")


def _choose(
    candidates: CutSet, model: str, by: By, budget: Budget, *, max_wer: float | None, cache: InferenceCache
) -> Selected:
    """Transcribe the candidates with a progress bar, and choose."""
    from asr_lab.models import load_model
    from asr_lab.recipes.selection.select import select
    from asr_lab.tracking.models.model_store import MlflowStore

    store, done = MlflowStore(), 0
    recognizer = load_model(store.resolve(model), store.resolve)
    with progress_bar("recognising") as progress:

        def advance(more: int) -> None:
            nonlocal done
            done += more
            progress(done, len(candidates))

        return select(candidates, recognizer, by, budget, max_wer=max_wer, cache=cache, progress=advance)


def _left_out(left_out: dict[str, str]) -> str:
    from asr_lab.recipes.selection.inference_cache import describe_left_out

    return f"{counted(len(left_out), 'utterance')} could not be transcribed, left out: {describe_left_out(left_out)}"


def _mean_difficulty(table: pd.DataFrame) -> str:
    name = "wer" if "wer" in table else "confidence"
    chosen_mean, other_mean = table.loc[table["chosen"], name].mean(), table.loc[~table["chosen"], name].mean()
    return f"mean {name} {chosen_mean:.1%} (of the others {other_mean:.1%})"
