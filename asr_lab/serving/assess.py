"""Assess the pronunciation of a recording against its text or canonical phonemes."""

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
    """Return `text`, the recognised phonemes, and `phonemes`, a JSON list with an object per canonical phoneme.

    Raises `AsrLabError` with `where` if the row has no text or phonemes, or more of them than the audio has frames.
    """
    try:
        canonical, words = expected(row)
        assessment = assessor.assess(samples, canonical, words)
    except AsrLabError as error:
        error.where = error.where or where
        raise
    threshold = assessor.decisions.threshold
    objects = [
        {
            "phoneme": phoneme,
            "word": words[place],
            "error_score": round(assessment.error_score[place], 4),
            "wrong": assessment.error_score[place] >= threshold,
            "said": assessment.diagnosis[place] if assessment.diagnosis else None,
            "start_s": assessment.spans[place][0],
            "end_s": assessment.spans[place][1],
        }
        for place, phoneme in enumerate(canonical)
    ]
    return {"text": " ".join(assessment.recognised), "phonemes": json.dumps(objects)}


def expected(row: Mapping[str, Any]) -> tuple[list[str], list[int]]:
    """Return (canonical phonemes, word index of each) of a row's `phonemes`, else of its English `text`.

    In `phonemes`, `|` may separate words. Raises `AsrLabError` if the row has neither.
    """
    given, text = row.get("phonemes"), row.get("text")
    if isinstance(given, str) and given.strip():
        spoken = [word.split() for word in given.split("|")]
    elif isinstance(text, str) and text.strip():
        espeak.require("a text is made into phonemes")
        spoken = [[sound.phoneme for sound in word] for word in read(text)]
    else:
        raise AsrLabError("the expected pronunciation is missing", allowed="a column `text` or `phonemes`")
    return [one for word in spoken for one in word], [place for place, word in enumerate(spoken) for _ in word]
