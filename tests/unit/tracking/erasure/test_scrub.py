"""What an assessment keeps of a learner goes when the learner is forgotten: rows, lines, parts, pages."""

import json

import pandas as pd

from asr_lab.tracking.erasure.scrub import scrub


def test_rows_lines_parts_and_pages_of_a_learner_go(tmp_path):
    (tmp_path / "eval").mkdir()
    (tmp_path / "learners").mkdir()
    rows = pd.DataFrame({"id": ["m1", "j1"], "speaker": ["mina", "juan"], "error_score": [[0.1], [0.2]]})
    rows.to_parquet(tmp_path / "eval" / "test.parquet")
    (tmp_path / "eval" / "test_predictions.jsonl").write_text(rows.to_json(orient="records", lines=True))
    parts = pd.DataFrame({"part": ["speaker", "speaker", "l1"], "value": ["mina", "juan", "korean"]})
    parts.to_parquet(tmp_path / "eval" / "test_parts.parquet")
    for name in ("mina", "juan"):
        (tmp_path / "learners" / f"{name}.html").write_text(f"<p>{name}, {name[0]}1</p>")
    done = scrub(tmp_path, {"mina"})
    assert done.removed == ["learners/mina.html"]
    assert (tmp_path / "learners" / "juan.html").is_file()
    assert pd.read_parquet(tmp_path / "eval" / "test.parquet")["speaker"].tolist() == ["juan"]
    assert pd.read_parquet(tmp_path / "eval" / "test_parts.parquet")["value"].tolist() == ["juan", "korean"]
    lines = (tmp_path / "eval" / "test_predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["speaker"] for line in lines] == ["juan"]
