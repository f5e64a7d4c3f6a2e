"""Text to speech by eSpeak NG (GPL-3), through the `espeakng-loader` wheel and ctypes.

Uses eSpeak NG's `speak_lib.h` (API revision 12) in synchronous retrieval mode with phoneme events. The library has one
state per process: use it from one thread; output is reproducible only from a fresh process with the same texts in the
same order. Nothing is loaded before the first `Engine()`.
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

from asr_lab.data.text_files import lines
from asr_lab.errors import AsrLabError, listing

Samples = npt.NDArray[np.float32]

# Constants of speak_lib.h
_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: synchronous retrieval
_PHONEME_EVENTS, _DONT_EXIT = 0x0001, 0x8000  # options of espeak_Initialize
_UTF8, _PHONEME_INPUT = 1, 0x100  # flags of espeak_Synth
_POS_CHARACTER = 1
_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER
_EVENT_END_OF_LIST, _EVENT_PHONEME = 0, 7
_SEED = 1  # of the breath noise, which eSpeak seeds by the clock
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
    """An eSpeak voice and its parameters. Raises `AsrLabError` for values the engine would silently clip."""

    name: str  # of the speaker, for manifests
    voice: str  # an eSpeak language voice: "en-us", "hi", "ko"
    variant: str = ""  # a voice variant: "f2"; "" = the default (male) voice of the language
    rate: int = 170  # words per minute, 80-450
    pitch: int = 50  # 0-99, 50 = that of the variant
    pitch_range: int = 50  # 0 (monotone) to 99 (lively)

    def __post_init__(self) -> None:
        limits = (("rate", 80, 450), ("pitch", 0, 99), ("pitch_range", 0, 99))
        wrong = [
            f"{field} is {getattr(self, field)}, allowed are {low} to {high}"
            for field, low, high in limits
            if not low <= getattr(self, field) <= high
        ]
        if wrong:
            raise AsrLabError(f"voice {self.name!r} is out of range: {'; '.join(wrong)}")


@dataclass(frozen=True)
class Phone:
    """A synthesised phoneme: eSpeak symbol with stress mark (`'I`), and time in seconds."""

    symbol: str
    start_s: float
    duration_s: float


class Engine:
    """eSpeak NG; all engines of a process share the state of the library.

    Raises `AsrLabError` if the wheel is missing or the library cannot read its data.
    """

    _selected: ClassVar[Voice | None] = None

    def __init__(self) -> None:
        self._library, self.sample_rate = _load()  # Hz; eSpeak's own voices: 22,050

    def synthesize(self, text: str, voice: Voice, *, as_phonemes: bool = False) -> tuple[Samples, list[Phone]]:
        """Return speech (num_samples,), float32 in [-1, 1) at `sample_rate` Hz, and its phonemes without pauses.

        `as_phonemes`: the text is eSpeak phonemes, `D|@2 k|w|'I|k`, of at most about 80 words; eSpeak silently drops
        unknown ones. The result then includes phonemes without a duration: an `l` or `r` that eSpeak merges into the
        preceding vowel. Raises `AsrLabError` for an unknown voice or variant.
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

        callback = _CALLBACK(receive)  # must live as long as espeak_Synth runs
        self._library.espeak_SetSynthCallback(callback)
        data = (f"[[{text}]]" if as_phonemes else text).encode()
        flags = _UTF8 | (_PHONEME_INPUT if as_phonemes else 0)
        failed = self._library.espeak_Synth(data, len(data) + 1, 0, _POS_CHARACTER, 0, flags, None, None)
        if failed or not blocks:
            raise AsrLabError(f"eSpeak NG could not synthesise {text!r}", where=f"voice {voice.name!r}")
        samples = np.frombuffer(b"".join(blocks), dtype=np.int16).astype(np.float32)
        samples /= 32768
        return samples, _phones(events, len(samples) / self.sample_rate, timeless=as_phonemes)

    def phonemes(self, text: str, voice: Voice) -> str:
        """Return the eSpeak phonemes of a text: `D|@2 k|w|'I|k`, `|` between phonemes and a space between words.

        Clauses are joined by a space. `synthesize(..., as_phonemes=True)` accepts this string.
        """
        if voice != Engine._selected:  # each selection queues an event; after about 40, speech would lack phonemes
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


def require(what: str = "speech is synthesised") -> None:
    """Raise `AsrLabError` if the eSpeak NG wheel is not installed; `what` is its purpose."""
    if find_spec("espeakng_loader") is None:
        raise AsrLabError(
            f"{what} by eSpeak NG, which is not installed",
            hint="it comes as the wheel espeakng-loader (GPL-3), an extra of asr_lab",
            next_command="pip install 'asr_lab[demo]'",
        )


@functools.cache
def voice_names() -> dict[str, str]:
    """Return every name of a language voice -> the name eSpeak loads: file names, and languages (`en-gb` -> `en`)."""
    files = [path for path in sorted((_data() / "lang").rglob("*")) if path.is_file()]
    names: dict[str, str] = {}
    for path in files:
        for line in lines(path.read_text(encoding="utf-8", errors="replace")):
            if line.startswith("language "):
                names.setdefault(line.split()[1].lower(), path.name.lower())
    return names | {path.name.lower(): path.name.lower() for path in files}


@functools.cache
def variant_names() -> frozenset[str]:
    """Return the voice variants: `f1`, `m3`, `croak`, ..."""
    return frozenset(path.name for path in (_data() / "voices" / "!v").iterdir())


def _full_name(voice: Voice) -> str:
    """Return `en-us+f2`; checks both parts, since eSpeak ignores unknown variants."""
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
    """Return the initialised library and its sample rate in Hz."""
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
    """Convert events to phonemes; each ends at the next event, the last one at the end of the speech.

    Leaves out pauses (`_`, `_:`, `_|`, ...), language switches (`(en)`), and, unless `timeless`, phonemes without a
    duration.
    """
    marks = [(position / 1000, symbol.decode()) for kind, position, symbol in events if kind == _EVENT_PHONEME]
    ends = [start for start, _ in marks[1:]] + [duration_s]
    return [
        Phone(symbol, start, max(0.0, round(min(end, duration_s) - start, 3)))
        for (start, symbol), end in zip(marks, ends, strict=True)
        if symbol.strip("'%,=|") and symbol[0] not in "_(" and (timeless or end > start)
    ]
