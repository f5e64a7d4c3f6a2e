"""The marks in transcripts of Korean corpora: one table, and what is in none.

AI-Hub's corpora follow the rules of ETRI (KsponSpeech: `b/ 뭐+ 뭐*`), of NIA and the National Institute of Korean
Language (dialects, dialogues: `{laughing} ((xx)) &name1&`), of SNS-like talk (`#@이름#`), or name tags (`(FP:어)`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from asr_lab.units import counted

Action = Literal["kept", "removed", "no speech"]
"""`kept`: the mark goes, its words stay. `removed`: words were said that it does not spell. `no speech`: a sound."""

DUAL = re.compile(r"\(([^()]*)\)\s*/\s*\(([^()]*)\)")
"""Two readings: `(70%)/(칠십 퍼센트)`, spelling and pronunciation, `(머라카노)/(뭐라고 하니)`, dialect and standard."""

_SOUNDS = (
    "laughing|laughter|laughs?|clearing|throat|singing|song|applauding|applausing|applause|clapping|coughing|coughs?|"
    "sneezing|sneeze|breathing|breath|sighing|sigh|crying|yawning|whistling|humming|shouting|screaming|noise|silence|"
    "music|beep|bgm|웃음|웃음소리|박수|박수소리|기침|기침소리|재채기|노래|한숨|숨소리|울음|울음소리|하품|휘파람|잡음|"
    "소음|침묵|음악|목청|헛기침|콧노래|비명|고함|웃으며|웃으면서|울며|울면서|한숨 ?쉬며|박수 ?치며|기침하며"
)
_HIDDEN = (
    "이름|성명|사람|인명|주소|전번|전화번호|전화|연락처|계정|아이디|번호|금융|신원|소속|기타|장소|위치|url|이메일|이모티콘|"
    "상호|상호명|회사|회사명|기관|기관명|생년월일|생일|카드번호|계좌번호|계좌|주민번호|주민등록번호|차량번호|나이|학교"
)
_CODES = (
    "name|social-security-num|card-num|address|tel-num|company-name|company|account|num|affiliation|others?|location|"
    "place|id|email|url|birth|birthday|car-num|school|organization|bank-num"
)
_NOT_UNDERSTOOD = (
    "inaudible|unintelligible|indiscernible|unclear|incomprehensible|crosstalk|불명|불명확|불분명|청취 ?불가|안 ?들림|"
    "들리지 ?않음|알아들을 수 없음|식별 ?불가"
)
_PLAIN_CODES = "name|company-name|address|tel-num|account|affiliation|card-num|social-security-num"  # name1, of NIKL
_HIDDEN = "|".join(sorted(_HIDDEN.split("|"), key=len, reverse=True))
_END = r"(?=[\s.,?!~()\[\]{}]|$)"


@dataclass(frozen=True)
class Mark:
    """One mark: how it looks, and what becomes of it."""

    example: str
    meaning: str
    action: Action
    pattern: re.Pattern[str]
    """Its group 1, if it has one, are the words that stay."""


MARKS = (
    Mark("(FP:어)", "a tag: filler, repetition, word in noise", "kept", re.compile(r"\([A-Z]{1,3}:([^()]*)\)")),
    Mark(
        "{laughing}",
        "a sound",
        "no speech",
        re.compile(rf"[{{\[<(]\s?/?(?i:{_SOUNDS})\s?\d*\s?[}}\]>)]|@(?i:{_SOUNDS})@"),
    ),
    Mark("b/", "breath, noise, laughter (ETRI)", "no speech", re.compile(rf"(?<![A-Za-z])[blnou]/(?={_END}|[가-힣])")),
    Mark(
        "&name1&",
        "a hidden name or number",
        "removed",
        re.compile(rf"&(?i:{_CODES})\d*&|(?<![\w&-])(?:{_PLAIN_CODES})\d{{1,2}}(?![A-Za-z\d])"),
    ),
    Mark("#@이름#", "a hidden name or number", "removed", re.compile(rf"#@?(?i:{_HIDDEN})\d*@?\s?#|#@시스템#[^#\s]+#")),
    Mark("@이름1", "a hidden name or number", "removed", re.compile(rf"(?<![\w@#])@(?i:{_HIDDEN})\d*(?![A-Za-z\d])")),
    Mark("***에게", "a hidden name", "removed", re.compile(r"(?<![\w*])\*{2,}(?![*\d])|(?<=[가-힣])\*{2,}")),
    Mark("ㅇㅇ이", "a hidden name", "removed", re.compile(r"(?<![ㄱ-ㅎ])([ㅇㅁ])\1+(?![ㄱ-ㅎ])|([○◯●△▲□■◇◆])\2+")),
    Mark("(?)", "words not understood", "removed", re.compile(r"[(\[]\s?\?+\s?[)\]]")),
    Mark(
        "(inaudible)",
        "words not understood",
        "removed",
        re.compile(rf"[{{\[<(]\s?(?i:{_NOT_UNDERSTOOD})(?: ?[\d:.]+)?\s?[}}\]>)]"),
    ),
    Mark("((xx))", "words not understood", "removed", re.compile(r"\(\(\s*[xX]*\s*\)\)")),
    Mark("((뭐라고))", "words hardly understood", "kept", re.compile(r"\(\(([^()]+)\)\)")),
    Mark("-그-", "a word broken off", "kept", re.compile(rf"(?<!\S)-([가-힣][가-힣 ]*(?=-)|[^\W\d_]+)-?{_END}")),
    Mark("*그", "a word hardly understood, or a term", "kept", re.compile(r"(?<!\S)\*+(?=\w)()")),
    Mark("/음", "a filler", "kept", re.compile(r"(?<!\S)/(?=[가-힣])()")),
    Mark("그+ 그* 아/", "stutter, unclear word, filler (ETRI)", "kept", re.compile(rf"(?<=[가-힣])[/+*]+{_END}()")),
    Mark("어~", "a lengthened sound", "kept", re.compile(r"(?<=[가-힣])~+(?=[\s.,?!]|$)()")),
)
"""In the order in which they are applied."""

_LIKE_MARKS = re.compile(
    r"\{\s?[^{}\s]{1,30}\s?\}|<[^<>\s]{1,30}>|\[[^\[\]\s]{1,30}\]|(?<![A-Za-z])&[^&\s]{2,30}&|#[^#\s]{1,30}#|(?<!\S)@[가-힣]+\d*"
    r"|\([^\W\d]{1,12}:[^()]*\)|\([A-Z]{2,5}/?\)|(?<!\S)[A-Z]{2,3}/(?!\S)|(?<!\S)[@][A-Z]{2,5}(?!\S)"
    r"|(?<![A-Za-z])[xX]{2,}(?![A-Za-z])|(?<![A-Za-z])[oO]{2,3}(?![A-Za-z])|[○◯●△▲□■◇◆☆★]+|(?<!\S)[%^$+=_][가-힣]+|(?<!\S)%[A-Za-z]+"
    r"|\A(?i:na|none|unknown|undefined)\Z"
)
_MAYBE_MARKED = re.compile(r"[(){}\[\]<>&#@*/+~○◯●△▲□■◇◆☆★%^$=_-]|[xX]{2}|[oO]{2}|[ㅇㅁ]{2}|[a-z]\d|\A\w{2,9}\Z")
_JAMO = re.compile(r"(?:[ㄱ-ㅎ]\s?[ㅏ-ㅣ](?:\s?[ㄱ-ㅎ]){0,3}\s?){2}|(?:[ᄀ-ᇿ] ){3}")
"""Syllables in single jamo: `ㅇㅏㄴㄴㅕㅇ`, or conjoining ones with spaces."""
CANDIDATE = r"[(){}\[\]<>&#@*/+~○◯●△▲□■◇◆☆★%^$=_-]|[xX]{2}|[oO]{2}|[ㅇㅁ]{2}|[a-z]\p{Nd}|\A\S{2,9}\z|[ㄱ-ㅎㅏ-ㅣᄀ-ᇿ]"
"""A pattern of RE2 that is in every transcript that `MarkCounts` counts."""


def maybe_marked(text: str) -> bool:
    """Return whether a transcript may hold a mark, or something that looks like one."""
    return bool(_MAYBE_MARKED.search(text))


def all_maybe_marked(texts: Sequence[str]) -> list[bool]:
    """Return `maybe_marked` of many transcripts, several times as fast: RE2 finds the few that are looked at."""
    try:
        candidates = pc.match_substring_regex(pa.array(texts, pa.large_string()), CANDIDATE)
    except UnicodeEncodeError:  # half of a surrogate pair, which Arrow has no room for
        return list(map(maybe_marked, texts))
    return [one and maybe_marked(text) for text, one in zip(texts, candidates.to_pylist(), strict=True)]


def without_marks(text: str) -> str:
    """Return a transcript without the marks of the table; what is in none stays."""
    if maybe_marked(text):
        for mark in MARKS:
            text = mark.pattern.sub(r"\1" if mark.action == "kept" else " ", text)
    return text


def spoken_dialect(text: str) -> str:
    """Return the spoken side of a dialect's dual transcription, `(said)/(standard)`."""
    return DUAL.sub(r"\1", text)


