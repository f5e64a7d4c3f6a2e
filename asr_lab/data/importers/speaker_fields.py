"""Parse ages, genders and SNRs as corpora write them, in Korean or English: one table for all importers."""

from __future__ import annotations

import re
from typing import Any
from unicodedata import normalize

OLDEST = 120  # years; ages are below
_YEARS = r"(?:세|살|years?(?: ?old)?|yrs?|y/?o?)"
_MONTHS = r"(?:개월|months?|mos?)"
_AGE = re.compile(
    rf"(?P<full>만 ?)?(?:(?P<years>\d+(?:\.\d+)?) ?{_YEARS}?|(?:(?P<of>\d+) ?{_YEARS} ?)?(?P<months>\d+) ?{_MONTHS})"
)
_OUTSIDE_AND_INSIDE = re.compile(r"([^()]+?) ?(?:\(([^()]+)\))?")
_DECADES = {
    "teen": 10,
    "teens": 10,
    "twenties": 20,
    "thirties": 30,
    "forties": 40,
    "fourties": 40,  # as in Common Voice
    "fifties": 50,
    "sixties": 60,
    "seventies": 70,
    "eighties": 80,
    "nineties": 90,
}
_KOREAN_TENS = {word: 10 * tens for tens, word in enumerate("이삼사오육칠팔구", start=2)}
_DECADE = re.compile(
    r"(?:만 ?)?(?P<decade>[1-9]0) ?(?:대|'?s)(?: ?(?:초반|중반|후반|초|중|말))?"
    rf"|(?:(?:early|mid|late)[ -]?|in (?:his|her|their) )?(?:(?P<word>{'|'.join(_DECADES)})|(?P<tens>[1-9]0)'?s)"
    rf"|(?P<korean>{'|'.join(_KOREAN_TENS)})십대(?: ?(?:초반|중반|후반|초|중|말))?"
)
_RANGE = re.compile(rf"(?:만 ?)?(?P<low>\d+) ?{_YEARS}? ?(?:[-~∼〜–—]|to|부터) ?(?P<high>\d+) ?{_YEARS}?(?: ?까지)?")
_DECADES_TO = re.compile(r"(?P<low>[1-9]0) ?대? ?[-~∼〜–—] ?(?P<high>[1-9]0) ?대")
_FROM = re.compile(
    rf"(?:만 ?)?(?P<low>\d+) ?(?:{_YEARS}|대)? ?(?:\+|이상|and (?:over|older|above)|or (?:over|older|above))"
    rf"|(?:>=|≥|over|above) ?(?P<over>\d+) ?{_YEARS}?"
)
_BELOW = re.compile(rf"(?:만 ?)?(?P<high>\d+) ?{_YEARS}? ?미만|(?:<|under|below) ?(?P<under>\d+) ?{_YEARS}?")
_GENDERS = {
    word: gender
    for gender, words in {
        "male": "m male man men boy masculine malemasculine transmale männlich mann homme masculin hombre masculino "
        "男子 남 남자 남성 남아 남자아이 남학생 소년 男 男性",
        "female": "f w female woman women girl feminine femalefeminine weiblich frau femme féminin mujer femenino "
        "feminino 女子 여 여자 여성 여아 여자아이 여학생 소녀 女 女性",
        "other": "other o nonbinary nb diverse divers intersex transgender 기타",
    }.items()
    for word in words.split()
}
_UNKNOWN = re.compile(
    r"[-?.]|n/?a|nan|none|null|unk(nown)?|un(defined|specified|disclosed)|not(provid(ed|ied)|specified)|"
    "donotwishtosay|prefernottosay|없음|미상|모름|무응답|알수없음|해당없음"
)
_NO_TEXT = re.compile(r"-|nan|<na>|#?n/a|null|none|undefined|not ?provid(?:ed|ied)")  # not 없음, which is a word
_SNR = re.compile(r"(?:약|about|approx\.?|ca\.?|[~≈])? ?([+-]?(?:\d+(?:\.\d*)?|\.\d+)) ?(?:db|데시벨)?")


def _plain(text: str) -> str:
    return " ".join(normalize("NFKC", text).lower().split())


def is_unknown(text: str) -> bool:
    """Return whether a text is empty, or says that something is not known."""
    return not text.strip() or bool(_UNKNOWN.fullmatch(_letters(text)))


def says_no_text(text: str) -> bool:
    """Return whether a transcript is empty, or what software writes for none; `null.` is a word that was spoken."""
    return not text.strip() or bool(_NO_TEXT.fullmatch(_plain(text)))


def _letters(text: str) -> str:
    return re.sub(r"[\s_-]", "", _plain(text)) or _plain(text)


def age_of(text: str) -> dict[str, Any]:
    """Return `age` in years for `7`, `만 7세`, `6세 3개월`; `age_group` for `20대`, `twenties`, `20-29`, `60+`.

    `만`, the age since birth, takes precedence over the age in calendar years: `7세(만 6세)` is 6. Other texts, such as
    `초2`, are `age_range`; {} is for a text that says it is not known.
    """
    plain = _plain(text)
    if years := _years(plain):
        return {"age": int(years) if years == int(years) else round(years, 2)}
    if group := _group(plain):
        return {"age_group": group}
    return {} if is_unknown(text) else {"age_range": text}


def _group(plain: str) -> str:
    """Return `20-29` for a decade or a range, `60+` for one without an end, "" for others."""
    if match := _DECADE.fullmatch(plain):
        words = {**_DECADES, **_KOREAN_TENS}
        low = int(match["decade"] or match["tens"] or words[match["word"] or match["korean"]])
        return f"{low}-{low + 9}"
    if match := _RANGE.fullmatch(plain):
        low, high = int(match["low"]), int(match["high"])
        return f"{low}-{high}" if low < high < OLDEST else ""
    if match := _DECADES_TO.fullmatch(plain):
        low, high = int(match["low"]), int(match["high"])
        return f"{low}-{high + 9}" if low < high else ""
    if match := _FROM.fullmatch(plain):
        low = int(match["low"] or match["over"])
        return f"{low}+" if low < OLDEST else ""
    match = _BELOW.fullmatch(plain)
    below = int(match["high"] or match["under"]) if match else 0
    return f"0-{below - 1}" if 1 < below < OLDEST else ""


def _years(plain: str) -> float | None:
    """Return the age in a text; None for no age, two different ones, or one out of range."""
    parts = _OUTSIDE_AND_INSIDE.fullmatch(plain)
    matches = [_AGE.fullmatch(part.strip()) for part in parts.groups() if part] if parts else [None]
    since_birth = [one for one in matches if one and one["full"]]
    ages = {_age(one) if one else 0.0 for one in (since_birth if all(matches) and since_birth else matches)}
    (age,) = ages if len(ages) == 1 else (0.0,)
    return age if 0 < age < OLDEST else None


def _age(match: re.Match[str]) -> float:
    return float(match["years"] or match["of"] or 0) + float(match["months"] or 0) / 12


def gender_of(text: str) -> str:
    """Return `male`, `female`, `other`, or "" for what is not known or two: `여성(F)` is female, `남/여` neither."""
    parts = [part for part in re.split(r"[()/]", normalize("NFKC", text)) if part.strip()]
    genders = {_GENDERS.get(_letters(part), "") for part in parts}
    return genders.pop() if len(genders) == 1 else ""


def snr_of(text: str) -> dict[str, float]:
    """Return `snr_db` for `12.5`, `12.5 dB` or `약 20dB`; {} for other texts, such as a range `20~30dB`."""
    match = _SNR.fullmatch(_plain(text))
    return {"snr_db": float(match[1])} if match else {}
