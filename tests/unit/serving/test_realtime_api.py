"""`/v1/realtime` on a tiny streaming recogniser: events, refusals, limits, keys, and what is logged."""

import asyncio
import base64
import contextlib
import json
import logging
import threading
import time

import numpy as np
import pytest
import soxr
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from streams import COMPLETED, DELTA, as_pcm, pcm, streaming_base
from test_engine import adapter_file, base, sounds
from test_http_api import Folder

from asr_lab.serving import realtime_api
from asr_lab.serving.engine import Request
from asr_lab.serving.http_api import Limits, create_app
from asr_lab.serving.http_errors import ApiError
from asr_lab.serving.realtime_api import StreamLimits, _Input
from asr_lab.serving.served_models import ServedModels, open_models
from asr_lab.serving.streaming import Endpointing

PATH = "/v1/realtime"
URL = f"ws://127.0.0.1:8000{PATH}"


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> ServedModels:
    of, folder = streaming_base(), tmp_path_factory.mktemp("served")
    of.save(folder / "tiny")
    for number, name in enumerate(("ann", "ben")):
        adapter_file(folder / "adapters", name, of, number + 1)
    return open_models(Folder(folder / "tiny"), str(folder / "tiny"), str(folder / "adapters"), list)


def client(models: ServedModels, *, key: str = "", streams: StreamLimits | None = None, **limits) -> TestClient:
    app = create_app(models, Limits(streams=streams or StreamLimits(), **limits), key)
    return TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)


class Spoken:
    """A client of a session."""

    def __init__(self, socket, rate: int = 16_000, pause_ms: int | None = None, model: str = "") -> None:
        self.socket, self.deltas = socket, ""
        assert self.next()["type"] == "session.created"
        detection = {"type": "server_vad", "silence_duration_ms": pause_ms} if pause_ms else None
        given = {"format": {"type": "audio/pcm", "rate": rate}, "turn_detection": detection}
        given |= {"transcription": {"model": model, "language": "en"}} if model else {}
        self.send("session.update", session={"type": "transcription", "audio": {"input": given}})
        self.session = self.next("session.updated")["session"]["audio"]["input"]

    def send(self, kind: str, **fields) -> None:
        self.socket.send_text(json.dumps({"type": kind, **fields}))

    def next(self, kind: str = "") -> dict:
        """The next event, or the next of a kind; texts that come before it are in `deltas`."""
        while True:
            event = json.loads(self.socket.receive_text())
            self.deltas += event["delta"] if event["type"] == DELTA else ""
            if event["type"] == (kind or event["type"]):
                return event

    def speak(self, samples: np.ndarray, piece: int, *, binary: bool = True) -> None:
        audio = pcm(samples)
        for start in range(0, len(audio), 2 * piece):
            part = audio[start : start + 2 * piece]
            if binary:
                self.socket.send_bytes(part)
            else:
                self.send("input_audio_buffer.append", audio=base64.b64encode(part).decode())

    def commit(self) -> dict:
        self.deltas = ""
        self.send("input_audio_buffer.commit")
        return self.next(COMPLETED)


def closed(socket) -> int:
    with pytest.raises(WebSocketDisconnect) as ended:
        socket.receive_text()
    return ended.value.code


@pytest.mark.parametrize(("piece", "binary"), [(3200, True), (8000, False), (32_000, True)])
def test_text_comes_in_while_audio_goes_in_and_is_that_of_the_whole(models, piece, binary):
    with client(models) as api, api.websocket_connect(URL) as socket:
        for samples, name in zip(sounds(2), ("ann", "tiny"), strict=True):
            (whole,) = models.engine.transcribe(
                [Request(audio=as_pcm(samples), adapter=name.replace("tiny", ""), words=True)]
            )
            if name == "ann":
                spoken, start_s = Spoken(socket, model=name), 0.0
            else:
                spoken.send("session.update", session={"audio": {"input": {"transcription": {"model": name}}}})
            spoken.speak(samples, piece, binary=binary)
            result = spoken.commit()
            assert result["transcript"] == spoken.deltas == whole.text
            assert [one["word"] for one in result["words"]] == [one.text for one in whole.words]
            assert [one["start"] for one in result["words"]] == pytest.approx(
                [start_s + one.start_s for one in whole.words], abs=1e-3
            )
            assert result["usage"]["seconds"] == pytest.approx(len(samples) / 16_000, abs=1e-3)
            assert (result["model"], result.get("speaker", "tiny")) == ("tiny", name)
            start_s += len(samples) / 16_000