@dataclass(frozen=True)
class MarkCounts:
    """The number of transcripts with each mark (by its example), and with each text that only looks like a mark."""

    known: Counter[str]
    unknown: Counter[str]
    dual: int
    jamo: int = 0
    """Transcripts in single jamo."""

    @classmethod
    def of(cls, texts: Iterable[str]) -> MarkCounts:
        known: Counter[str] = Counter()
        unknown: Counter[str] = Counter()
        dual = jamo = 0
        for text in texts:
            jamo += bool(_JAMO.search(text))
            if not _MAYBE_MARKED.search(text):
                continue
            dual += bool(DUAL.search(text))
            for mark in MARKS:
                text, times = mark.pattern.subn(r"\1" if mark.action == "kept" else " ", text)
                known[mark.example] += times > 0
            unknown.update(set(_LIKE_MARKS.findall(text.strip())))
        return cls(+known, unknown, dual, jamo)

    def notes(self) -> list[str]:
        """Return a line on each action, on dual transcriptions, and on what looks like a mark."""
        lines = []
        words: dict[Action, str] = {
            "kept": "marks go, their words stay",
            "removed": "words were said that the transcripts do not spell",
            "no speech": "sounds go",
        }
        for action, meaning in words.items():
            of_action = [mark.example for mark in MARKS if mark.action == action]
            if found := [f"{example} in {self.known[example]}" for example in of_action if self.known[example]]:
                lines.append(f"marks in transcripts, {meaning}: {', '.join(found)}")
        if self.dual:
            lines.append(
                f"{counted(self.dual, 'transcript', 'hold')} two readings, (one)/(other): "
                "data.text.transcription=spelling trains on the first, phonetic on the second"
            )
        if self.jamo:
            lines.append(
                f"warning: {self.jamo} transcripts are written in single jamo (ㅇㅏㄴ), which stay as they are: write "
                "syllables (안), which data.text.units=jamo splits"
            )
        if self.unknown:
            most = ", ".join(f"{text} in {n}" for text, n in self.unknown.most_common(5))
            lines.append(f"warning: {self.unknown.total()} look like marks and are none that is known, kept: {most}")
        return lines
