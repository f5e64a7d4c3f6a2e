"""Speech from text by eSpeak NG (GPL-3), through the `espeakng-loader` wheel and ctypes.

The interface is that of eSpeak NG's `speak_lib.h` (API revision 12), in synchronous retrieval mode with
phoneme events. The library keeps one state a process: use it from one thread, and expect the same bytes
again only from a fresh process that says the same texts in the same order. Nothing is loaded before the
first `Engine()`.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from asr_lab.errors import AsrLabError, listing

Samples = npt.NDArray[np.float32]

# Constants of speak_lib.h
_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: retrieval, returns when everything has been said
_PHONEME_EVENTS, _DONT_EXIT = 0x0001, 0x8000  # options of espeak_Initialize
_UTF8, _PHONEME_INPUT = 1, 0x100  # flags of espeak_Synth
_POS_CHARACTER = 1
_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER
_EVENT_END_OF_LIST, _EVENT_PHONEME = 0, 7
_SEED = 1  # of the breath noise; eSpeak itself seeds it by the clock, which makes other bytes every second
_SEPARATOR = ord("|") << 8  # phoneme_mode of espeak_TextToPhonemes: bits 8-23 are the separator


class _Id(ctypes.Union):
    _fields_: ClassVar = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_: ClassVar = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms from the start of the message
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True, kw_only=True)
class Voice:
    """How somebody speaks. Raises `AsrLabError` for numbers the engine would silently clip."""

    name: str  # of the person, for manifests
    voice: str  # an eSpeak language voice: "en-us", "hi", "ko"
    variant: str = ""  # a voice variant: "f2"; "" = the language's own (male) voice
    rate: int = 170  # words per minute, 80-450
    pitch: int = 50  # 0-99, 50 = as the variant says
    pitch_range: int = 50  # 0 (monotone) to 99 (lively)

    def __post_init__(self) -> None:
        limits = (("rate", 80, 450), ("pitch", 0, 99), ("pitch_range", 0, 99))
        wrong = [
            f"{field} is {getattr(self, field)}, allowed are {low} to {high}"
            for field, low, high in limits
            if not low <= getattr(self, field) <= high
        ]
        if wrong:
            raise AsrLabError(f"voice {self.name!r} cannot be spoken: {'; '.join(wrong)}")


@dataclass(frozen=True)
class Phone:
    """One phoneme as it was said: eSpeak's mnemonic with its stress mark (`'I`), and where, in seconds."""

    symbol: str
    start_s: float
    duration_s: float


class Engine:
    """eSpeak NG, loaded. All engines of a process share the library's one state.

    Raises `AsrLabError` when the wheel is missing or the library does not find its data.
    """

    _selected: ClassVar[Voice | None] = None

    def __init__(self) -> None:
        self._library, self.sample_rate = _load()  # Hz; eSpeak's own voices: 22,050

    def synthesize(self, text: str, voice: Voice, *, as_phonemes: bool = False) -> tuple[Samples, list[Phone]]:
        """The speech, (samples,) float32 in [-1, 1) at `sample_rate` Hz, and its phonemes without pauses.

        `as_phonemes`: the text is eSpeak mnemonics, `D|@2 k|w|'I|k`, at most some 80 words long; unknown
        ones are dropped by eSpeak without a word. Then phonemes that have no time of their own are among the
        phonemes too: an `l` or `r` that eSpeak makes the end of the vowel before. Raises `AsrLabError` for a
        voice or variant eSpeak does not have.
        """
        self._select(voice)
        blocks: list[bytes] = []
        events: list[tuple[int, int, bytes]] = []  # kind, position in ms, phoneme

        def receive(wave: Any, num_samples: int, block: Any) -> int:
            if wave and num_samples:
                blocks.append(ctypes.string_at(wave, 2 * num_samples))
            position = 0
            while (event := block[position]).type != _EVENT_END_OF_LIST:
                events.append((event.type, event.audio_position, event.id.string))
                position += 1
            return 0

        callback = _CALLBACK(receive)  # a name of its own: it must live as long as espeak_Synth runs
        self._library.espeak_SetSynthCallback(callback)
        data = (f"[[{text}]]" if as_phonemes else text).encode()
        flags = _UTF8 | (_PHONEME_INPUT if as_phonemes else 0)
        failed = self._library.espeak_Synth(data, len(data) + 1, 0, _POS_CHARACTER, 0, flags, None, None)
        if failed or not blocks:
            raise AsrLabError(f"eSpeak NG could not say {text!r}", where=f"voice {voice.name!r}")
        samples = np.frombuffer(b"".join(blocks), dtype=np.int16).astype(np.float32)
        samples /= 32768
        return samples, _phones(events, len(samples) / self.sample_rate, timeless=as_phonemes)

    def phonemes(self, text: str, voice: Voice) -> str:
        """The mnemonics of a text: `D|@2 k|w|'I|k`, `|` between phonemes and a space between words.

        Clauses are joined by a space. `say(..., as_phonemes=True)` takes this string back.
        """
        if voice != Engine._selected:  # each selection leaves an event behind, and the first speech after some 40
            # of them would lack phonemes
            self._select(voice)
        buffer = ctypes.create_string_buffer(text.encode())
        rest = ctypes.c_void_p(ctypes.addressof(buffer))
        clauses = []
        while rest.value is not None:
            clause = self._library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _SEPARATOR)
            clauses.append((clause or b"").decode())
        return " ".join(clause for clause in clauses if clause)

    def _select(self, voice: Voice) -> None:
        name = _full_name(voice)
        if self._library.espeak_SetVoiceByName(name.encode()):
            raise AsrLabError(f"eSpeak NG refused the voice {name!r}", where=f"voice {voice.name!r}")
        for parameter, value in ((_RATE, voice.rate), (_PITCH, voice.pitch), (_RANGE, voice.pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        Engine._selected = voice


def require(what: str = "speech is made") -> None:
    """Raise `AsrLabError` when the wheel with eSpeak NG is not installed; `what` says what it is for."""
    if find_spec("espeakng_loader") is None:
        raise AsrLabError(
            f"{what} by eSpeak NG, which is not installed",
            hint="it comes as the wheel espeakng-loader (GPL-3), an extra of asr_lab",
            next_command="pip install 'asr_lab[demo]'",
        )


@functools.cache
def voice_names() -> dict[str, str]:
    """Every name of a language voice -> the name eSpeak loads it by: file names, and languages (`en-gb` ->
    `en`).
    """
    files = [path for path in sorted((_data() / "lang").rglob("*")) if path.is_file()]
    names: dict[str, str] = {}
    for path in files:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("language "):
                names.setdefault(line.split()[1].lower(), path.name.lower())
    return names | {path.name.lower(): path.name.lower() for path in files}


@functools.cache
def variant_names() -> frozenset[str]:
    """The voice variants: `f1`, `m3`, `croak`, ..."""
    return frozenset(path.name for path in (_data() / "voices" / "!v").iterdir())


def _full_name(voice: Voice) -> str:
    """`en-us+f2`; eSpeak itself ignores an unknown variant, so both halves are checked here."""
    names = voice_names()
    if voice.voice.lower() not in names:
        raise _unknown("voice", voice.voice, names)
    if voice.variant and voice.variant not in variant_names():
        raise _unknown("voice variant", voice.variant, variant_names())
    return names[voice.voice.lower()] + (f"+{voice.variant}" if voice.variant else "")


def _unknown(kind: str, name: str, valid: Iterable[str]) -> AsrLabError:
    valid = sorted(valid)
    close = get_close_matches(name, valid, n=5, cutoff=0.4)
    return AsrLabError(
        f"eSpeak NG has no {kind} {name!r}",
        allowed=f"{listing(valid)}",
        hint=f"the nearest are {', '.join(close)}" if close else "",
    )


def _data() -> Path:
    require()
    import espeakng_loader

    return Path(espeakng_loader.get_data_path())


@functools.cache
def _load() -> tuple[ctypes.CDLL, int]:
    """The initialised library and its sample rate in Hz."""
    data = _data()
    import espeakng_loader

    try:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
    except OSError as error:
        raise AsrLabError(f"the library of eSpeak NG does not load here: {error}") from error
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    sample_rate = library.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), _PHONEME_EVENTS | _DONT_EXIT)
    if sample_rate <= 0:
        raise AsrLabError(
            "eSpeak NG could not read its data",
            where=str(data),
            hint="it cannot open a path longer than about 140 bytes; install into a shorter one",
        )
    library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))
    return library, sample_rate


def _phones(events: list[tuple[int, int, bytes]], duration_s: float, *, timeless: bool) -> list[Phone]:
    """Phonemes from their events; each lasts to the next event, the last one to the end of the speech.

    Left out: pauses (`_`, `_:`, `_|`, ...), changes of language (`(en)`), and, unless `timeless`, what takes no time.
    """
    marks = [(position / 1000, symbol.decode()) for kind, position, symbol in events if kind == _EVENT_PHONEME]
    ends = [start for start, _ in marks[1:]] + [duration_s]
    return [
        Phone(symbol, start, max(0.0, round(min(end, duration_s) - start, 3)))
        for (start, symbol), end in zip(marks, ends, strict=True)
        if symbol.strip("'%,=|") and symbol[0] not in "_(" and (timeless or end > start)
    ]
