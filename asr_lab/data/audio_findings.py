"""What is wrong with the audio of manifests, from what was measured of it (`audio_measures`), by DuckDB."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import combinations
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow.compute as pc

from asr_lab.data import columns
from asr_lab.data.audio_measures import CHANGED, DURATION, LOUD_DB, NO_PEAK_DB, RATE, UNREADABLE, Measurements
from asr_lab.data.manifest_table import connect
from asr_lab.data.table_utterances import Positions, Utterances

SILENT, CLIPPED, DUPLICATE, CONFLICTING, SHARED = "silent", "clipped", "duplicate", "conflicting", "shared"
OUTLIER = "outlier"
_LOUD_S, _CLIPPED_SHARE = 0.1, 0.001
KINDS: dict[str, str] = {
    UNREADABLE: "missing, cut off, not audio, or too short",
    RATE: "another sampling rate than the manifest says",
    DURATION: "another duration of the recording than the manifest says",
    CHANGED: "not the audio that was imported",
    SILENT: f"less than {_LOUD_S:g} s above {LOUD_DB:g} dB of full scale",
    CLIPPED: f"{_CLIPPED_SHARE:.1%} of the samples or more are clipped",
    DUPLICATE: "the audio and the text of another utterance of the manifest",
    CONFLICTING: "the audio of an utterance with another text",
    SHARED: "the audio of an utterance of a later manifest",
    OUTLIER: "a far higher loss than others",
}
FAULTS = (UNREADABLE, RATE, DURATION, CHANGED)
"""Kinds of what cannot be used."""
DROPPED = tuple(kind for kind in KINDS if kind not in (CLIPPED, OUTLIER))
"""Kinds that a cleaned manifest is without, by default."""
_FENCE = 3.0


def find(measured: Mapping[str, Measurements], losses: Mapping[str, Measurements] | None = None) -> pd.DataFrame:
    """Return the findings of manifests by name: `manifest, id, kind, detail, speaker, duration_s, audio, row`.

    In the order of the manifests and their rows. `losses` are of the same manifests, with the loss per character of
    each utterance under a model in `loss`.
    """
    database = connect()
    _gather(database, measured)
    _mark_doubles(database, measured)
    queries = [
        "SELECT number, row, fault AS kind, detail FROM measured WHERE fault IS NOT NULL",
        f"SELECT number, row, '{SILENT}', CASE WHEN peak_db < {NO_PEAK_DB} + 1 THEN 'zeros' ELSE "
        "format('peak {:.0f} dB', peak_db) END FROM measured WHERE silent",
        f"SELECT number, row, '{CLIPPED}', format('{{:.1f}} % of the samples', 100 * clipped) FROM measured "
        f"WHERE clipped >= {_CLIPPED_SHARE}",
        _DOUBLES,
        _SHARED,
        *([_outliers(database, measured, losses)] if losses else []),
    ]
    return database.sql(
        "SELECT name AS manifest, id, kind, f.detail, speaker, round(duration, 3) AS duration_s, source AS audio, row "
        f"FROM ({' UNION ALL '.join(queries)}) f JOIN measured USING (number, row) JOIN names USING (number) "
        "ORDER BY number, row, kind"
    ).df()


def _gather(database: duckdb.DuckDBPyConnection, measured: Mapping[str, Measurements]) -> None:
    """Make the tables `names` and `measured`, with the rows of all manifests."""
    database.sql("CREATE TABLE names (number INTEGER, name VARCHAR)")
    parts = []
    for number, (name, one) in enumerate(measured.items()):
        database.execute("INSERT INTO names VALUES (?, ?)", [number, name])
        database.register(f"part{number}", one.dataset)
        parts.append(
            f"SELECT {number} AS number, m.*, id, speaker, duration, source, coalesce(text, '') AS text, "
            f"coalesce(loud_s < least({_LOUD_S}, duration / 2), false) AS silent "
            f"FROM part{number} m JOIN {one.cuts.table.source} t USING (row)"
        )
    database.sql(f"CREATE TABLE measured AS {' UNION ALL '.join(parts)}")


def _mark_doubles(database: duckdb.DuckDBPyConnection, measured: Mapping[str, Measurements]) -> None:
    """Make the table `doubles` of utterances whose audio is there more than once, and `pairs` of manifests to compare.

    Two manifests of which one contains the other, as phases do, share nothing that should not be.
    """
    database.sql(
        "CREATE TABLE doubles AS SELECT number, row, id, text, audio FROM measured WHERE audio IN "
        "(SELECT audio FROM measured WHERE NOT silent AND fault IS NULL GROUP BY audio HAVING count(*) > 1)"
    )
    database.sql("CREATE TABLE pairs (number INTEGER, later INTEGER)")
    cuts = [one.cuts for one in measured.values()]
    for one, other in combinations(range(len(cuts)), 2):
        if not is_nested(cuts[one], cuts[other]):
            database.execute("INSERT INTO pairs VALUES (?, ?)", [one, other])


def is_nested(one: Any, other: Any) -> bool:
    """Return whether one of two manifests has all utterances of the other, by their ids."""
    smaller, larger = sorted((columns.ids(one), columns.ids(other)), key=len)
    return bool(pc.all(pc.is_in(smaller, value_set=larger.combine_chunks())).as_py())


_DOUBLES = f"""
SELECT number, row, CASE WHEN differ THEN '{CONFLICTING}' ELSE '{DUPLICATE}' END, 'as ' || other
FROM (SELECT *, count(*) OVER same > 1 AS several, min(text) OVER same <> max(text) OVER same AS differ,
             row_number() OVER ordered AS place, coalesce(nullif(first(id) OVER ordered, id), lead(id) OVER ordered)
             AS other FROM doubles
      WINDOW same AS (PARTITION BY number, audio), ordered AS (PARTITION BY number, audio ORDER BY row))
