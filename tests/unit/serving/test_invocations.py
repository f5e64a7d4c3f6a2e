"""MLflow's scoring protocol and the metrics of the server, beside its own API."""

import base64
import json

import numpy as np
import pytest
from test_engine import adapter_file, base, sounds
from test_http_api import PEOPLE, Folder, client, expected, models, post, wav  # noqa: F401 - a fixture

from asr_lab.errors import UnavailableError
from asr_lab.serving.http_api import Limits
from asr_lab.serving.served_models import open_models

ADDRESS = "/invocations"


def row(sound, **more) -> dict[str, str]:
    return {"audio": base64.b64encode(wav(sound)).decode(), **more}


def forms(rows: list[dict[str, str]]) -> list[dict]:
    names = list(rows[0])
    return [
        {"dataframe_records": rows},
        {"dataframe_split": {"columns": names, "data": [list(one.values()) for one in rows]}},
        {"inputs": rows},
        {"inputs": {name: [one[name] for one in rows] for name in names}},
        {"instances": rows},
    ]


def refused(response, status: int) -> str:
    """The message of an error in MLflow's shape: one sentence, nothing of the server."""
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error_code", "message"}
    message = response.json()["message"]
    assert not any(part in message for part in ("/tmp", "Traceback", "asr_lab.", "\n"))
    assert len(message) <= 600
    return message


def test_all_forms_of_a_request_have_the_engine_s_texts(models):  # noqa: F811
    own = [expected(models, sound, "ann").text for sound in sounds(2)]
    for form in forms([row(sound, adapter="ann") for sound in sounds(2)]):
        answer = client(models).post(ADDRESS, json=form)
        assert answer.status_code == 200, answer.text
        assert [one["text"] for one in answer.json()["predictions"]] == own
        assert all(one["adapter"].startswith("ann_adapter.pt#") for one in answer.json()["predictions"])
    csv = f"audio\n{row(sounds(1)[0])['audio']}\n"
    answer = client(models).post(ADDRESS, content=csv, headers={"Content-Type": "text/csv"})
    assert answer.json() == {"predictions": [{"text": expected(models, sounds(1)[0]).text}]}


def test_parameters_and_bad_rows(models):  # noqa: F811
    rows = [row(sounds(1)[0]), {"audio": base64.b64encode(b"RIFF" + b"x" * 60).decode()}]
    params = {"words": True, "adapter": "ben", "batch_size": 2}
    answer = client(models).post(ADDRESS, json={"dataframe_records": rows, "params": params}).json()["predictions"]
    result = expected(models, sounds(1)[0], "ben")
    assert (answer[0]["text"], answer[0]["error"]) == (result.text, "")
    assert [word["start_s"] for word in json.loads(answer[0]["words"])] == [word.start_s for word in result.words]
    assert answer[1]["text"] == ""
    assert "/" not in answer[1]["error"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({"dataframe_records": [row(sounds(1)[0])], "params": {"adapter": "anna"}}, 400),
        ({"dataframe_records": [row(sounds(1)[0])], "params": {"adapter": "../adapters/ann"}}, 400),
        ({"dataframe_records": [row(sounds(1)[0])], "params": {"adapter": "models:/deepspeech2/1"}}, 400),
        ({"dataframe_records": [row(sounds(1)[0])], "params": {"beam": 5}}, 400),
        ({"dataframe_records": [row(sounds(1)[0])], "params": {"batch_size": 0}}, 400),
        ({"dataframe_records": [row(sounds(1)[0])], "params": {"hot_words": "a," * 101}}, 400),
        ({"dataframe_records": [row(sounds(1)[0])], "params": {"batch_size": "many"}}, 400),
        ({"dataframe_records": [{"sound": "x"}]}, 400),
        ({"dataframe_records": [row(sounds(1)[0], adapter=["ann"])]}, 400),
        ({"dataframe_split": {"columns": ["audio", "audio"], "data": [["a", "b"]]}}, 400),
        ({"dataframe_records": [{"audio": 5}]}, 400),
        ({"records": []}, 400),
        ([1], 400),
        ("{", 400),
    ],
)
def test_what_cannot_be_is_one_sentence(models, content, status):  # noqa: F811
    given = {"content": content} if isinstance(content, str) else {"json": content}
    message = refused(client(models).post(ADDRESS, headers={"Content-Type": "application/json"}, **given), status)
    assert base64.b64encode(wav(sounds(1)[0])).decode()[:40] not in message


