"""Whether our scorers give the figures published for others' recognition of L2-ARCTIC, on their own sequences.

git clone https://github.com/cageyoko/CTC-Attention-Mispronunciation
python tests/bench/bench_l2arctic_scorer.py CTC-Attention-Mispronunciation/egs/attention_aug/result [--values FILE]

The folder has `ref` (canonical), `human_seq` (said), `hyp` and `cnn_rnn/hyp` (recognised), of 900 utterances.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import figures
import pandas as pd

from asr_lab.metrics.pronunciation import decoded, detection, hierarchy, per, trivial, with_phone_errors
from asr_lab.metrics.pronunciation.sequences import align

NAMES = {"cnn_rnn/hyp": "cnn_rnn", "hyp": "attention", "as written": "as_written"}
"""Rows of the table, as pages quote them."""
PUBLISHED = {"cnn_rnn/error_f1": 0.4929, "attention/error_f1": 0.5608, "attention/per": 0.1521}
"""Of Fu et al. 2021, arXiv:2104.08428."""


def sequences(file: Path) -> dict[str, list[str]]:
    rows = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
    return {row[0]: row[1:] for row in rows}


def anchored(canonical: list[str], spoken: list[str]) -> dict[str, list]:
    """What was said in the place of each canonical phoneme, by alignment."""
    perceived, insertions = [], [[]]
    for one, other in align(canonical, spoken):
        if one is None:
            insertions[-1].append(other)
        else:
            perceived.append(other or "<del>")
            insertions.append([])
    errors = [int(one != other) for one, other in zip(canonical, perceived, strict=True)]
    return {"canonical": canonical, "perceived": perceived, "insertions": insertions, "errors": errors}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    figures.add_values_option(parser)
    asked = parser.parse_args()
    folder = asked.folder
    canonical, spoken = sequences(folder / "ref"), sequences(folder / "human_seq")
    truth = pd.DataFrame([{"id": id, **anchored(canonical[id], spoken[id])} for id in canonical])
    rows = []
    for name in ("cnn_rnn/hyp", "hyp"):
        recognised = sequences(folder / name)
        table = with_phone_errors(truth.assign(recognised=[recognised[id] for id in truth["id"]]))
        for scorer, found in (("hierarchy", hierarchy(table)), ("canonical-anchored", detection(decoded(table)))):
            rows.append({"sequences": name, "scorer": scorer, "per": per(table).value, **found})
    rows.append({"sequences": "as written", "scorer": "canonical-anchored", **trivial(truth)})
    columns = ["sequences", "scorer", "per", "error_f1", "error_precision", "error_recall", "der", "accuracy"]
    print(pd.DataFrame(rows)[columns].round(4).to_string(index=False))
    published = {f"published/{name}": value for name, value in PUBLISHED.items()}
    figures.write({**dict(_values(rows, columns[2:])), **published}, asked.values)


def _values(rows: list[dict[str, object]], columns: list[str]) -> Iterator[tuple[str, float]]:
    """Yield the figures of the table that are defined, by the name under which pages quote them."""
    for row in rows:
        scorer = "anchored" if row["scorer"] == "canonical-anchored" else row["scorer"]
        for column in columns:
            if isinstance(row[column], float):
                yield f"{NAMES[row['sequences']]}_{scorer}/{column}", row[column]


if __name__ == "__main__":
    main()
