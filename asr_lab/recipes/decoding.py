"""Decoding in an evaluation: the decoder that a configuration asks for, its weights, and what it did."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
from lhotse import CutSet
from rich.progress import Progress
from torch import Tensor

from asr_lab.config.schema import Decode, EvaluateExperiment, Evaluation
from asr_lab.data import manifest
from asr_lab.decoding import arpa
from asr_lab.decoding.arpa import Arpa
from asr_lab.decoding.beam import BeamDecoder, beam_decoder
from asr_lab.decoding.contract import Decoder
from asr_lab.decoding.words import Word
from asr_lab.errors import AsrLabError, listing
from asr_lab.families import family
from asr_lab.interfaces.tracking import ModelStore, Recorder, is_tracked_uri
from asr_lab.metrics import error_rates
from asr_lab.metrics.word_confidence import Calibration, calibrate, calibration_error, ranking, right_words
from asr_lab.models import recognizer as recognizers
from asr_lab.models.recognizer import Recognizer
from asr_lab.system.terminal import Console

LM_WEIGHTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
WORD_SCORES = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0)
_TUNED = ("lm_weight", "word_score")


@dataclass(frozen=True)
class Decoding:
    """How an evaluation decodes."""

    settings: Decode
    decoder: BeamDecoder | None = None
    """None: greedy."""
    lm: Arpa | None = None
    lm_uri: str = ""
    """Pinned URI of a registered language model; else the path of its file."""
    weights: pd.DataFrame | None = None
    """What was tried where weights were searched: `lm_weight, word_score, wer, cer`."""

    @property
    def digests(self) -> dict[str, str]:
        """The digest of the language model's file, by which a run is recognised; empty without one."""
        return {"lm": manifest.file_digest(self.lm.path)} if self.lm else {}

    @property
    def tags(self) -> dict[str, str]:
        """Tags of a run: what decoded, and the language model with the digest of its text; empty for greedy."""
        if self.decoder is None:
            return {}
        header = self.lm.header if self.lm else None
        of_lm = {"lm": self.lm_uri, "lm_digest": self.digests["lm"]} if self.lm else {}
        return {"decoder": self.decoder.name, **of_lm} | ({"lm_text": header.digest} if header else {})


@dataclass
class Decoded:
    """The texts of a split, by utterance id."""

    texts: dict[str, str] = field(default_factory=dict)
    without_hot: dict[str, str] = field(default_factory=dict)
    """The same without hot words; empty where there are none."""
    words: list[tuple[str, Word]] = field(default_factory=list)
    """Utterance id and word; empty unless asked for."""


def prepare(config: EvaluateExperiment, recognizer: Recognizer, store: ModelStore) -> Decoding:
    """Make the decoder for a recogniser, and set it there; raises `AsrLabError` as `beam_decoder` does."""
    settings = config.decode
    asked = {"decode.lm": settings.lm, "decode.hot_words": settings.hot_words}
    asked_for = [key for key, value in (asked | {"evaluate.confidence": config.evaluate.confidence}).items() if value]
    if asked_for and family(recognizer.model_type).takes_text:
        raise AsrLabError(
            f"{asked_for[0]} is for recognisers of words; this model is of the family {recognizer.model_type}",
            where=config.evaluate.model,
        )
    if not settings.is_beam:
        return Decoding(settings)
    if recognizer.subwords:
        raise AsrLabError(
            "language models and hot words are for recognisers of characters or jamo; this model's units are bpe",
            where="decode.lm" if settings.lm else "decode.hot_words",
        )
    uri = store.resolve_version(settings.lm) if is_tracked_uri(settings.lm) else settings.lm
    path = store.language_model_file(uri) if is_tracked_uri(uri) else Path(uri) if uri else None
    decoder = _decoder(settings, path, recognizer)
    recognizer.decoder = decoder
    return Decoding(settings, decoder, arpa.read(path) if path else None, uri)


def _decoder(settings: Decode, path: Path | None, recognizer: Recognizer) -> BeamDecoder:
    return beam_decoder(
        settings, path, recognizer.units, recognizer.blank, lambda text: "".join(recognizer.spell(text))
    )


def decode(
    decoding: Decoding, recognizer: Recognizer, cuts: CutSet, settings: Evaluation, progress: recognizers.Progress
) -> Decoded:
    """Transcribe all utterances; with hot words, also without them; on request with the confidence of words."""
    hot = bool(decoding.settings.hot_words)
    if not hot and not settings.confidence:
        return Decoded(recognizer.hypotheses(cuts, settings.batch_size, progress))
    cold = _without_hot(decoding, recognizer) if hot else None
    done = Decoded()
    for ids, logits_BUV, lengths_B in recognizer.iterate_logits(cuts, settings.batch_size, progress):
        log_probs_BUV = logits_BUV.float().log_softmax(dim=-1)
        texts = dict(zip(ids, recognizer.decode(logits_BUV, lengths_B), strict=True))
        done.texts |= texts
        if cold:
            done.without_hot |= zip(ids, cold(log_probs_BUV, lengths_B), strict=True)
        for id, row_UV, length in zip(ids, log_probs_BUV, lengths_B.tolist(), strict=True):
            text = recognizer.normalizer(texts[id])  # as it is scored
            words = recognizer.words(row_UV[:length], text) if settings.confidence else []
            done.words += [(id, word) for word in words]
    return done


