"""Spell out numbers in Korean text: `3개` as 세 개, `3층` as 삼 층, `010-1234` as 공일공 일이삼사.

Korean has two number systems. Before the counters of `_NATIVE`, numbers up to 99 are native (한, 두, 스무); before all
other counters, after 제, alone, and above 99 they are Sino-Korean (일, 이, 이십), in words of four digits each (Hangul
orthography, 한글 맞춤법, 44). A counter is a separate word (43), also after 만 or 천: `5천원` is 오천 원. A number is a
separate word after Hangul, but not after 제 (`제2차`). The twelve months are single words: 삼월, 유월, 시월. Numbers
with a leading 0 or more than 16 digits are read digit by digit, like telephone numbers.

In a range (`3~5`, or `3-5` before a counter), neighbours below ten are one word, and so are tens from 20, hundreds and
thousands: 한두 명, 이삼 년, 이삼십 분. Other ranges are 삼에서 오 층, with the counter twice if a number needs it:
세 명에서 다섯 명, 삼월에서 오월.

The result is one of several correct readings: 서른 명 is also read 삼십 명, and 1번 becomes 한 번 (once), not 일 번
(number one). `1만` and `1천` are 만 and 천, `1억` is 일억. `3대 1` without a counter after the 1 is a score (삼 대 일).
`-5도` is 영하 오 도; elsewhere a minus is 마이너스.

`10:30` is a time (열 시 삼십 분), `5:3` a ratio or score (오 대 삼), `2026-11-30` a date. `1/2` is 이분의 일; `11/30`
is read as a date, since such fractions are rare, and `24/7`, which is neither, number by number. `6·25` is 육이오.
"""

from __future__ import annotations

import re

_DIGITS = "영일이삼사오육칠팔구"
_SPOKEN_DIGITS = "공일이삼사오육칠팔구"  # one by one: telephone numbers
_PLACES = ("", "십", "백", "천")
_GROUPS = ("", "만", "억", "조")
_UNITS = ("", "하나", "둘", "셋", "넷", "다섯", "여섯", "일곱", "여덟", "아홉")
_BEFORE_COUNTER = {"하나": "한", "둘": "두", "셋": "세", "넷": "네", "스물": "스무"}
_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
_MONTH_NAMES = ("일", "이", "삼", "사", "오", "유", "칠", "팔", "구", "시", "십일", "십이")
_MONTHS = {str(number): name for number, name in enumerate(_MONTH_NAMES, 1)}
_NEIGHBOURS = ("", "한두", "두세", "서너", "네다섯", "대여섯", "예닐곱", "일고여덟", "여덟아홉")  # 1~2, 2~3, ...
_SINO_NEIGHBOURS = ("", "일이", "이삼", "삼사", "사오", "오륙", "육칠", "칠팔", "팔구")

_NATIVE = (
    "가닥", "가락", "가지", "개", "곳", "군데", "권", "그루", "그릇", "꼬집", "다발", "달",
    "대", "덩어리", "마디", "마리", "명", "모금", "바퀴", "방울", "배", "번", "벌", "봉지",
    "사람", "살", "상자", "송이", "숟가락", "시", "시간", "알", "자루", "잔", "장", "조각",
    "줄", "줌", "채", "척", "칸", "켤레", "토막", "통", "판", "포기", "해",
)  # fmt: skip
_SINO = (
    "개국", "개년", "개소", "개월", "달러", "명제", "번가", "번길", "번방", "번선", "번지", "번호",
    "배수", "시리즈", "알파", "장조", "통신", "해리",
    "년", "도", "분", "세", "원", "월", "인분", "일", "점", "주", "초", "층", "쪽", "퍼센트", "페이지", "학년", "회",
)  # fmt: skip
"""Sino-Korean counters that begin like a native one, and frequent ones after `3-5` and 여 (`10여 년`)."""
_COUNTERS = "|".join(sorted((*_NATIVE, *_SINO), key=len, reverse=True))
_MONEY = {"₩": "원", "￦": "원", "$": "달러", "€": "유로", "£": "파운드", "¥": "엔", "￥": "엔"}
_SIGNS = {
    **_MONEY,
    "%p": "퍼센트포인트", "‰": "퍼밀", "㎢": "제곱킬로미터", "㎥": "세제곱미터", "㎐": "헤르츠",
    "%": "퍼센트", "℃": "도", "°c": "도", "°": "도", "㎡": "제곱미터", "m²": "제곱미터", "m2": "제곱미터",
    "㎏": "킬로그램", "kg": "킬로그램", "g": "그램", "㎎": "밀리그램", "mg": "밀리그램",
    "㎞": "킬로미터", "km": "킬로미터", "m": "미터", "㎝": "센티미터", "cm": "센티미터",
    "㎜": "밀리미터", "mm": "밀리미터", "ℓ": "리터", "l": "리터", "㎖": "밀리리터", "ml": "밀리리터",
}  # fmt: skip
"""Signs and units in lower case -> words."""

