"""All versions of a registered name are of one kind."""

from __future__ import annotations

from dataclasses import replace

import pytest
from outages import spec

from asr_lab.tracking import tracker
from asr_lab.tracking.connection import StoreUnavailableError
from asr_lab.tracking.models.names import OtherKindError, refuse_other_kind
from asr_lab.tracking.store import client as tracking_client
from asr_lab.tracking.tags import FAMILY
from asr_lab.tracking.tracker import MlflowTracker


@pytest.fixture
def register(store):
    """Registers a version of a name with these tags, from a run that has none."""
    client = tracking_client()
    run_id = client.create_run("0").info.run_id

    def register(name: str, **tags: str) -> None:
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        client.create_model_version(name, "models", run_id, tags=tags)

    return register


@pytest.mark.parametrize(
    ("theirs", "ours", "name"),
    [
        ("deepspeech2", "adapter", "x"),
        ("adapter", "wav2vec2", "x"),
        ("lm", "deepspeech2", "x"),
        ("", "deepspeech2", "deepspeech2-adapter-x"),
    ],
)
def test_another_kind_is_refused(register, theirs, ours, name):
    register(name, **{FAMILY: theirs})
    with pytest.raises(OtherKindError):
        refuse_other_kind(name, ours)
    register(name)  # nothing is known of the newest
    with pytest.raises(OtherKindError):
        refuse_other_kind(name, ours)


def test_of_older_runs_and_versions_the_kind_is_not_known(register):
    register("x")
    refuse_other_kind("x", "adapter")
    register("deepspeech2-adapter-y", **{FAMILY: "adapter"})
    refuse_other_kind("deepspeech2-adapter-y", "")


def test_a_run_that_registers_nothing_has_any_name(register, monkeypatch):
    register("x", **{FAMILY: "lm"})
    named = replace(spec(), params={"run.register_as": "x"})
    with pytest.raises(OtherKindError):
        MlflowTracker(new_run=True).start(named)
    with MlflowTracker(new_run=True).start(replace(named, registers=False)):
        pass

    def away(name: str, family: str) -> None:
        raise StoreUnavailableError("the registry does not answer")

    monkeypatch.setattr(tracker, "refuse_other_kind", away)
    with MlflowTracker(new_run=True).start(named):
        pass
