"""Streams: the text and words of the whole recording from pieces of any length, for many speakers at once."""

import threading

import numpy as np
import pytest
import torch
from streams import streaming_base
from test_decoders import language_model
from test_engine import adapter_file, base, sounds

from asr_lab.config.schema import Decode
from asr_lab.decoding.greedy import to_text
from asr_lab.errors import AsrLabError
from asr_lab.serving import streaming
from asr_lab.serving.adapter_cache import AdapterCache
from asr_lab.serving.decoders import Decoders
from asr_lab.serving.engine import Engine, Request
from asr_lab.serving.streaming import Endpointing, Stream, StreamingRecognizer, StreamWorker

NOTHING = np.zeros(0, np.float32)
PEOPLE = ("", "ann", "ben")


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> Engine:
    of, folder = streaming_base(), tmp_path_factory.mktemp("adapters")
    adapter_file(folder, "ann", of, 1)
    adapter_file(folder, "ben", of, 2, residual=False)
    return Engine(of, AdapterCache(of.adapter_loader(), kind=of.adapter_kind, folder=folder))


def streamed(recognizer: StreamingRecognizer, samples: np.ndarray, piece: int, adapter: str = "") -> Stream:
    stream, before = recognizer.open(adapter), ""
    for start in range(0, len(samples), piece):
        recognizer.accept([stream], [samples[start : start + piece]], [False])
        assert stream.text.startswith(before)  # nothing is taken back
        before = stream.text
    recognizer.accept([stream], [NOTHING], [True])
    return stream


@pytest.mark.parametrize("adapter", PEOPLE)
def test_pieces_give_the_text_words_and_times_of_the_whole(engine, adapter):
    recognizer = StreamingRecognizer(engine)
    for samples in sounds(3):
        (whole,) = engine.transcribe([Request(audio=samples, adapter=adapter, words=True)])
        assert whole.text
        for piece in (3200, 8000, 32_000, 1111):
            stream = streamed(recognizer, samples, piece, adapter)
            result = recognizer.result(stream)
            assert stream.text == result.text == whole.text
            assert (result.speaker, result.adapter) == (whole.speaker, whole.adapter)
            assert result.duration_s == whole.duration_s
            assert [(one.text, one.start_s, one.end_s) for one in result.words] == [
                (one.text, one.start_s, one.end_s) for one in whole.words
            ]
            ours, theirs = ([word.confidence for word in words] for words in (result.words, whole.words))
            assert ours == pytest.approx(theirs, abs=1e-3)


def test_many_streams_at_once_each_get_their_own_text(engine):
    recognizer = StreamingRecognizer(engine)
    given = [(samples, name) for samples in sounds(4) for name in PEOPLE]
    own = [next(engine.transcribe([Request(audio=samples, adapter=name)])).text for samples, name in given]
    assert len(set(own)) > 6
    worker = StreamWorker(recognizer)
    texts = [""] * len(given)

    def client(number: int) -> None:
        samples, name = given[number]
        stream = recognizer.open(name)
        for start in range(0, len(samples), 1600 + 100 * number):
            worker.accept(stream, samples[start : start + 1600 + 100 * number]).result(60)
        worker.accept(stream, NOTHING, last=True).result(60)
        texts[number] = recognizer.result(stream).text

    clients = [threading.Thread(target=client, args=(number,)) for number in range(len(given))]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    worker.close()
    assert texts == own