def test_utterances_end_at_the_same_places_whatever_the_pieces(models, monkeypatch):
    samples = as_pcm(np.resize(np.concatenate(sounds(4)), 40_000))
    parts = [samples[start : start + 16_000] for start in range(0, 40_000, 16_000)]
    own = [next(models.engine.transcribe([Request(audio=part)])).text for part in parts]
    assert all(own)
    monkeypatch.setattr(Endpointing, "ends", lambda _, duration_s, *__, **___: duration_s >= 1)
    for piece in (3200, 40_000, 777):
        with client(models) as api, api.websocket_connect(URL) as socket:
            spoken = Spoken(socket, pause_ms=300)
            assert spoken.session["turn_detection"] == {"type": "server_vad", "silence_duration_ms": 300}
            spoken.speak(samples, piece)
            results = [spoken.next(COMPLETED), spoken.next(COMPLETED), spoken.commit()]
            if piece != 777:  # pieces of 777 samples end elsewhere
                assert [one["transcript"] for one in results] == own
                assert [one["start"] for one in results] == [0, 1, 2]
            assert len({one["item_id"] for one in results}) == 3


def test_other_rates_are_resampled_as_a_whole(models):
    samples = soxr.resample(sounds(1)[0], 16_000, 24_000)
    whole = soxr.resample(as_pcm(samples), 24_000, 16_000).astype(np.float32)
    with client(models) as api, api.websocket_connect(f"{URL}?model=ben") as socket:
        spoken = Spoken(socket, rate=24_000)
        spoken.speak(samples, 2400)
        expected = next(models.engine.transcribe([Request(audio=whole, adapter="ben")])).text
        assert spoken.commit()["transcript"] == expected


def test_pieces_may_end_within_a_sample():
    audio, source = pcm(sounds(1)[0][:1000]), _Input(16_000)
    parts = [source.samples(audio[start : start + 7]) for start in range(0, len(audio), 7)]
    assert np.array_equal(np.concatenate(parts), np.frombuffer(audio, "<i2").astype(np.float32) / 32768)


WRONG = (
    ("no json", "invalid_json", None),
    ("[1]", "unknown_event", "type"),
    ('{"type": "response.create"}', "unknown_event", "type"),
    ('{"type": "input_audio_buffer.append", "audio": "%%"}', "invalid_value", "audio"),
    ('{"type": "input_audio_buffer.append"}', "invalid_value", "audio"),
    ('{"type": "input_audio_buffer.commit"}', "input_audio_buffer_commit_empty", None),
    ('{"type": "session.update", "session": {"voice": "x"}}', "invalid_value", "session.voice"),
    ('{"type": "session.update"}', "invalid_value", "session"),
    (
        '{"type": "session.update", "session": {"audio": {"input": {"format": {"rate": 1}}}}}',
        "invalid_value",
        "session.audio.input.format.rate",
    ),
    (
        '{"type": "session.update", "session": {"audio": {"input": {"transcription": {"model": "nobody"}}}}}',
        "model_not_found",
        "model",
    ),
)


