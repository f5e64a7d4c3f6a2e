"""Language models as flashlight's searches take them: KenLM's, and one with hot words on top of a shared one."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flashlight.lib.text.decoder import LM, kenlm
from flashlight.lib.text.dictionary import Dictionary as Dictionary

from asr_lab.errors import AsrLabError

_STDERR = threading.Lock()
_THROWN = re.compile(r".* threw \w+?( because `.*?')?\. ?")  # where in KenLM's code, before what is wrong
_PROGRESS = re.compile(rb"Loading the LM will be faster [^\n]*\nReading [^\n]*\n|----5---10[-\d]*\n|\*+\n?")


def load(path: Path, words: Sequence[str]) -> tuple[Any, Any]:
    """Load an ARPA file with KenLM for these words; return the model and flashlight's dictionary of the words.

    Raises `AsrLabError` if KenLM cannot read it.
    """
    listed = Dictionary(list(words))
    try:
        with _without_progress():
            return kenlm.KenLM(str(path), listed), listed
    except Exception as error:  # of its own, untyped
        message = _THROWN.sub("", " ".join(str(error).split()))
        raise AsrLabError(f"KenLM cannot read the language model: {message}") from error


@contextmanager
def _without_progress() -> Iterator[None]:
    """Drop the progress bar that KenLM draws on the file of stderr; what others write meanwhile follows at the end."""
    with _STDERR, tempfile.TemporaryFile() as written:
        sys.stderr.flush()
        saved = os.dup(2)
        try:
            os.dup2(written.fileno(), 2)
            yield
        finally:
            os.dup2(saved, 2)
            written.seek(0)
            with os.fdopen(saved, "wb", buffering=0) as stderr:
                if others := _PROGRESS.sub(b"", written.read()):
                    stderr.write(others)


class HotWordsLM(LM):  # type: ignore[misc]  # flashlight has no types
    """A language model in which some words are likelier after every history; the model itself is only read."""

    def __init__(self, shared: Any, raises: Mapping[int, float], stand_ins: Mapping[int, int]) -> None:
        """`raises`: what is added to the log10 probability of a word, up to 0, by its index; `stand_ins`: the word of
        `shared` that stands for one it does not have."""
        super().__init__()
        self._shared, self._raises, self._stand_ins = shared, raises, stand_ins

    def start(self, start_with_nothing: bool) -> Any:
        return self._shared.start(start_with_nothing)

    def score(self, state: Any, word: int) -> tuple[Any, float]:
        after, value = self._shared.score(state, self._stand_ins.get(word, word))
        return after, min(value + self._raises[word], 0.0) if word in self._raises else value

    def finish(self, state: Any) -> tuple[Any, float]:
        finished: tuple[Any, float] = self._shared.finish(state)
        return finished
