"""Output of `asr-lab data split` and `phases`: manifests of the parts, a page and a figure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from asr_lab.cli.data.manifest_output import check_overwrite, print_summary, remove_stale
from asr_lab.cli.options import echo
from asr_lab.cli.tables import show
from asr_lab.errors import listing
from asr_lab.reports.table import Table
from asr_lab.system.files import write_bytes

Kind = Literal["split", "phases"]
HELD_OUT = "held-out"
_MAX_GAP = 0.25  # largest difference of a bin's share of the hours without a warning


def write_parts(
    kind: Kind,
    parts: Mapping[str, Any],
    out: Path,
    overwrite: bool,
    *,
    source: Path,
    hard: Any,
    by: str,
    fields: Sequence[str],
    report: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> None:
    """Write manifests, page and figure of parts of `source`; `report` are the parts to compare.

    They are compared in the `fields` that they were stratified by, and in those that matter to recognition.
    """
    from asr_lab.data.identity import SUFFIX
    from asr_lab.data.relocation import write_rows

    paths = {name: out / f"{name}{SUFFIX}" for name in parts}
    left_over = [path for path in _written_by(kind, out) if path not in paths.values()]
    check_overwrite([*paths.values(), out / f"{kind}.html", out / f"{kind}.png"], overwrite, left_over)
    held_out = {name: cuts for name, cuts in parts.items() if name == HELD_OUT}
    page, figure, sentences = _report(kind, report, held_out, hard, by, fields, notes)
    remove_stale(left_over, source)
    for name, rows in parts.items():
        write_rows(rows, paths[name])
        print_summary(rows, paths[name])
    write_bytes(out / f"{kind}.png", figure)
    write_bytes(out / f"{kind}.html", page.encode())
    for sentence in sentences:
        echo(sentence)
    echo(f"report: {out / f'{kind}.html'}")


def _written_by(kind: Kind, out: Path) -> list[Path]:
    """Return the manifests in `out` of an earlier call.

    A phase with a table beside it was written by `asr-lab data select`.
    """
    from asr_lab.data.identity import SUFFIX

    if kind == "phases":
        named = sorted(path for path in out.glob("phase*") if re.fullmatch(rf"phase\d+{re.escape(SUFFIX)}", path.name))
        return [path for path in named if not path.with_name(path.name.replace(SUFFIX, ".csv")).exists()]
    folders = [out, *sorted(path for path in out.glob("fold*") if re.fullmatch(r"fold\d+", path.name))]
    paths = [folder / f"{name}{SUFFIX}" for folder in folders for name in ("train", "val", "test")]
    return [path for path in (*paths, out / f"held-out{SUFFIX}") if path.exists()]


def left_out(before_split: Mapping[str, Any], after_split: Mapping[str, Any]) -> str:
    """Describe the utterances left out for a share of hard utterances."""
    from asr_lab.data.columns import seconds
    from asr_lab.units import hms

    lost = {name: len(rows) - len(after_split[name]) for name, rows in before_split.items()}
    before, after = (sum(map(seconds, parts.values())) for parts in (before_split, after_split))
    per_part = ", ".join(f"{name} {number}" for name, number in lost.items())
    return (
        f"--hard-share left out {sum(lost.values())} of {sum(map(len, before_split.values()))} utterances, "
        f"{hms(before - after)} of {hms(before)} ({per_part})"
    )


def _report(
    kind: Kind,
    parts: Mapping[str, Any],
    held_out: Mapping[str, Any],
    hard: Any,
    by: str,
    fields: Sequence[str],
    notes: Sequence[str],
) -> tuple[str, bytes, Sequence[str]]:
    from asr_lab.data import guesses, split_statistics
    from asr_lab.data.splits import positions
    from asr_lab.data.stratified_splits import FIELDS
    from asr_lab.reports.splits import png, splits_figure, splits_page

    listed = {**parts, **held_out}
    sizes = split_statistics.sizes(listed, hard, by)
    table = split_statistics.distributions(parts, list(dict.fromkeys([*fields, *FIELDS])))
    overlap = split_statistics.shared(listed, by)
    members = {name: sorted(positions(cuts, by)) for name, cuts in listed.items()}
    if kind == "split":
        both = int(overlap[f"{by}s_in_both"].sum())
        proof = f"{both} {by}s are in two splits, of {len(set().union(*members.values()))}"
    else:
        sizes = sizes.assign(share=sizes["hours"] / sizes["hours"].iloc[-1])
        proof = "nested: " + " in ".join(f"{name} ({len(cuts)} utterances)" for name, cuts in parts.items())
    sentences = [
        proof,
        _balance(table),
        f"hard ({hard.words}): "
        + ", ".join(f"{part} {share:.1%}" for part, share in zip(sizes["part"], sizes["hard_share"], strict=True)),
        *notes,
        *guesses.notes(listed.values()),
    ]
    shares = Table(frame=table, formats=dict.fromkeys((name for name in table if name.endswith("_share")), "percent"))
    of_parts = Table(frame=sizes, formats={"share": "percent", "hard_share": "percent"})
    show(of_parts, "table")
    show(shares, "table")
    figure = png(splits_figure(table))
    page = splits_page(
        f"{kind} of {sum(sizes['hours']) if kind == 'split' else sizes['hours'].iloc[-1]:.2f} h",
        sentences,
        sizes=of_parts,
        overlap=Table(frame=overlap),
        distributions=shares,
        members=members,
        figure=figure,
    )
    return page, figure, sentences


def _balance(table: Any) -> str:
    from asr_lab.data import split_statistics

    if unbalanced := split_statistics.unbalanced_bins(table, _MAX_GAP):
        return f"warning: the parts are not balanced: {listing(unbalanced, 5)}"
    return (
        f"no bin's share of the hours differs by more than {split_statistics.largest_gap(table):.1%} between two parts"
    )
