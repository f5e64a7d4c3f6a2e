"""The engine: voices differ, phonemes cover the speech, errors suggest the nearest voice."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from asr_lab.data.synthesis import espeak
from asr_lab.data.synthesis.espeak import Engine, Voice
from asr_lab.data.synthesis.voices import PERSONS, SPEAKERS
from asr_lab.errors import AsrLabError

have_espeak = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None,
    reason="eSpeak NG is not installed: pip install 'asr_lab[demo]'",
)
ADAM = Voice(name="adam", voice="en-us")
TEXT = "the big dog is under the table"


def _pitch_hz(samples: np.ndarray, sample_rate: int) -> float:
    """The median fundamental frequency over frames of 40 ms, by autocorrelation between 60 and 500 Hz."""
    length = round(0.04 * sample_rate)
    frames = samples[: len(samples) // length * length].reshape(-1, length)
    loud = frames[(frames**2).mean(1) > 0.2 * (samples**2).mean()]
    low, high = sample_rate // 500, sample_rate // 60
    lags = [low + int(np.argmax(np.correlate(f, f, "full")[length - 1 :][low:high])) for f in loud]
    return float(sample_rate / np.median(lags))


@have_espeak
def test_phones_follow_each_other_and_cover_the_speech() -> None:
    engine = Engine()
    samples, phones = engine.synthesize(TEXT, ADAM)
    assert samples.dtype == np.float32
    assert 0.05 < np.abs(samples).max() < 1.0
    duration_s = len(samples) / engine.sample_rate
    ends = [phone.start_s + phone.duration_s for phone in phones]
    assert all(phone.duration_s > 0 for phone in phones)
    assert all(end <= after.start_s + 1e-6 for end, after in zip(ends[:-1], phones[1:], strict=True))
    assert ends[-1] <= duration_s + 1e-6
    inside = np.zeros(len(samples), dtype=bool)
    for phone, end in zip(phones, ends, strict=True):
        inside[round(phone.start_s * engine.sample_rate) : round(end * engine.sample_rate)] = True
    assert (samples[inside] ** 2).sum() > 0.98 * (samples**2).sum()


@have_espeak
def test_what_is_said_is_what_the_text_asks_for() -> None:
    engine = Engine()
    _, phones = engine.synthesize("open a door", ADAM)
    said = "".join(phone.symbol for phone in phones).replace("'", "")
    assert said == engine.phonemes("open a door", ADAM).replace("|", "").replace(" ", "").replace("'", "")
    _, again = engine.synthesize(engine.phonemes("open a door", ADAM), ADAM, as_phonemes=True)
    assert [phone.symbol for phone in again] == [phone.symbol for phone in phones]


@have_espeak
def test_reading_many_texts_takes_no_phonemes_from_what_is_said_next() -> None:
    engine = Engine()
    for _ in range(200):
        engine.phonemes("red", ADAM)
    _, phones = engine.synthesize("red", ADAM)
    assert [phone.symbol.replace("'", "") for phone in phones] == ["r", "E", "d"]


@have_espeak
def test_an_accent_leaves_no_change_of_language_among_the_phones() -> None:
    _, phones = Engine().synthesize(TEXT, PERSONS["john"].voice)
    assert len(phones) > 10
    assert not [phone.symbol for phone in phones if phone.symbol.startswith(("(", "_"))]


@have_espeak
def test_a_childs_voice_is_higher_and_a_slow_one_longer() -> None:
    engine = Engine()
    adult, _ = engine.synthesize(TEXT, ADAM)
    child, _ = engine.synthesize(TEXT, PERSONS["leo"].voice)
    slow, _ = engine.synthesize(TEXT, Voice(name="slow", voice="en-us", rate=120))
    assert _pitch_hz(child, engine.sample_rate) > 1.8 * _pitch_hz(adult, engine.sample_rate)
    assert len(slow) > 1.2 * len(adult)


@have_espeak
def test_every_speaker_of_the_table_can_be_spoken_and_none_sounds_like_another() -> None:
    engine = Engine()
    sounds = {}
    for speaker in [*SPEAKERS.values(), *PERSONS.values()]:
        samples, _ = engine.synthesize("hello" if speaker.language == "en" else "안녕", speaker.voice)
        assert samples.any(), speaker.name
        sounds[speaker.name] = samples.tobytes()
    assert len(set(sounds.values())) == len(sounds)


@have_espeak
def test_korean_is_read_as_korean() -> None:
    engine, ko = Engine(), Voice(name="jihoon", voice="ko")
    assert engine.phonemes("바나나", ko).replace("|", "").replace("'", "").replace(",", "") == "panana"
    assert engine.phonemes("학교", ko) != engine.phonemes("하교", ko)


@have_espeak
def test_a_language_is_a_name_too() -> None:
    engine = Engine()
    british = Voice(name="x", voice="en-GB")  # the file is `en`, of language en-gb
    assert engine.phonemes("water", british) != engine.phonemes("water", ADAM)


@have_espeak
@pytest.mark.parametrize(
    ("voice", "what", "near"),
    [
        (Voice(name="x", voice="en-gb-scotlend"), "no voice 'en-gb-scotlend'", "en-gb-scotland"),
        (Voice(name="x", voice="en-us", variant="F2"), "no voice variant 'F2'", "f2"),
    ],
)
def test_an_unknown_voice_is_reported_with_the_nearest_names(voice: Voice, what: str, near: str) -> None:
    with pytest.raises(AsrLabError, match=what) as caught:
        Engine().synthesize("hello", voice)
    assert near in caught.value.hint


def test_numbers_the_engine_would_clip_are_refused_together() -> None:
    with pytest.raises(AsrLabError, match=r"rate is 40.*pitch is 100"):
        Voice(name="x", voice="en-us", rate=40, pitch=100)


def test_without_the_wheel_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak, "find_spec", lambda name: None)
    with pytest.raises(AsrLabError, match="not installed") as caught:
        espeak.require()
    assert caught.value.next_command == "pip install 'asr_lab[demo]'"
