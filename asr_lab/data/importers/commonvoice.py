"""Import Common Voice of any release: `train.tsv`, `dev.tsv`, `test.tsv`, ... beside the folder `clips`.

Releases differ in their columns (`accent` or `accents`, `locale`, `segment`, `sentence_id`, `sentence_domain`,
`variant`): `client_id`, `path` and `sentence` are those of all.
"""

from __future__ import annotations

from pathlib import Path

from lhotse.cut import Cut

from asr_lab.data.importers.contract import ImportResult, Progress, no_progress
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.importers.table import renamed
from asr_lab.data.importers.table_rows import import_rows
from asr_lab.data.text_files import Row, read_table
from asr_lab.errors import AsrLabError, listing

_PARTS = {"train": "train", "dev": "val", "test": "test"}
_COLUMNS = {"audio": "path", "text": "sentence", "speaker": "client_id"}
_RENAMED = {"locale": "language", "accents": "accent"}


def import_commonvoice(
    source: Path, out: Path, *, audio: Path | None = None, skip_faulty: bool = False, progress: Progress = no_progress
) -> ImportResult:
    """Import the splits of a language's folder, or one of its tables (`validated.tsv`) as `all`.

    The clips are in `audio`, by default `clips` beside the tables. Raises one `AsrLabError` that names every faulty
    row.
    """
    report = ImportReport()
    splits: dict[str, list[Cut]] = {}
    for part, path in _tables(source).items():
        rows = read_table(path)
        if lacking := [name for name in _COLUMNS.values() if rows and name not in rows[0].values]:
            raise AsrLabError(
                f"the table lacks {listing(lacking)}",
                where=str(path),
                allowed=f"the columns {listing(_COLUMNS.values())}; it has {listing(rows[0].values, 30)}",
                hint="another table is imported with asr-lab data import csv",
            )
        splits[part] = import_rows(
            [_row(row) for row in renamed(rows, _COLUMNS, path)] if rows else [],
            path,
            audio or path.parent / "clips",
            report,
            progress,
            corpus="commonvoice",
        )
    report.notes[:] = dict.fromkeys(report.notes)
    report.settle(source, skip_faulty=skip_faulty, is_left=any(splits.values()))
    if not any(splits.values()):
        raise AsrLabError("the tables have no rows", where=str(source))
    return ImportResult(splits={part: cuts for part, cuts in splits.items() if cuts}, report=report)


def _row(row: Row) -> Row:
    return Row(row.line, {_RENAMED.get(name, name): value for name, value in row.values.items()})


def _tables(source: Path) -> dict[str, Path]:
    """Return part -> table of a language; a folder with one language is that language."""
    if source.is_file():
        return {"all": source}
    folders = (
        [source] if any(source.glob("*.tsv")) else [one for one in sorted(source.iterdir()) if (one / "clips").is_dir()]
    )
    if len(folders) != 1:
        raise AsrLabError(
            f"several languages: {listing(one.name for one in folders)}" if folders else "no tables of Common Voice",
            where=str(source),
            allowed="the folder of a language, with train.tsv, dev.tsv, test.tsv and clips/; or one such table",
        )
    paths = {
        part: folders[0] / f"{name}.tsv" for name, part in _PARTS.items() if (folders[0] / f"{name}.tsv").is_file()
    }
    if paths:
        return paths
    if (validated := folders[0] / "validated.tsv").is_file():
        return {"all": validated}
    raise AsrLabError("no train.tsv, dev.tsv, test.tsv or validated.tsv", where=str(folders[0]))
