"""`/v1/realtime` of `asr-lab serve` as a process of its own: OpenAI's client, the page, clients that vanish."""

import base64
import json
import os
import signal
import socket as sockets
import time

import numpy as np
import pytest
import soundfile
import soxr
from browser import _ARGUMENTS, browser, needs_browser
from conftest import tone_word
from streams import COMPLETED, DELTA, as_pcm, drawn_adapter, pcm, streaming_base
from test_serve import KEY, started

from asr_lab.models.adapter import AdapterManager

websockets = pytest.importorskip("websockets.sync.client", reason="the extra `serve` is not installed")
HEADERS = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with a key, of a streaming model and ann's adapter."""
    folder, of = tmp_path_factory.mktemp("streams"), streaming_base()
    of.save(folder / "tiny")
    drawn_adapter(folder / "adapters", "ann", of, 1)
    options = ("--model", "tiny", "--adapter-dir", "adapters", "--max-streams", "4", "--max-seconds", "60")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = started(folder, folder, *options, env={"ASR_LAB_API_KEY": KEY})
    made.folder, made.recognizer = folder, of
    yield made
    made.kill()


def spoken(word: str = "abcdefgabc") -> np.ndarray:
    return as_pcm(tone_word(word, np.random.default_rng(0)))


def own_text(server, samples: np.ndarray, adapter: str = "") -> str:
    of = server.recognizer
    of.adapter = None
    if adapter:
        of.attach_adapter(AdapterManager(server.folder / "adapters"), adapter)
    return next(of.transcribe([samples]))


def connect(server, model: str = "tiny"):
    address = f"{server.uri.replace('http', 'ws')}/realtime?model={model}"
    return websockets.connect(address, additional_headers=HEADERS, open_timeout=60)


def manual(rate: int) -> dict:
    """A session whose utterances the client commits."""
    given = {"format": {"type": "audio/pcm", "rate": rate}, "turn_detection": None}
    return {"type": "transcription", "audio": {"input": given}}


def committed_text(socket) -> str:
    """Commit, and take the transcript."""
    socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
    while (event := json.loads(socket.recv(60)))["type"] != COMPLETED:
        assert event["type"] != "error", event
    return event["transcript"]


def ended(server) -> int:
    """How many connections have ended."""
    return server.log.read_text().count("WEBSOCKET /v1/realtime")


def wait_until_ended(server, count: int) -> None:
    deadline = time.monotonic() + 30
    while ended(server) < count and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ended(server) == count


def test_openais_client_as_it_is(server):
    openai = pytest.importorskip("openai", reason="the client `openai` is not installed")
    samples = soxr.resample(spoken(), 16_000, 24_000)
    expected = own_text(server, soxr.resample(as_pcm(samples), 24_000, 16_000).astype(np.float32), "ann")
    assert expected
    client, deltas = openai.OpenAI(base_url=server.uri, api_key=KEY, max_retries=0), ""
    with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        session = manual(24_000)
        session["audio"]["input"]["transcription"] = {"model": "ann", "language": "en"}
        connection.session.update(session=session)

        audio = pcm(samples)
        for start in range(0, len(audio), 9600):
            connection.input_audio_buffer.append(audio=base64.b64encode(audio[start : start + 9600]).decode())
        connection.input_audio_buffer.commit()
        kinds = []
        for event in connection:
            kinds.append(event.type)
            deltas += event.delta if event.type == DELTA else ""
            if event.type == COMPLETED:
                break
        assert event.transcript == deltas == expected
        assert kinds[:2] == ["session.created", "session.updated"]
        assert kinds.count(DELTA) > 1  # while audio came in
        connection.session.update(session={"type": "transcription", "audio": {"input": {"voice": "x"}}})
        refused = next(iter(connection))
        assert (refused.type, refused.error.param) == ("error", "session.audio.input.voice")
    with pytest.raises(Exception, match="401"), openai.OpenAI(base_url=server.uri, api_key="x").realtime.connect():
        pass


def test_clients_that_vanish_or_send_too_much_harm_nobody(server):
    samples, before = spoken(), ended(server)
    for _ in range(6):  # more than there are places
        with connect(server) as gone:
            gone.send(pcm(samples))
            gone.socket.shutdown(sockets.SHUT_RDWR)
    wait_until_ended(server, before + 6)
    with connect(server) as large:
        assert json.loads(large.recv(60))["type"] == "session.created"
        large.send(bytes(2 * 2**20))
        with pytest.raises(Exception, match="1009"):
            large.recv(60)
    wait_until_ended(server, before + 7)
    with connect(server, "ann") as one, connect(server) as other:
        for socket in (one, other):
            socket.send(json.dumps({"type": "session.update", "session": manual(16_000)}))
        for start in range(0, len(samples), 3200):
            for socket in (one, other):
                socket.send(pcm(samples[start : start + 3200]))
        assert committed_text(one) == own_text(server, samples, "ann")
        assert committed_text(other) == own_text(server, samples)
    log = server.log.read_text()
    assert "Traceback" not in log
    assert "ann" not in log[log.index("Ctrl-C") :]


@needs_browser
def test_the_page_shows_words_while_one_speaks(server, tmp_path, monkeypatch):
    words = np.concatenate([spoken("abcdefgabc"), spoken("gfedcbagfe"), spoken("abcdefgabc")])
    sound = soxr.resample(np.tile(words, 3), 16_000, 48_000)
    soundfile.write(tmp_path / "microphone.wav", sound, 48_000, subtype="PCM_16")
    fake = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    fake += (f"--use-file-for-fake-audio-capture={tmp_path}/microphone.wav%noloop",)
    monkeypatch.setattr("browser._ARGUMENTS", (*_ARGUMENTS, *fake))
    posted = server.log.read_text().count("POST")
    with browser(tmp_path, 900, 1200) as page:
        page.open(server.uri.removesuffix("v1"), "no API key")
        page.run(f"document.getElementById('key').value = {KEY!r}; return document.getElementById('key').onchange()")
        page.wait_for("ann")
        page.run("return document.getElementById('record').onclick()")
        deadline, live = time.monotonic() + 30, ""
        while len(live) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
            live = page.run("return document.getElementById('live').innerText")
        assert len(live) >= 3, page.text()  # while it records
        page.run("document.getElementById('record').onclick()")
        deadline = time.monotonic() + 30
        while not page.run("return document.querySelector('article')") and time.monotonic() < deadline:
            time.sleep(0.1)
        shown = page.run("return [...document.querySelectorAll('article b')].map(one => one.innerText)")
        assert " ".join(shown).startswith(live)
        starts = page.run("return [...document.querySelectorAll('article small')].map(one => +one.innerText)")
        assert starts == sorted(starts)
        assert page.run("return document.querySelector('audio').duration") > starts[-1]  # it can be played
        assert page.run("return document.getElementById('record').innerText") == "Record"
        page.run("document.getElementById('key').value = 'wrong'; return document.getElementById('record').onclick()")
        page.wait_for("refused")
    assert server.log.read_text().count("POST") == posted


def test_a_signal_ends_it_while_streams_are_open(server):
    with connect(server) as socket:
        socket.send(pcm(spoken()))
        os.kill(server.process.pid, signal.SIGTERM)
        assert server.process.wait(timeout=60) == 143
    assert "Traceback" not in server.log.read_text()