_CURRENCY = f"[{''.join(_MONEY)}]"
_LETTERS = r"(?:(?i:[kcm]m|[km]g|ml)|m[²2]|[mglL])(?![A-Za-z²³]|(?<=2)\d|/[hs])"  # 3m and 5KG, but 3M and 5G are names
_SIGN = rf"(?:{_CURRENCY}(?!\d)|%p(?![A-Za-z])|[%‰℃㎡㎢㎥㎐㎏㎎㎞㎝㎜㎖ℓ]|°[cC]?|{_LETTERS})"
_PARTICLE = r"(?:[은는이가을를의에로와과만]|으로|부터|까지|보다|처럼|하고)"  # stand behind a number without a space
_POWER = r"(?:[십백천억]|만(?!큼)|조(?!각))"
_WHOLE = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
_DECIMAL = rf"{_WHOLE}(?:\.\d+)?"
_PIECE = re.compile(rf"({_WHOLE})(?:\.(\d+))?({_POWER}*)")  # 3만5천 has two
_MINUS = "[-−]"
_TO = "[~～∼〜]"

_SCORE = (  # 3대 1, but not 차 3대 1명
    rf"대(?P<between>[ ]?)\d{{1,3}}(?!\d|[.,]\d|{_POWER}|(?:|(?P=between))(?:{_COUNTERS}|{_SIGN})"
    rf"|(?!{_PARTICLE})[가-힣A-Za-z])"
)
_NUMBER = re.compile(
    rf"(?P<minus>(?<![\w.)\-−]){_MINUS}(?={_CURRENCY}?\d))?(?:(?P<money>{_CURRENCY})[ ]?(?=\d))?"
    rf"(?:(?P<low>{_DECIMAL})(?P<around>[ ]?){_TO}(?P=around))?"
    rf"(?P<number>(?:{_WHOLE}{_POWER}+)*{_DECIMAL}{_POWER}*)(?P<over>여(?=[ ]|{_COUNTERS}))?"
    rf"(?P<gap>[ ]?)(?:(?P<sign>{_SIGN})"
    rf"|(?!{_SCORE})(?=(?P<counter>{_COUNTERS}))|(?={_PARTICLE})|(?=(?P<word>[가-힣]))|)"
)

_WIDE = str.maketrans("０１２３４５６７８９％＄：／", "0123456789%$:/")
_MONTH, _DAY = r"0?([1-9]|1[0-2])", r"0?([1-9]|[12]\d|3[01])"
_DATE = re.compile(rf"(?<![\d./-])((?:1\d|2[01])\d\d)([-./])[ ]?{_MONTH}\2[ ]?{_DAY}일?(?![\d/-]|\.\d)")
_SHORT_DATE = re.compile(rf"(?<![\d.])(\d\d)\.{_MONTH}\.{_DAY}(?![\d.])")
_TIME = r"(?<![\d:.,])0?(\d|1\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:]|\.\d)"
_TIMES = re.compile(rf"{_TIME}(?:시|분|초)?")
_TIME_RANGE = re.compile(rf"({_TIME})[ ]?-[ ]?(?={_TIME})")
_RATIO = re.compile(r"(?<![\d:.,])(\d{1,3})([ ]?):\2(\d{1,3})(?![\d:]|[.,]\d)")
_SLASH = re.compile(r"(?<![\d./])([1-9]\d{0,3})[/⁄]([1-9]\d{0,3})(?![\d/]|[.,]\d)")
_FRACTION_SIGNS = {"½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅛": (1, 8)}
_FRACTION_SIGN = re.compile(f"(\\d?)([{''.join(_FRACTION_SIGNS)}])")
_NAMED_DAY = re.compile(r"(?<![\d·.])(\d{1,2})·(\d{1,2})(?![\d·.])")
_DOTTED_TELEPHONE = re.compile(r"(?<![\d.])(0\d{1,2})\.(\d{3,4})\.(\d{4})(?!\d|\.\d)")
_YEARS = r"(?:19|20)\d\d-(?:19|20)\d\d"
_TELEPHONE = re.compile(
    rf"(?<![\d,.])0\d*(?:-\d+)+|(?<![\d,.-])(?:1[568]\d\d-\d{{4}}|\d+(?:-\d+)+-\d{{4}}"
    rf"|(?!{_YEARS})\d{{3,4}}-\d{{4}}(?![ ]?(?:[원명개년%])))(?![\d-])"
)
_HYPHEN = re.compile(
    rf"(?<![\d,.-])({_DECIMAL})-({_DECIMAL})(?![\d-])(?={_POWER}*[ ]?(?:(?!번[가길방선지호])(?:{_COUNTERS})|{_SIGN}))"
)
_TO_WITH_UNIT = re.compile(  # 3시~5시, -5~-3도; 네~ 5시 is a long vowel
    rf"(\d(?:[^\W\d_]{{1,4}}|{_SIGN}))([ ]?){_TO}\2(?={_MINUS}?{_CURRENCY}?\d)"
    rf"|(\d)([ ]?){_TO}\4(?={_MINUS}{_CURRENCY}?\d|{_CURRENCY}\d)"
)
_HALF = re.compile(rf"(\d[ ]?(?:{_COUNTERS}))반(?=[은이을에쯤만]|까지|부터|[^가-힣]|$)")