def _without_hot(decoding: Decoding, recognizer: Recognizer) -> Callable[[Tensor, Tensor], list[str]]:
    if decoding.lm is None:
        return recognizer.decode_greedily
    settings = decoding.settings.model_copy(update={"hot_words": ()})
    return _decoder(settings, decoding.lm.path, recognizer).decode


def tuned(
    config: EvaluateExperiment, decoding: Decoding, recognizer: Recognizer, cuts: CutSet, console: Console
) -> tuple[EvaluateExperiment, Decoding]:
    """Return configuration and decoding with the weights of the lowest WER on the data, where they are to be searched.

    The outputs of the network for all utterances are held in memory. Of equally good weights, those closest to the
    given ones win.
    """
    given = decoding.settings
    if not config.evaluate.tune or decoding.decoder is None or decoding.lm is None:
        return config, decoding
    scores = [given.word_score] if decoding.decoder.of_units else sorted({*WORD_SCORES, given.word_score})
    weights = sorted({*LM_WEIGHTS, given.lm_weight})
    references = {cut.id: recognizer.normalizer(manifest.text(cut)) for cut in cuts}
    rows = []
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("weights of the language model", total=1 + len(weights))
        outputs = [
            (ids, logits_BUV.float().log_softmax(dim=-1).cpu(), lengths_B)
            for ids, logits_BUV, lengths_B in recognizer.iterate_logits(cuts, config.evaluate.batch_size)
        ]
        bar.advance(task)
        for lm_weight in weights:
            decoder = _decoder(given.model_copy(update={"lm_weight": lm_weight}), decoding.lm.path, recognizer)
            for word_score in scores:
                texts = _decoded(decoder.with_word_score(word_score), outputs, recognizer)
                table = error_rates.score(references, texts)
                rows.append((lm_weight, word_score, error_rates.wer(table), error_rates.cer(table)))
            bar.advance(task)
    frame = pd.DataFrame(rows, columns=[*_TUNED, "wer", "cer"])
    best = given.model_copy(update=_best(frame, given))
    decoder = _decoder(best, decoding.lm.path, recognizer)
    recognizer.decoder = decoder
    changed = config.model_copy(update={"decode": best})
    return changed, replace(decoding, settings=best, decoder=decoder, weights=frame)


def _best(frame: pd.DataFrame, given: Decode) -> dict[str, float]:
    away = (frame["lm_weight"] - given.lm_weight).abs() + (frame["word_score"] - given.word_score).abs()
    best = frame.assign(away=away).sort_values(["wer", "cer", "away"], kind="stable").iloc[0]
    return {name: float(best[name]) for name in _TUNED}


def _decoded(
    decoder: Decoder, outputs: Iterable[tuple[list[str], Tensor, Tensor]], recognizer: Recognizer
) -> dict[str, str]:
    return {
        id: recognizer.normalizer(text)
        for ids, log_probs_BUV, lengths_B in outputs
        for id, text in zip(ids, decoder.decode(log_probs_BUV, lengths_B), strict=True)
    }


def record_decoding(run: Recorder, decoding: Decoding, decoded: Decoded, table: pd.DataFrame, split: str) -> None:
    """Log the weights that were tried, hot words, the confidence of words, and sentences the language model knew."""
    if decoded.words:
        words = word_table(decoding, decoded, table)
        run.table(words, f"eval/{split}_words.parquet")
        figures = {"confidence_ece": calibration_error(words), "confidence_auc": ranking(words)}
        run.metrics({f"{split}/{name}": value for name, value in figures.items() if not math.isnan(value)})
    if decoding.weights is not None:
        run.table(decoding.weights, f"eval/{split}_weights.parquet")
    if decoding.settings.hot_words:
        run.table(hot_word_counts(decoding, decoded), f"eval/{split}_hot_words.parquet")
    if decoding.lm and decoding.lm.sentences:
        run.metrics({f"{split}/sentences_in_lm": known_sentences(decoding.lm, table["reference"])})


