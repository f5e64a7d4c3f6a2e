"""The HTTP API on a tiny recogniser: shapes of answers, refusals, limits, keys, and what is logged."""

import io
import logging
import re
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient
from test_engine import adapter_file, base, m4a, sounds

from asr_lab.data import media
from asr_lab.data.audio import probe
from asr_lab.errors import AsrLabError, UnavailableError
from asr_lab.models.adapter import AdapterManager
from asr_lab.serving import uploads
from asr_lab.serving.engine import Engine, Request
from asr_lab.serving.http_api import Limits, create_app
from asr_lab.serving.http_gate import FORM_BYTES
from asr_lab.serving.http_server import bind, check_key
from asr_lab.serving.served_models import ServedModels, open_models

URL = "/v1/audio/transcriptions"
PEOPLE = ("ann", "ben", "홍길동")


class Folder:
    """A model store that holds one folder."""

    def __init__(self, folder):
        self.folder = folder

    def resolve(self, uri):
        return self.folder

    def resolve_version(self, uri):
        if uri.startswith("models:/"):
            raise AsrLabError(f"no model {uri!r}")
        return str(self.folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> ServedModels:
    of, folder = base(), tmp_path_factory.mktemp("served")
    of.save(folder / "tiny")
    for number, name in enumerate(PEOPLE):
        adapter_file(folder / "adapters", name, of, number + 1)
    adapter_file(folder / "adapters", "zoe", base(seed=9), 1)  # made for another base
    (folder / "adapters" / "broken_adapter.pt").write_bytes(b"no adapter")
    return open_models(Folder(folder / "tiny"), str(folder / "tiny"), str(folder / "adapters"), list)


def test_adapters_are_loaded_under_the_lock_of_the_network(models):
    assert models.engine.adapters.lock is models.engine.lock  # one of LoRA changes the network


def client(models: ServedModels, *, key: str = "", **limits) -> TestClient:
    app = create_app(models, Limits(**limits), key)
    return TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)


def wav(sound: np.ndarray, rate: int = 16_000, kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format=kind, subtype="FLOAT" if kind == "WAV" else None)
    return file.getvalue()


def post(client: TestClient, audio: bytes, model: str = "tiny", headers=None, **fields):
    data = {"model": model} | {name.replace("granularities", "granularities[]"): v for name, v in fields.items()}
    return client.post(URL, files={"file": ("a.wav", audio)}, data=data, headers=headers)


def expected(models: ServedModels, sound, adapter: str = ""):
    (result,) = models.engine.transcribe([Request(audio=sound, adapter=adapter, words=True)])
    assert result.text
    return result