def read_out(text: str) -> str:
    """Return the text with its numbers as words."""
    text = _dates_and_times(text.translate(_WIDE))
    text = _SLASH.sub(_fraction_or_date, _FRACTION_SIGN.sub(_fraction_sign, text))
    text = _NAMED_DAY.sub(_named_day, text)
    text = _TELEPHONE.sub(_one_after_another, _DOTTED_TELEPHONE.sub(r"\1-\2-\3", text))
    text = _HYPHEN.sub(_as_range, text)
    text = _TO_WITH_UNIT.sub(r"\1\3에서 ", text)
    text = _HALF.sub(r"\1 반", text)
    return _NUMBER.sub(_words, text)


def _dates_and_times(text: str) -> str:
    """Write dates, times and ratios in figures with counters: 2026년 11월 30일, 10시 30분, 5 대 3 in words."""
    text = _SHORT_DATE.sub(r"\1년 \2월 \3일", _DATE.sub(r"\1년 \3월 \4일", text))
    text = _TIMES.sub(_clock, _TIME_RANGE.sub(r"\1~", text))
    return _RATIO.sub(lambda match: f"{sino(int(match[1]))} 대 {sino(int(match[3]))}", text)


def _clock(match: re.Match[str]) -> str:
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    parts = [f"{hours}시", f"{minutes}분" if minutes or seconds else "", f"{seconds}초" if seconds else ""]
    return " ".join(filter(None, parts))


def _fraction_or_date(match: re.Match[str]) -> str:
    above, below = int(match[1]), int(match[2])
    if match.string.startswith("분기", match.end()):  # 1/4분기, a quarter of the year
        return f"{_apart(match)}{sino(above)}{sino(below)}"
    if above <= 12 and 11 <= below <= 31:
        return f"{above}월 {below}일"
    return _fraction(match, above, below) if above < below else match[0]


def _fraction_sign(match: re.Match[str]) -> str:
    whole = f"{sino(int(match[1]))}과 " if match[1] else ""
    return _fraction(match, *_FRACTION_SIGNS[match[2]], whole=whole)


def _fraction(match: re.Match[str], above: int, below: int, whole: str = "") -> str:
    """Return 사분의 삼, as a word of its own before a word that is no particle."""
    rest = match.string[match.end() :]
    apart = " " if re.match("[가-힣]", rest) and not re.match(_PARTICLE, rest) else ""
    return f"{_apart(match)}{whole}{sino(below)}분의 {sino(above)}{apart}"


def _named_day(match: re.Match[str]) -> str:
    """Return 육이오 for 6·25, 십이십이 for 12·12, and neighbours: 이삼 for 2·3."""
    month, day = int(match[1]), match[2]
    apart = " " if re.match("[가-힣]", match.string[match.end() :]) else ""
    words = sino(int(day)) if month > 9 else "".join(_DIGITS[int(digit)] for digit in day)
    return f"{_apart(match)}{sino(month)}{words}{apart}"


def _one_after_another(match: re.Match[str]) -> str:
    return _apart(match) + " ".join(_one_by_one(group) for group in match[0].split("-"))


def _as_range(match: re.Match[str]) -> str:
    low, high = (float(written.replace(",", "")) for written in match.groups())
    return f"{match[1]}~{match[2]}" if low < high else match[0]


def _words(match: re.Match[str]) -> str:
    written, sign = match["number"], _SIGNS.get((match["money"] or match["sign"] or "").lower(), "")
    sino_only = match["minus"] or match["money"] or match["over"] or _is_ordinal(match) or _ends_score(match)
    counter = "" if sino_only else match["counter"] or ""
    unit = sign or match["counter"] or ""
    minus = "" if not match["minus"] else "영하 " if unit == "도" else "마이너스 "
    number = _spell_out(written, counter)
    if match["low"]:
        together = "" if minus or not (unit or match["word"]) else _together(match["low"], written, counter)
        number = together or f"{_from(match['low'], written, counter, unit if minus else '')} {number}"
    return f"{_apart(match)}{minus}{number}{match['over'] or ''}{_behind(match, sign, counter)}"


