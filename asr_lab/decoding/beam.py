"""CTC beam search with a language model: the decoders of flashlight-text (Kahn et al. 2022), which torchaudio wraps.

A model of words is searched with its lexicon. Words that greedy decoding writes and the lexicon lacks are added for the
utterance, as `<unk>`: the search keeps such a word where the network is surer of it than the language model is of
another. That takes a trie an utterance, which torchaudio's wrapper makes from strings each time. A model of units needs
no lexicon.

Legend: B utterances, U frames, V classes.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr_lab.config.schema import Decode
from asr_lab.data.text import SPACE
from asr_lab.decoding import arpa
from asr_lab.decoding.arpa import Arpa
from asr_lab.decoding.greedy import best_path, to_text
from asr_lab.decoding.lexicon import Lexicon, Spell, Spelling, hot_spellings, lexicon
from asr_lab.decoding.ngram import BEGIN, END, NEVER, UNKNOWN, Ngram, NgramModel, arpa_lines
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import counted

_MOST_TOKENS = 50  # classes that are tried in a frame, the most probable first
_THRESHOLD = 25.0  # hypotheses whose score is lower than the best one's by more are dropped
_NOTHING = -1e4  # log probability of what the added last frame cannot be

Classes = tuple[int, ...]


@dataclass(frozen=True)
class BeamDecoder:
    """Beam search for one recogniser, of one thread; it cannot be pickled."""

    units: Sequence[str]
    blank: int
    settings: Decode
    lexicon: Lexicon
    """The words of the language model; empty for one of units, and for hot words alone."""
    hot: Mapping[str, Spelling]
    """Hot word, as the language model has it -> its units."""
    name: str
    of_units: bool = False
    lm: Any = None
    """flashlight's language model, over `words`."""
    words: Any = None
    """flashlight's dictionary of the words, or of the units."""

    @property
    def hot_texts(self) -> list[str]:
        """The hot words of the settings, as they are written in decoded text."""
        return [to_text([self.units.index(unit) for unit in units], self.units) for units in self.hot.values()]

    def decode(self, log_probs_BUV: Tensor, lengths_B: Tensor) -> list[str]:
        log_probs_BUV = log_probs_BUV.detach().float().cpu()
        paths = best_path(log_probs_BUV, lengths_B, self.blank)
        rows = zip(log_probs_BUV, lengths_B.tolist(), paths, strict=True)
        return [self._decode(row[: int(length)], path) for row, length, path in rows]

    def _decode(self, log_probs_UV: Tensor, greedy: Sequence[int]) -> str:
        """Decode one utterance; silence, where greedy decoding writes nothing, stays nothing."""
        plain = to_text(greedy, self.units)
        if not plain:
            return ""
        if not self.of_units:
            log_probs_UV = torch.cat([log_probs_UV, self._last_frame()])
        own = [] if self.of_units else self._own_words(greedy)
        search = self._search(own) if own else self._shared_search
        log_probs_UV = log_probs_UV.contiguous()
        results = search.decode(log_probs_UV.data_ptr(), *log_probs_UV.shape)
        if not results:
            return plain
        path = [index for index, _ in groupby(results[0].tokens) if index != self.blank]
        text = to_text(path, self.units)
        words = sum(self._num_words[index] for index in results[0].words if index >= 0)
        return text if self.of_units or len(text.split()) == words else plain  # a word was left unfinished

    def _last_frame(self) -> Tensor:
        """A frame (1, V) in which the boundary after the last word costs nothing: many networks do not write it."""
        frame_1V = torch.full((1, len(self.units)), _NOTHING)
        frame_1V[0, [self.blank, self.units.index(SPACE)]] = 0.0
        return frame_1V

    def _own_words(self, greedy: Sequence[int]) -> list[Classes]:
        """Return the words that greedy decoding wrote and the lexicon does not have."""
        boundary = self.units.index(SPACE)
        words = (tuple(word) for is_boundary, word in groupby(greedy, boundary.__eq__) if not is_boundary)
        own = dict.fromkeys((*word, boundary) for word in words)
        return [word for word in own if word not in self._entries]

    @cached_property
    def _entries(self) -> dict[Classes, list[tuple[int, float]]]:
        """Classes of each entry of the lexicon -> its words, each with its score at the beginning of a sentence."""
        classes = {unit: index for index, unit in enumerate(self.units)}
        start = self.lm.start(False)
        entries: dict[Classes, list[tuple[int, float]]] = {}
        for word, units in {**self.lexicon.spellings, **self.hot}.items():
            index = self.words.get_index(word)
            entry = index, self.lm.score(start, index)[1]
            entries.setdefault(tuple(classes[unit] for unit in units), []).append(entry)
        return entries

    @cached_property
    def _num_words(self) -> list[int]:
        """The number of words of text of each entry of the dictionary: a phrase has several."""
        spellings = {**self.lexicon.spellings, **self.hot}
        entries = (self.words.get_entry(index) for index in range(self.words.index_size()))
        return [spellings[word].count(SPACE) if word in spellings else 1 for word in entries]

    @cached_property
    def _shared_search(self) -> Any:
        """The search of all utterances without words of their own."""
        return self._search([])

    def _search(self, own: Sequence[Classes]) -> Any:
        """Return flashlight's decoder of the lexicon with an utterance's own words, or of units."""
        from flashlight.lib.text import decoder as flashlight

        settings = self.settings
        options = {
            "beam_size": settings.beam,
            "beam_size_token": min(len(self.units), _MOST_TOKENS),
            "beam_threshold": _THRESHOLD,
            "lm_weight": 1.0 if _is_flat(settings) and not self.of_units else settings.lm_weight,
            "sil_score": 0.0,
            "log_add": False,
            "criterion_type": flashlight.CriterionType.CTC,
        }
        boundary = self.units.index(SPACE)
        if self.of_units:
            free = flashlight.LexiconFreeDecoderOptions(**options)
            return flashlight.LexiconFreeDecoder(free, self.lm, boundary, self.blank, [])
        unknown = self.words.get_index(UNKNOWN)
        _, of_unknown = self.lm.score(self.lm.start(False), unknown)
        trie = flashlight.Trie(len(self.units), boundary)
        for classes, entries in self._entries.items():
            for index, score in entries:
                trie.insert(classes, index, score)
        for classes in own:
            trie.insert(classes, unknown, of_unknown)
        trie.smear(flashlight.SmearingMode.MAX)
        word_score = settings.word_score if settings.lm else 0.0
        word_score += settings.hot_word_score if self.hot and _is_flat(settings) else 0.0
        chosen = flashlight.LexiconDecoderOptions(**options, word_score=word_score, unk_score=float("-inf"))
        return flashlight.LexiconDecoder(chosen, trie, self.lm, boundary, self.blank, unknown, [], False)

    def with_hot_words(self, hot_words: Sequence[str], spell: Spell) -> BeamDecoder:
        """Return the decoder with other hot words; it shares the language model.

        Raises `AsrLabError` if they cannot be written with the recogniser's units.
        """
        settings = self.settings.model_copy(update={"hot_words": tuple(hot_words)})
        if not hot_words:
            return self
        if self.of_units:
            raise AsrLabError(
                "hot words need a language model of words, or none; this one is of units",
                where=settings.lm,
                next_command="asr-lab lm TEXT --units words --out NAME.arpa",
            )
        hot = hot_spellings(settings.hot_words, spell, self.units)
        named = replace(self, settings=settings, name=f"{self.name}, {counted(len(hot_words), 'hot word')}")
        return named._flat(self.lexicon, hot) if _is_flat(settings) else named._raised(hot)

    def _flat(self, lexicon: Lexicon, hot: Mapping[str, Spelling]) -> BeamDecoder:
        """Return the decoder without probabilities of words, with a lexicon and hot words."""
        listed = [*dict.fromkeys([*lexicon.spellings, *hot]), UNKNOWN]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "flat.arpa")
            lines = arpa_lines(_flat_model(self.settings, lexicon.spellings, hot))
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            lm, words = _load(path, listed)
        return replace(self, lexicon=lexicon, hot=hot, lm=lm, words=words)

    def _raised(self, hot: Mapping[str, Spelling]) -> BeamDecoder:
        """Return the decoder with hot words on top of its language model, in which `<unk>` stands for new ones."""
        from flashlight.lib.text.dictionary import Dictionary  # flashlight-text is of an extra

        from asr_lab.decoding.search_lm import HotWordsLM

        settings = self.settings
        new = [word for word in hot if word not in self.lexicon.spellings]
        words = Dictionary([*self.lexicon.spellings, UNKNOWN, *new])
        unknown = words.get_index(UNKNOWN)
        raises = {words.get_index(word): settings.hot_word_score / settings.lm_weight for word in hot}
        stand_ins = {words.get_index(word): unknown for word in new}
        for index in stand_ins:
            raises[index] -= settings.unknown_score / settings.lm_weight  # by which `<unk>` was lowered
        return replace(self, hot=hot, lm=HotWordsLM(self.lm, raises, stand_ins), words=words)

    def with_word_score(self, word_score: float) -> BeamDecoder:
        """Return the same decoder with another `word_score`."""
        return replace(self, settings=self.settings.model_copy(update={"word_score": word_score}))