def refusal(response, status: int, param: str | None = None) -> str:
    """The sentence of an error in OpenAI's shape."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert "/tmp" not in error["message"]
    assert "\n" not in error["message"]
    return error["message"]


def test_each_format_has_the_engines_text_and_times(models):
    sound, api = sounds(1)[0], client(models)
    result = expected(models, sound)
    assert post(api, wav(sound)).json() == {"text": result.text, "model": "tiny"}
    assert post(api, wav(sound), response_format="text").text == f"{result.text}\n"
    srt = post(api, wav(sound), response_format="srt").text
    assert srt.startswith("1\n00:00:0")
    assert srt.split("\n")[2] == result.text
    assert post(api, wav(sound), response_format="vtt").text.startswith("WEBVTT\n\n00:00:0")
    both = post(api, wav(sound), response_format="verbose_json", timestamp_granularities=["word", "segment"]).json()
    assert both["duration"] == pytest.approx(len(sound) / 16_000, abs=1e-3)
    assert [(one["word"], one["start"], one["end"]) for one in both["words"]] == [
        (one.text, round(one.start_s, 3), round(one.end_s, 3)) for one in result.words
    ]
    assert " ".join(one["text"] for one in both["segments"]) == result.text
    assert all(one["avg_logprob"] <= 0 for one in both["segments"])
    words = post(api, wav(sound), response_format="verbose_json", timestamp_granularities="word").json()
    assert ("words" in words, "segments" in words) == (True, False)
    segments = post(api, wav(sound), response_format="verbose_json").json()
    assert ("words" in segments, "segments" in segments) == (False, True)


@pytest.mark.parametrize("kind", ["FLAC", "OGG", "MP3"])
def test_other_kinds_of_files(models, kind):
    assert post(client(models), wav(sounds(1)[0], kind=kind)).json()["text"]


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("models:/deepspeech2/3", "deepspeech2"),
        ("runs:/ab12/model", "runs:/ab12/model"),
        ("/models/exported", "exported"),
        ("/models/downloaded/artifacts/model", "downloaded"),
    ],
)
def test_what_a_request_calls_the_recogniser(models, uri, name):
    assert ServedModels(models.engine, uri).name == name


def test_a_speaker_is_a_model_and_the_answer_names_the_version(models):
    sound, api = sounds(2)[1], client(models)
    for name in PEOPLE:
        body = post(api, wav(sound), name).json()
        result = expected(models, sound, name)
        assert body["text"] == result.text
        assert (body["speaker"], body["adapter"]) == (name, result.adapter)
        assert body["adapter"].startswith(f"{name}_adapter.pt#")


def test_the_list_has_the_recogniser_and_the_speakers_that_fit(models):
    api = client(models)
    listed = api.get("/v1/models").json()
    assert [one["id"] for one in listed["data"]] == ["tiny", *sorted(PEOPLE)]
    assert api.get("/v1/models/ann").json()["id"] == "ann"
    assert api.get("/v1/models/tiny").json() == listed["data"][0]
    refusal(api.get("/v1/models/nobody"), 404, "model")


@pytest.mark.parametrize(
    "name",
    ["nobody", "zoe", "broken", "../adapters/ann", "/etc/passwd", "models:/deepspeech2/1", "ann_adapter.pt",
     "http://127.0.0.1/x", "s3://bucket/ann_adapter.pt", "ann\x00", "a" * 5000],
)  # fmt: skip
def test_what_is_no_model_is_refused(models, name):
    message = refusal(post(client(models), wav(sounds(1)[0]), name), 404, "model")
    assert "'tiny'" in message
    assert len(message) < 5500


def test_the_nearest_name_is_proposed(models):
    assert "'ann'" in refusal(post(client(models), wav(sounds(1)[0]), "anne"), 404, "model")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "xml"}, "response_format"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"response_format": ["json", "text"]}, "response_format"),
        ({"timestamp_granularities": "word"}, "timestamp_granularities[]"),
        ({"timestamp_granularities": "letter", "response_format": "verbose_json"}, "timestamp_granularities[]"),
        ({"stream": "true"}, "stream"),
        ({"adapter": "ann"}, "adapter"),
        ({"include[]": "logprobs"}, "include[]"),
        ({"model": ""}, "model"),
    ],
)
def test_what_cannot_be_done_is_refused(models, fields, param):
    fields = {"model": "tiny"} | fields
    refusal(post(client(models), wav(sounds(1)[0]), fields.pop("model"), **fields), 400, param)


def test_fields_without_effect_are_named(models):
    fields = {"language": "en", "temperature": "0.2", "stream": "false"}
    response = post(client(models), wav(sounds(1)[0]), **fields)
    assert response.headers["x-ignored-fields"] == "language, temperature"
    assert "x-ignored-fields" not in post(client(models), wav(sounds(1)[0])).headers


def test_the_prompt_is_hot_words_and_those_without_effect_are_named(models):
    pytest.importorskip("flashlight", reason="the extra lm is not installed")
    api, sound = client(models), sounds(3)[2]
    word = expected(models, sound).text.split()[0]
    response = post(api, wav(sound), prompt=f"{word}, aaa bbb")
    assert [one["word"] for one in response.json()["hot_words"]] == [word, "aaa bbb"]
    idle = [one["word"] for one in response.json()["hot_words"] if one["without"] == one["hot"]]
    assert response.headers["x-hot-words-without-effect"].split(",") == [one.replace(" ", "%20") for one in idle]
    assert "hot_words" not in post(api, wav(sound), prompt=" , ").json()
    assert "xyz" in refusal(post(api, wav(sound), prompt="xyz"), 400, "prompt")
    refusal(post(api, wav(sound), prompt=",".join(["a"] * 101)), 400, "prompt")


NO_AUDIO = {
    "nothing": b"",
    "text": b"no audio",
    "a header alone": b"RIFF" + b"x" * 40,
    "WebM": b"\x1a\x45\xdf\xa3" + b"\x00" * 90,
    "PDF": b"%PDF-1.7" * 9,
}


@pytest.mark.parametrize("audio", NO_AUDIO.values(), ids=NO_AUDIO)
def test_what_is_no_audio_is_one_sentence(models, audio):
    refusal(post(client(models), audio), 400, "file")


def test_samples_that_are_none_and_cut_files(models):
    api = client(models)
    for sound in (np.zeros(0, np.float32), np.zeros(10, np.float32), np.full(16_000, np.nan, np.float32)):
        refusal(post(api, wav(sound)), 400, "file")
    refusal(post(api, wav(sounds(1)[0])[:-4000]), 400, "file")


def webm(sound) -> bytes:
    """A sound at 16 kHz as Opus in WebM."""
    av = pytest.importorskip("av", reason="the extra `media` is not installed")
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        samples = np.repeat((sound * 32767).astype(np.int16), 3)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def test_a_video_container_is_decoded(models):
    (sound,) = sounds(1)
    body = post(client(models), webm(sound), response_format="verbose_json").json()
    assert body["duration"] == pytest.approx(len(sound) / 16_000, abs=0.1)


def test_requests_of_other_shapes(models):
    api = client(models)
    refusal(api.post(URL, json={"model": "tiny"}), 415)
    refusal(api.post(URL), 415)
    refusal(api.post(URL, data={"model": "tiny"}), 415)
    refusal(api.post(URL, files={"other": ("a.wav", b"x")}, data={"model": "tiny"}), 400, "other")
    refusal(api.post(URL, files=[("file", ("a", b"x")), ("file", ("b", b"y"))], data={"model": "tiny"}), 400)
    refusal(api.post(URL, files={"file": ("a", b"x"), "model": ("m", b"tiny")}), 400)
    broken = {"content-type": "multipart/form-data; boundary=x"}
    refusal(api.post(URL, content=b"--y nothing", headers=broken), 400)
    refusal(api.get(URL), 405)
    refusal(api.get("/v1/nothing"), 404)
    assert api.get("/health").json() == {"status": "ok"}


# --- limits -----------------------------------------------------------------------------------------------


def test_bytes_and_seconds_are_limited(models):
    api = client(models, max_bytes=200_000, max_audio_s=2)
    assert refusal(post(api, b"x" * 400_000), 413)
    assert refusal(post(api, b"x" * 4_000_000), 413)
    draw = np.random.default_rng(0).normal(0, 0.1, (40_000, 1)).astype(np.float32)
    refusal(post(api, wav(draw)), 413, "file")
    silence = wav(np.zeros(16_000 * 60 * 60, np.float32), kind="FLAC")
    assert len(silence) < 200_000  # an hour
    refusal(post(api, silence), 413, "file")
    many = wav(np.zeros((190_000, 8), np.float32), 96_000, kind="FLAC")
    refusal(post(api, many), 413, "file")
    assert post(api, wav(sounds(1)[0])).status_code == 200


@pytest.mark.parametrize("container", [m4a, webm])
@pytest.mark.parametrize("decoder", ["av", "ffmpeg"])
def test_media_are_decoded_no_further_than_is_allowed(models, monkeypatch, decoder, container):
    pytest.importorskip("av", reason="the extra `media` is not installed")
    (sound,), written = sounds(1), []
    short, long = container(sound), container(np.concatenate([sound, np.zeros(16_000 * 120, np.float32)]))
    if decoder == "ffmpeg":
        if not shutil.which("ffmpeg"):
            pytest.skip("ffmpeg is not on PATH")
        monkeypatch.setattr(media, "find_spec", lambda _: None)  # as without PyAV
    monkeypatch.setattr(
        uploads, "probe", lambda file: (header := probe(file), written.append(header.frames / header.samplerate))[0]
    )
    message = refusal(post(client(models, max_audio_s=2), long), 413, "file")
    assert message.startswith("over 2 s of audio")
    assert 2 < written[0] <= (2.01 if decoder == "av" else 2.51)
    refusal(post(client(models, max_bytes=len(long)), long + bytes(FORM_BYTES)), 413)
    assert len(written) == 1  # the second was not decoded
    if container is m4a:  # WebM names no length where it is written to a pipe
        refusal(post(client(models, max_audio_s=2), short[:-200]), 400, "file")
    assert post(client(models, max_audio_s=2), short).status_code == 200


class Slow(Engine):
    """An engine that waits before it begins; how many did."""

    def __init__(self, of: Engine) -> None:
        super().__init__(of.recognizer, of.adapters)
        self.go, self.began = threading.Event(), 0

    def transcribe(self, requests, **more):
        self.began += 1
        assert self.go.wait(30)
        return super().transcribe(requests, **more)


@pytest.fixture
def slow(models):
    made = ServedModels(Slow(models.engine), "models:/slow/3")
    yield made
    made.engine.go.set()


def test_more_than_the_waiting_are_429_and_none_is_lost(slow):
    audio = wav(sounds(1)[0])
    with client(slow, max_waiting=3) as api, ThreadPoolExecutor(10) as clients:
        asked = [clients.submit(post, api, audio, "slow") for _ in range(10)]
        deadline = time.monotonic() + 20
        while sum(one.done() for one in asked) < 7 and time.monotonic() < deadline:
            time.sleep(0.01)
        slow.engine.go.set()
        responses = [one.result() for one in asked]
        late = [one for one in responses if one.status_code == 429]
        assert len(late) == 7
        assert all(one.headers["retry-after"] and refusal(one, 429) for one in late)
        good = [one.json() for one in responses if one.status_code == 200]
        assert len(good) == 3
        assert {one["model"] for one in good} == {"models:/slow/3"}
        assert post(api, audio, "slow").status_code == 200  # the places are free again


def test_what_takes_too_long_is_504_and_keeps_its_place_until_it_ends(slow):
    audio = wav(sounds(1)[0])
    with client(slow, max_waiting=1, timeout_s=0.3) as api:
        refusal(post(api, audio, "slow"), 504)
        refusal(post(api, audio, "slow"), 429)
        slow.engine.go.set()
        deadline = time.monotonic() + 20
        while (response := post(api, audio, "slow")).status_code == 429 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert response.status_code in (200, 504)


def test_a_failure_of_ours_shows_nothing_and_the_server_goes_on(models, monkeypatch):
    api = client(models)

    def fails(*_, **__):
        raise RuntimeError("/secret/path")

    with monkeypatch.context() as patch:
        patch.setattr(models.engine, "transcribe", fails)
        assert "secret" not in refusal(post(api, wav(sounds(1)[0])), 500)
    assert post(api, wav(sounds(1)[0])).status_code == 200


def test_a_registry_that_does_not_answer_is_503(models, monkeypatch):
    def away(_):
        raise UnavailableError("the model registry does not answer")

    monkeypatch.setattr(models.engine, "adapter", away)
    response = post(client(models), wav(sounds(1)[0]), "ann")
    assert "registry" in refusal(response, 503, "model")
    assert response.headers["retry-after"]


def test_many_speakers_at_once_each_get_their_own_text(models):
    given = [(sound, name) for sound in sounds(6) for name in ("", *PEOPLE)]
    own = [next(models.engine.transcribe([Request(audio=sound, adapter=name)])).text for sound, name in given]
    assert len(set(own)) > 6
    with client(models) as api, ThreadPoolExecutor(8) as clients:
        posted = [clients.submit(post, api, wav(sound), name or "tiny") for sound, name in given]
        assert [one.result().json()["text"] for one in posted] == own


# --- who is let in, and what is logged --------------------------------------------------------------------


def test_a_key_is_asked_for_where_there_is_one(models):
    api, audio = client(models, key="s3cret"), wav(sounds(1)[0])
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic s3cret"}, {"x-api-key": "s3cret"}):
        for response in (post(api, audio, headers=headers), api.get("/v1/models", headers=headers)):
            assert response.headers["www-authenticate"] == "Bearer"
            refusal(response, 401)
    assert post(api, audio, headers={"Authorization": "Bearer s3cret"}).status_code == 200
    assert api.get("/health").status_code == 200


def test_the_page_loads_nothing_from_elsewhere(models):
    response = client(models, key="s3cret").get("/")
    assert response.status_code == 200
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert not re.search(r""":?//(?! )""", response.text)  # `// ` begins a comment


