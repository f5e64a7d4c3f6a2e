"""Parse ages, genders and SNRs in Korean or English notation."""

from __future__ import annotations

import re
from typing import Any
from unicodedata import normalize

_OLDEST = 120  # years; ages are below
_YEARS = r"(?:세|살|years?(?: ?old)?|yrs?|y/?o?)"
_MONTHS = r"(?:개월|months?|mos?)"
_AGE = re.compile(
    rf"(?P<full>만 ?)?(?:(?P<years>\d+(?:\.\d+)?) ?{_YEARS}?|(?:(?P<of>\d+) ?{_YEARS} ?)?(?P<months>\d+) ?{_MONTHS})"
)
_OUTSIDE_AND_INSIDE = re.compile(r"([^()]+?) ?(?:\(([^()]+)\))?")
_GENDERS = {
    **dict.fromkeys(("m", "male", "man", "boy", "남", "남자", "남성", "남아", "남자아이", "남학생", "소년"), "male"),
    **dict.fromkeys(
        ("f", "female", "woman", "girl", "여", "여자", "여성", "여아", "여자아이", "여학생", "소녀"), "female"
    ),
}
_SNR = re.compile(r"(?:약|about|approx\.?|ca\.?|[~≈])? ?([+-]?(?:\d+(?:\.\d*)?|\.\d+)) ?(?:db|데시벨)?")


def _plain(text: str) -> str:
    return " ".join(normalize("NFKC", text).lower().split())


def age_of(text: str) -> dict[str, Any]:
    """Return `age` in years for `7`, `만 7세`, `6세 3개월`, `72개월`; `age_range` for others, such as `20대` or `초2`.

    `만`, the age since birth, takes precedence over the age in calendar years: `7세(만 6세)` is 6.
    """
    years = _years(_plain(text))
    if years:
        return {"age": int(years) if years == int(years) else round(years, 2)}
    return {"age_range": text} if text else {}


def _years(plain: str) -> float | None:
    """Return the age in a text; None for no age, two different ones, or one out of range."""
    parts = _OUTSIDE_AND_INSIDE.fullmatch(plain)
    matches = [_AGE.fullmatch(part.strip()) for part in parts.groups() if part] if parts else [None]
    since_birth = [one for one in matches if one and one["full"]]
    ages = {_age(one) if one else 0.0 for one in (since_birth if all(matches) and since_birth else matches)}
    (age,) = ages if len(ages) == 1 else (0.0,)
    return age if 0 < age < _OLDEST else None


def _age(match: re.Match[str]) -> float:
    return float(match["years"] or match["of"] or 0) + float(match["months"] or 0) / 12


def gender_of(text: str) -> str:
    """Return `male`, `female`, or ""."""
    return _GENDERS.get(_plain(text).replace(" ", ""), "")


def snr_of(text: str) -> dict[str, float]:
    """Return `snr_db` for `12.5`, `12.5 dB` or `약 20dB`; {} for other texts, such as a range `20~30dB`."""
    match = _SNR.fullmatch(_plain(text))
    return {"snr_db": float(match[1])} if match else {}
