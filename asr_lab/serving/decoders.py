"""Decoders of an engine: greedy, or beam searches, also with hot words of single requests; for any number of threads.

A search holds the state of its utterance, so each is lent to one thread at a time; copies share the language model,
which is only read. Forked processes have their own.

Legend: B utterances, U frames, V classes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from asr_lab.config.schema import Decode
from asr_lab.data import manifest
from asr_lab.decoding import arpa
from asr_lab.decoding.beam import BeamDecoder
from asr_lab.decoding.hot_word_counts import HotWordCount, compared
from asr_lab.decoding.words import Word
from asr_lab.models.recognizer import Recognizer
from asr_lab.recipes.decode_choice import check_search, decoder_of, language_model_notes, spell_of

MOST = 16
"""Sets of hot words whose searches stay in memory."""
GREEDY = "greedy"

HotWords = tuple[str, ...]


@dataclass
class _Searches:
    """The searches of a set of hot words: copies that no thread uses."""

    first: BeamDecoder
    idle: list[BeamDecoder] = field(default_factory=list)


class Decoders:
    """Reads text off the output of one recogniser, with the settings of an engine and the hot words of requests."""

    def __init__(
        self,
        recognizer: Recognizer,
        settings: Decode | None = None,
        lm: Path | None = None,
        *,
        notes: Iterable[str] = (),
        most: int = MOST,
    ) -> None:
        """`lm`: the ARPA file of `settings.lm`; `notes`: on how it was chosen. Raises `AsrLabError` as
        `beam_decoder` does."""
        self.recognizer, self.settings, self._lm, self._most = recognizer, settings or Decode(), lm, most
        self._notes = list(notes)
        self._searches: OrderedDict[HotWords, _Searches] = OrderedDict()
        self._lock = threading.Lock()
        if self.settings.is_beam:
            self._of(self.hot_words(()))
        if self._lm is not None:
            self._of(())  # what hot words are compared with; forked processes share it

    @property
    def name(self) -> str:
        """What distinguishes results: `greedy`, or a search with its settings and the digest of the language model."""
        given = self.settings.model_dump(mode="json", exclude_defaults=True, exclude={"lm"})
        lm = {"lm": manifest.file_digest(self._lm)[:12]} if self._lm else {}
        parts = [f"{key}={value}" for key, value in (lm | given).items()]
        return " ".join(parts if self.settings.is_beam else [GREEDY, *parts])

    def notes(self) -> list[str]:
        """Return what there is to report of the settings: registered weights, and what the language model lacks."""
        if self._lm is None:
            return self._notes
        lm, lexicon = arpa.read(self._lm), self._of(self.hot_words(())).first.lexicon
        return [*self._notes, *language_model_notes(lm, lexicon, self.recognizer.normalizer.name)]

    def hot_words(self, given: Iterable[str]) -> HotWords:
        """Return the hot words of all requests with those of one; each once."""
        words = (word.strip() for word in (*self.settings.hot_words, *given))
        return tuple(dict.fromkeys(filter(None, words)))

    def check(self, hot: HotWords) -> None:
        """Raise `AsrLabError` if hot words cannot be written by the recogniser, or its output cannot be searched."""
        if hot:
            check_search(self.recognizer, "decode.hot_words")
            self._of(hot)

    def silent(self, hot: HotWords) -> tuple[HotWordCount, ...]:
        """Return the counts of hot words of an utterance without speech."""
        return compared(self._of(hot).first.hot_texts, "", "") if hot else ()

    def decode(
        self, logits_BUV: Tensor, lengths_B: Tensor, hot: Sequence[HotWords]
    ) -> list[tuple[str, tuple[HotWordCount, ...]]]:
        """Return the text of each utterance, and how often each of its hot words was recognised."""
        if not any(hot):
            return [(text, ()) for text in self._cold(logits_BUV, lengths_B)]
        results: list[tuple[str, tuple[HotWordCount, ...]]] = []
        for row, words in enumerate(hot):
            of_row = logits_BUV[row : row + 1], lengths_B[row : row + 1]
            (without,) = self._cold(*of_row)
            if not words:
                results.append((without, ()))
                continue
            with self._lent(words) as search:
                (text,) = _searched(search, *of_row)
            results.append((text, compared(search.hot_texts, without, text)))
        return results

    def calibrated(self, words: Sequence[Word]) -> tuple[Word, ...]:
        """Return words whose confidence is a probability, where the settings have a calibration."""
        if not (self.settings.calibration and words):
            return tuple(words)
        from asr_lab.metrics.word_confidence import Calibration  # scikit-learn

        values = Calibration(*self.settings.calibration)([word.confidence for word in words])
        return tuple(replace(word, confidence=round(float(one), 4)) for word, one in zip(words, values, strict=True))

    def _cold(self, logits_BUV: Tensor, lengths_B: Tensor) -> list[str]:
        """Decode without hot words."""
        if self._lm is None:
            return self.recognizer.decode(logits_BUV, lengths_B)
        with self._lent(()) as search:
            return _searched(search, logits_BUV, lengths_B)

    @contextmanager
    def _lent(self, hot: HotWords) -> Iterator[BeamDecoder]:
        searches = self._of(hot)
        with self._lock:
            search = searches.idle.pop() if searches.idle else replace(searches.first)
        try:
            yield search
        finally:
            with self._lock:
                searches.idle.append(search)

    def _of(self, hot: HotWords) -> _Searches:
        """Return the searches of hot words; the least recently used of too many go."""
        with self._lock:
            if hot in self._searches:
                self._searches.move_to_end(hot)
                return self._searches[hot]
        made = _Searches(self._made(hot))
        with self._lock:
            made = self._searches.setdefault(hot, made)
            self._searches.move_to_end(hot)
            usual = self.hot_words(())
            while len(self._searches) > max(self._most, len({usual, (), hot})):
                self._searches.pop(next(key for key in self._searches if key not in (usual, (), hot)))
            return made

    def _made(self, hot: HotWords) -> BeamDecoder:
        """Return a search, which shares the language model with those of other hot words."""
        if hot and self._lm is not None:
            return self._of(()).first.with_hot_words(hot, spell_of(self.recognizer))
        return decoder_of(self.settings.model_copy(update={"hot_words": hot}), self._lm, self.recognizer)


def _searched(search: BeamDecoder, logits_BUV: Tensor, lengths_B: Tensor) -> list[str]:
    return search.decode(logits_BUV.float().log_softmax(dim=-1), lengths_B)
