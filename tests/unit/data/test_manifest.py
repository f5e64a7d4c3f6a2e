"""Manifests: the utterance contract, digests, and broken corpora."""

import gzip
import json
import math
import shutil

import pytest
from conftest import make_corpus, refused
from corpora import sound

from asr_lab.data import manifest
from asr_lab.data.cut_audio import read_cut
from asr_lab.errors import AsrLabError


def test_written_and_read_again(corpus):
    cuts = manifest.read(corpus)
    assert len(cuts) == 24
    assert manifest.supervision(cuts[0]).speaker == "ann"
    assert manifest.field(cuts[0], "audio_digest")


def test_a_moved_corpus_reads_and_has_the_same_digest(corpus, tmp_path):
    before = manifest.digest(manifest.read(corpus))
    shutil.move(corpus.parent, tmp_path / "elsewhere")
    moved = manifest.read(tmp_path / "elsewhere" / corpus.name)
    assert manifest.digest(moved) == before
    assert len(before) <= 36
    assert len(read_cut(moved[0])) > 1000


def test_digest_changes_with_text_and_with_audio(tmp_path):
    one = manifest.digest(manifest.read(make_corpus(tmp_path / "1", {"a": "cab", "b": "dad"})))
    same = manifest.digest(manifest.read(make_corpus(tmp_path / "2", {"a": "cab", "b": "dad"})))
    text = make_corpus(tmp_path / "3", {"a": "cab", "b": "dad"})
    cuts = list(manifest.read(text))
    cuts[0].supervisions[0].text = "dab"
    audio = manifest.digest(manifest.read(make_corpus(tmp_path / "4", {"a": "cab", "b": "dad"}, seed=5)))
    assert one == same
    assert len({one, manifest.digest(cuts), audio}) == 3


def test_same_contents_same_bytes(tmp_path):
    cuts = list(manifest.read(make_corpus(tmp_path / "1", {"a": "cab"})))
    manifest.write(cuts, tmp_path / "1" / "x.jsonl.gz")
    manifest.write(cuts, tmp_path / "1" / "y.jsonl.gz")
    assert (tmp_path / "1" / "x.jsonl.gz").read_bytes() == (tmp_path / "1" / "y.jsonl.gz").read_bytes()


def test_missing_manifest_says_how_to_make_one(tmp_path):
    with pytest.raises(AsrLabError, match=r"no such manifest[\s\S]*asr-lab data"):
        manifest.read(tmp_path / "none.jsonl.gz")


def test_cut_off_manifest_is_refused(corpus):
    corpus.write_bytes(corpus.read_bytes()[:200])
    with pytest.raises(AsrLabError, match="cut off"):
        manifest.read(corpus)


def test_text_that_is_no_manifest_is_refused(tmp_path):
    path = tmp_path / "x.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write('{"id": "a"}\n')
    with pytest.raises(AsrLabError, match="not a Lhotse cut"):
        manifest.read(path)


def test_duplicate_ids_missing_transcripts_and_speakers_are_all_named(corpus):
    cuts = list(manifest.read(corpus))
    cuts[1].supervisions[0].text = "  "
    cuts[2].supervisions[0].speaker = ""
    with pytest.raises(AsrLabError) as caught:
        manifest.write([*cuts, cuts[0]], corpus)
    message = str(caught.value)
    assert "1 duplicate id: u00" in message
    assert "1 utterance without a transcript: u01" in message
    assert "1 utterance without a speaker: u02" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [("duration", math.nan), ("duration", -1.0), ("duration", 0.0), ("duration", math.inf), ("duration", "long"),
     ("start", math.nan), ("start", -0.5)],
)  # fmt: skip
def test_an_utterance_that_is_no_piece_of_a_recording_is_named_with_its_file(corpus, name, value):
    with gzip.open(corpus, "rt") as file:
        rows = [json.loads(line) for line in file]
    rows[3][name] = value
    with gzip.open(corpus, "wt") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))
    for command in ("check", "stats"):
        said = refused("data", command, corpus)
        assert "1 utterance with an invalid start or duration (s): u03 (" in said
        assert str(value) in said
        assert str(corpus) in said


def test_a_refused_manifest_leaves_the_old_one(corpus):
    before = corpus.read_bytes()
    with pytest.raises(AsrLabError):
        manifest.write([], corpus)
    assert corpus.read_bytes() == before
    assert [p.name for p in corpus.parent.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no such audio file"),
        (lambda p: p.write_bytes(b""), "empty"),
        (lambda p: p.write_text("hello, I am text\n" * 50), "not an audio file"),
        (lambda p: p.write_bytes(sound(p.with_name("w.wav")).read_bytes()[:9000]), "cut off"),
    ],
    ids=["missing", "empty", "not audio", "cut off"],
)
def test_broken_audio_is_named_when_imported(tmp_path, make, message):
    audio = tmp_path / "a.wav"
    make(audio)
    with pytest.raises(AsrLabError, match=message) as caught:
        manifest.utterance(id="a", audio=audio, text="x", speaker="s")
    assert "a.wav" in str(caught.value)


def test_a_cut_off_flac_is_named_when_imported(tmp_path):
    audio = tmp_path / "a.flac"
    sound(audio)
    audio.write_bytes(audio.read_bytes()[:8000])
    with pytest.raises(AsrLabError, match="cut off"):
        manifest.utterance(id="a", audio=audio, text="x", speaker="s")


def test_missing_audio_is_reported_without_opening_any(corpus):
    (corpus.parent / "audio" / "u03.wav").unlink()
    with pytest.raises(AsrLabError, match=r"1 audio file is not there: .*u03"):
        manifest.check_files(manifest.read(corpus), where=str(corpus))


def test_missing_audio_is_reported_when_it_is_read(corpus):
    (corpus.parent / "audio" / "u03.wav").unlink()
    said = refused("data", "check", corpus)
    assert "u03: no such audio file" in said
    assert "1 of 24 utterances cannot be used" in said


@pytest.mark.parametrize(
    ("start", "duration"),
    [(5.0, 1.0), (0.0, 3.0), (-2.0, 1.0), (0.5, 0.7), (0.0, 0.0), (0.5, -0.2), (float("nan"), 1.0)],
)
def test_a_supervision_outside_its_cut_is_refused(tmp_path, corpus, start, duration):
    with gzip.open(corpus, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    rows[0]["supervisions"][0] |= {"start": start, "duration": duration}
    with gzip.open(corpus, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    said = refused("data", "check", corpus)
    assert "1 utterance whose supervision is not inside the cut" in said
    assert rows[0]["id"] in said


def test_a_supervision_may_be_a_part_of_its_cut_or_differ_by_rounding(corpus):
    for start, longer in ((0.2, -0.3), (0.0, 0.009), (-0.001, 0.0)):
        cuts = list(manifest.read(corpus))
        segment = manifest.supervision(cuts[0])
        segment.start, segment.duration = start, cuts[0].duration + longer
        manifest.check(cuts)


def test_a_table_in_place_of_a_manifest_is_refused_with_its_import(tmp_path):
    table = tmp_path / "내 표.csv"
    table.write_text("audio,text,speaker\na.wav,안녕,kim\n", encoding="utf-8")
    with pytest.raises(AsrLabError) as error:
        manifest.read(table)
    assert error.value.next_command == f"asr-lab data import '{table}' OUT"
