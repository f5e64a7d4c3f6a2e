"""L2-ARCTIC: labels with typos, what is left out, and the published split."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import ok, refused

from asr_lab.data import manifest
from asr_lab.data.importers.l2arctic import SPEAKERS, import_l2arctic, part_of
from asr_lab.data.pronunciation import check_pronunciations, pronunciation
from asr_lab.errors import AsrLabError

DIRTY = ("sil", "DH,D,s", "AH0", "K", "AE1,err,s", "T", "sil,AH,a", "", "S", "W`,V``,s", "ER0,ER*,s", "sp",
         "sil,K,a", "Z,sil,d", "AX", "T,D_ ,s", "OW1,AO),s", "spn", "IH1,XX,s", "N,S")  # fmt: skip


def _wav(path: Path, rate: int = 44_100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(rate * 3), rate)
    return path


def _tier(name: str, labels, number: int) -> str:
    """A tier with an interval of 0.1 s per label; equal neighbours are merged."""
    spans, start = [], 0
    for label, same in groupby(labels):
        end = start + len(list(same))
        spans.append((start / 10, end / 10, label))
        start = end
    head = (
        f'    item [{number}]:\n        class = "IntervalTier"\n        name = "{name}"\n        xmin = 0\n'
        f"        xmax = {start / 10}\n        intervals: size = {len(spans)}\n"
    )
    rows = [
        f"        intervals [{place}]:\n            xmin = {low}\n            xmax = {high}\n"
        f'            text = "{label}"\n'
        for place, (low, high, label) in enumerate(spans, start=1)
    ]
    return head + "".join(rows)


def _grid(path: Path, **tiers) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    length = max(len(labels) for labels in tiers.values()) / 10
    head = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = {length}\ntiers? <exists>\n'
    body = "".join(_tier(name, labels, number) for number, (name, labels) in enumerate(tiers.items(), start=1))
    path.write_text(f"{head}size = {len(tiers)}\nitem []:\n{body}")


def _said(folder: Path, speaker: str, name: str, **tiers) -> None:
    _wav(folder / speaker / "wav" / f"{name}.wav")
    text = folder / speaker / "transcript" / f"{name}.txt"
    text.parent.mkdir(parents=True, exist_ok=True)
    text.write_text("The cat swerves to own.\n")
    _grid(folder / speaker / "annotation" / f"{name}.TextGrid", **tiers)


@pytest.fixture
def arctic(tmp_path) -> Path:
    folder = tmp_path / "L2-ARCTIC"
    words = ["", "the", "the", *["cat"] * 3, "", "", *["swerves"] * 6, *["two"] * 3, "", "in", "in"]
    _said(folder, "YKWK", "arctic_a0001", words=words, phones=DIRTY)
    _said(folder, "THV", "arctic_a0001", phones=["TH,T,s", "ER0", "D"])
    _said(folder, "HJK", "arctic_a0002", words=["a"], phones=["AH0"])
    return folder


def test_every_way_of_labelling_is_understood(arctic):
    result = import_l2arctic(arctic, arctic)
    parts = result.splits
    assert {part: [cut.id for cut in cuts] for part, cuts in parts.items()} == {
        "train": ["HJK-arctic_a0002"],
        "val": ["THV-arctic_a0001"],
        "test": ["YKWK-arctic_a0001"],
    }
    (cut,) = parts["test"]
    check_pronunciations([cut])
    said = pronunciation(cut)
    assert " ".join(said.canonical) == "DH AH K AE T S W ER Z AH T OW IH N"
    assert " ".join(said.perceived) == "D AH K <unk> T S V ER <del> AH D AO <unk> <unk>"
    assert said.errors == (1, 0, 0, 1, 0, 0, 1, 0, 1, 0, 1, 1, 1, 1)
    assert said.accented == (0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    assert {slot: each for slot, each in enumerate(said.insertions) if each} == {5: ("AH",), 8: ("K",)}
    assert said.words == (0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4)
    assert said.phone_times[0] == (0.1, 0.2)
    assert said.phone_times[8] is None
    fields = {name: manifest.field(cut, name) for name in ("speaker", "gender", "l1", "text", "corpus")}
    assert fields == {"speaker": "YKWK", "gender": "male", "l1": "korean", "text": "The cat swerves to own.",
                      "corpus": "l2-arctic"}  # fmt: skip
    assert result.report.unknown_labels == {"IH1,XX,s": 1, "N,S": 1}
    assert any("21 of 24 speakers are not there" in note for note in result.report.notes)


def test_what_cannot_be_read_is_named_and_the_rest_imported(arctic, tmp_path):
    (arctic / "YDCK" / "annotation").mkdir(parents=True)
    (arctic / "YDCK" / "annotation" / "arctic_a0209.TextGrid").write_text("nothing of a TextGrid")
    (arctic / "YDCK" / "annotation" / "arctic_a0272.TextGrid").write_bytes(b"\xff\x00\xd8 binary")
    _said(arctic, "ABA", "arctic_a0003", words=["a"])
    _said(arctic, "ABA", "arctic_a0004", phones=["AH0", "QX"])
    _said(arctic, "ABA", "arctic_a0005", phones=["sil", ""])
    _said(arctic, "SKA", "arctic_a0006", phones=["AH0"])
    (arctic / "SKA" / "wav" / "arctic_a0006.wav").unlink()
    _said(arctic, "JOHN", "arctic_a0007", phones=["AH0"])
    out = tmp_path / "out"
    assert "YDCK/arctic_a0209" in refused("data", "import", "l2-arctic", arctic, out)
    printed = " ".join(ok("data", "import", "l2-arctic", arctic, out, "--skip-faulty").split())
    assert (
        "2 left out: its TextGrid cannot be read: YDCK/arctic_a0209 (IndexError), YDCK/arctic_a0272 (Unicode" in printed
    )
    assert "1 are not at 16000 Hz" in printed
    assert [len(manifest.read(out / f"{part}.jsonl.gz")) for part in ("train", "val", "test")] == [1, 1, 1]
    report = import_l2arctic(arctic, out, skip_faulty=True).report
    assert {(fault.item, fault.kind, fault.detail) for fault in report.faults if "YDCK" not in fault.item} == {
        ("ABA/arctic_a0003", "its TextGrid has no tier `phones` but words", ""),
        ("ABA/arctic_a0004", "a canonical phoneme is unknown", "'QX'"),
        ("ABA/arctic_a0005", "its tier `phones` holds no phoneme", ""),
        ("SKA/arctic_a0006", "it is not in wav/", ""),
        ("JOHN/arctic_a0007.TextGrid", "its folder is no speaker of L2-ARCTIC", ""),
    }
    assert all(Path(fault.file).name.startswith("arctic_a") for fault in report.faults)
    with pytest.raises(AsrLabError, match="no annotated utterance"):
        import_l2arctic(out, out)


def test_the_split_is_that_of_published_results():
    by_part: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    for speaker, (l1, _) in SPEAKERS.items():
        by_part[part_of(speaker)].add(l1)
    assert [sum(part_of(speaker) == part for speaker in SPEAKERS) for part in by_part] == [12, 6, 6]
    assert all(len(languages) == 6 for languages in by_part.values())
    assert all(list(SPEAKERS.values()).count((l1, gender)) == 2 for l1, gender in set(SPEAKERS.values()))
