"""Decoding in an evaluation: the decoder that a configuration asks for, its weights, and what it did."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import pandas as pd
from lhotse import CutSet
from torch import Tensor

from asr_lab.config.schema import Decode, EvaluateExperiment, Evaluation
from asr_lab.data import manifest
from asr_lab.decoding import arpa
from asr_lab.decoding.arpa import Arpa
from asr_lab.decoding.beam import BeamDecoder
from asr_lab.decoding.hot_word_counts import HotWordCount, hot_word_notes, occurrences
from asr_lab.decoding.words import Word
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.tracking import ModelStore, Recorder
from asr_lab.metrics.word_confidence import Calibration, calibrate, calibration_error, ranking, right_words
from asr_lab.models import recognizer as recognizers
from asr_lab.models.recognizer import Recognizer
from asr_lab.recipes.decode_choice import WEIGHTS, check_words, choose, decoder_of, language_model_notes, weights_text


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
    notes: Sequence[str] = ()
    """On weights that were taken from the registry, or were registered."""

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


def prepare(config: EvaluateExperiment, recognizer: Recognizer, store: ModelStore, model: str) -> Decoding:
    """Make the decoder for a recogniser, whose pinned URI is `model`, and set it there.

    Raises `AsrLabError` as `choose` and `beam_decoder` do.
    """
    if config.evaluate.confidence and not config.decode.is_beam:
        check_words(recognizer, "evaluate.confidence", config.evaluate.model)
    chosen = choose(config.decode, recognizer, store, model, tune=config.evaluate.tune)
    if not chosen.settings.is_beam:
        return Decoding(chosen.settings)
    decoder = decoder_of(chosen.settings, chosen.lm_file, recognizer)
    recognizer.decoder = decoder
    lm = arpa.read(chosen.lm_file) if chosen.lm_file else None
    return Decoding(chosen.settings, decoder, lm, chosen.lm_uri, notes=[chosen.note] if chosen.note else [])


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
    return decoder_of(settings, decoding.lm.path, recognizer).decode


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
    notes = list(decoding.notes)
    if decoding.lm and decoding.decoder:
        notes += language_model_notes(decoding.lm, decoding.decoder.lexicon, text)
        notes += _known_notes(decoding.lm, table["reference"])
    if decoding.settings.hot_words:
        counts = hot_word_counts(decoding, decoded).itertuples()
        notes += hot_word_notes([HotWordCount(row.word, row.without, row.hot) for row in counts], "this data")
    if decoded.words:
        notes += _confidence_notes(word_table(decoding, decoded, table), decoding.settings)
    if decoding.weights is None:
        return notes, []
    lowest, highest = decoding.weights["wer"].min(), decoding.weights["wer"].max()
    tied = int((decoding.weights["wer"] == lowest).sum())
    notes.append(
        f"{weights_text(decoding.settings)} has the lowest WER of {len(decoding.weights)} weights on this data"
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
    changed = [name for name in of_search if name in WEIGHTS or getattr(settings, name) != fields[name].default]
    return " ".join(shlex.quote(f"decode.{name}={_as_word(getattr(settings, name))}") for name in changed)


def _as_word(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_as_word, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _known_notes(lm: Arpa, references: Sequence[str]) -> list[str]:
    if not (known := known_sentences(lm, references)):
        return []
    return [
        f"{known} of {len(references)} sentences of the data are in the text of the language model: "
        "error rates are lower than of new sentences"
    ]


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
            sum(occurrences(text, one) for one in texts.values()) for texts in (decoded.without_hot, decoded.texts)
        )
        rows.append((text, *counts))
    return pd.DataFrame(rows, columns=["word", "without", "hot"])
