"""The served recogniser as clients see it: forms of a request, what is refused, what a message does not show."""

import base64
import io
import json

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from conftest import tone_word
from encoders import VOCABULARY
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import load_model, scoring_server

from asr_lab.data.text import TextNormalizer
from asr_lab.interfaces.tracking import RegisteredModel
from asr_lab.models.adapter import AdapterManager, MLPAdapter
from asr_lab.models.deepspeech2_pretrained import DeepSpeech2Config, DeepSpeech2ForCTC
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.tracking.models.pyfunc_package import package


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A base packaged, and john's adapter of it, which names the base by its folder."""
    folder = tmp_path_factory.mktemp("served")
    torch.manual_seed(0)
    model = DeepSpeech2ForCTC(DeepSpeech2Config(vocab_size=len(VOCABULARY), hidden_size=16, conv_channels=4)).eval()
    with torch.no_grad():
        model.head[-1].weight.mul_(20)
    of = DeepSpeech2Recognizer(model, dict(VOCABULARY), TextNormalizer())
    (folder / "model").mkdir()
    of.save(folder / "model")
    package(RegisteredModel(name="base", files={"model": folder / "model"}), folder / "base")
    adapter = MLPAdapter(of.base().input_dim, (8,), len(VOCABULARY))
    file = AdapterManager(folder).save_adapter("john", adapter, of.base())
    uri = (folder / "base").as_uri()
    package(RegisteredModel(name="john", files={"adapter": file}, base_uri=uri), folder / "john")
    return folder


@pytest.fixture(scope="module")
def base(folders):
    return load_model(str(folders / "base"))


def sound(word: str = "cab") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone_word(word, np.random.default_rng(0)), 16_000, format="WAV")
    return file.getvalue()


def invoke(model, content: dict):
    """What the server answers to a request: its predictions, or the whole of an error."""
    data, schema = json.dumps(content), model.metadata.get_input_schema()
    try:
        answer = scoring_server.invocations(data, "application/json", model, schema)
    except MlflowException as error:
        return error.get_http_status_code(), json.loads(error.serialize_as_json())
    return answer.status, json.loads(answer.response)["predictions"]


@pytest.mark.parametrize("encode", [base64.b64encode, base64.encodebytes])
def test_all_forms_of_a_request_have_one_text(base, encode):
    text = encode(sound()).decode()
    expected = base.predict(pd.DataFrame({"audio": [sound()]}))["text"][0]
    assert expected
    forms = [
        {"dataframe_records": [{"audio": text}]},
        {"dataframe_split": {"columns": ["audio"], "data": [[text]]}},
        {"inputs": {"audio": [text]}},
        {"inputs": [{"audio": text}]},
        {"instances": [{"audio": text}]},
    ]
    for form in forms:
        assert invoke(base, form) == (200, [{"text": expected}]), form


def test_python_gives_paths_and_samples_too(base, tmp_path):
    (tmp_path / "a.wav").write_bytes(sound())
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    given = pd.DataFrame({"audio": [sound(), tmp_path / "a.wav", samples]})
    texts = base.unwrap_python_model().predict(None, given)["text"]
    assert len(set(texts)) == 1


def test_one_broken_row_does_not_fail_the_request(base):
    rows = pd.DataFrame(
        {"audio": [sound(), b"RIFF" + b"x" * 60, b"", b"\xff\xfe" * 40, sound("bed")]}, index=list("abcde")
    )
    answer = base.predict(rows)
    assert list(answer.index) == list(rows.index)
    assert [bool(error) for error in answer["error"]] == [False, True, True, True, False]
    assert [bool(text) for text in answer["text"]] == [True, False, False, False, True]
    assert answer["text"]["e"] == base.predict(rows[-1:])["text"]["e"]


def test_words_are_returned_when_asked_for(base):
    answer = base.predict(pd.DataFrame({"audio": [sound("cab bed")]}), params={"words": True})
    words = json.loads(answer["words"][0])
    assert " ".join(word["text"] for word in words) == answer["text"][0]
    assert all(word["start_s"] < word["end_s"] for word in words)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_the_batch_size_changes_nothing(base, batch_size):
    rows = pd.DataFrame({"audio": [sound(word) for word in ("cab", "abba", "egg", "beef", "gab")]})
    assert base.predict(rows, params={"batch_size": batch_size}).equals(base.predict(rows))


def test_long_recordings_are_cut_as_a_parameter_says(base, monkeypatch):
    from asr_lab.serving import engine

    monkeypatch.setattr(engine, "WHOLE_S", 1.0)
    cut, cutting_of = [], engine.cutting_of
    monkeypatch.setattr(engine, "cutting_of", lambda segmentation: (cut.append(segmentation), cutting_of("energy"))[1])
    rows = pd.DataFrame({"audio": [sound("cab bed egg beef gab abba")]})
    whole = base.predict(rows, params={"segment": "none"})
    assert not cut
    assert base.predict(rows)["text"][0]
    base.predict(rows, params={"segment": "energy"})
    assert cut == ["auto", "energy"]
    assert whole["text"][0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"segment": "sentences"}, "segment is 'sentences'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"adapter": "jane"}, "no adapter 'jane'"),
        ({"adapter": "../jane"}, "no adapter '../jane'"),
        ({"adapter": "/etc/passwd"}, "no adapter"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(base, folders, store, params, message):
    rows = {"dataframe_records": [{"audio": base64.b64encode(sound()).decode()}], "params": params}
    status, answer = invoke(base, rows)
    assert status == 400
    assert answer["message"].startswith(message)
    assert not {"stack_trace"} & set(answer)
    assert str(folders) not in json.dumps(answer)
    assert "asr_lab" not in json.dumps(answer)


def test_a_speaker_s_model_refuses_other_speakers(folders, store):
    john = load_model(str(folders / "john"))
    row = {"audio": base64.b64encode(sound()).decode()}
    own = invoke(john, {"dataframe_records": [row]})
    assert own[0] == 200
    assert invoke(john, {"dataframe_records": [row], "params": {"adapter": "john"}}) == own
    for other in (
        {"dataframe_records": [row], "params": {"adapter": "jane"}},
        {"dataframe_records": [row | {"adapter": "jane"}]},
    ):
        status, answer = invoke(john, other)
        assert status == 400
        assert "this model is john's" in answer["message"]


def test_an_unexpected_failure_shows_neither_trace_nor_paths(base, folders, monkeypatch):
    served = base.unwrap_python_model()

    def fail(*_, **__):
        raise KeyError(str(folders))

    monkeypatch.setattr(served.engine, "transcribe", fail)
    status, answer = invoke(base, {"dataframe_records": [{"audio": base64.b64encode(sound()).decode()}]})
    assert status == 500
    assert "KeyError" in answer["message"]
    assert str(folders) not in json.dumps(answer)


def test_expected_texts_are_for_models_of_pronunciation(base):
    status, answer = invoke(base, {"dataframe_records": [{"audio": base64.b64encode(sound()).decode(), "text": "cab"}]})
    assert status == 400
    assert "pronunciation" in answer["message"]