@pytest.mark.parametrize("place", range(5))
def test_no_cell_of_any_kind_stops_the_other_rows(models, place):  # noqa: F811
    good = row(sounds(1)[0])
    cells = [None, 5, "UklG", "UklGR", "!", "", "d:audio/wav", good["audio"][:-3], good["audio"] + "\n"]
    answer = client(models).post(ADDRESS, json=forms([good, *({"audio": cell} for cell in cells)])[place])
    assert answer.status_code == 200, answer.text
    first, *others, last = answer.json()["predictions"]
    assert (first["error"], last["error"]) == ("", "")
    assert first["text"] == last["text"] == expected(models, sounds(1)[0]).text
    assert all(one["error"] and not one["text"] for one in others)


@pytest.mark.parametrize("params", [{"words": "yes"}, {"batch_size": 1.5}, {"adapter": 5}, {"hot_words": ["a"]}])
def test_a_parameter_of_another_type_is_named(models, params):  # noqa: F811
    asked = {"dataframe_records": [row(sounds(1)[0])], "params": params}
    message = refused(client(models).post(ADDRESS, json=asked), 400)
    assert next(iter(params)) in message
    assert "DataType" not in message


def test_nesting_without_end_is_no_fault_of_the_server(models):  # noqa: F811
    response = client(models).post(ADDRESS, content="[" * 99_999, headers={"Content-Type": "application/json"})
    refused(response, 400)


def test_a_bad_row_s_error_has_no_data(models):  # noqa: F811
    given = [row(sounds(1)[0])["audio"]]  # the audio in a list
    (answer,) = client(models).post(ADDRESS, json={"instances": [{"audio": given}]}).json()["predictions"]
    assert answer["error"]
    assert "UklGR" not in answer["error"]


def test_no_path_in_a_request_is_followed(models, tmp_path):  # noqa: F811
    (tmp_path / "a.wav").write_bytes(wav(sounds(1)[0]))
    answer = client(models).post(ADDRESS, json={"dataframe_records": [{"audio": str(tmp_path / "a.wav")}]})
    assert answer.status_code == 400 or answer.json()["predictions"][0]["text"] == ""


def test_the_limits_of_the_server_hold(models):  # noqa: F811
    silence = {"audio": base64.b64encode(wav(np.zeros(16_000 * 90, np.float32), kind="FLAC")).decode()}
    api = client(models, max_audio_s=100, max_bytes=300_000)
    first, second = api.post(ADDRESS, json={"dataframe_records": [silence, silence]}).json()["predictions"]
    assert (first["error"], second["text"]) == ("", "")
    assert "more than this server takes" in second["error"]
    refused(api.post(ADDRESS, content=b"x" * 400_000, headers={"Content-Type": "application/json"}), 413)
    refused(api.post(ADDRESS, content=b"x", headers={"Content-Type": "image/png"}), 415)
    assert client(models, key="s3cret").post(ADDRESS, json={}).status_code == 401


def test_bytes_held_in_memory_are_limited_over_all_requests(models):  # noqa: F811
    api = client(models, max_bytes=100_000)
    asked, most = {"dataframe_records": [row(sounds(1)[0][:8000])]}, Limits(max_bytes=100_000).max_bodies
    transcriber = api.app._app.state.transcriber
    free = transcriber._hold(most - 1000)
    response = api.post(ADDRESS, json=asked)
    assert "try again later" in refused(response, 429)
    assert response.headers["retry-after"]
    free()
    for _ in range(2):
        assert api.post(ADDRESS, json=asked).status_code == 200
    assert api.post(ADDRESS, content=b"{").status_code >= 400
    assert transcriber._held == 0


