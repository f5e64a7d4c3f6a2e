"""Sentences of everyday commands and statements from a small grammar, in English and Korean.

Lower case, no punctuation, 3 to 8 words. `Sentences.take` never repeats a sentence, so training and test data share
words but no sentence.

The Korean words are ones that eSpeak NG pronounces by the standard. Words and sequences that it mispronounces do not
occur: nasalisation (국물, 합니다), assimilation of ㄹ (신라), a final ㅂ or ㄷ before a vowel (밥을).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from asr_lab.errors import AsrLabError

MIN_WORDS, MAX_WORDS = 3, 8
_MOST_TRIES = 500  # draws without a new sentence before the grammar counts as exhausted

# A symbol in braces is replaced by one of its alternatives, separated by " | ".
ENGLISH = {
    "sentence": "{command} | {command} | {statement} | {statement} | {question}",
    "command": "{order} | {order} {when} | please {order} | could you {order}",
    "order": "open the {opening} | close the {opening} | turn {switch} the {machine}"
    " | bring me the {adjective} {thing} | put the {thing} {where} the {furniture}"
    " | give the {thing} to {whom} | call {whom} | show me the way to the {place} | clean the {room}"
    " | find my {adjective} {thing} | play some {music} | buy some {food} and {food}"
    " | wake me up at {number} | wash the {adjective} {thing}",
    "statement": "{who} {moved} to the {place} | {who} {moved} to the {place} {when}"
    " | {who} wants {food} and {food} | the {animal} is sleeping {where} the {furniture}"
    " | the {adjective} {animal} likes {food} | the {room} is very {quality}"
    " | we need {number} {things} | i lost my {adjective} {thing} | they met {whom} at the {place}"
    " | it will be {weather} {when} | the {thing} is {where} the {furniture}"
    " | i saw {number} {things} {where} the {furniture} | {who} is reading a {adjective} book",
    "question": "where is the {place} | did you see my {thing} | who took the {adjective} {thing}"
    " | is the {machine} in the {room} | will it be {weather} {when} | can {who} come {when}"
    " | how many {things} do we need | why is the {opening} open",
    "opening": "door | window | gate | box",
    "switch": "on | off",
    "machine": "light | radio | oven | camera",
    "thing": "cup | book | plate | key | phone | letter | hat | coat | spoon | bottle",
    "things": "cups | books | plates | keys | letters | spoons | bottles",
    "adjective": "red | blue | green | small | big | old | new",
    "where": "on | under | behind | near",
    "furniture": "table | chair | shelf | bed | sofa",
    "room": "kitchen | bathroom | office | garden",
    "place": "station | school | market | park | library | river | beach",
    "who": "my mother | my father | my sister | the teacher | the doctor | our neighbor | peter | anna",
    "whom": "my brother | your sister | the teacher | the doctor | our neighbor | peter | anna",
    "moved": "went | walked | ran | drove",
    "animal": "dog | cat | horse | rabbit",
    "food": "bread | milk | rice | soup | cheese | honey | coffee",
    "music": "music | songs",
    "quality": "quiet | warm | cold | clean",
    "weather": "sunny | windy | cold | warm",
    "when": "today | tomorrow | tonight | now | in the morning | after lunch | before dinner | on monday | on friday",
    "number": "two | three | four | five | seven | nine | ten",
}
KOREAN = {
    "sentence": "{command} | {statement} | {statement} | {question}",
    "command": "{thing} {adverb} 주세요 | {adjective} {thing} 가져오세요 | {when} {place} 오세요"
    " | {thing} {where} 두세요 | {whom} {food} 주세요 | {when} {food} 사 오세요"
    " | {adverb} {place} 가세요 | {whom} {adverb} 전화하세요 | {when} {whom} {thing} 보내세요"
    " | {food} {where} 두세요",
    "statement": "{who} {place} 가요 | {who} {when} {place} 가요 | {who} {does}"
    " | {who} {adjective} {thing} {verb} | {when} {who} {does} | {subject} {degree} {quality}"
    " | {adjective} {subject} {where} 있어요 | {when} 비가 {degree} 와요 | {who} {where} {does}"
    " | {who} {number} {thing} {verb} | {when} {who} {place} {adverb} 가요 | {subject} {where} 있어요",
    "question": "{who} 지금 어디 있어요 | {adjective} {subject} 어디 있어요 | {when} 누가 {place} 가요"
    " | {when} 누가 {does} | {who} 왜 {does} | {who} 언제 {place} 가요",
    "does": "{thing} {verb} | {food} {eats} | {skill} 배워요",
    "who": "엄마가 | 아빠가 | 언니가 | 누나가 | 친구가 | 동생이 | 할머니가 | 의사가 | 아이가 | 우리는"
    " | 저는 | 민수가 | 지우가",
    "whom": "엄마에게 | 아빠에게 | 언니에게 | 친구에게 | 동생에게 | 할머니에게 | 아이에게",
    "thing": "모자를 | 시계를 | 의자를 | 사진을 | 편지를 | 가방을 | 그림을 | 자전거를 | 카메라를"
    " | 신문을 | 우산을 | 치마를",
    "food": "사과를 | 우유를 | 커피를 | 빵을 | 물을 | 바나나를 | 고구마를 | 과자를",
    "skill": "영어를 | 노래를 | 피아노를 | 수영을 | 요리를",
    "subject": "모자가 | 시계가 | 의자가 | 사진이 | 편지가 | 가방이 | 그림이 | 나무가 | 고양이가"
    " | 강아지가 | 자전거가 | 토끼가 | 기차가",
    "verb": "사요 | 봐요 | 그려요 | 보내요 | 가져와요 | 만들어요 | 좋아해요 | 기다려요 | 바꿔요",
    "eats": "사요 | 가져와요 | 좋아해요 | 나눠요 | 주문해요 | 기다려요",
    "adjective": "작은 | 큰 | 새로운 | 하얀 | 파란 | 예쁜 | 오래된 | 빨간 | 노란 | 까만",
    "adverb": "천천히 | 빨리 | 조용히 | 다시",
    "degree": "아주 | 너무 | 조금 | 더",
    "quality": "좋아요 | 예뻐요 | 커요 | 비싸요 | 무거워요 | 가벼워요 | 아름다워요",
    "place": "학교에 | 시장에 | 병원에 | 공원에 | 바다에 | 도서관에 | 회사에 | 가게에 | 은행에 | 산에 | 강에 | 교회에",
    "where": "나무 아래에 | 의자 위에 | 침대 위에 | 문 뒤에 | 창문 아래에 | 차 안에 | 가방 안에 | 방에 | 마당에",
    "when": "오늘은 | 내일은 | 아침에 | 오후에 | 주말에 | 나중에 | 이제 | 토요일에 | 일요일에 | 두 시에 | 세 시에",
    "number": "두 개의 | 세 개의 | 네 개의 | 여러",
}
_MORE_SOUNDS = {
    "statement": "the {thing} makes a strange noise | {who} is watching television"
    " | {who} usually {moved} to the {place} | {who} had a good birthday"
    " | the {adjective} {thing} is {where} the {furniture}",
    "machine": "television | engine",
    "thing": "jacket | toy | orange | ring | watch | shirt | coin | glove | vest | treasure",
    "things": "jackets | toys | oranges | rings | watches | shirts | coins | gloves | roses | clothes",
    "adjective": "thick | thin | yellow | brown | beige | cheap | heavy | strange | long",
    "furniture": "couch | bench | fridge",
    "room": "house | garage | yard",
    "place": "zoo | theater | town | bridge | church | village | garage",
    "who": "the boy | my cousin | the judge | george | the king | joy",
    "whom": "the boy | my cousin | the judge | george | joy",
    "moved": "rushed | traveled",
    "animal": "mouse | zebra | fish | chicken",
    "food": "juice | jam | fish | chicken | onions | oil | chocolate | vegetables",
    "music": "jazz",
    "quality": "loud | huge | empty | cozy",
    "weather": "cloudy | foggy",
    "when": "on thursday | in june | this evening | at noon",
    "number": "eight | thirty",
}
PHONEMIC = ENGLISH | {symbol: f"{ENGLISH[symbol]} | {more}" for symbol, more in _MORE_SOUNDS.items()}
"""English with frequent occurrences of all phonemes, also of those difficult for learners."""
GRAMMARS = {"en": ENGLISH, "ko": KOREAN, "en-phonemic": PHONEMIC}
_SYMBOL = re.compile(r"\{(\w+)\}")


class Sentences:
    """A reproducible stream of distinct sentences."""

    def __init__(self, language: str, seed: int) -> None:
        if language not in GRAMMARS:
            raise AsrLabError(f"no sentences in language {language!r}", allowed=", ".join(GRAMMARS))
        self._grammar = {symbol: rule.split(" | ") for symbol, rule in GRAMMARS[language].items()}
        self._draw = random.Random(f"sentences {language} {seed}")
        self._taken: set[str] = set()
        self._language = language

    def take(self, number: int) -> list[str]:
        """Return the next `number` sentences; raises `AsrLabError` if the grammar is exhausted."""
        return [self._next() for _ in range(number)]

    def _next(self) -> str:
        for _ in range(_MOST_TRIES):
            words = self._expand("sentence").split()
            sentence = " ".join(words)
            repeats = any(words.count(word) > 1 for word in words if word != "the")  # "bread and bread"
            if MIN_WORDS <= len(words) <= MAX_WORDS and not repeats and sentence not in self._taken:
                self._taken.add(sentence)
                return sentence
        raise AsrLabError(
            f"the grammar has no more sentences after {len(self._taken)}",
            where=f"language {self._language!r}",
            hint="ask for fewer utterances or fewer speakers",
        )

    def _expand(self, symbol: str) -> str:
        alternative = self._draw.choice(self._grammar[symbol])
        return _SYMBOL.sub(lambda match: self._expand(match[1]), alternative)


class Given:
    """Sentences given by the user, in random order per speaker."""

    def __init__(self, texts: Sequence[str], seed: int) -> None:
        self._texts, self._draw = list(texts), random.Random(f"given {seed}")

    def take(self, number: int) -> list[str]:
        """Return `number` of the sentences; raises `AsrLabError` if there are fewer."""
        if number > len(self._texts):
            raise AsrLabError(
                f"{number} sentences per speaker are needed, {len(self._texts)} are given",
                allowed=f"--utterances {len(self._texts)} at most",
            )
        return self._draw.sample(self._texts, number)


def vocabulary(language: str) -> set[str]:
    """Return every word of the grammar of a language."""
    alternatives = " ".join(GRAMMARS[language].values()).replace("|", " ")
    return set(_SYMBOL.sub(" ", alternatives).split())
