"""The registry as a served model sees it."""

from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from asr_lab.errors import UnavailableError
from asr_lab.serving.registered import Registered


@pytest.fixture
def fetched(store, tmp_path, monkeypatch) -> list[str]:
    """What is fetched from a store elsewhere, each time into a folder of its own."""
    uris: list[str] = []

    def download(artifact_uri: str) -> str:
        uris.append(artifact_uri)
        folder = tmp_path / str(len(uris))
        (folder / "artifacts").mkdir(parents=True)
        (folder / "artifacts" / "ann_adapter.pt").write_bytes(b"")
        return str(folder)

    monkeypatch.setattr("mlflow.artifacts.download_artifacts", download)
    return uris


def test_a_version_is_fetched_once_an_alias_each_time(fetched, tmp_path):
    registered = Registered()
    first = registered.adapter_file("models:/ann/1")
    assert registered.adapter_file("models:/ann/1") == first
    assert registered.adapter_file("models:/ann/2") != first
    assert fetched == ["models:/ann/1", "models:/ann/2"]
    Path(first).unlink()
    first.parent.rmdir()  # as cleaners of temporary files do
    assert registered.adapter_file("models:/ann/1").is_file()
    assert registered.adapter_file("models:/ann@champion") != registered.adapter_file("models:/ann@champion")


@pytest.mark.parametrize("error", [MlflowException("503"), ConnectionError("refused")])
def test_what_cannot_be_fetched_is_a_fault_of_the_registry(store, monkeypatch, error):
    def download(artifact_uri: str) -> str:
        raise error

    monkeypatch.setattr("mlflow.artifacts.download_artifacts", download)
    with pytest.raises(UnavailableError):
        Registered().adapter_file("models:/ann/1")
