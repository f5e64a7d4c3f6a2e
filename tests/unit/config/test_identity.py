"""The signature and the name of a run."""

import pytest

from asr_lab.config.identity import run_name, signature
from asr_lab.config.load import load, parse_overrides
from asr_lab.config.schema import Wav2Vec2Experiment


def test_signature_is_what_is_computed():
    def of(overrides: str, data: str = "d1") -> str:
        return signature(load(None, parse_overrides([overrides]), "deepspeech2"), {"train": data})

    assert of("") == of("run.name=other") == of("train.num_workers=2") == of("data.train=elsewhere.jsonl.gz")
    assert of("") != of("train.lr=0.5")
    assert of("") != of("run.seed=1")
    assert of("", "d1") != of("", "d2")


def test_run_name_says_what_differs():
    config = load(None, parse_overrides(["train.lr=0.002", "run.name=base"]), "deepspeech2")
    assert run_name(config, "base") == "base-lr=0.002"


@pytest.mark.parametrize(("value", "said"), [(0.004587317959879327, "0.004587"), (1e-5, "1e-05"), (3.0e-4, "0.0003")])
def test_what_a_search_draws_is_said_in_few_digits(value, said):
    assert run_name(load(None, {"train.lr": value}, "deepspeech2"), "base") == f"base-lr={said}"


def test_run_name_leaves_out_the_sizes_that_a_base_brings_along():
    model = {"pretrained": "base", "hidden_size": 1024, "num_layers": 24, "tune": "lora", "freeze_layers": 12}
    assert run_name(Wav2Vec2Experiment(model=model), "xlsr") == "xlsr-tune=lora-freeze_layers=12"


def test_a_runs_name_tells_how_data_is_read_but_not_where_it_lies():
    config = load(None, {"data.train": "a/b.jsonl.gz", "data.text.units": "jamo"}, "deepspeech2")
    assert run_name(config, "base") == "base-units=jamo"
