"""A checkpoint from elsewhere as an ordinary model here: a folder, and a version in the registry where asked."""

from __future__ import annotations

from pathlib import Path

from asr_lab.config.schema import DeepSpeech2Experiment
from asr_lab.data import manifest
from asr_lab.errors import AsrLabError, listing
from asr_lab.interfaces.tracking import RegisteredModel, Tracker
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.recipes.run_spec import describe
from asr_lab.system.files import explain_unwritable, whole_folder

_OF_A_MODEL = {"config.json", "model.safetensors", "vocab.json", "tokenizer_config.json", "preprocessor_config.json"}


def write(recognizer: DeepSpeech2Recognizer, out: Path, *, overwrite: bool = False) -> None:
    """Write the model to the folder `out`, whole; a model that is there is replaced only where asked.

    Raises `AsrLabError` when something else is there: only a model's folder is ever replaced.
    """
    out = out.absolute()
    _check_place(out, overwrite)
    with explain_unwritable("the model", out), whole_folder(out, replaces=True) as written:
        recognizer.save(written)


def _check_place(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    strangers = [file.name for file in out.iterdir() if file.name not in _OF_A_MODEL] if out.is_dir() else [out.name]
    if strangers or not (out / "config.json").is_file():
        raise AsrLabError(
            f"something else than a model is where the model would go: {listing(strangers or [out.name], 4)}",
            where=str(out),
            allowed="a new folder, or the folder of a model and nothing else",
        )
    if not overwrite:
        raise AsrLabError("there is a model already where this one would go", where=str(out), allowed="--overwrite")


def register(recognizer: DeepSpeech2Recognizer, folder: Path, checkpoint: Path, name: str, tracker: Tracker) -> str:
    """Make the folder a version of `name`, recorded as a run of kind `import`; its URI."""
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
        run.note(f"imported from `{checkpoint.name}` (SHA-256 {digest})")
        return run.model(RegisteredModel(name=name, files={"model": folder}), register=True)