def test_a_worker_reports_a_failure_to_those_who_wait_and_goes_on(engine, monkeypatch):
    recognizer = StreamingRecognizer(engine)
    worker, stream, (samples,) = StreamWorker(recognizer), recognizer.open(), sounds(1)
    with monkeypatch.context() as patch:
        patch.setattr(recognizer, "accept", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            worker.accept(stream, samples).result(60)
    worker.accept(stream, samples, last=True).result(60)
    assert recognizer.result(stream).text == next(engine.transcribe([Request(audio=samples)])).text
    worker.close()


def test_silence_and_noise_give_no_text_at_any_time(engine):
    recognizer, draw = StreamingRecognizer(engine), np.random.default_rng(0)
    for samples in (np.zeros(48_000, np.float32), draw.normal(0, 0.1, 48_000).astype(np.float32)):
        stream = recognizer.open()
        for start in range(0, len(samples), 3200):
            recognizer.accept([stream], [samples[start : start + 3200]], [False])
            assert stream.text == ""
        recognizer.accept([stream], [NOTHING], [True])
        result = recognizer.result(stream)
        assert result.text == ""
        assert "no speech" in result.note
    empty = recognizer.open()
    recognizer.accept([empty], [NOTHING], [True])
    assert recognizer.result(empty).text == ""


def test_words_of_a_later_utterance_are_timed_from_the_beginning_of_the_stream(engine):
    recognizer, (samples,) = StreamingRecognizer(engine), sounds(1)
    first = streamed(recognizer, samples, 3200, "ann")
    second = recognizer.open("ann", first.start_s + first.duration_s)
    recognizer.accept([second], [samples], [True])
    moved = recognizer.result(second).words
    for one, other in zip(recognizer.result(first).words, moved, strict=True):
        assert other.start_s == pytest.approx(one.start_s + len(samples) / 16_000, abs=1e-3)
        assert other.end_s > other.start_s


def test_the_confidence_of_streams_is_calibrated_as_that_of_requests(engine):
    decoders = Decoders(engine.recognizer, Decode(calibration=(0.0, 0.0)))
    recognizer = StreamingRecognizer(Engine(engine.recognizer, decoders=decoders))
    words = recognizer.result(streamed(recognizer, sounds(1)[0], 3200)).words
    assert [word.confidence for word in words] == [0.5] * len(words) != []


def test_an_utterance_ends_where_it_pauses_and_when_it_is_too_long():
    rules = Endpointing(pause_s=0.8, long_s=15, short_pause_s=0.2, most_s=30)
    assert not rules.ends(3, 0.7, has_text=True)
    assert rules.ends(3, 0.8, has_text=True)
    assert not rules.ends(14, 5, has_text=False)  # nothing was spoken yet
    assert rules.ends(15, 15, has_text=False)
    assert rules.ends(16, 0.2, has_text=True)
    assert not rules.ends(29, 0.1, has_text=True)
    assert rules.ends(30, 0, has_text=True)


def test_quiet_frames_are_those_since_the_last_letter(engine):
    recognizer, (samples,) = StreamingRecognizer(engine), sounds(1)
    stream = streamed(recognizer, samples, 3200)
    written = [place for place, label in enumerate(stream.path) if recognizer.writes(label)]
    assert stream.quiet_frames == len(stream.path) - 1 - written[-1]
    assert recognizer.ends(stream, Endpointing(pause_s=stream.quiet_frames * 0.02))
    assert not recognizer.ends(stream, Endpointing(pause_s=stream.quiet_frames * 0.02 + 0.02))


def test_a_model_of_whole_recordings_and_an_unknown_speaker_are_refused(engine):
    with pytest.raises(AsrLabError) as raised:
        StreamingRecognizer(Engine(base()))
    assert "model.streaming=true" in raised.value.allowed
    with pytest.raises(AsrLabError):
        StreamingRecognizer(engine).open("nobody")


def test_an_utterance_that_has_ended_has_the_text_of_the_language_model_and_of_hot_words(tmp_path):
    pytest.importorskip("flashlight", reason="the extra lm is not installed")
    path, of = language_model(tmp_path), streaming_base()
    with torch.no_grad():
        of.model.head[-1].weight.mul_(0.05)  # not sure of what it writes
    searching = Engine(of, decoders=Decoders(of, Decode(lm=str(path), word_score=0.0), path))
    recognizer, changed = StreamingRecognizer(searching), 0
    for samples in sounds(3):
        for hot in ((), ("fff",)):
            (whole,) = searching.transcribe([Request(audio=samples, hot_words=hot, words=True)])
            stream = recognizer.open(hot_words=hot)
            for start in range(0, len(samples), 3200):
                recognizer.accept([stream], [samples[start : start + 3200]], [False])
            recognizer.accept([stream], [NOTHING], [True])
            result = recognizer.result(stream)
            assert (result.text, result.hot_words) == (whole.text, whole.hot_words)
            assert [word.text for word in result.words] == whole.text.split()
            changed += result.text != stream.text
    assert changed  # greedy while audio came in
    with pytest.raises(AsrLabError):
        recognizer.open(hot_words=("xyz",))


def test_a_piece_of_a_long_utterance_costs_no_more_than_one_of_a_short(engine, monkeypatch):
    recognizer, samples = StreamingRecognizer(engine), np.resize(np.concatenate(sounds(8)), 30 * 16_000)
    texts, stream = [], recognizer.open()
    monkeypatch.setattr(
        streaming, "to_text", lambda labels, units: (texts.append(len(labels)), to_text(labels, units))[1]
    )
    for start in range(0, len(samples), 16_000):
        recognizer.accept([stream], [samples[start : start + 16_000]], [False])
    assert len(stream.text) > 200
    assert max(texts) < len(stream.text) / 2  # the last word, not all of it
