"""Judge the pronunciation of a recording: what should have been said as text or phonemes, what was said as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from asr_lab.data.audio import Signal
from asr_lab.data.synthesis import espeak
from asr_lab.data.synthesis.phonemize import read
from asr_lab.errors import AsrLabError
from asr_lab.models.pronunciation.assessor import Assessor


def assess_row(assessor: Assessor, samples: Signal, row: Mapping[str, Any], *, where: str = "") -> dict[str, str]:
    """`text`, the phonemes that were heard, and `phonemes`, a JSON list with an object for each canonical one.

    Raises `AsrLabError` that says `where` when nobody can say what should have been said, or it does not fit the audio.
    """
    try:
        canonical, words = expected(row)
        found = assessor.assess(samples, canonical, words)
    except AsrLabError as error:
        error.where = error.where or where
        raise
    threshold = assessor.decisions.threshold
    told = [
        {
            "phoneme": phoneme,
            "word": words[place],
            "error_score": round(found.error_score[place], 4),
            "wrong": found.error_score[place] >= threshold,
            "said": found.diagnosis[place] if found.diagnosis else None,
            "start_s": found.spans[place][0],
            "end_s": found.spans[place][1],
        }
        for place, phoneme in enumerate(canonical)
    ]
    return {"text": " ".join(found.recognised), "phonemes": json.dumps(told)}


def expected(row: Mapping[str, Any]) -> tuple[list[str], list[int]]:
    """(Canonical phonemes, the index of the word of each) of a row's `phonemes`, else of its English `text`.

    In `phonemes` `|` may stand between words. Raises `AsrLabError` when there is neither.
    """
    given, text = row.get("phonemes"), row.get("text")
    if isinstance(given, str) and given.strip():
        spoken = [word.split() for word in given.split("|")]
    elif isinstance(text, str) and text.strip():
        espeak.require("a text is made into phonemes")
        spoken = [[sound.phoneme for sound in word] for word in read(text)]
    else:
        raise AsrLabError("nothing says what should have been said", allowed="a column `text` or `phonemes`")
    return [one for word in spoken for one in word], [place for place, word in enumerate(spoken) for _ in word]
