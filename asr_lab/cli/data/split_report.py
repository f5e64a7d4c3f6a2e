"""Output of `asr-lab data split` and `phases`: manifests of the parts, a page and a figure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from asr_lab.cli.data.manifest_output import check_overwrite, print_summary, refuse_to_remove, remove_stale
from asr_lab.cli.options import echo
from asr_lab.cli.tables import show
from asr_lab.errors import listing
from asr_lab.reports.table import Table
from asr_lab.system.files import atomic_file, explain_unwritable
from asr_lab.units import counted

if TYPE_CHECKING:
    from asr_lab.data.curriculum import Hard

Kind = Literal["split", "phases"]
HELD_OUT = "held-out"
_MAX_GAP = 0.25  # largest difference of a bin's share of the hours without a warning


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Parts of a manifest, and what they are compared in."""

    written: Mapping[str, Any]
    """Name of a manifest -> its utterances, besides those held out."""
    held_out: Mapping[str, Any] = field(default_factory=dict)
    """The utterances of `--hold-out`, which are not compared."""
    compared: Mapping[str, Any]
    """The parts that are compared with each other; of folds, those tested."""
    source: Path
    hard: Hard
    by: str
    fields: Sequence[str]
    """The fields that they were stratified by."""
    notes: Sequence[str] = ()


def write_parts(kind: Kind, parts: Parts, out: Path, overwrite: bool) -> None:
    """Write manifests, page and figure; parts are compared in their fields and in those that matter to recognition."""
    from asr_lab.data.identity import SUFFIX
    from asr_lab.data.relocation import write_rows

    written = {**parts.written, **parts.held_out}
    paths = {name: out / f"{name}{SUFFIX}" for name in written}
    left_over = [path for path in _written_by(kind, out) if path not in paths.values()]
    check_overwrite([*paths.values(), out / f"{kind}.html", out / f"{kind}.png"], overwrite, left_over)
    refuse_to_remove(parts.source, left_over)
    page, figure, sentences = _report(kind, parts)
    nothing = "the manifests are as they were before this command"
    with explain_unwritable("the manifests", out, hint=nothing), ExitStack() as stack:  # all of them, or none
        for name, rows in written.items():
            write_rows(rows, stack.enter_context(atomic_file(paths[name])))
        for suffix, content in {"png": figure, "html": page.encode()}.items():
            stack.enter_context(atomic_file(out / f"{kind}.{suffix}")).write_bytes(content)
    remove_stale(left_over, parts.source)
    for name, rows in written.items():
        print_summary(rows, paths[name])
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


def _report(kind: Kind, parts: Parts) -> tuple[str, bytes, Sequence[str]]:
    """Print the sizes and distributions of the parts; return the page, the figure and what they say."""
    from asr_lab.data import guesses, split_statistics
    from asr_lab.data.splits import positions
    from asr_lab.data.stratified_splits import FIELDS
    from asr_lab.reports.splits import png, splits_figure, splits_page

    by, listed = parts.by, {**parts.compared, **parts.held_out}
    sizes = split_statistics.sizes(listed, parts.hard, by)
    table = split_statistics.distributions(parts.compared, list(dict.fromkeys([*parts.fields, *FIELDS])))
    overlap = split_statistics.shared(listed, by)
    members = {name: sorted(positions(cuts, by)) for name, cuts in listed.items()}
    if kind == "split":
        both = int(overlap[f"{by}s_in_both"].sum())
        proof = f"{both} {by}s are in two splits, of {len(set().union(*members.values()))}"
    else:
        sizes = sizes.assign(share=sizes["hours"] / sizes["hours"].iloc[-1])
        proof = "nested: " + " in ".join(
            f"{name} ({counted(len(cuts), 'utterance')})" for name, cuts in parts.compared.items()
        )
    sentences = [
        proof,
        _balance(table),
        f"hard ({parts.hard.words}): "
        + ", ".join(f"{part} {share:.1%}" for part, share in zip(sizes["part"], sizes["hard_share"], strict=True)),
        *parts.notes,
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