def test_what_is_wrong_is_an_error_of_one_sentence_and_changes_nothing(models):
    samples = sounds(1)[0]
    with client(models) as api, api.websocket_connect(URL) as socket:
        spoken = Spoken(socket)
        for text, code, param in WRONG:
            socket.send_text(text)
            error = spoken.next("error")["error"]
            assert (error["code"], error["param"]) == (code, param)
            assert "\n" not in error["message"]
            assert "_Session" not in error["message"]
        spoken.send("nothing", event_id="mine")
        assert spoken.next("error")["error"]["event_id"] == "mine"
        spoken.speak(samples, 8000)
        spoken.send("session.update", session={"audio": {"input": {"format": {"rate": 48_000}}}})
        assert spoken.next("error")["error"]["param"] == "session.audio.input.format.rate"
        expected = next(models.engine.transcribe([Request(audio=as_pcm(samples))])).text
        assert spoken.commit()["transcript"] == expected
        spoken.speak(samples, 8000)
        spoken.send("input_audio_buffer.clear")
        spoken.next("input_audio_buffer.cleared")
        spoken.speak(samples, 8000)
        assert spoken.commit()["transcript"] == expected


def test_a_model_of_whole_recordings_says_so_and_closes(models, tmp_path):
    of = base()
    of.save(tmp_path / "whole")
    whole = open_models(Folder(tmp_path / "whole"), str(tmp_path / "whole"), str(tmp_path / "adapters"), list)
    with client(whole) as api:
        assert not api.get("/v1/models").json()["data"][0]["streaming"]
        with api.websocket_connect(URL) as socket:
            error = json.loads(socket.receive_text())["error"]
            assert error["code"] == "model_cannot_stream"
            assert "model.streaming=true" in error["message"]
            assert closed(socket) == 1008
    with client(models) as api, api.websocket_connect(f"{URL}?model=nobody") as socket:
        assert api.get("/v1/models").json()["data"][0]["streaming"]
        assert json.loads(socket.receive_text())["error"]["code"] == "model_not_found"
        assert closed(socket) == 1008


def test_seconds_and_idle_time_are_limited(models):
    with client(models, max_audio_s=1.0) as api, api.websocket_connect(URL) as socket:
        spoken = Spoken(socket)
        spoken.speak(np.zeros(20_000, np.float32), 4000)
        assert spoken.next("error")["error"]["code"] == "too_long"
        assert closed(socket) == 1008
    with client(models, streams=StreamLimits(idle_s=0.2)) as api, api.websocket_connect(URL) as socket:
        spoken = Spoken(socket)
        assert spoken.next("error")["error"]["code"] == "idle"
        assert closed(socket) == 1008
    with client(models, streams=StreamLimits(idle_s=0.5)) as api, api.websocket_connect(URL) as socket:
        spoken, stop, until = Spoken(socket), threading.Event(), time.monotonic() + 30

        def append_nothing() -> None:
            while not stop.wait(0.02) and time.monotonic() < until:
                spoken.send("input_audio_buffer.append", audio="")

        sending = threading.Thread(target=append_nothing)
        sending.start()
        error = spoken.next("error")["error"]
        assert sending.is_alive()  # what holds no audio is no sign of life
        stop.set()
        sending.join()
        assert error["code"] == "idle"


def test_hot_words_of_a_session_hold_for_its_transcripts(models):
    pytest.importorskip("flashlight", reason="the extra lm is not installed")
    samples = sounds(1)[0]
    (whole,) = models.engine.transcribe([Request(audio=as_pcm(samples), hot_words=("fff", "cab"))])
    with client(models) as api, api.websocket_connect(URL) as socket:
        spoken = Spoken(socket)
        for prompt, code in (("xyz", "invalid_prompt"), (",".join(["a"] * 101), None)):
            spoken.send("session.update", session={"audio": {"input": {"transcription": {"prompt": prompt}}}})
            error = spoken.next("error")["error"]
            assert (error["code"], error["param"].endswith("prompt")) == (code, True)
        spoken.send("session.update", session={"audio": {"input": {"transcription": {"prompt": "fff, cab"}}}})
        assert spoken.next("session.updated")["session"]["audio"]["input"]["transcription"]["prompt"] == "fff, cab"
        spoken.speak(samples, 4000)
        result = spoken.commit()
        assert result["transcript"] == whole.text
        assert [one["word"] for one in result["hot_words"]] == ["fff", "cab"]


