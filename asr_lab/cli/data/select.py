"""`asr-lab data select`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from asr_lab.cli.data.manifest_output import check_overwrite, overwrite_option, print_summary, progress_bar

if TYPE_CHECKING:
    from lhotse import CutSet

    from asr_lab.data.active_selection import Budget
    from asr_lab.recipes.selection.inference_cache import InferenceCache
    from asr_lab.recipes.selection.select import By, Selected

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("pool", type=_PATH)
@click.argument("out", type=_PATH)
@click.option("--model", required=True, help="The recogniser: registry URI, runs:/ID/model, or folder.")
@click.option("--by", type=click.Choice(["auto", "wer", "confidence"]), default="auto", show_default=True,
              help="What is hard; auto: the WER where there are transcripts.")  # fmt: skip
@click.option("--share", default=0.1, show_default=True, help="Take so much of the duration of POOL.")
@click.option("--speaker-share", default=0.2, show_default=True, help="Of that, one speaker fills at most so much.")
@click.option("--max-wer", type=float, help="Leave out what is worse: its transcript is probably wrong, such as 1.5.")
@click.option("--add-to", type=_PATH, help="Manifest learned from so far: left out of the choice, and part of OUT.")
@click.option("--used", type=_PATH, multiple=True, help="Further manifests whose utterances are left out.")
@overwrite_option
def select(
    pool: Path, out: Path, model: str, by: str, share: float, speaker_share: float, max_wer: float | None,
    add_to: Path | None, used: tuple[Path, ...], overwrite: bool,
) -> None:  # fmt: skip
    """Recognise the utterances of POOL and write the hardest ones to OUT: active selection for the next phase.

    Beside OUT a table (.csv) says how hard each utterance was found, and what was heard, or why nothing could be.
    Utterances without a transcript are chosen by confidence, and want one before they can be learned from. Cut off,
    the same command goes on: what was heard is kept beside OUT until all is.

    \b
    Examples:
      asr-lab data select corpora/children/pool.jsonl.gz corpora/children/phase4.jsonl.gz \\
          --model models:/wav2vec2-korean-children@champion --add-to corpora/children/phase3.jsonl.gz
      asr-lab data select unheard.jsonl.gz hard.jsonl.gz --model runs:/1a2b3c4d/model --by confidence --share 0.02
    """
    from asr_lab.data import manifest
    from asr_lab.data.active_selection import Budget, exclude_used
    from asr_lab.recipes.selection.inference_cache import InferenceCache

    stem = out.name.removesuffix(manifest.SUFFIX)
    report, cache = out.with_name(f"{stem}.csv"), InferenceCache(out.with_name(f".{stem}.heard.jsonl"))
    check_overwrite([out, report], overwrite)
    budget = Budget(share, speaker_share)
    cuts = manifest.read(pool, speech=False)
    before = manifest.read(add_to) if add_to else None
    taken = [one for one in (before, *(manifest.read(path, speech=False) for path in used)) if one is not None]
    candidates = exclude_used(cuts, taken)
    transcribed = all(any((one.text or "").strip() for one in cut.supervisions) for cut in candidates)
    how: By = "wer" if by == "wer" or (by == "auto" and transcribed) else "confidence"
    found = _choose(candidates, model, how, budget, max_wer=max_wer, cache=cache)
    written = manifest.write([*(before or ()), *found.cuts], out, speech=transcribed)
    found.table.to_csv(report, index=False)
    cache.delete()
    click.echo(f"{len(found.cuts)} of {len(candidates)} utterances chosen, {_how_hard(found.table)}; each in {report}")
    if found.recalled:
        click.echo(f"  {found.recalled} of them were transcribed before it was interrupted, and not again")
    if found.left_out:
        click.echo(f"  warning: {_how_deaf(found.left_out)}", err=True)
    if found.note:
        click.echo(f"  warning: {found.note} (--speaker-share)", err=True)
    if transcribed:
        print_summary(written, out)
    else:
        click.echo(f"{out}: {len(written)} utterances, some without a transcript: they want one first")


def _choose(
    candidates: CutSet, model: str, by: By, budget: Budget, *, max_wer: float | None, cache: InferenceCache
) -> Selected:
    """Recognise the candidates under a bar, and choose."""
    from asr_lab.models import load_model
    from asr_lab.recipes.selection.select import select
    from asr_lab.tracking.models.registry import MlflowStore

    store, done = MlflowStore(), 0
    recognizer = load_model(store.resolve(model), store.resolve)
    with progress_bar("recognising") as progress:

        def advance(more: int) -> None:
            nonlocal done
            done += more
            progress(done, len(candidates))

        return select(candidates, recognizer, by, budget, max_wer=max_wer, cache=cache, progress=advance)


def _how_deaf(left_out: dict[str, str]) -> str:
    from asr_lab.recipes.selection.inference_cache import describe_left_out

    return f"{len(left_out)} utterances cannot be transcribed and are left out: {describe_left_out(left_out)}"


def _how_hard(table: object) -> str:
    import pandas as pd

    assert isinstance(table, pd.DataFrame)
    name = "wer" if "wer" in table else "confidence"
    mine, rest = table.loc[table["chosen"], name].mean(), table.loc[~table["chosen"], name].mean()
    return f"mean {name} {mine:.1%} (of the others {rest:.1%})"
