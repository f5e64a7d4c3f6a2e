"""The folder of an exported model, which runs without asr_lab: `model.onnx`, `config.json`, `vocab.json`, `README.md`.

`config.json` has the settings, the source, and what was measured; `SHA256SUMS` is checked by `sha256sum -c`, and when
the folder is loaded.
"""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from asr_lab.errors import AsrLabError, listing

GRAPH, CONFIG, SUMS, README = "model.onnx", "config.json", "SHA256SUMS", "README.md"
LIBRARIES = ("onnx", "onnxruntime")
_SUFFIX = "-onnx"

SNIPPET = r"""
import json, re, sys, unicodedata
import numpy as np, onnxruntime, soundfile

config = json.load(open("config.json", encoding="utf-8"))
vocabulary = json.load(open("vocab.json", encoding="utf-8"))
unit_of = {index: unit for unit, index in vocabulary.items()}
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])

for file in sys.argv[1:]:
    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    assert rate == config["sampling_rate"], f"{file}: resample it from {rate} to {config['sampling_rate']} Hz"
    samples = samples.mean(axis=1)[None]  # (1, num_samples): rows of a batch are padded at the end
    inputs = {"samples": samples, "lengths": np.array([samples.shape[1]])}
    logits, lengths = session.run(["logits", "logit_lengths"], inputs)
    path = logits[0, : lengths[0]].argmax(axis=-1)
    path = path[np.insert(path[1:] != path[:-1], 0, True)]  # greedy CTC: repeats merged, blanks dropped
    units = [unit_of[index] for index in path if index != config["blank"]]
    text = "".join(" " if unit == "|" else unit for unit in units if not re.fullmatch(r"</?\w+>", unit))
    print(" ".join(unicodedata.normalize("NFC", text.replace("\u2581", " ")).split()))
""".lstrip()
"""Runs in the folder, with numpy, onnxruntime and soundfile alone."""


def require_onnx(*libraries: str) -> None:
    """Raise `AsrLabError` unless these are installed, by default all that an export needs."""
    missing = [name for name in libraries or LIBRARIES if find_spec(name) is None]
    if missing:
        raise AsrLabError(
            f"exported models need {listing(missing)}, which {'are' if len(missing) > 1 else 'is'} not installed",
            next_command="pip install 'asr_lab[export]'",
        )


def exported_type(model_type: str) -> str:
    """Return the `model_type` in the `config.json` of an exported model of a family."""
    return f"{model_type}{_SUFFIX}"


def is_exported(folder: Path) -> bool:
    """Whether this is the folder of an exported model."""
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and str(content.get("model_type", "")).endswith(_SUFFIX)


def write_sums(folder: Path) -> None:
    """Write the digests of all files of the folder."""
    lines = [f"{_sha256(file)}  {file.name}\n" for file in sorted(folder.iterdir()) if file.name != SUMS]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def read_config(folder: Path) -> dict[str, Any]:
    """Return the settings of an exported model; raise `AsrLabError` if files are missing or were changed."""
    if not (folder / SUMS).is_file():
        raise AsrLabError(f"not an exported model: {SUMS} is missing", where=str(folder), allowed=_WHOLE)
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    changed = [
        name
        for name in sorted({GRAPH, CONFIG, "vocab.json"} | (set(sums) - {README}))
        if not (file := folder / Path(name).name).is_file() or _sha256(file) != sums.get(name)
    ]
    if changed:
        raise AsrLabError(
            f"the exported model is not as it was written: {listing(changed)}", where=str(folder), allowed=_WHOLE
        )
    config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return config


_WHOLE = "the whole folder that asr-lab export wrote"


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def readme(config: dict[str, Any], figures: dict[str, str]) -> str:
    """Return the page of the folder: where the model comes from, what was measured, and how it is run."""
    rows = "".join(f"| {label} | {value} |\n" for label, value in figures.items())
    return _PAGE.format(rows=rows, snippet=SNIPPET, rate=config["sampling_rate"], classes=config["classes"])


_PAGE = """# A speech recogniser in ONNX

| | |
|---|---|
{rows}
`model.onnx` takes `samples` (batch, num_samples), mono at {rate} Hz in [-1, 1] and padded at the end, and `lengths`
(batch,), the samples of each row. It returns `logits` (batch, num_frames, {classes}) and `logit_lengths` (batch,).
Filter banks and normalisation are in the graph. Class numbers are those of `vocab.json`. `config.json` has all
settings, the source, and what was measured.

```sh
sha256sum -c SHA256SUMS
pip install numpy onnxruntime soundfile
```

```python
{snippet}```
"""
