"""Language models and hot words in the engine: many threads, single requests, nothing without a word of it."""

import threading
from pathlib import Path

import pytest
import torch
from test_engine import base as sure
from test_engine import sounds

from asr_lab.config.schema import Decode
from asr_lab.decoding import arpa, ngram
from asr_lab.errors import AsrLabError
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.serving.decoders import Decoders
from asr_lab.serving.engine import Engine, Request

pytest.importorskip("flashlight", reason="the extra lm is not installed")


def base() -> DeepSpeech2Recognizer:
    """A recogniser that writes several words for each sound, and is not sure of them."""
    of = sure(8)
    with torch.no_grad():
        of.model.head[-1].weight.mul_(0.3)
        for name, weights in of.model.named_parameters():
            if ".weight_" in name:
                weights.mul_(3)
    return of


def language_model(folder: Path) -> Path:
    path, texts = folder / "tiny.arpa", ["ab cad", "cad ab", "abc ab", "d e"]
    header = arpa.Header(order=2, units="words", text="plain", digest="", sentences=len(texts), words=1)
    arpa.write(ngram.train((one.split() for one in texts), 2), path, header, texts)
    return path


@pytest.fixture(scope="module")
def searching(tmp_path_factory):
    """An engine with a language model, and what greedy decoding writes of two sounds."""
    path = language_model(tmp_path_factory.mktemp("lm"))
    of, settings = base(), Decode(lm=str(path), word_score=0.0)
    return Engine(of, decoders=Decoders(of, settings, path))


def texts(engine: Engine, **more) -> list[str]:
    return [one.text for one in engine.transcribe(Request(audio=sound, **more) for sound in sounds(6))]


def test_the_search_is_that_of_the_recogniser_s_decoder(searching):
    from asr_lab.recipes.decode_choice import decoder_of

    of, settings = base(), searching.decoders.settings
    of.decoder = decoder_of(settings, Path(settings.lm), of)
    expected = list(of.transcribe(sounds(6), batch_size=1))
    assert texts(searching) == expected != texts(Engine(base()))
    assert [
        one.text for one in searching.transcribe([Request(audio=one) for one in sounds(6)], batch_size=4)
    ] == expected


@pytest.mark.slow
def test_hot_words_are_of_one_request_and_their_effect_is_counted(searching):
    for engine in (searching, Engine(base())):
        cold = texts(engine)
        hot = (cold[0].split()[0],)
        given = [
            Request(audio=sound, hot_words=words) for sound in sounds(6) for words in ((), (*hot, "fff"), ("fff", *hot))
        ]
        for size in (1, 7):
            results = list(engine.transcribe(given, batch_size=size))
            assert [one.text for one in results[::3]] == cold
            assert not any(one.hot_words for one in results[::3])
            for one, text in zip(results[1::3], cold, strict=True):
                counts = {count.word: count for count in one.hot_words}
                assert set(counts) == {*hot, "fff"}
                assert counts[hot[0]].without == text.split().count(hot[0])
                assert counts["fff"].hot == one.text.split().count("fff")
            assert [one.text for one in results[1::3]] == [one.text for one in results[2::3]]
    raised = Engine(base(), decoders=Decoders(base(), Decode(hot_words=("gg",), hot_word_score=40.0)))
    counts = [one.hot_words[0] for one in raised.transcribe(Request(audio=sound) for sound in sounds(6))]
    assert any(one.has_effect for one in counts)
    assert all(one.without < one.hot for one in counts if one.has_effect)


def test_what_cannot_be_spelt_is_an_error_of_its_request(searching):
    given = [Request(audio=sounds(1)[0], hot_words=words) for words in (("ab",), ("xyz",), ("\u00df",), ("ab",))]
    results = list(searching.transcribe(given, batch_size=4))
    assert [bool(one.error) for one in results] == [False, True, True, False]
    assert "xyz" in results[1].error.what
    with pytest.raises(AsrLabError, match="xyz"):
        Decoders(base(), Decode(hot_words=("xyz",)))


def test_threads_search_at_once_and_each_gets_its_own_text(searching):
    given = [(sound, words) for sound in sounds(4) for words in ((), ("ab",), ("fff", "cad"))]
    alone = [next(searching.transcribe([Request(audio=a, hot_words=b)])) for a, b in given]
    wrong: list[int] = []

    def ask(place: int) -> None:
        sound, words = given[place]
        for _ in range(5):
            (result,) = searching.transcribe([Request(audio=sound, hot_words=words)])
            if (result.text, result.hot_words) != (alone[place].text, alone[place].hot_words):
                wrong.append(place)

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(given))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_least_recently_used_hot_words_go(tmp_path):
    path = language_model(tmp_path)
    decoders = Decoders(base(), Decode(lm=str(path)), path, most=3)
    for word in ("a", "b", "c", "d"):
        decoders.check((word,))
    assert {*decoders._searches} == {(), ("c",), ("d",)}
    assert all(one.first.lm._shared is decoders._of(()).first.lm for key, one in [*decoders._searches.items()] if key)
    decoders = Decoders(base(), Decode(lm=str(path), hot_words=("e",)), path, most=3)
    assert {*decoders._searches} == {("e",), ()}  # before processes are forked
    for word in ("a", "b"):
        decoders.check((word,))
    assert {*decoders._searches} == {("e",), (), ("b",)}


def test_confidence_is_calibrated_where_that_is_set():
    of, sound = base(), sounds(3)[2]
    calibrated = Engine(of, decoders=Decoders(of, Decode(calibration=(0.0, 0.0))))
    (plain,) = Engine(of).transcribe([Request(audio=sound, words=True)])
    (one,) = calibrated.transcribe([Request(audio=sound, words=True)])
    assert one.text == plain.text
    assert [word.confidence for word in one.words] == [0.5] * len(plain.words) != []
