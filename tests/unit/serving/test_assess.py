"""The served model of pronunciation, untrained: what should have been said as text, and what it refuses."""

import base64
import io
import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from mlflow.pyfunc import load_model

from asr_lab.config.schema import PronunciationExperiment, PronunciationModel
from asr_lab.interfaces.in_memory import FolderStore
from asr_lab.interfaces.tracking import RegisteredModel
from asr_lab.recipes.pronunciation.plan import _start as start
from asr_lab.tracking.models.pyfunc_package import package

TINY = {"hidden_size": 32, "num_layers": 1, "num_heads": 2, "head_size": 16, "head_layers": 1, "head_heads": 2}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """An untrained model as plain MLflow loads it: with its signature, by the code that travels with it."""
    folder = tmp_path_factory.mktemp("assessor")
    assessor, _, _ = start(PronunciationExperiment(model=PronunciationModel(cross_size=8, **TINY)), FolderStore())
    (folder / "model").mkdir()
    assessor.save(folder / "model")
    package(RegisteredModel(name="tiny", files={"model": folder / "model"}), folder / "packaged")
    return load_model(str(folder / "packaged"))


def sound(seconds: float = 1.0) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).normal(0, 0.1, int(16_000 * seconds))
    soundfile.write(file, noise, 16_000, format="WAV")
    return file.getvalue()


def test_a_text_is_read_into_phonemes_with_their_words(served):
    rows = pd.DataFrame({"audio": [sound(), sound()], "text": ["The cat sat.", None], "phonemes": [None, "K AE | T"]})
    found = served.predict(rows)
    text, phonemes = (json.loads(one) for one in found["phonemes"])
    assert [one["phoneme"] for one in text] == ["DH", "AH", "K", "AE", "T", "S", "AE", "T"]
    assert [one["word"] for one in text] == [0, 0, 1, 1, 1, 2, 2, 2]
    assert set(text[0]) == {"phoneme", "word", "error_score", "wrong", "said", "start_s", "end_s"}
    assert [(one["phoneme"], one["word"]) for one in phonemes] == [("K", 0), ("AE", 0), ("T", 1)]


def test_columns_nobody_knows_are_no_harm_and_audio_alone_is_recognised(served):
    found = served.predict(pd.DataFrame({"audio": [sound()], "transcript": ["the cat"]}))
    assert list(found) == ["text"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": " "}, "the expected pronunciation is missing"),
        ({"text": "..."}, "0 words"),
        ({"text": "고양이"}, "letters that are not English"),
        ({"phonemes": "K AX"}, "unknown phonemes: AX"),
        ({"text": "the cat sat on the mat " * 3, "audio": sound(0.1)}, "too few"),
        ({"text": "the cat", "audio": b"no sound"}, "base64"),
    ],
)
def test_a_row_that_cannot_be_assessed_is_named_and_stops_no_other(served, row, said):
    usual = {"audio": sound(), "text": "the cat", "phonemes": None}
    found = served.unwrap_python_model().predict(None, pd.DataFrame([usual, {**usual, "text": None, **row}]))
    assert said in found["error"][1]
    assert [found["error"][0], found["phonemes"][1]] == ["", ""]
    assert json.loads(found["phonemes"][0])


@pytest.mark.parametrize("audio", [None, 3.5, "not base64!"])
def test_audio_that_is_no_file_is_reported(served, audio):
    found = served.unwrap_python_model().predict(None, pd.DataFrame({"audio": [audio], "text": ["the cat"]}))
    assert "`audio` is" in found["error"][0]


def test_base64_is_understood(served):
    audio = base64.b64encode(sound()).decode()
    found = served.unwrap_python_model().predict(None, pd.DataFrame({"audio": [audio], "text": ["the cat"]}))
    assert json.loads(found["phonemes"][0])[0]["phoneme"] == "DH"
