"""`asr-lab data select`."""

from __future__ import annotations

from pathlib import Path

import click

from asr_lab.cli.manifests import bar, keep_what_is_there, overwrite_option, say

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

    Beside OUT a table (.csv) says how hard each utterance was found, and what was heard. Utterances without a
    transcript are chosen by confidence, and want one before they can be learned from.

    \b
    Examples:
      asr-lab data select corpora/children/pool.jsonl.gz corpora/children/phase4.jsonl.gz \\
          --model models:/wav2vec2-korean-children@champion --add-to corpora/children/phase3.jsonl.gz
      asr-lab data select unheard.jsonl.gz hard.jsonl.gz --model runs:/1a2b3c4d/model --by confidence --share 0.02
    """
    from asr_lab.data import manifest
    from asr_lab.data.selection import Budget, unused
    from asr_lab.models import load_model
    from asr_lab.recipes.select import select as choose
    from asr_lab.tracking.registry import MlflowStore

    report = out.with_name(out.name.removesuffix(manifest.SUFFIX) + ".csv")
    keep_what_is_there([out, report], overwrite)
    cuts = manifest.read(pool, speech=False)
    before = manifest.read(add_to) if add_to else None
    taken = [one for one in (before, *(manifest.read(path, speech=False) for path in used)) if one is not None]
    candidates = unused(cuts, taken)
    transcribed = all(any((one.text or "").strip() for one in cut.supervisions) for cut in candidates)
    store = MlflowStore()
    recognizer, done = load_model(store.resolve(model), store.resolve), 0
    with bar("recognising") as progress:

        def advance(more: int) -> None:
            nonlocal done
            done += more
            progress(done, len(candidates))

        chosen, table, note = choose(
            candidates,
            recognizer,
            "wer" if by == "wer" or (by == "auto" and transcribed) else "confidence",
            Budget(share, speaker_share),
            max_wer=max_wer,
            progress=advance,
        )
    written = manifest.write([*(before or ()), *chosen], out, speech=transcribed)
    table.to_csv(report, index=False)
    click.echo(f"{len(chosen)} of {len(candidates)} utterances chosen, {_how_hard(table)}; each in {report}")
    if note:
        click.echo(f"  warning: {note} (--speaker-share)", err=True)
    if transcribed:
        say(written, out)
    else:
        click.echo(f"{out}: {len(written)} utterances, some without a transcript: they want one first")


def _how_hard(table: object) -> str:
    import pandas as pd

    assert isinstance(table, pd.DataFrame)
    name = "wer" if "wer" in table else "confidence"
    mine, rest = table.loc[table["chosen"], name].mean(), table.loc[~table["chosen"], name].mean()
    return f"mean {name} {mine:.1%} (of the others {rest:.1%})"
