"""Import a foreign checkpoint as a model folder, and optionally register it."""

from __future__ import annotations

from pathlib import Path

from asr_lab.config.schema import DeepSpeech2Experiment
from asr_lab.data import manifest
from asr_lab.data.subwords import FILE
from asr_lab.errors import AsrLabError, listing
from asr_lab.interfaces.tracking import RegisteredModel, Tracker
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.recipes.run_spec import describe
from asr_lab.reports.markdown import code_span
from asr_lab.system.files import atomic_folder, explain_unwritable

_OF_A_MODEL = {
    "config.json",
    "model.safetensors",
    "vocab.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    FILE,
}


def write(recognizer: DeepSpeech2Recognizer, out: Path, *, overwrite: bool = False) -> None:
    """Write the model to the folder `out`, atomically; an existing model is replaced only if `overwrite`.

    Raise `AsrLabError` if `out` contains anything but a model.
    """
    out = out.absolute()
    _check_destination(out, overwrite)
    with explain_unwritable("the model", out), atomic_folder(out, replaces=True) as written:
        recognizer.save(written)


def _check_destination(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    other_files = [file.name for file in out.iterdir() if file.name not in _OF_A_MODEL] if out.is_dir() else [out.name]
    if other_files or not (out / "config.json").is_file():
        raise AsrLabError(
            f"something else than a model is where the model would go: {listing(other_files or [out.name], 4)}",
            where=str(out),
            allowed="a new folder, or the folder of a model and nothing else",
        )
    if not overwrite:
        raise AsrLabError("there is a model already where this one would go", where=str(out), allowed="--overwrite")


def register(recognizer: DeepSpeech2Recognizer, folder: Path, checkpoint: Path, name: str, tracker: Tracker) -> str:
    """Register the folder as a version of `name`, in a run of kind `import`; return its URI."""
    shape = recognizer.model.config
    config = DeepSpeech2Experiment()
    sizes = {key: getattr(shape, key) for key in type(config.model).model_fields if hasattr(shape, key)}
    config = config.model_copy(update={"model": config.model.model_copy(update=sizes)})
    digest = manifest.file_digest(checkpoint)
    spec = describe(
        config,
        family="deepspeech2",
        kind="import",
        model_type="deepspeech2",
        name=f"{name}-import",
        data={"checkpoint": digest},
        checkpoint=checkpoint.name,
        checkpoint_digest=digest,
        text=recognizer.normalizer.name,
    )
    with tracker.start(spec) as run:
        count = sum(parameter.numel() for parameter in recognizer.model.parameters())
        run.metrics({"model/params": count, "model/size_mb": (folder / "model.safetensors").stat().st_size / 1e6})
        run.note(f"imported from {code_span(checkpoint.name)} (SHA-256 {digest})")
        return run.model(RegisteredModel(name=name, files={"model": folder}), register=True)
