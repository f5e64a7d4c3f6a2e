"""Subwords: byte-pair encoding (Sennrich et al. 2016) of normalised text, learned from the training transcripts.

Pieces are as those of SentencePiece: `▁` begins a word (`▁그래 서 ▁나는`), and a piece never spans two words. A model
folder holds them as `subwords.json`, a file of the library tokenizers: text, never a pickle.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from asr_lab.data.text import BLANK, UNKNOWN, WORD_START
from asr_lab.errors import AsrLabError, listing

FILE = "subwords.json"


class Subwords:
    """Splits normalised text into pieces."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def learn(cls, texts: Iterable[str], vocab_size: int) -> Subwords:
        """Learn pieces for a vocabulary of `vocab_size` classes, with the CTC blank and `<unk>`.

        The same texts make the same pieces. Fewer are learned if the texts have no more. Raises `AsrLabError` if the
        characters alone, which are pieces too, are more.
        """
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else a warning in each forked process
        tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=WORD_START, prepend_scheme="always")
        trainer = trainers.BpeTrainer(vocab_size=vocab_size - 1, special_tokens=[UNKNOWN], show_progress=False)
        tokenizer.train_from_iterator(texts, trainer)
        if (needed := tokenizer.get_vocab_size() + 1) > vocab_size:
            raise AsrLabError(
                f"data.text.vocab_size={vocab_size} is too small: the transcripts have {needed - 3} characters, each "
                "of which is a unit, as are the beginning of a word, <pad> and <unk>",
                allowed=f"data.text.vocab_size of more than {needed}, or data.text.units=characters",
            )
        return cls(tokenizer)

    @classmethod
    def read(cls, folder: Path, vocabulary: Mapping[str, int]) -> Subwords:
        """Read the pieces of a model folder.

        Raises `AsrLabError` if they are missing, or not those of its vocabulary.
        """
        file = folder / FILE
        if not file.is_file():
            raise AsrLabError(
                f"not a model folder: {FILE} is missing, which units=bpe needs",
                where=str(folder),
                allowed="the complete folder that asr-lab train wrote",
            )
        try:
            subwords = cls(Tokenizer.from_str(file.read_text(encoding="utf-8")))
        except Exception as error:  # tokenizers raises plain exceptions
            raise AsrLabError(f"not a file of subwords: {str(error).splitlines()[0]}", where=str(file)) from error
        if missing := [piece for piece in subwords.pieces if piece not in vocabulary]:
            raise AsrLabError(
                f"{len(missing)} subwords are not in the vocabulary: {listing(missing, 5)}",
                where=str(file),
                allowed=f"{FILE} and vocab.json of the same training",
            )
        return subwords

    def save(self, folder: Path) -> None:
        """Write the pieces to a model folder."""
        (folder / FILE).write_text(self._tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")

    @property
    def pieces(self) -> list[str]:
        """All pieces, the characters first, then in the order in which they were learned; without `<unk>`."""
        ids = self._tokenizer.get_vocab()
        return [piece for piece in sorted(ids, key=ids.__getitem__) if piece != UNKNOWN]

    def vocabulary(self) -> dict[str, int]:
        """Return piece -> class: the CTC blank (`<pad>`), `<unk>`, then the pieces."""
        return {unit: index for index, unit in enumerate([BLANK, UNKNOWN, *self.pieces])}

    def split(self, text: str) -> list[str]:
        """Split normalised text into pieces; a character that was not in the training transcripts stays as it is."""
        encoded = self._tokenizer.encode(text)
        return [
            text[start:end] if piece == UNKNOWN else piece
            for piece, (start, end) in zip(encoded.tokens, encoded.offsets, strict=True)
        ]
