"""Libraries that do not load: one line that says what is installed, what fits, and what mends it; no run is begun."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from broken import broken_library
from conftest import ROOT, asr_lab, make_corpus, refused, run

from asr_lab.system import libraries

SYMBOL = "libtorchaudio.so: undefined symbol: torch_exception_get_what_without_backtrace"


def raising(text: str) -> str:
    return f"raise OSError({text!r})"


@pytest.fixture
def versions(monkeypatch):
    """Sets the versions of some libraries."""
    real = libraries.installed

    def set_(**has: str) -> None:
        monkeypatch.setattr(libraries, "installed", lambda name: has.get(name) or real(name))

    return set_


@pytest.mark.parametrize(
    ("torch", "torchaudio", "command"),
    [
        ("2.11.0", "2.11.1", "install torchaudio==2.11.0"),
        ("2.14.1", "2.11.0", "install torchaudio==2.11.1"),
        ("2.16.0", "2.11.1", "install torch==2.14.1"),
        ("2.9.1", "2.9.1", "install torch==2.14.1 torchaudio==2.11.1"),
        ("2.14.1", "2.11.1", "install --force-reinstall --no-deps torch==2.14.1 torchaudio==2.11.1"),
        ("2.14.1", libraries._MISSING, "install torchaudio==2.11.1"),
        (
            "2.14.1+cpu",
            "2.11.1",
            "install --force-reinstall --no-deps torchaudio==2.11.1 --index-url https://download.pytorch.org/whl/cpu",
        ),
        (
            "2.11.0+cu130",
            "2.11.1+cu130",
            "install torchaudio==2.11.0 --index-url https://download.pytorch.org/whl/cu130",
        ),
    ],
)
@pytest.mark.slow
def test_what_mends_a_pair(versions, torch, torchaudio, command):
    versions(torch=torch, torchaudio=torchaudio)
    error = libraries.mend("torchaudio", f"OSError: {SYMBOL}")
    assert error.next_command.partition(" ")[2].removeprefix("pip ") == command
    assert len(str(error).splitlines()) == 1


def test_the_lock_is_the_first_tested_pair():
    locked = dict(line.split(" ")[0].split("==") for line in (ROOT / ".ci/constraints.txt").read_text().splitlines())
    assert (locked["torch"], locked["torchaudio"]) == libraries.TESTED[0]


def test_a_crash_is_an_error_of_the_module_that_was_imported(tmp_path, monkeypatch):
    broken_library(tmp_path, "crashing", "1.0", "import os; os.abort()")
    broken_library(tmp_path, "raising", "1.0", raising("no such symbol"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    errors = libraries.load_errors(["json", "crashing", "raising", "csv"])
    assert set(errors) == {"crashing", "raising"}
    assert "-6" in errors["crashing"]
    assert "no such symbol" in errors["raising"]


@pytest.mark.slow
def test_only_errors_of_an_import_are_explained(tmp_path, monkeypatch):
    broken_library(tmp_path, "raises_at_import", "1.0", raising("no such symbol"))
    broken_library(tmp_path, "raises_later", "1.0", "def call(): raise OSError('disk full')")
    monkeypatch.syspath_prepend(str(tmp_path))

    def error_of(code: str) -> BaseException:
        try:
            exec(compile(code, "<command>", "exec"), {"__name__": "asr_lab.cli.somewhere"})
        except Exception as error:
            return error
        raise AssertionError(code)

    explained = libraries.explain(error_of("import raises_at_import"))
    assert explained
    assert explained.what == "raises-at-import 1.0 does not load, and asr_lab does not need it"
    assert explained.next_command.endswith("uninstall raises-at-import")
    caused = "try:\n raise OSError('libc10_cuda.so')\nexcept OSError as e: raise OSError('not loaded') from e"
    broken_library(tmp_path, "raises_for_a_reason", "1.0", caused)
    explained = libraries.explain(error_of("import raises_for_a_reason"))
    assert explained
    assert "libc10_cuda.so" in explained.hint
    wrapped = "try:\n import raises_at_import\nexcept OSError as e: raise RuntimeError('wrapped') from e"
    assert libraries.explain(error_of(wrapped))
    assert libraries.explain(error_of("import raises_later; raises_later.call()")) is None
    assert libraries.explain(error_of("int('x')")) is None
    assert libraries.explain(error_of("import asr_lab.no_such_module")) is None  # our own bug


def test_our_own_code_is_no_library_where_mlflow_runs_it():
    """As where it is edited during a training."""
    file = Path(libraries.__file__).parents[1] / "serving" / "pyfunc.py"
    with pytest.raises(ImportError) as caught:
        exec(compile("from asr_lab.errors import no_such_name", str(file), "exec"), {"__name__": "code_model_1a2b"})
    assert libraries.explain(caught.value) is None


def test_a_library_out_of_range_is_reported_with_the_range(tmp_path, monkeypatch):
    broken_library(tmp_path, "peft", "0.9.0", raising("no such symbol"))
    monkeypatch.syspath_prepend(str(tmp_path))
    error = libraries.mend("peft", "OSError: no such symbol")
    assert error.what == "peft 0.9.0 does not load"
    assert "install 'peft>=0.21,<0.22'" in error.next_command


@pytest.fixture
def old_torchaudio(tmp_path):
    """A folder for PYTHONPATH with a torchaudio that does not fit the torch that is installed."""
    return broken_library(tmp_path / "path", "torchaudio", "2.11.7", raising(SYMBOL))


def runs_of(folder: Path) -> int:
    if not (folder / "mlflow.db").exists():
        return 0
    with sqlite3.connect(folder / "mlflow.db") as store:
        return int(store.execute("SELECT count(*) FROM runs").fetchone()[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["train", ROOT / "experiments/deepspeech2/base.yaml", "data.train=M", "data.val=M", "data.test="],
        ["train", ROOT / "experiments/wav2vec2/tiny.yaml", "data.train=M", "data.val=M", "data.test="],
        ["adapter", "--name", "ann", "--base", "models:/base@champion", "--data", "M"],
        ["evaluate", "--model", "saved", "--data", "M"],
        ["sweep", ROOT / "experiments/sweeps/adapter.yaml", "adapter.name=ann"],
        ["transcribe", "corpus/audio/u1.wav", "--model", "saved"],
    ],
    ids=lambda words: f"{words[0]}-{Path(words[1]).stem}",
)
def test_a_command_with_a_broken_pair(tmp_path, old_torchaudio, words):
    manifest = make_corpus(tmp_path / "corpus", {"u1": "abba", "u2": "cab", "u3": "dad"})
    words = [str(word).replace("=M", f"={manifest}") if word != "M" else manifest for word in words]
    (tmp_path / "saved").mkdir()  # enough of a model for its library to be asked for
    (tmp_path / "saved" / "config.json").write_text('{"model_type": "deepspeech2"}')
    done = asr_lab(*words, cwd=tmp_path, env={"PYTHONPATH": f"{old_torchaudio}:{ROOT}"}, forked=False)
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert "torchaudio 2.11.7" in lines[0]
    assert SYMBOL in lines[0]
    assert "install torchaudio==2.11.1" in lines[0]
    assert runs_of(tmp_path) == 0


@pytest.mark.slow
def test_the_doctor_works_where_torch_does_not(store, tmp_path, monkeypatch):
    broken_library(tmp_path / "path", "torch", "2.99.0", raising("libcudart.so.13: cannot open shared object file"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    result = subprocess.run(
        [sys.executable, "-m", "asr_lab", "doctor", "--format", "json"], capture_output=True, text=True
    )
    assert result.returncode == 1, result.stderr
    found = {row["name"]: row for row in json.loads(result.stdout)}
    assert found["torch"]["state"] == "fail"
    assert "libcudart" in found["torch"]["found"]
    assert libraries.tested_pairs() in found["torch"]["found"]
    assert "torch==2.14.1" in found["torch"]["advice"]
    assert found["store"]["state"] == "ok"
    assert "gpu" not in found  # it cannot be asked


def test_no_run_is_begun_with_libraries_that_do_not_load(store, monkeypatch):
    def refused() -> None:
        raise libraries.BrokenLibraryError("torch does not load", next_command="pip install torch")

    monkeypatch.setattr(libraries, "require", refused)
    manifest = make_corpus(store / "corpus", {"u1": "abba", "u2": "cab", "u3": "dad"})
    result = run("train", ROOT / "experiments/deepspeech2/base.yaml", f"data.train={manifest}", f"data.val={manifest}")
    assert result.exit_code == 1
    assert "torch does not load: pip install torch" in result.output
    assert runs_of(store) == 0


def test_a_working_folder_that_is_gone_is_not_taken_for_a_broken_library(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "the working folder cannot be read" in refused("list")