def word_table(decoding: Decoding, decoded: Decoded, table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per recognised word: `id, word, start_s, end_s, confidence, right`; confidence calibrated if so
    configured."""
    right: dict[str, list[bool]] = {row.id: right_words(row.reference, row.hypothesis) for row in table.itertuples()}
    rows = [(id, word.text, word.start_s, word.end_s, word.confidence) for id, word in decoded.words]
    words = pd.DataFrame(rows, columns=["id", "word", "start_s", "end_s", "confidence"])
    words["right"] = [one for id in dict.fromkeys(words["id"]) for one in right[id]]
    if decoding.settings.calibration:
        words["confidence"] = Calibration(*decoding.settings.calibration)(words["confidence"])
    return words


def decoding_notes(
    decoding: Decoding, decoded: Decoded, table: pd.DataFrame, config: EvaluateExperiment, text: str
) -> tuple[list[str], list[str]]:
    """Return warnings and remarks on how a split was decoded, and what to type next; `text` names the normaliser."""
    notes: list[str] = []
    if decoding.lm and decoding.lm.header and decoding.lm.header.text != text:
        notes.append(
            f"the text of the language model was normalised as {decoding.lm.header.text}, the recogniser's as {text}: "
            "asr-lab lm --model MODEL normalises as the recogniser does"
        )
    if decoding.lm and decoding.decoder:
        notes += _lm_notes(decoding.lm, decoding.decoder, table["reference"])
    if decoding.settings.hot_words:
        notes += _hot_word_notes(hot_word_counts(decoding, decoded))
    if decoded.words:
        notes += _confidence_notes(word_table(decoding, decoded, table), decoding.settings)
    if decoding.weights is None:
        return notes, []
    weights = " ".join(f"decode.{name}={getattr(decoding.settings, name):g}" for name in _TUNED)
    lowest, highest = decoding.weights["wer"].min(), decoding.weights["wer"].max()
    tied = int((decoding.weights["wer"] == lowest).sum())
    notes.append(
        f"{weights} has the lowest WER of {len(decoding.weights)} weights on this data"
        + (f", as {tied - 1} others have" if tied > 1 else "")
        + f"; the highest is {highest:.1%}"
    )
    return notes, [f"asr-lab evaluate {_options(config.evaluate)} {_decode_words(decoding.settings)}"]


def _options(settings: Evaluation) -> str:
    """Return the options of an evaluation of the same recogniser on other data."""
    given = {"--model": settings.model, "--adapter": settings.adapter, "--data": "TEST"}
    words = [f"{name} {shlex.quote(value)}" for name, value in given.items() if value]
    if settings.adapter and settings.adapter_dir != Evaluation.model_fields["adapter_dir"].default:
        words.append(shlex.quote(f"evaluate.adapter_dir={settings.adapter_dir}"))
    return " ".join(words)


def _decode_words(settings: Decode) -> str:
    """Return what was given of decoding, with the weights, which hold for it alone; no calibration, of old weights."""
    fields = Decode.model_fields
    of_search = [name for name in fields if name != "calibration"]
    changed = [name for name in of_search if name in _TUNED or getattr(settings, name) != fields[name].default]
    return " ".join(shlex.quote(f"decode.{name}={_as_word(getattr(settings, name))}") for name in changed)


def _as_word(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_as_word, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _lm_notes(lm: Arpa, decoder: BeamDecoder, references: Sequence[str]) -> list[str]:
    notes = []
    if unspellable := decoder.lexicon.unspellable:
        notes.append(
            f"{len(unspellable)} of {len(lm.words)} words of the language model cannot be written with the "
            f"recogniser's units, and are not recognised: {listing(unspellable, 5)}"
        )
    if known := known_sentences(lm, references):
        notes.append(
            f"{known} of {len(references)} sentences of the data are in the text of the language model: "
            "error rates are lower than of new sentences"
        )
    return notes


def _confidence_notes(words: pd.DataFrame, settings: Decode) -> list[str]:
    of_words = f"confidence of {len(words)} words, {words['right'].mean():.1%} of them right"
    note = f"{of_words}: calibration error {calibration_error(words):.1%}, ROC AUC {ranking(words):.3f}"
    if settings.calibration:
        return [note]
    try:
        fitted = calibrate(words)
    except AsrLabError as error:
        return [note, error.what]
    return [note, f"decode.calibration={fitted.slope:.3f},{fitted.intercept:.3f} fits this data, for use on other data"]


def known_sentences(lm: Arpa, references: Iterable[str]) -> int:
    """Return how many normalised references are sentences of the text of the language model."""
    return sum(arpa.sentence_hash(text) in lm.sentences for text in references)


def hot_word_counts(decoding: Decoding, decoded: Decoded) -> pd.DataFrame:
    """Return how often each hot word was recognised: `word, without, hot`, without and with being hot."""
    assert decoding.decoder is not None
    rows = []
    for text in decoding.decoder.hot_texts:
        counts = (
            sum(f" {one} ".replace(" ", "  ").count(f" {text} ".replace(" ", "  ")) for one in texts.values())
            for texts in (decoded.without_hot, decoded.texts)
        )
        rows.append((text, *counts))
    return pd.DataFrame(rows, columns=["word", "without", "hot"])


def _hot_word_notes(counts: pd.DataFrame) -> list[str]:
    moved = counts[counts["without"] != counts["hot"]]
    idle = list(counts.loc[counts["without"] == counts["hot"], "word"])
    changes = [f"{row.word} {row.without} -> {row.hot}" for row in moved.itertuples()]
    notes = [f"hot words, how often they are recognised: {listing(changes)}"] if changes else []
    return notes + ([f"hot words without effect on this data: {listing(idle)}"] if idle else [])
