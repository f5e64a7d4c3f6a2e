"""Data of Hugging Face: audio folders, parquet, and what `save_to_disk` writes."""

from pathlib import Path

import corpora
import numpy as np
import pytest
import soundfile
from imported import faults, guessed, read, speakers, texts

from asr_lab.data import manifest
from asr_lab.data.importers.import_report import ImportRefusedError
from asr_lab.data.importers.registry import import_corpus
from asr_lab.errors import AsrLabError


@pytest.mark.parametrize("table", ["metadata.csv", "metadata.jsonl"])
def test_audio_folders_of_hugging_face(tmp_path, table):
    source = corpora.audio_folder(tmp_path / "h", table)
    result = read("huggingface", source)
    assert texts(result) == {part: ["그는 0 번, 웃었다", "그는 1 번, 웃었다"] for part in ("train", "val")}
    named = read("huggingface", source, speaker_from=r"/?([a-z]+)-\d")
    assert (speakers(named), guessed(named)) == ({"train", "validation"}, {None})


def test_one_table_for_all_splits_is_split_by_folders_which_are_no_speakers(tmp_path):
    for name in ("train/x.wav", "test/y.wav"):
        corpora.sound(tmp_path / "h" / name)
    corpora.text(tmp_path / "h" / "metadata.csv", "file_name,text\ntrain/x.wav,가\ntest/y.wav,나\n")
    result = read("huggingface", tmp_path / "h")
    assert texts(result) == {"train": ["가"], "test": ["나"]}
    assert (speakers(result), guessed(result)) == ({"unknown"}, {"speaker"})


def test_parquet_with_plain_bytes_or_samples(tmp_path):
    import pyarrow.parquet

    (tmp_path / "p").mkdir()
    corpora.sound(tmp_path / "a.wav")
    content = (tmp_path / "a.wav").read_bytes()
    for part, audio in (("train", content), ("test", {"array": [0.0, 0.1] * 8000, "sampling_rate": 16000})):
        rows = pyarrow.Table.from_pylist([{"audio": audio, "text": "가"}])
        pyarrow.parquet.write_table(rows, tmp_path / "p" / f"{part}.parquet")
    splits = read("huggingface", tmp_path / "p").splits
    assert {part: len(cuts) for part, cuts in splits.items()} == {"train": 1, "test": 1}
    (wav,) = (cut.recording.sources[0].source for cut in splits["train"])
    assert Path(wav).read_bytes() == content
    assert [cut.duration for cut in splits["test"]] == [1.0]
    rows = [{"audio": b"no audio", "text": "가"}, {"audio": content, "text": "나"}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "p" / "test.parquet")
    assert faults("huggingface", tmp_path / "p") == [(1, "bytes that are no audio file")]


def test_parquet_with_audio_and_what_save_to_disk_writes(tmp_path):
    corpora.parquet(tmp_path / "p" / ".tables")  # of manifests that were written there
    result = read("huggingface", corpora.parquet(tmp_path / "p"))
    assert {part: [cut.id for cut in cuts] for part, cuts in result.splits.items()} == {
        "train": ["train_0001", "train_0002", "train_0003"], "test": ["test_0004"],
    }  # fmt: skip
    assert speakers(result) == {"0", "1"}
    written = soundfile.read(tmp_path / "out" / "audio" / "train" / "train_0002.flac", dtype="float32")[0]
    assert np.allclose(written, corpora.samples(seed=2), atol=1e-3)
    saved = import_corpus("huggingface", corpora.saved_to_disk(tmp_path / "s"), tmp_path / "other")
    assert texts(saved) == {"train": ["그는 1 번 웃었다", "그는 2 번 웃었다"], "test": ["그는 3 번 웃었다"]}


def test_a_refused_import_takes_back_the_audio_it_wrote(tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = [{"audio": {"bytes": corpora.encoded(), "path": "a.flac"}, "text": text} for text in ("가", "")]
    (tmp_path / "p").mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "p" / "train.parquet")
    assert faults("huggingface", tmp_path / "p") == [(2, "the transcript is missing")]
    assert not (tmp_path / "out").exists()
    result = read("huggingface", tmp_path / "p", skip_faulty=True)
    assert result.report.faults[0].location.endswith("train.parquet, row 2")


def test_ids_of_a_dataset_that_are_not_of_utterances_are_kept_as_a_field(tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = [{"id": 7, "audio": {"bytes": corpora.encoded(seed=n), "path": None}, "text": "가"} for n in (1, 2)]
    (tmp_path / "p").mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "p" / "train.parquet")
    cuts = read("huggingface", tmp_path / "p").splits["train"]
    assert [(cut.id, manifest.field(cut, "id_column")) for cut in cuts] == [("train-000001", 7), ("train-000002", 7)]


def test_several_columns_that_may_be_the_text_must_be_chosen(tmp_path):
    source = corpora.lines_of_json(tmp_path / "metadata.jsonl", {"file_name": "a.wav", "text": "가", "sentence": "나"})
    corpora.sound(tmp_path / "a.wav")
    with pytest.raises(AsrLabError, match="several columns may be the text: text, sentence"):
        read("huggingface", source)
    assert texts(read("huggingface", source, keys={"text": "sentence"})) == {"all": ["나"]}


def test_parquet_that_names_files_reads_them_and_names_what_is_not_there(tmp_path, monkeypatch):
    """As `Dataset.to_parquet` writes it: paths as they were given, from the working folder."""
    import pyarrow.parquet

    corpora.sound(tmp_path / "wav" / "a.wav")
    rows = [{"audio": {"bytes": None, "path": "wav/a.wav"}, "sentence": "하나", "client_id": "k"}]
    (tmp_path / "data").mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "data" / "train-0.parquet")
    with pytest.raises(ImportRefusedError) as error:
        read("huggingface", tmp_path / "data")
    assert [fault.item for fault in error.value.report.faults] == ["a.wav"]
    monkeypatch.chdir(tmp_path)
    assert texts(read("huggingface", tmp_path / "data")) == {"train": ["하나"]}
