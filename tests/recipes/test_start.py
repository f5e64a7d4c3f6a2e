"""What a short `asr-lab transcribe` imports, in a process of its own: imports are nearly all of its time."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
from encoders import recognizer as encoder_recognizer
from encoders import speech

RUN = """
import sys
from asr_lab.cli import cli
words, unwanted = sys.argv[1].split("|"), sys.argv[2].split()
cli(words, standalone_mode=False)
print([one for one in unwanted if one in sys.modules])
"""
STORE, TRAINING = ("mlflow", "sqlalchemy"), ("peft", "datasets", "sklearn", "matplotlib", "optuna")


@pytest.mark.parametrize("form", ["deepspeech2", "wav2vec2", "exported"])
def test_a_model_from_its_folder_needs_neither_the_store_nor_what_trains(form, recognizer, tmp_path):
    unwanted = [*STORE, *TRAINING]
    if form == "wav2vec2":
        recognizer = encoder_recognizer(speech())
    else:
        unwanted.append("transformers")
    if form == "exported":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
        from asr_lab.recipes.export_model import ExportPlan, export

        export(ExportPlan(recognizer=recognizer, uri="", source={"model": "a model"}), "onnx", tmp_path / "model")
        unwanted.append("onnx")
    else:
        recognizer.save(tmp_path / "model")
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000) * np.sin(np.arange(16_000) / 1000)
    soundfile.write(tmp_path / "a.wav", noise, 16_000)
    words = ["transcribe", tmp_path / "a.wav", "--model", tmp_path / "model"]
    command = [sys.executable, "-c", RUN, "|".join(map(str, words)), " ".join(unwanted)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
