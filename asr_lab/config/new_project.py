"""A new project: configurations of a family, a sample table and the next commands; files that are there stay."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from unicodedata import normalize

from asr_lab.errors import AsrLabError, listing, nearest, not_written
from asr_lab.system.files import write_text

_BOM = "\ufeff"  # by which Excel knows UTF-8
_TABLE = _BOM + (
    "audio,text,speaker\n"
    "recordings/001.wav,들리는 그대로 적습니다,kim\n"
    'recordings/002.wav,"Every word, as it was spoken",lee\n'
)
_LEARNERS = (
    '{"audio": "recordings/001.wav", "text": "the cat", "speaker": "kim", "canonical": ["DH", "AH", "K", "AE", "T"], '
    '"perceived": ["D", "AH", "K", "AE", "T"], "errors": [1, 0, 0, 0, 0]}\n'
    '{"audio": "recordings/002.wav", "text": "a dog", "speaker": "lee", "canonical": ["AH", "D", "AO", "G"], '
    '"perceived": ["AH", "D", "AO", "<del>"], "errors": [0, 0, 0, 1]}\n'
)
_README = Template("""\
# $name

The configurations hold what differs from the defaults; `asr-lab train --help` lists every key. Run the commands in this
folder, from which the paths start:

```sh
$commands
```

## $table

$explanation

Other layouts (Kaldi folders, AI-Hub, KsponSpeech, LibriSpeech, a `.txt` beside each recording, ...) are recognised by
`asr-lab data import FOLDER OUT`, which says what it took them for. More: `asr-lab guide own-data`.
""")
_ROWS = """\
One row for each recording: `audio` is its path, from the table on; `text` is its transcript; `speaker` is any name that
is the same in all rows of a speaker. Other columns (`age`, `gender`, `snr_db`, ...) are kept. Replace the two rows."""
_LINES = """\
One line of JSON for each recording: `canonical` are the phonemes of the text, `perceived` how each was pronounced
(`<del>`: left out, `<unk>`: as no phoneme), `errors` is 0 or 1 each. Replace the two lines, or import speechocean762
or L2-ARCTIC into `corpora/learners`."""


@dataclass(frozen=True, kw_only=True)
class Starter:
    """What a project of a family begins with."""

    configs: tuple[str, ...]
    """Names of templates: configurations that are needed, the family's own last."""
    commands: tuple[str, ...]
    """The next commands, with `$name` for the project's."""
    table: str = "table.csv"


_IMPORT = ("asr-lab data import table.csv corpora/mine", "asr-lab data split corpora/mine")
_TRAIN = (*_IMPORT, "asr-lab train deepspeech2.yaml")

STARTERS: Mapping[str, Starter] = {
    "deepspeech2": Starter(
        configs=("deepspeech2",),
        commands=(*_TRAIN, "asr-lab transcribe FILE.wav --model models:/$name@champion"),
    ),
    "wav2vec2": Starter(
        configs=("wav2vec2",),
        commands=(
            *_IMPORT,
            "asr-lab train wav2vec2.yaml",
            "asr-lab transcribe FILE.wav --model models:/$name-wav2vec2@champion",
        ),
    ),
    "adapter": Starter(
        configs=("deepspeech2", "adapter"),
        commands=(
            *_TRAIN,
            "asr-lab data import SPEAKER.csv corpora/speaker",
            "asr-lab adapter --config adapter.yaml",
            "asr-lab transcribe FILE.wav --adapter speaker",
        ),
    ),
    "curriculum": Starter(
        configs=("wav2vec2", "curriculum"),
        commands=(
            *_IMPORT,
            "asr-lab train wav2vec2.yaml",
            "asr-lab curriculum curriculum.yaml",
            "asr-lab transcribe FILE.wav --model models:/$name-curriculum@champion",
        ),
    ),
    "pronunciation": Starter(
        configs=("pronunciation",),
        table="learners.jsonl",
        commands=(
            "asr-lab data import learners.jsonl corpora/learners",
            "asr-lab data split corpora/learners",
            "asr-lab train pronunciation.yaml",
            "asr-lab evaluate models:/$name-pronunciation@champion corpora/learners/test.jsonl.gz --learner-pages",
        ),
    ),
    "sweep": Starter(configs=("deepspeech2", "sweep"), commands=(*_IMPORT, "asr-lab sweep sweep.yaml")),
}
"""Family -> what its project begins with; each configuration is a template beside this file."""


@dataclass(frozen=True, kw_only=True)
class NewProject:
    """What `make_project` wrote."""

    written: list[str]
    kept: list[str]
    """Files that were there before, and stay as they are."""
    commands: list[str]
    """The next commands, from within the folder."""


def make_project(folder: Path, family: str) -> NewProject:
    """Write configurations, a sample table and a README into `folder`; files that are there stay as they are.

    Raises `AsrLabError` for a family without templates, and if the folder cannot be written.
    """
    if family not in STARTERS:
        near = nearest(family, STARTERS)
        raise AsrLabError(
            f"no configurations for the family {family!r}",
            allowed=listing(STARTERS),
            next_command=f"asr-lab init {shlex.quote(str(folder))} --family {near or next(iter(STARTERS))}",
        )
    starter, name = STARTERS[family], _project_name(folder)
    commands = [Template(command).substitute(name=name) for command in starter.commands]
    contents = {f"{config}.yaml": _template(config, name) for config in starter.configs}
    contents[starter.table] = _TABLE if starter.table.endswith(".csv") else _LEARNERS
    contents["README.md"] = _README.substitute(
        name=name,
        commands="\n".join(commands),
        table=starter.table,
        explanation=_ROWS if starter.table.endswith(".csv") else _LINES,
    )
    kept = [file for file in contents if os.path.lexists(folder / file)]
    written = [file for file in contents if file not in kept]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in written:
            write_text(folder / file, contents[file])
    except OSError as error:
        raise AsrLabError(
            f"the project cannot be written: {not_written(error)}", where=str(folder), allowed="another folder"
        ) from error
    return NewProject(written=written, kept=kept, commands=commands)


def _template(config: str, name: str) -> str:
    text = files("asr_lab.config").joinpath("templates", f"{config}.yaml").read_text(encoding="utf-8")
    return Template(text).substitute(name=name)


def _project_name(folder: Path) -> str:
    """Return the name of the folder with only letters, digits, `_`, `.` and `-`, as models are registered."""
    name = re.sub(r"[^\w.-]+", "-", normalize("NFC", folder.resolve().name)).strip(".-")
    return name[:60] or "mine"