def test_without_a_key_other_sites_names_for_this_machine_are_refused(models):
    api = client(models)
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::2]:8000"):
        refusal(api.get("/v1/models", headers={"Host": host}), 403)
    for host in ("localhost", "localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert api.get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", ""])
def test_other_machines_need_a_key(host):
    with pytest.raises(AsrLabError) as raised:
        check_key(host, "")
    assert "ASR_LAB_API_KEY" in raised.value.allowed
    check_key(host, "s3cret")
    check_key("127.0.0.1", "")
    with pytest.raises(AsrLabError):
        check_key(host, " s3cret")


def test_a_port_that_is_taken_is_one_message():
    with bind("127.0.0.1", 0) as first:
        first.listen()
        with pytest.raises(AsrLabError) as raised:
            bind("127.0.0.1", first.getsockname()[1])
    assert "--port" in raised.value.allowed
    with pytest.raises(AsrLabError):
        bind("no.such.host.invalid", 0)


def test_the_log_has_a_line_a_request_without_text_and_names(models, caplog):
    api, sound = client(models), sounds(1)[0]
    with caplog.at_level(logging.INFO, "asr_lab.serving.http_gate"):
        text = post(api, wav(sound), "ann").json()["text"]
        api.get("/v1/models/ann")
        post(api, wav(sound), "nobody")
    lines = [record.getMessage() for record in caplog.records if record.name == "asr_lab.serving.http_gate"]
    assert [line.rpartition(":")[0] for line in lines] == [
        f"POST {URL} 200",
        "GET /v1/models/{name:path} 200",
        f"POST {URL} 404",
    ]
    assert f"{len(sound) / 16_000:.1f} s of speech" in lines[0]
    assert not any(word in line for line in lines for word in ("ann", "nobody", text))


def test_a_moved_adapter_is_used_from_then_on(models, tmp_path):
    of = base()
    adapter_file(tmp_path / "adapters", "ann", of, 1)
    of.save(tmp_path / "tiny")
    own = open_models(Folder(tmp_path / "tiny"), str(tmp_path / "tiny"), str(tmp_path / "adapters"), list)
    api, sound = client(own), sounds(1)[0]
    before = post(api, wav(sound), "ann").json()
    adapter_file(tmp_path / "adapters", "ann", of, 5)
    after = post(api, wav(sound), "ann").json()
    assert before["adapter"] != after["adapter"]
    of.attach_adapter(AdapterManager(tmp_path / "adapters"), "ann")
    assert after["text"] == next(of.transcribe([sound]))
