"""`measure.py`: whole in its quick form on a CPU; what fails or takes too long is reported; on a GPU, its goals."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from measure import DONE, FAILED, SKIPPED, Given, SkipPart, goals_met, run_parts

SCRIPT = Path(__file__).with_name("measure.py")


def measured(*words: str) -> dict:
    """The JSON of the script."""
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def fails(given: Given) -> Mapping[str, float]:
    raise ValueError("no such layer")


def refuses(given: Given) -> Mapping[str, float]:
    raise SkipPart("too little memory")


def lasts(given: Given) -> Mapping[str, float]:
    subprocess.Popen(["sleep", "600"])
    time.sleep(600)
    return {}


def dies(given: Given) -> Mapping[str, float]:
    import os

    os._exit(9)


def works(given: Given) -> Mapping[str, float]:
    print("on the way")
    return {"ratio": 2}


def test_a_part_that_fails_does_not_end_the_others(tmp_path, capfd):
    parts = {name: (part, 30.0) for name, part in {"a": fails, "b": refuses, "c": dies, "d": works}.items()}
    results = run_parts(parts | {"e": (lasts, 0.5), "f": (works, 30.0)}, Given(tmp_path, True, "cpu"))
    assert [one.status for one in results.values()] == [FAILED, SKIPPED, FAILED, DONE, FAILED, DONE]
    assert results["a"].reason == "ValueError: no such layer"
    assert results["b"].reason == "too little memory"
    assert results["e"].reason == "not done within 0.5 s"
    assert results["f"].figures == {"ratio": 2.0}
    assert capfd.readouterr().out == ""


def test_parts_that_no_time_is_left_for_are_skipped(tmp_path):
    results = run_parts({"a": (works, 30.0)}, Given(tmp_path, True, "cpu"), within_s=0)
    assert (results["a"].status, results["a"].reason) == (SKIPPED, "no time left")


def test_figures_are_held_against_their_goals():
    met = goals_met({"xlsr.lora16_speed_ratio": 1.4, "precision.adapter_loss_ratio": 0.99, "bmm.people": 3})
    assert {name: one["met"] for name, one in met.items()} == {
        "xlsr.lora16_speed_ratio": False,
        "precision.adapter_loss_ratio": True,
    }


@pytest.mark.slow
def test_all_of_it_runs_on_the_cpu():
    found = measured("--device", "cpu", "--quick", "--within", "800")
    assert {name: one.get("reason") for name, one in found["parts"].items() if one["status"] != DONE} == {}
    figures = found["figures"]
    assert figures["xlsr.frozen_layers_with_gradient"] == 0
    assert figures["bmm.logits_difference"] < 1e-4
    assert figures["torchrun.loss_ratio"] == pytest.approx(1, abs=1e-4)
    assert set(found["goals"]) <= set(figures)


@pytest.mark.slow
def test_without_a_gpu_all_is_skipped_and_with_one_its_goals_are_met():
    found = measured()
    if found["circumstances"]["reason"]:
        assert {one["status"] for one in found["parts"].values()} == {SKIPPED}
        pytest.skip(found["circumstances"]["reason"])
    missed = {name: one for name, one in found["goals"].items() if not one["met"]}
    failed = {name: one for name, one in found["parts"].items() if one["status"] != DONE}
    assert (missed, failed) == ({}, {})