def beam_decoder(settings: Decode, lm: Path | None, units: Sequence[str], blank: int, spell: Spell) -> BeamDecoder:
    """Return the decoder of a recogniser: `lm` is the ARPA file of `settings.lm`, None for hot words alone.

    Raises `AsrLabError` if flashlight-text is missing, the file is no ARPA file, or its words, or the hot words, cannot
    be written with the recogniser's units.
    """
    require()
    model = arpa.read(lm) if lm else None
    hot_spellings(settings.hot_words, spell, units)  # what is wrong with them is reported before a model is loaded
    of_units = model is not None and model.of_units
    if not of_units and SPACE not in units:
        raise AsrLabError(
            f"the recogniser writes no word boundary ({SPACE}), so words cannot be decoded",
            allowed="a language model of units: asr-lab lm TEXT --units characters",
        )
    cold, name = settings.model_copy(update={"hot_words": ()}), f"beam {settings.beam}"
    plain = BeamDecoder(units, blank, cold, Lexicon({}), {}, name, of_units)
    if model:
        plain = _with_model(plain, model, spell)
    return plain.with_hot_words(settings.hot_words, spell)


def _with_model(plain: BeamDecoder, model: Arpa, spell: Spell) -> BeamDecoder:
    """Return a decoder with a language model; raises `AsrLabError` as `beam_decoder` does."""
    if plain.of_units:
        _check_units(model, plain.units)
    own = Lexicon({}) if plain.of_units else lexicon(model.words, spell, plain.units)
    listed = list(plain.units) if plain.of_units else [*own.spellings, UNKNOWN]
    name = f"{plain.name}, {model.order}-gram of {'units' if plain.of_units else 'words'}"
    if _is_flat(plain.settings) and not plain.of_units:
        return replace(plain._flat(own, {}), name=name)
    with tempfile.TemporaryDirectory() as folder:
        try:
            loaded, words = _load(_scored(model, plain.settings, Path(folder)), listed)
        except AsrLabError as error:
            error.where = error.where or str(model.path)  # not the copy that is gone
            raise
    return replace(plain, lexicon=own, lm=loaded, words=words, name=name)