def test_more_streams_than_are_allowed_come_later_and_those_that_vanish_leave_their_place(models):
    api = client(models, streams=StreamLimits(max_streams=2))
    with api, contextlib.ExitStack() as stack:
        for _ in range(2):
            Spoken(stack.enter_context(api.websocket_connect(URL))).speak(sounds(1)[0], 4000)
        with api.websocket_connect(URL) as third:
            assert json.loads(third.receive_text())["error"]["code"] == "too_many_requests"
            assert closed(third) == 1013
        stack.close()  # in the middle of their utterances
        for _ in range(5):
            with api.websocket_connect(URL) as socket:
                assert Spoken(socket).session["format"]["rate"] == 16_000


def test_a_failure_of_ours_shows_nothing_and_the_server_goes_on(models, monkeypatch):
    with client(models) as api:
        with api.websocket_connect(URL) as socket, monkeypatch.context() as patch:
            spoken = Spoken(socket)
            patch.setattr("asr_lab.serving.streaming.StreamingRecognizer.accept", lambda *_: {}["/secret/path"])
            spoken.speak(sounds(1)[0], 4000)
            error = spoken.next("error")["error"]
            assert error["type"] == "server_error"
            assert "secret" not in error["message"]
            assert closed(socket) == 1011
        with api.websocket_connect(URL) as socket:
            Spoken(socket)


def test_a_client_that_does_not_read_why_it_ends_holds_no_place(monkeypatch):
    class Deaf:
        async def send_json(self, _):
            await asyncio.Event().wait()

    monkeypatch.setattr(realtime_api, "_CLOSING_S", 0.01)
    asyncio.run(asyncio.wait_for(realtime_api._close(Deaf(), ApiError(504, "late"), 1013), 20))


def test_who_is_let_in(models):
    with client(models, key="s3cret") as api:
        for more in ({}, {"headers": {"Authorization": "Bearer wrong"}}, {"subprotocols": ["realtime"]}):
            with pytest.raises(WebSocketDenialResponse) as denied, api.websocket_connect(URL, **more):
                pass
            assert denied.value.status_code == 401
        with api.websocket_connect(URL, headers={"Authorization": "Bearer s3cret"}) as socket:
            Spoken(socket)
        with api.websocket_connect(URL, ["realtime", "openai-insecure-api-key.s3cret"]) as socket:
            assert socket.accepted_subprotocol == "realtime"
            Spoken(socket)
    with client(models) as api:
        for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
            with pytest.raises(WebSocketDenialResponse) as denied, api.websocket_connect(URL, headers=headers):
                pass
            assert denied.value.status_code == 403
        with api.websocket_connect(URL, headers={"Origin": "http://127.0.0.1:8000"}) as socket:
            Spoken(socket)
        assert api.get(PATH).status_code == 426


def test_the_log_has_a_line_a_stream_without_text_and_names(models, caplog):
    caplog.set_level(logging.INFO, "asr_lab.serving.http_gate")
    with client(models) as api, api.websocket_connect(f"{URL}?model=ann") as socket:
        spoken = Spoken(socket)
        spoken.speak(sounds(1)[0], 8000)
        text = spoken.commit()["transcript"]
    lines = [record.getMessage() for record in caplog.records if record.name == "asr_lab.serving.http_gate"]
    (line,) = [one for one in lines if one.startswith("WEBSOCKET")]
    assert line.startswith(f"WEBSOCKET {PATH} ended: ")
    assert "s of speech" in line
    assert not any(word in line for word in ("ann", text))


def test_many_sessions_at_once_each_get_their_own_text(models):
    given = [(samples, name) for samples in sounds(3) for name in ("tiny", "ann", "ben")]
    own = [
        next(models.engine.transcribe([Request(audio=as_pcm(samples), adapter=name.replace("tiny", ""))])).text
        for samples, name in given
    ]
    texts = [""] * len(given)
    with client(models) as api:

        def one(number: int) -> None:
            with api.websocket_connect(f"{URL}?model={given[number][1]}") as socket:
                spoken = Spoken(socket)
                spoken.speak(given[number][0], 3200 + 100 * number)
                texts[number] = spoken.commit()["transcript"]

        threads = [threading.Thread(target=one, args=(number,)) for number in range(len(given))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert texts == own