WHERE several AND (differ OR place > 1)"""
_SHARED = f"""
SELECT one.number, one.row, '{SHARED}', 'as ' || min_by(other.id, other.later) || ' of ' || min_by(name, other.later)
FROM doubles one JOIN pairs USING (number)
JOIN (SELECT number AS later, audio, min(id) AS id FROM doubles GROUP BY ALL) other USING (later, audio)
JOIN names ON names.number = later GROUP BY one.number, one.row"""


def _outliers(
    database: duckdb.DuckDBPyConnection, measured: Mapping[str, Measurements], losses: Mapping[str, Measurements]
) -> str:
    """Return the query of utterances above Tukey's outer fence (1977): the upper quartile and three times their range.

    Audio that is too short for its text has an infinite loss.
    """
    database.sql("CREATE TABLE losses (number INTEGER, row BIGINT, loss DOUBLE)")
    for number, name in enumerate(measured):
        database.register("part", losses[name].dataset)
        database.sql(f"INSERT INTO losses SELECT {number}, row, loss FROM part WHERE loss IS NOT NULL")
    return (
        f"SELECT number, row, '{OUTLIER}', CASE WHEN isinf(loss) THEN 'too short for its text' ELSE "
        "format('a loss of {:.2f} a character, the median is {:.2f}', loss, middle) END "
        "FROM losses, (SELECT quantile_cont(loss, [0.25, 0.5, 0.75]) AS q, q[2] AS middle, "
        f"q[3] + {_FENCE} * (q[3] - q[1]) AS fence FROM losses WHERE isfinite(loss)) WHERE loss > coalesce(fence, 0)"
    )


def shared_recordings(parts: Mapping[str, Any], *, nested: bool = True) -> dict[str, list[str]]:
    """Return `train and val` -> the audio files of the first that have utterances in both, where there are any.

    Files are distinguished by their digests where those are known, else by their paths. Without `nested`, parts that
    contain each other, as phases do, are not compared.
    """
    files = {name: columns.recordings(cuts) for name, cuts in parts.items()}
    named: dict[str, list[str]] = {}
    for one, other in combinations(files, 2):
        common = np.intersect1d(files[one], files[other])
        if len(common) and (nested or not is_nested(parts[one], parts[other])):
            places = np.flatnonzero(np.isin(files[one], common))
            firsts = np.unique(files[one][places], return_index=True)[1]
            named[f"{one} and {other}"] = columns.sources(columns.take(parts[one], np.sort(places[firsts])))
    return named


def contained(parts: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the name of each part -> those of the others of which it has all utterances, where there are any."""
    named: dict[str, list[str]] = {}
    for pair in combinations(parts, 2):
        if is_nested(*(parts[name] for name in pair)):
            smaller, larger = sorted(pair, key=lambda name: len(parts[name]))
            named.setdefault(larger, []).append(smaller)
    return named


def cleaned(cuts: Utterances, findings: pd.DataFrame, kinds: Collection[str]) -> Positions:
    """Return the rows of a manifest without those that have a finding of one of these kinds."""
    keeps = np.ones(len(cuts), dtype=bool)
    keeps[findings.loc[findings["kind"].isin(kinds), "row"].to_numpy(np.int64)] = False
    return np.flatnonzero(keeps)