def require() -> None:
    """Raise `AsrLabError` unless flashlight-text is installed."""
    if importlib.util.find_spec("flashlight") is None:
        raise AsrLabError(
            "decoding with a language model or hot words needs flashlight-text, which is not installed",
            next_command="pip install 'asr_lab[lm]'",
        )


def _check_units(model: Arpa, units: Sequence[str]) -> None:
    missing = sorted(set(model.words) - set(units), key=lambda unit: -model.words[unit])
    if 2 * len(missing) > len(model.words):
        raise AsrLabError(
            f"{len(missing)} of the {len(model.words)} units of the language model are not units of the recogniser: "
            f"{listing(missing, 5)}",
            where=str(model.path),
            allowed=f"the recogniser's units: {listing(units, 40)}",
        )


def _is_flat(settings: Decode) -> bool:
    """Whether all words of the lexicon are scored alike: without a language model, or with one of weight 0."""
    return not settings.lm or not settings.lm_weight


def _scored(model: Arpa, settings: Decode, folder: Path) -> Path:
    """Return the file to search with: `<unk>` is lowered in a copy of a model of words."""
    if model.of_units:
        return model.path
    lowest = min(model.words.values()) if model.unknown is None else model.unknown
    path = folder / "scored.arpa"
    arpa.write_raised(model.path, path, {UNKNOWN: settings.unknown_score / settings.lm_weight}, floor=lowest)
    return path


def _flat_model(settings: Decode, words: Iterable[str], hot: Iterable[str]) -> NgramModel:
    """Return a model in which all words are alike but the hot ones.

    KenLM takes no score above 0: other words are lowered instead of hot ones raised, which `word_score` makes up for.
    """
    hot = list(hot)
    usual = -settings.hot_word_score if hot else 0.0
    unknown = min(0.0, usual + settings.unknown_score) if settings.lm else usual
    scores: dict[Ngram, float] = {(BEGIN,): NEVER, (END,): 0.0, (BEGIN, END): 0.0, (UNKNOWN,): unknown}
    scores.update(((word,), usual) for word in words)
    scores.update(((word,), 0.0) for word in hot)
    return NgramModel(scores, {})


def _load(path: Path, words: Sequence[str]) -> tuple[Any, Any]:
    from asr_lab.decoding import search_lm  # flashlight-text is of an extra

    return search_lm.load(path, words)