@pytest.mark.parametrize("segment", ["energy", "none", "", "sentences", 3])
def test_how_long_recordings_are_cut_is_the_server_s_or_the_request_s(models, monkeypatch, segment):  # noqa: F811
    given, transcribe = [], models.engine.transcribe
    monkeypatch.setattr(
        models.engine, "transcribe", lambda asked, **more: transcribe((given.append(one), one)[1] for one in asked)
    )
    content = {"dataframe_records": [row(sounds(1)[0])], "params": {"segment": segment}}
    response = client(models).post(ADDRESS, json=content)
    if segment in ("energy", ""):
        assert response.status_code == 200
        assert [one.segmentation for one in given] == [segment or None]
    else:  # in one piece the memory grows with the length, which clients do not choose
        assert "auto, vad, energy" in refused(response, 400) or segment == 3


def test_an_unexpected_failure_shows_nothing(tmp_path, monkeypatch):
    of = base()
    of.save(tmp_path / "tiny")
    adapter_file(tmp_path / "adapters", "ann", of, 1)
    own = open_models(Folder(tmp_path / "tiny"), str(tmp_path / "tiny"), str(tmp_path / "adapters"), list)

    def fail(*_, **__):
        raise KeyError(str(tmp_path))

    monkeypatch.setattr(own.engine, "transcribe", fail)
    response = client(own).post(ADDRESS, json={"dataframe_records": [row(sounds(1)[0])]})
    assert str(tmp_path) not in response.text
    assert "KeyError" in refused(response, 500)


def test_a_registry_that_does_not_answer_is_no_fault_of_the_client(models, monkeypatch):  # noqa: F811
    def silent(_):
        raise UnavailableError("the model registry does not answer")

    monkeypatch.setattr(models, "adapter_of", silent)
    content = {"dataframe_records": [row(sounds(1)[0])], "params": {"adapter": "ann"}}
    refused(client(models).post(ADDRESS, json=content), 503)


def test_ping_needs_no_key(models):  # noqa: F811
    api = client(models, key="s3cret")
    assert (api.get("/ping").status_code, api.get("/ping").text) == (200, "\n")


def test_metrics_count_requests_speech_and_adapters_and_name_nobody(models):  # noqa: F811
    pytest.importorskip("prometheus_client", reason="the extra serve is not installed")
    api, sound = client(models, key="s3cret"), sounds(1)[0]
    own = {"Authorization": "Bearer s3cret"}
    assert api.get("/metrics").status_code == 401
    text = post(api, wav(sound), "ann", headers=own).json()["text"]
    post(api, wav(sound), "nobody", headers=own)
    api.post(ADDRESS, json={"dataframe_records": [row(sound), row(sound)]}, headers=own)
    shown = api.get("/metrics", headers=own)
    assert shown.headers["content-type"].startswith("text/plain")
    values = dict(line.rsplit(" ", 1) for line in shown.text.splitlines() if not line.startswith("#"))
    route = 'method="POST",route="/v1/audio/transcriptions"'
    assert values[f'asr_lab_requests_total{{{route},status="200"}}'] == "1.0"
    assert values[f'asr_lab_requests_total{{{route},status="404"}}'] == "1.0"
    assert values[f"asr_lab_request_seconds_count{{{route}}}"] == "2.0"
    assert float(values["asr_lab_speech_seconds_total"]) == pytest.approx(3 * len(sound) / 16_000, abs=0.01)
    assert values["asr_lab_requests_under_way"] == "0.0"
    assert float(values["asr_lab_adapters_loaded"]) >= 1
    assert not any(word in shown.text for word in ("ann", "nobody", text))


def test_a_client_without_a_key_adds_no_series_with_words_of_its_own(models):  # noqa: F811
    pytest.importorskip("prometheus_client", reason="the extra serve is not installed")
    api = client(models, key="s3cret")
    for number in range(3):
        assert api.request(f"MADE-UP-{number}", "/v1/models").status_code == 401
    shown = api.get("/metrics", headers={"Authorization": "Bearer s3cret"}).text
    assert "MADE-UP" not in shown
    assert 'asr_lab_requests_total{method="other",route="-",status="401"} 3.0' in shown
