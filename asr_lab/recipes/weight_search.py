"""The search for the weights of a language model: those with the lowest WER on validation data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pandas as pd
from lhotse import CutSet
from rich.progress import Progress
from torch import Tensor

from asr_lab.config.schema import Decode, EvaluateExperiment
from asr_lab.data import manifest
from asr_lab.decoding.beam import BeamDecoder
from asr_lab.decoding.contract import Decoder
from asr_lab.metrics import error_rates
from asr_lab.models.recognizer import Recognizer
from asr_lab.recipes.decode_choice import WEIGHTS, decoder_of
from asr_lab.recipes.decoding import Decoding
from asr_lab.recipes.parts import Row
from asr_lab.system.terminal import Console

LM_WEIGHTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
WORD_SCORES = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0)

RowsOfParts = Callable[[EvaluateExperiment, Decoding], Iterable[Row]]
"""Has the parts of an evaluation computed with this configuration, and returns their rows."""
_Outputs = tuple[list[str], Tensor, Tensor]
"""Of a batch: ids, log-probabilities (B, U, V), and the number of frames of each (B,)."""


def tuned(
    config: EvaluateExperiment,
    decoding: Decoding,
    recognizer: Recognizer,
    cuts: CutSet,
    console: Console,
    parts: RowsOfParts | None = None,
) -> tuple[EvaluateExperiment, Decoding]:
    """Return configuration and decoding with the weights of the lowest WER on the data, where they are to be searched.

    With `parts`, each part of the data is decoded with all weights elsewhere. Of equally good weights, those closest to
    the given ones win.
    """
    given = decoding.settings
    if not config.evaluate.tune or decoding.decoder is None or decoding.lm is None:
        return config, decoding
    if parts:
        errors = pd.DataFrame(parts(config, decoding)).groupby([*WEIGHTS], as_index=False).sum()
    else:
        with Progress(console=console, transient=True) as bar:
            steps = len(_lm_weights(given)) * len(_word_scores(given, decoding.decoder))
            task = bar.add_task("weights of the language model", total=steps)
            tried = bar.track(errors_by_weights(config, decoding, recognizer, cuts), task_id=task, total=steps)
            errors = pd.DataFrame(tried)
    frame = errors[[*WEIGHTS]].assign(
        wer=errors["word_errors"] / errors["words"], cer=errors["character_errors"] / errors["characters"]
    )
    best = given.model_copy(update=_best(frame, given))
    decoder = decoder_of(best, decoding.lm.path, recognizer)
    recognizer.decoder = decoder
    changed = config.model_copy(update={"decode": best})
    return changed, replace(decoding, settings=best, decoder=decoder, weights=frame)


def errors_by_weights(
    config: EvaluateExperiment, decoding: Decoding, recognizer: Recognizer, cuts: CutSet
) -> Iterator[Row]:
    """Yield the errors of some utterances with each pair of weights, and the lengths of their references.

    The outputs of the network for all of these utterances are held in memory.
    """
    assert decoding.lm is not None
    given = decoding.settings
    references = {cut.id: recognizer.normalizer(manifest.text(cut)) for cut in cuts}
    outputs = [
        (ids, logits_BUV.float().log_softmax(dim=-1).cpu(), lengths_B)
        for ids, logits_BUV, lengths_B in recognizer.iterate_logits(cuts, config.evaluate.batch_size)
    ]
    for lm_weight in _lm_weights(given):
        decoder = decoder_of(given.model_copy(update={"lm_weight": lm_weight}), decoding.lm.path, recognizer)
        for word_score in _word_scores(given, decoder):
            table = error_rates.score(references, _decoded(decoder.with_word_score(word_score), outputs, recognizer))
            yield {
                "lm_weight": lm_weight,
                "word_score": word_score,
                "word_errors": int(error_rates.word_errors(table).sum()),
                "words": int(table["words"].sum()),
                "character_errors": int(error_rates.character_errors(table).sum()),
                "characters": int(table["characters"].sum()),
            }


def _lm_weights(given: Decode) -> list[float]:
    return sorted({*LM_WEIGHTS, given.lm_weight})


def _word_scores(given: Decode, decoder: BeamDecoder) -> list[float]:
    return [given.word_score] if decoder.of_units else sorted({*WORD_SCORES, given.word_score})


def _decoded(decoder: Decoder, outputs: Iterable[_Outputs], recognizer: Recognizer) -> dict[str, str]:
    return {
        id: recognizer.normalizer(text)
        for ids, log_probs_BUV, lengths_B in outputs
        for id, text in zip(ids, decoder.decode(log_probs_BUV, lengths_B), strict=True)
    }


def _best(frame: pd.DataFrame, given: Decode) -> dict[str, float]:
    away = (frame["lm_weight"] - given.lm_weight).abs() + (frame["word_score"] - given.word_score).abs()
    best = frame.assign(away=away).sort_values(["wer", "cer", "away"], kind="stable").iloc[0]
    return {name: float(best[name]) for name in WEIGHTS}
