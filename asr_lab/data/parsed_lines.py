"""Rows of a manifest's table from its lines: by DuckDB where a line is an ordinary one, else by Python, which says why.

Both give the same: DuckDB's part is a faster way for utterances with one supervision, one audio file and custom fields
that are text and plain numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from asr_lab.data.identity import identity
from asr_lab.data.manifest_lines import Lines
from asr_lab.errors import AsrLabError

IDENTITY = "identity"
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("start", pa.float64()),  # s, as all times
        ("duration", pa.float64()),
        ("channel", pa.string()),  # JSON, such as 0 or [0, 1]
        ("supervisions", pa.int32()),
        ("supervision_start", pa.float64()),
        ("supervision_duration", pa.float64()),
        ("text", pa.string()),
        ("speaker", pa.string()),
        ("gender", pa.string()),
        ("language", pa.string()),
        ("custom", pa.string()),  # JSON
        ("source", pa.string()),  # the first audio file, as in the manifest; other sources as JSON
        ("other_sources", pa.string()),
        ("channels", pa.int32()),
        ("sampling_rate", pa.int64()),
        (IDENTITY, pa.string()),  # `identity.identity`; null where the audio has to be read for it
    ]
)
_STRUCTURE = {
    "id": "JSON",
    "start": "JSON",
    "duration": "JSON",
    "channel": "JSON",
    "type": "VARCHAR",
    "recording": {
        "id": "VARCHAR",
        "num_samples": "BIGINT",
        "duration": "DOUBLE",
        "sampling_rate": "BIGINT",
        "channel_ids": ["BIGINT"],
        "sources": [{"type": "VARCHAR", "channels": ["BIGINT"], "source": "VARCHAR"}],
    },
    "supervisions": [
        {
            "id": "VARCHAR",
            "recording_id": "VARCHAR",
            "start": "DOUBLE",
            "duration": "DOUBLE",
            "text": "JSON",
            "speaker": "JSON",
            "gender": "JSON",
            "language": "JSON",
            "custom": "JSON",
        }
    ],
}
_NUMBER = r"(0|[1-9]\d{0,14})(\.\d{1,15})?"
_PLAIN = rf'-?{_NUMBER}|"[^"\\]*"'
_TINY = r":-?0\.0000"  # Python writes such numbers with an exponent
_REQUIRED = ("s.id", "r.id", "r.num_samples", "r.duration", "r.sampling_rate", "a.type", "a.channels", "a.source",
             "g.id", "g.recording_id", "g.start", "g.duration")  # fmt: skip


class RowReader:
    """Makes rows of the table from lines of a manifest."""

    def __init__(self, manifest: Path) -> None:
        self.manifest, self.root = manifest, manifest.parent.resolve()
        self._database = duckdb.connect(config={"threads": 1, "memory_limit": "400MB"})
        self._keys: list[str] | None = None

    def rows(self, lines: Lines) -> pa.Table:
        """Return the rows of these lines; raises `AsrLabError` that names the first line that is not a Lhotse cut."""
        try:
            self._database.register("lines", pa.table({"line": lines.text()}))
            if self._keys is None:
                self._keys = self._custom_fields()
            table = self._database.sql(_query(self._keys)).to_arrow_table()
        except (duckdb.Error, pa.ArrowInvalid):  # a line is not JSON or UTF-8, or DuckDB does not support it
            return self._by_python(lines, range(len(lines)))
        simple = table["simple"].to_numpy()
        table = table.select(SCHEMA.names).cast(SCHEMA)
        if simple.all():
            return table
        if not simple.any():
            return self._by_python(lines, range(len(lines)))
        self._keys = None  # there may be other custom fields from here on
        others = np.flatnonzero(~simple)
        order = np.arange(len(lines))
        order[others] = len(lines) + np.arange(len(others))
        return pa.concat_tables([table, self._by_python(lines, others.tolist())]).take(pa.array(order))

    def _custom_fields(self) -> list[str]:
        keys = self._database.sql(
            "SELECT DISTINCT unnest(json_keys(line, '$.supervisions[0].custom')) AS key FROM lines ORDER BY key"
        )
        return [key for (key,) in keys.fetchall()]

    def _by_python(self, lines: Lines, indices: Iterable[int]) -> pa.Table:
        return pa.Table.from_pylist([self._row(lines, index) for index in indices], schema=SCHEMA)

    def _row(self, lines: Lines, index: int) -> dict[str, Any]:
        """Return a row by Python."""
        number = lines.first + index + 1
        where = f"{self.manifest}, line {number}"
        try:
            return _row(json.loads(lines[index]), self.root)
        except AsrLabError as error:
            error.where = error.where or where
            raise
        except ValueError as error:
            what = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            raise AsrLabError(f"line {number} of the manifest is not JSON: {what}", where=where) from error
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise AsrLabError(f"line {number} of the manifest is not a Lhotse cut: {error!r}", where=where) from error


def _row(row: dict[str, Any], root: Path) -> dict[str, Any]:
    from asr_lab.data.cuts import built, located  # they need lhotse

    written = [source["source"] for source in (row.get("recording") or {}).get("sources", [])]
    cut = built(located(row, root))
    segment = row["supervisions"][0] if row.get("supervisions") else {}
    custom = segment.get("custom") or {}
    _check_text(row, segment)
    known = "audio_digest" in custom and _is_number(row["start"]) and _is_number(row["duration"])
    return {
        "id": row["id"],
        "start": _number(row["start"]),
        "duration": _number(row["duration"]),
        "channel": json.dumps(row["channel"]),
        "supervisions": len(row.get("supervisions") or ()),
        "supervision_start": _number(segment.get("start")),
        "supervision_duration": _number(segment.get("duration")),
        "text": segment.get("text"),
        **{name: _string_of(segment.get(name)) for name in ("speaker", "gender", "language")},
        "custom": json.dumps(custom, ensure_ascii=False) if segment.get("custom") is not None else None,
        "source": written[0] if written else None,
        "other_sources": json.dumps(written[1:]) if len(written) > 1 else None,
        "channels": cut.num_channels,
        "sampling_rate": cut.recording.sampling_rate,
        "identity": identity(row, segment, "") if known else None,
    }


def _check_text(row: dict[str, Any], segment: dict[str, Any]) -> None:
    """Raise `TypeError` unless the id is text, and the transcript if there is one."""
    for name, value in (("id", row["id"]), ("text", segment.get("text"))):
        if not isinstance(value, str) and (name == "id" or value is not None):
            raise TypeError(f"{name} is {value!r}, which is no text")


def _string_of(value: Any) -> str | None:
    """Return a value as text; a speaker may be a number."""
    return None if value is None else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _number(value: Any) -> float | None:
    return float(value) if _is_number(value) else None


def _query(keys: list[str]) -> str:
    """Return the query of the rows, where custom fields have these names."""
    checks = [
        *(f"{name} IS NOT NULL" for name in _REQUIRED),
        "(s.type IS NULL OR s.type = 'MonoCut')",
        "len(s.supervisions) = 1",
        "len(r.sources) = 1",
        "len(r.channel_ids) = 1",
        r"regexp_full_match(s.channel, '\d+')",
        *(f"regexp_full_match({name}, '{_NUMBER}')" for name in ("s.start", "s.duration")),
        *(_is_plain(name) for name in ("s.id", "g.text", "g.speaker", "g.gender", "g.language")),
        f"regexp_full_match(g.custom, '{_custom(keys)}')",
        f"NOT regexp_matches(g.custom, '{_TINY}')",
        "c.audio_digest IS NOT NULL" if "audio_digest" in keys else "false",
    ]
    structure = json.dumps(dict.fromkeys(keys, "JSON")).replace("'", "''")
    custom = f"from_json(g.custom, '{structure}')" if keys else "NULL::STRUCT(none JSON)"
    return (
        f"SELECT {_string('s.id')} AS id, TRY_CAST(s.start AS DOUBLE) AS start, "
        "TRY_CAST(s.duration AS DOUBLE) AS duration, s.channel::VARCHAR AS channel, "
        "len(s.supervisions) AS supervisions, g.start AS supervision_start, g.duration AS supervision_duration, "
        + "".join(f"{_string(f'g.{name}')} AS {name}, " for name in ("text", "speaker", "gender", "language"))
        + "g.custom::VARCHAR AS custom, a.source AS source, NULL AS other_sources, "
        "len(r.channel_ids) AS channels, r.sampling_rate AS sampling_rate, "
        f"{_identity(keys)} AS identity, coalesce({' AND '.join(checks)}, false) AS simple "
        f"FROM (SELECT *, {custom} AS c FROM (SELECT s, s.recording AS r, s.recording.sources[1] AS a, "
        f"s.supervisions[1] AS g FROM (SELECT from_json(line, '{json.dumps(_STRUCTURE)}') AS s FROM lines)))"
    )


def _custom(keys: Sequence[str]) -> str:
    """Return the pattern of custom fields with these names and plain values."""
    names = "|".join(re.escape(key) for key in keys if not set(key) & set("\\\"'")) or "none"
    field = rf'"({names})":({_PLAIN})'
    return rf"\{{{field}(,{field})*\}}"


def _is_plain(name: str) -> str:
    """Return the condition that JSON is null or text without escapes of control characters, as `_string` reads it."""
    return f"({name} IS NULL OR (starts_with({name}, '\"') AND NOT contains({name}, '\\u')))"


def _string(name: str) -> str:
    """Return the expression of the value of JSON text."""
    return f"CASE WHEN contains({name}, '\\') THEN json_extract_string({name}, '$') ELSE trim({name}, '\"') END"


def _identity(keys: list[str]) -> str:
    """Return the expression of what `identity.identity` returns."""

    def value(key: str) -> str:
        field = 'c."' + key.replace('"', '""') + '"'
        if key == "snr_db" and "snr_by" in keys:
            field = f"CASE WHEN coalesce(c.snr_by, '\"\"') = '\"\"' THEN {field} END"
        text = json.dumps(key, ensure_ascii=False).replace("'", "''")
        return f"'{text}: ' || {field}"

    custom = ", ".join(value(key) for key in keys if key not in ("guessed", "snr_by")) or "NULL"
    gender, language, speaker, text = (
        f"coalesce(g.{name}, 'null')" for name in ("gender", "language", "speaker", "text")
    )
    parts = (
        *("'{\"channel\": '", "s.channel", "', \"custom\": {'", f"concat_ws(', ', {custom})"),
        *("'}, \"duration\": '", _rounded("s.duration"), "', \"gender\": '", gender, "', \"id\": '", "s.id"),
        *("', \"language\": '", language, "', \"speaker\": '", speaker, "', \"start\": '", _rounded("s.start")),
        *("', \"text\": '", text, "'}'"),
    )
    return f"concat({', '.join(parts)})"


def _rounded(name: str) -> str:
    """Return the expression of a number rounded to four decimals, as Python writes it."""
    digits = f"rtrim(format('{{:.4f}}', TRY_CAST({name} AS DOUBLE)), '0')"
    long = f"{digits} || CASE WHEN ends_with({digits}, '.') THEN '0' ELSE '' END"
    return f"CASE WHEN length({name}) - instr({name}, '.') > 4 AND contains({name}, '.') THEN {long} ELSE {name} END"
