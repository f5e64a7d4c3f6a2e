"""`asr-lab serve` as a process of its own, used by OpenAI's client as it is, and by many at once."""

import base64
import http.client
import json
import os
import signal
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import soundfile
import soxr
from browser import _ARGUMENTS, browser, needs_browser
from conftest import ok, refused
from servers import Process, free_port

KEY = "s3cret"


def started(home, folder, *options: str, env: dict[str, str] | None = None) -> Process:
    """A server on the models of `home`."""
    port = free_port()
    command = ["-c", "from asr_lab.__main__ import main; main()", "serve", "--port", str(port), *options]
    env = {"MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db"} | (env or {})
    server = Process(command, folder / f"serve-{port}.log", f"http://127.0.0.1:{port}/health", env)
    server.port, server.uri = port, f"http://127.0.0.1:{port}/v1"
    server.start()
    return server


@pytest.fixture(scope="module")
def server(home, tmp_path_factory):
    """A server with a key, and few places."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        made = started(home, tmp_path_factory.mktemp("serve"), "--max-requests", "60", env={"ASR_LAB_API_KEY": KEY})
    yield made
    made.kill()


def post(server, body: bytes, model: str, key: str = KEY, more: str = "") -> tuple[int, dict, dict]:
    """A request as it goes over the wire: status, headers and JSON of the answer."""
    mark = uuid.uuid4().hex
    fields = {"model": model, "response_format": "json"}
    head = "".join(
        f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    head += f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    headers = {"Content-Type": f"multipart/form-data; boundary={mark}", "Authorization": f"Bearer {key}"}
    content = head.encode() + body + f"\r\n--{mark}--\r\n".encode()
    connection.request("POST", "/v1/audio/transcriptions", content, headers)
    response = connection.getresponse()
    answer = response.status, dict(response.getheaders()), json.loads(response.read())
    connection.close()
    return answer


@pytest.fixture
def recordings(home):
    return [home / f"john/audio/j{number:02d}.wav" for number in range(8)]


@pytest.mark.usefixtures("at_home")
def test_openais_client_as_it_is(server, recordings):
    openai = pytest.importorskip("openai", reason="the client `openai` is not installed")
    client = openai.OpenAI(base_url=server.uri, api_key=KEY, max_retries=0)
    assert {one.id for one in client.models.list()} == {"deepspeech2", "john"}
    assert client.models.retrieve("john").object == "model"
    transcribe = client.audio.transcriptions.create
    for options in ((), ("--adapter", "john")):
        model = options[-1] if options else "deepspeech2"
        texts = [ok("transcribe", file, *options).strip() for file in recordings]
        assert [transcribe(model=model, file=file).text for file in recordings] == texts
    file = max(recordings, key=lambda one: len(ok("transcribe", one)))
    text = ok("transcribe", file).strip()
    assert text
    assert transcribe(model="deepspeech2", file=file, response_format="text") == f"{text}\n"
    assert transcribe(model="deepspeech2", file=file, response_format="srt").split("\n")[2] == text
    assert transcribe(model="deepspeech2", file=file, response_format="vtt").startswith("WEBVTT")
    whole = transcribe(
        model="deepspeech2",
        file=file,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        language="en",
    )
    assert " ".join(word.word for word in whole.words) == whole.text == text
    assert all(0 <= word.start < word.end <= whole.duration + 0.02 for word in whole.words)
    assert whole.segments[0].start == whole.words[0].start
    with pytest.raises(openai.NotFoundError) as unknown:
        transcribe(model="jahn", file=file)
    assert (unknown.value.param, unknown.value.code) == ("model", "model_not_found")
    with pytest.raises(openai.BadRequestError):
        transcribe(model="john", file=("a.wav", b"no audio"))
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=server.uri, api_key="wrong", max_retries=0).models.list()


def test_a_refusal_arrives_though_the_client_still_sends(server):
    large = b"x" * 60 * 2**20
    for key, expected in ((KEY, 413), ("wrong", 401)):
        status, _, answer = post(server, large, "john", key)
        assert status == expected
        assert answer["error"]["message"]


def test_clients_that_go_away_leave_no_place_taken(server, recordings):
    head = b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n"
    head += f"Authorization: Bearer {KEY}\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n--x".encode()
    for _ in range(70):  # more than there are places
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(head)
    deadline, ended = time.monotonic() + 20, ("the client has gone", "transcriptions 429")
    while sum(server.log.read_text().count(one) for one in ended) < 70 and time.monotonic() < deadline:
        time.sleep(0.05)
    answers = [post(server, recordings[0].read_bytes(), "john")[0] for _ in range(5)]
    assert answers == [200] * 5
    assert server.log.read_text().count(ended[0]) >= 60


def test_the_log_names_nobody(server, recordings):
    assert post(server, recordings[0].read_bytes(), "john")[0] == 200
    assert post(server, recordings[0].read_bytes(), "jahn")[0] == 404
    time.sleep(0.3)
    log = server.log.read_text()
    requests = log[log.index("Ctrl-C") :]
    assert "POST /v1/audio/transcriptions 200" in requests
    assert "john" not in requests
    assert "jahn" not in requests
    assert KEY not in log
    assert "Traceback" not in log


@needs_browser
@pytest.mark.usefixtures("at_home")
def test_the_page_records_and_shows_words_with_times(server, recordings, tmp_path, monkeypatch):
    file = max(recordings, key=lambda one: soundfile.info(one).duration)
    quiet = np.random.default_rng(0).normal(0, 0.003, 24_000)
    spoken = np.concatenate([quiet, soundfile.read(file)[0], quiet])
    soundfile.write(tmp_path / "microphone.wav", soxr.resample(spoken, 16_000, 48_000), 48_000, subtype="PCM_16")
    fake = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    fake += (f"--use-file-for-fake-audio-capture={tmp_path}/microphone.wav%noloop",)
    monkeypatch.setattr("browser._ARGUMENTS", (*_ARGUMENTS, *fake))
    before = server.log.read_text().count("transcriptions 200")
    with browser(tmp_path, 900, 1200) as page:
        page.open(server.uri.removesuffix("v1"), "no API key")
        page.run(f"document.getElementById('key').value = {KEY!r}; return document.getElementById('key').onchange()")
        page.wait_for("john")
        names = page.run("return [...document.querySelectorAll('option')].map(one => one.value)")
        assert names == ["deepspeech2", "john"]
        for model, options in (("deepspeech2", ()), ("john", ("--adapter", "john"))):
            content = base64.b64encode(file.read_bytes()).decode()
            page.run(
                f"document.getElementById('model').value = {model!r};"
                f"const bytes = Uint8Array.from(atob({content!r}), one => one.charCodeAt(0));"
                "const given = new DataTransfer(); given.items.add(new File([bytes], 'a.wav'));"
                "const input = document.getElementById('file');"
                "input.files = given.files; return input.onchange()"
            )
            words = "return [...document.querySelector('article').querySelectorAll('b')].map(one => one.innerText)"
            assert " ".join(page.run(words)) == ok("transcribe", file, *options).strip()
        page.run("return document.getElementById('record').onclick()")
        time.sleep(len(spoken) / 16_000 + 0.5)
        page.run("document.getElementById('record').onclick()")
        deadline = time.monotonic() + 30
        while page.run("return document.querySelectorAll('article').length") < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        recorded = page.run(words)
        assert recorded  # a busy machine drops pieces of what the fake device plays
        starts = [float(one) for one in page.run(words.replace("'b'", "'small'"))]
        assert starts == sorted(starts)
        assert starts[0] > 1  # the pause before it
        while server.log.read_text().count("transcriptions 200") < before + 3 and time.monotonic() < deadline:
            time.sleep(0.1)  # the server logs an answer after it is there
        assert server.log.read_text().count("transcriptions 200") == before + 3
        assert page.run("return document.querySelector('audio').duration") > 2  # it can be played


@needs_browser
def test_the_page_reports_what_is_refused(server, tmp_path):
    with browser(tmp_path, 400, 900) as page:
        page.open(server.uri.removesuffix("v1"), "no API key")
        page.run(f"document.getElementById('key').value = {KEY!r}; return document.getElementById('key').onchange()")
        page.run(
            "const given = new DataTransfer(); given.items.add(new File(['no audio'], 'a.wav'));"
            "const input = document.getElementById('file'); input.files = given.files; return input.onchange()"
        )
        assert "not an audio file" in page.text()
        assert page.run("return document.querySelectorAll('article').length") == 0
        assert page.run("return document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.slow
def test_two_hundred_at_once_are_answered_or_429_none_is_mixed_up_and_memory_is_flat(server, recordings):
    sounds = [file.read_bytes() for file in recordings]
    alone = {
        (n, model): post(server, sounds[n], model)[2]["text"] for n in range(8) for model in ("deepspeech2", "john")
    }
    assert len(set(alone.values())) > 4
    asked = [(number % 8, ("deepspeech2", "john")[number // 8 % 2]) for number in range(200)]

    def good_answers(at_once: int) -> int:
        with ThreadPoolExecutor(at_once) as clients:
            answers = list(clients.map(lambda one: post(server, sounds[one[0]], one[1]), asked))
        good = [(one, answer) for one, (status, _, answer) in zip(asked, answers, strict=True) if status == 200]
        assert all(answer["text"] == alone[one] for one, answer in good)
        assert all(headers["retry-after"] for status, headers, _ in answers if status != 200)
        assert {status for status, _, _ in answers} <= {200, 429}
        return len(good)

    assert good_answers(200) >= 60  # the places there are
    memory = []
    for _ in range(3):
        assert good_answers(8) == 200
        memory.append(psutil.Process(server.process.pid).memory_info().rss)
    assert memory[-1] < 1.03 * memory[0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.usefixtures("at_home")
def test_a_signal_ends_it_without_a_traceback(home, tmp_path, recordings, number, code):
    server = started(home, tmp_path)
    assert post(server, recordings[0].read_bytes(), "john")[0] == 200
    os.kill(server.process.pid, number)
    assert server.process.wait(timeout=60) == code
    log = server.log.read_text()
    assert "stopped" in log
    assert "Traceback" not in log


@pytest.mark.usefixtures("at_home")
def test_what_cannot_be_served_is_one_message():
    assert "ASR_LAB_API_KEY" in refused("serve", "--host", "0.0.0.0", "--port", "0")
    assert "deepspeech2" in refused("serve", "--model", "deepspech2", "--port", "0")