def _behind(match: re.Match[str], sign: str, counter: str) -> str:
    """Return the text between a number and what follows: the sign in words, a space, or nothing."""
    if match["money"]:
        return " " if match["counter"] == sign else f" {sign}{match['gap']}"
    if sign:
        return f" {sign}" + " " * match.string[match.end() : match.end() + 1].isdigit()
    if counter == "월" and match["number"] in _MONTHS:
        return ""
    return " " if match["counter"] or match["word"] else match["gap"]


def _apart(match: re.Match[str]) -> str:
    """Return a space if a word directly precedes the number."""
    return " " if re.search("[가-힣]$", _before(match)) and not _is_ordinal(match) else ""


def _is_ordinal(match: re.Match[str]) -> bool:
    """Return whether 제 precedes the number, as in 제3, but not as part of another word (문제3)."""
    return bool(re.search("(?<![가-힣])제$", _before(match)))


def _ends_score(match: re.Match[str]) -> bool:
    """Return whether the number is the second of 1대1, whose next word is no counter (1대1 대화)."""
    return bool(match["gap"] and re.search(r"\d대$", _before(match)))


def _before(match: re.Match[str]) -> str:
    return match.string[max(0, match.start() - 2) : match.start()]


def _spell_out(written: str, counter: str) -> str:
    """Spell out a number (3, 1,234, 0.5, 3만5천) before a counter."""
    if counter == "월" and written in _MONTHS:
        return _MONTHS[written]
    if _is_native(written, counter):
        return native(int(written))
    words = ""
    for integer, rest, powers in _PIECE.findall(written):
        words += (" " if words.endswith(_GROUPS[1:]) else "") + _piece(integer.replace(",", ""), rest, powers)
    return words


def _piece(digits: str, rest: str, powers: str) -> str:
    if (digits.startswith("0") and len(digits) > 1) or len(digits) > 16:
        number = _one_by_one(digits)
    elif digits == "1" and not rest and powers[:1] in ("십", "백", "천", "만"):
        number = ""
    else:
        number = sino(int(digits))
    decimals = f" 점 {''.join(_DIGITS[int(digit)] for digit in rest)}" if rest else ""
    return number + decimals + powers


def _from(low: str, high: str, counter: str, unit: str) -> str:
    """Return the start of a range (세 명에서, 삼월에서, 삼에서), with the counter if one of the numbers needs it."""
    if counter == "월" and low in _MONTHS:
        return f"{_spell_out(low, counter)}월에서"
    needed = unit or (counter if _is_native(low, counter) or _is_native(high, counter) else "")
    return f"{_spell_out(low, counter)}{' ' if needed else ''}{needed}에서"


def _together(low: str, high: str, counter: str) -> str:
    """Return neighbours before a counter as one word (두세, 이삼, 이삼십, 이삼만); "" for other ranges."""
    first = re.fullmatch("([1-9])(0{0,3})", low.replace(",", ""))
    second = re.fullmatch(rf"([1-9])(0{{0,3}})({_POWER}*)", high.replace(",", ""))
    if not first or not second or counter == "월" or first[2] != second[2] or int(first[1]) + 1 != int(second[1]):
        return ""
    if first[2] and first[1] == "1":
        return ""
    is_native = counter in _NATIVE and not first[2] and not second[3]
    return (_NEIGHBOURS if is_native else _SINO_NEIGHBOURS)[int(first[1])] + _PLACES[len(first[2])] + second[3]


def _is_native(written: str, counter: str) -> bool:
    """Return whether a counter takes native numbers; decades of age (20대) and hours after noon (15시) do not."""
    if counter not in _NATIVE or not re.fullmatch("[1-9][0-9]?", written):
        return False
    number = int(written)
    return not (counter == "대" and number >= 10 and number % 10 == 0) and not (counter == "시" and number > 12)


def native(number: int) -> str:
    """Return a number from 1 to 99 in its form before a counter: 세, 스무, 스물한."""
    tens, unit = _TENS[number // 10], _UNITS[number % 10]
    last = unit or tens
    return (tens if unit else "") + _BEFORE_COUNTER.get(last, last)


def sino(number: int) -> str:
    """Return a number below 10^16 in Sino-Korean: 십이, 만 이천, 삼억 오천만."""
    if number == 0:
        return _DIGITS[0]
    words = []
    for place, name in reversed(list(enumerate(_GROUPS))):
        group = number // 10_000**place % 10_000
        if group:
            words.append(("" if group == 1 and name == "만" else _below_10_000(group)) + name)
    return " ".join(words)


def _below_10_000(number: int) -> str:
    digits = [(number // 10**place % 10, name) for place, name in reversed(list(enumerate(_PLACES)))]
    return "".join(("" if digit == 1 and name else _DIGITS[digit]) + name for digit, name in digits if digit)


def _one_by_one(digits: str) -> str:
    return "".join(_SPOKEN_DIGITS[int(digit)] for digit in digits)
