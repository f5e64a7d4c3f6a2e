"""Each kind of corpus in its true layout: what is read, what is left to guess, and what is refused by name."""

import csv
import gzip
import importlib.util
import json
import shutil
from pathlib import Path
from unicodedata import normalize

import corpora
import numpy as np
import pytest
import soundfile
from conftest import ok, refused
from lhotse import MonoCut, Recording, RecordingSet, SupervisionSegment, SupervisionSet

from asr_lab.data import manifest
from asr_lab.data.cut_audio import read_cut
from asr_lab.data.importers.import_report import ImportRefusedError
from asr_lab.data.importers.recognition import recognize
from asr_lab.data.importers.registry import IMPORTERS, import_corpus
from asr_lab.errors import AsrLabError


def read(kind, source, **options):
    return import_corpus(kind, source, source.parent / "out", options)


def texts(result):
    return {split: [manifest.text(cut) for cut in cuts] for split, cuts in result.splits.items()}


def speakers(result):
    return {str(manifest.supervision(cut).speaker) for cuts in result.splits.values() for cut in cuts}


def guessed(result):
    return {manifest.field(cut, "guessed") for cuts in result.splits.values() for cut in cuts}


def faults(kind, source, **options):
    with pytest.raises(ImportRefusedError) as error:
        read(kind, source, **options)
    return [(fault.line, fault.kind.partition(",")[0]) for fault in error.value.report.faults]


@pytest.mark.parametrize("kind", IMPORTERS)
def test_the_help_of_a_kind_shows_its_layout_and_its_own_options(kind):
    shown = ok("data", "import", kind, "--help")
    assert all(line.strip() in shown for line in IMPORTERS[kind].layout.splitlines())
    assert IMPORTERS[kind].layout
    flags = {option.flag for option in IMPORTERS[kind].options if not option.positional}
    assert all(flag in shown for flag in flags)
    assert ("--drop-silence" in shown) == ("--drop-silence" in flags)


# --- NeMo ---------------------------------------------------------------------------------------------------


def test_nemo_manifests_are_cut_by_offset_and_duration(tmp_path):
    result = read("nemo", corpora.nemo(tmp_path / "n"))
    assert [(round(cut.start, 3), round(cut.duration, 3)) for cut in result.splits["all"]] == [
        (0.5, 1.2), (1.9, 1.0), (0.0, 0.8),
    ]  # fmt: skip
    assert texts(result) == {"all": ["첫 문장", "둘째 문장", "셋째"]}
    assert (speakers(result), guessed(result)) == ({"unknown"}, {"speaker"})
    assert {manifest.field(cut, "language") for cut in result.splits["all"]} == {"ko"}


def test_a_duration_without_an_offset_is_the_start_of_the_file_as_in_nemo(tmp_path):
    corpora.sound(tmp_path / "a.wav", 2.0)
    source = corpora.lines_of_json(tmp_path / "m.json", {"audio_filepath": "a.wav", "duration": 0.7, "text": "가"})
    (cut,) = read("nemo", source, one_speaker="미나").splits["all"]
    assert (cut.start, cut.duration, manifest.field(cut, "speaker")) == (0.0, 0.7, "미나")


def test_nemo_paths_may_start_from_the_working_folder(tmp_path, monkeypatch):
    corpora.sound(tmp_path / "audio" / "a.wav")
    source = corpora.lines_of_json(tmp_path / "m" / "m.json", {"audio_filepath": "audio/a.wav", "text": "가"})
    assert faults("nemo", source) == [(1, "no such audio file")]
    monkeypatch.chdir(tmp_path)
    assert texts(read("nemo", source)) == {"all": ["가"]}


def test_a_folder_of_nemo_manifests_is_read_by_split(tmp_path):
    source = corpora.nemo(tmp_path / "n").parent
    shutil.copy(source / "train_manifest.json", source / "dev_manifest.json")
    assert {part: len(cuts) for part, cuts in read("nemo", source).splits.items()} == {"train": 3, "val": 3}


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("form", ["nemo", "kaldi"])
def test_what_is_exported_is_read_back(tmp_path, form, copy):
    source = corpora.nemo(tmp_path / "n")
    rows = [json.loads(line) | {"age": "7세"} for line in source.read_text(encoding="utf-8").splitlines()]
    corpora.lines_of_json(source, *rows)
    ok("data", "import", "nemo", source, tmp_path / "m", "--one-speaker", "미나")
    first = manifest.read(tmp_path / "m" / "all.jsonl.gz")
    target = tmp_path / ("x.json" if form == "nemo" else "x")
    more = ["--copy-audio"] if copy else []
    ok("data", "export", form, tmp_path / "m" / "all.jsonl.gz", target, *more)
    assert "would be replaced" in refused("data", "export", form, tmp_path / "m" / "all.jsonl.gz", target, *more)
    ok("data", "import", form, target, tmp_path / "back")
    again = manifest.read(tmp_path / "back" / "all.jsonl.gz")
    by_text = {manifest.text(cut): cut for cut in again}
    assert len(by_text) == len(first) == 3
    for cut in first:
        other = by_text[manifest.text(cut)]
        assert manifest.field(other, "speaker") == "미나"
        assert (manifest.field(other, "language"), manifest.field(other, "age")) == ("ko", 7)
        assert np.allclose(read_cut(other), read_cut(cut), atol=1e-4)
    if form == "kaldi":
        rows = [line.split()[0] for line in (target / "text").read_text(encoding="utf-8").splitlines()]
        assert rows == sorted(rows, key=str.encode)
        assert all(row.startswith("미나-") for row in rows)
        assert (target / "segments").exists() != copy


def test_headerless_audio_is_exported_as_copies_only(tmp_path):
    ok("data", "import", "ksponspeech", corpora.ksponspeech(tmp_path / "k"), tmp_path / "m")
    path, out = tmp_path / "m" / "train.jsonl.gz", tmp_path / "x" / "k.json"
    assert "--copy-audio" in refused("data", "export", "nemo", path, out)
    ok("data", "export", "nemo", path, out, "--copy-audio")
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [(out.parent / row["audio_filepath"]).is_file() for row in rows] == [True, True]
    again = refused("data", "export", "kaldi", path, tmp_path / "k")
    assert "would be replaced" in again


# --- LibriSpeech and Zeroth -----------------------------------------------------------------------------------


def test_zeroth_as_it_lies(tmp_path):
    result = read("zeroth", corpora.zeroth(tmp_path / "z"))
    assert {part: len(cuts) for part, cuts in result.splits.items()} == {"train": 4, "test": 2}
    assert speakers(result) == {"106", "107", "201"}
    assert guessed(result) == {None}
    genders = {manifest.field(cut, "speaker"): manifest.field(cut, "gender") for cut in result.splits["train"]}
    assert genders == {"106": "female", "107": "male"}
    assert "Made" not in json.dumps(
        [cut.to_dict() for cut in result.splits["train"]]
    )  # people's names stay where they are


@pytest.mark.parametrize(
    ("inner", "splits"),
    [
        ("", {"train": 4, "val": 2}),
        ("train-clean-100", {"train": 2}),
        ("dev-clean/84", {"val": 2}),
        ("train-other-500/26/208", {"train": 2}),
    ],
)
def test_librispeech_from_any_level(tmp_path, inner, splits):
    result = import_corpus("librispeech", corpora.librispeech(tmp_path / "LibriSpeech") / inner, tmp_path / "out")
    assert {part: len(cuts) for part, cuts in result.splits.items()} == splits
    assert all(manifest.field(cut, "gender") for cuts in result.splits.values() for cut in cuts)


def test_several_test_sets_of_librispeech_stay_apart(tmp_path):
    source = corpora.librispeech(tmp_path / "LibriSpeech")
    shutil.copytree(source / "dev-clean", source / "dev-other")
    assert set(read("librispeech", source).splits) == {"train", "dev-clean", "dev-other"}


def test_a_line_of_librispeech_without_audio_is_named(tmp_path):
    source = corpora.zeroth(tmp_path / "z")
    (source / "train_data_01" / "003" / "106" / "106_003_0002.flac").unlink()
    assert faults("zeroth", source) == [(2, "no such audio file")]
    assert read("zeroth", source, skip_faulty=True).summary.startswith("6 utterances read, 5 imported, 1 left out")


# --- Common Voice ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", corpora.COMMON_VOICE)
def test_common_voice_of_any_release(tmp_path, release):
    result = read("commonvoice", corpora.common_voice(tmp_path / "ko", release))
    assert {part: len(cuts) for part, cuts in result.splits.items()} == {"train": 2, "val": 1, "test": 1}
    cut = result.splits["train"][0]
    assert manifest.text(cut) == '그는 "1" 번 웃었다'
    assert [manifest.field(cut, name) for name in ("gender", "age_group")] == ["female", "20-29"]
    assert manifest.field(cut, "language") == (None if release == "2019" else "ko")


def test_common_voice_by_its_folder_and_by_one_table(tmp_path):
    source = corpora.common_voice(tmp_path / "cv" / "ko")
    assert set(import_corpus("commonvoice", tmp_path / "cv", tmp_path / "out").splits) == {"train", "val", "test"}
    assert len(import_corpus("commonvoice", source / "validated.tsv", tmp_path / "out").splits["all"]) == 4
    corpora.common_voice(tmp_path / "cv" / "en")
    with pytest.raises(AsrLabError, match="several languages: en, ko"):
        import_corpus("commonvoice", tmp_path / "cv", tmp_path / "out")


def test_a_quote_in_a_table_with_tabs_glues_no_rows(tmp_path):
    for name in "ab":
        corpora.sound(tmp_path / f"{name}.wav")
    source = corpora.text(tmp_path / "t.tsv", 'audio\ttext\tspeaker\na.wav\t"그는\tx\nb.wav\t웃었다"\ty\n')
    assert texts(read("csv", source)) == {"all": ['"그는', '웃었다"']}


# --- KsponSpeech ----------------------------------------------------------------------------------------------


def test_ksponspeech_by_its_lists(tmp_path):
    result = read("ksponspeech", corpora.ksponspeech(tmp_path / "k"))
    assert {part: len(cuts) for part, cuts in result.splits.items()} == {"train": 2, "val": 1, "eval_clean": 2}
    assert texts(result)["train"][1] == "나는 (70%)/(칠십 퍼센트) 확률이라고 봐."
    assert guessed(result) == {"speaker"}
    assert all(cut.duration == pytest.approx(0.6) for cut in result.splits["train"])


def test_ksponspeech_by_the_texts_beside_it_in_cp949(tmp_path):
    source = corpora.ksponspeech(tmp_path / "k", scripts=False)
    assert len(faults("ksponspeech", source)) == 2  # the evaluation's recordings have no .txt here
    result = read("ksponspeech", source / "KsponSpeech_01")
    assert texts(result)["all"][0] == "b/ 아/ 몬 소리야 그건 또. b/"
    assert sorted(cut.id for cut in result.splits["all"])[0] == "KsponSpeech_000001"


def test_one_list_of_ksponspeech_and_a_recording_that_is_not_there(tmp_path):
    source = corpora.ksponspeech(tmp_path / "k")
    (source / "KsponSpeech_01" / "KsponSpeech_0002" / "KsponSpeech_000002.pcm").unlink()
    path = source / "KsponSpeech_scripts" / "train.trn"
    assert faults("ksponspeech", path) == [(2, "no such recording")]
    assert set(read("ksponspeech", path, skip_faulty=True).splits) == {"train"}


# --- AI-Hub ---------------------------------------------------------------------------------------------------


def test_one_label_of_ai_hub_for_two_recordings(tmp_path):
    result = read("aihub", corpora.aihub_command(tmp_path / "c"))
    assert {part: len(cuts) for part, cuts in result.splits.items()} == {"train": 4, "val": 4}
    assert sorted(cut.id for cut in result.splits["train"])[:2] == ["T-CMD-001-N", "T-CMD-001-S"]
    assert speakers(result) == {"T001", "T002", "V001", "V002"}
    assert "a label without audio" not in result.report.left_out


def test_recordings_of_one_label_that_differ_in_length_are_faults(tmp_path):
    source = corpora.aihub_command(tmp_path / "c")
    corpora.sound(next(source.rglob("T-CMD-001-N.wav")), 1.5)
    assert [kind for _, kind in faults("aihub", source)] == ["the recordings of one label differ in length"] * 2


def test_a_label_of_ai_hub_that_is_a_list_of_readings(tmp_path):
    result = read("aihub", corpora.aihub_reading(tmp_path / "r"))
    assert texts(result) == {"train": ["1 번 웃었다", "2 번 웃었다"] * 2, "val": ["1 번 웃었다", "2 번 웃었다"] * 2}
    assert speakers(result) == {"10", "20", "11", "21"}
    assert {manifest.field(cut, "age") for cut in result.splits["val"]} == {41}


def test_the_speaker_of_ai_hub_in_the_file_name(tmp_path):
    source = corpora.aihub_medical(tmp_path / "m")
    with pytest.raises(ImportRefusedError) as error:
        read("aihub", source)
    assert "--speaker-from" in error.value.hint
    result = read("aihub", source, speaker_from=r"(?P<speaker>PA_\d+)")
    assert (speakers(result), guessed(result)) == ({"PA_0016", "PA_0017"}, {None})
    assert {kind for _, kind in faults("aihub", source, speaker_from=r"(?P<speaker>HB_\d+)")} == {
        "--speaker-from matches neither path nor id"
    }


# --- Hugging Face ---------------------------------------------------------------------------------------------


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


# --- Lhotse ---------------------------------------------------------------------------------------------------


def lhotse_cuts(root):
    """Cuts of one file, in two utterances; made faster; padded; mixed with noise; noise alone."""
    recordings = {}
    for number, (name, seconds) in enumerate({"a": 2.0, "b": 1.0, "n": 3.0}.items()):
        recordings[name] = Recording.from_file(corpora.sound(root / f"{name}.wav", seconds, number), recording_id=name)
    segments = [
        SupervisionSegment("s1", "a", 0.2, 0.7, text="하나", speaker="미나", language="ko"),
        SupervisionSegment("s2", "a", 1.1, 0.6, text="둘", speaker="주노"),
        SupervisionSegment("s3", "b", 0.0, 1.0, text="셋", speaker="주노"),
    ]
    two = MonoCut("two", 0, 2.0, 0, supervisions=segments[:2], recording=recordings["a"])
    one = MonoCut("one", 0, 1.0, 0, supervisions=segments[2:], recording=recordings["b"])
    noise = MonoCut("noise", 0, 3.0, 0, recording=recordings["n"])
    cuts = [two, one, one.perturb_speed(1.1).with_id("fast"), one.pad(2.0).with_id("padded")]
    return [*cuts, one.mix(noise, snr=10).with_id("mixed"), noise], recordings, segments


def write_cuts(path, cuts):
    content = "".join(json.dumps(cut.to_dict()) + "\n" for cut in cuts).replace(f"{path.parent}/", "").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["cuts.jsonl", "cuts.jsonl.gz"])
def test_cuts_of_lhotse_are_read_and_rendered_where_they_must_be(tmp_path, name):
    cuts, _, _ = lhotse_cuts(tmp_path)
    result = read("cuts", write_cuts(tmp_path / name, cuts))
    of = {cut.id: cut for cut in result.splits["all"]}
    assert {id: round(cut.duration, 2) for id, cut in of.items()} == {
        "s1": 0.7, "s2": 0.6, "one": 1.0, "fast": 0.91, "padded": 2.0, "mixed": 3.0,
    }  # fmt: skip
    assert result.report.left_out == {"a cut without a supervision": 1}
    speech = soundfile.read(tmp_path / "b.wav", dtype="float32")[0]
    assert np.allclose(read_cut(of["one"]), speech)
    assert np.allclose(read_cut(of["padded"])[:16000], speech, atol=1e-3)
    assert not np.allclose(read_cut(of["mixed"])[:16000], speech, atol=1e-3)
    rendered = [id for id, cut in of.items() if "out/audio" in cut.recording.sources[0].source]
    assert rendered == ["fast", "padded", "mixed"]
    manifest.write(result.splits["all"], tmp_path / "all.jsonl.gz")
    assert len(manifest.read(tmp_path / "all.jsonl.gz")) == 6


def test_commands_in_cuts_are_not_run_and_overlaps_are_faults(tmp_path):
    cuts, _, _ = lhotse_cuts(tmp_path)
    path = write_cuts(tmp_path / "cuts.jsonl", cuts[:2])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["supervisions"][1]["start"] = 0.3
    rows[1]["recording"]["sources"][0] |= {"type": "command", "source": f"touch {tmp_path}/ran"}
    corpora.lines_of_json(path, *rows)
    assert faults("cuts", path) == [(1, "2 supervisions overlap"), (2, "the audio is a command")]
    assert not (tmp_path / "ran").exists()


def test_a_cut_that_is_longer_than_its_supervision_is_cut_to_it(tmp_path):
    cuts, _, _ = lhotse_cuts(tmp_path)
    path = write_cuts(tmp_path / "cuts.jsonl", [cut for cut in cuts if cut.id == "one"])
    (row,) = [json.loads(line) for line in path.read_text().splitlines()]
    row["supervisions"][0] |= {"start": 0.25, "duration": 0.5}
    result = read("cuts", corpora.lines_of_json(path, row))
    assert [(cut.start, cut.end) for cut in result.splits["all"]] == [(0.25, 0.75)]
    assert any("longer than their supervision" in note for note in result.report.notes)


def test_recordings_and_supervisions_of_lhotse(tmp_path):
    _, recordings, segments = lhotse_cuts(tmp_path / "in")
    RecordingSet.from_recordings(recordings.values()).to_file(tmp_path / "in" / "x_recordings_train.jsonl.gz")
    lost = SupervisionSegment("s9", "zz", 0, 1.0, text="구")
    path = tmp_path / "in" / "x_supervisions_train.jsonl.gz"
    SupervisionSet.from_segments([*segments, lost]).to_file(path)
    assert faults("cuts", tmp_path / "in") == [(4, "no recording of its supervision")]
    result = read("cuts", tmp_path / "in", skip_faulty=True)
    assert {cut.id: manifest.text(cut) for cut in result.splits["all"]} == {"s1": "하나", "s2": "둘", "s3": "셋"}


# --- folders of audio and texts -------------------------------------------------------------------------------


def test_a_text_beside_each_recording(tmp_path):
    result = read("folder", corpora.texts_beside(tmp_path / "t"))
    assert [manifest.text(cut) for cut in result.splits["all"]] == ["그는 1 번 웃었다", "그는 2 번 웃었다"] * 2
    assert (speakers(result), guessed(result)) == ({"mina", "juno"}, {"speaker"})
    assert "2 text files are read as CP949" in result.report.notes
    (tmp_path / "t" / "mina" / "2.txt").rename(tmp_path / "t" / "mina" / "2.LAB")
    assert len(read("folder", tmp_path / "t").splits["all"]) == 4
    (tmp_path / "t" / "mina" / "1.txt").unlink()
    assert [kind for _, kind in faults("folder", tmp_path / "t")] == ["no text file beside it"]


@pytest.mark.parametrize("form", ["kss", "ljspeech", "tabs", "spaces", "colons"])
def test_the_transcripts_of_all_in_one_file(tmp_path, form):
    result = read("folder", corpora.one_file_of_texts(tmp_path / "t", form), one_speaker="kss")
    expected = {"kss": "1번 웃었다.", "ljspeech": "1 times"}
    assert manifest.text(result.splits["all"][0]) == expected.get(form, "그는 1 번 웃었다")
    assert any("more than two columns" in note for note in result.report.notes) == (form in expected)


def test_recordings_without_a_transcript_and_lines_without_a_recording_are_named(tmp_path):
    source = corpora.one_file_of_texts(tmp_path / "t", "tabs")
    corpora.sound(source / "1" / "1_0003.wav")
    with (source / "transcript.txt").open("a", encoding="utf-8") as file:
        file.write("1/none.wav\t없다\n")
    assert faults("folder", source) == [(3, "no audio file of that name"), (0, "no transcript")]


@pytest.mark.parametrize(
    "line",
    ["1/1_{n:04}.wav|{n}|그는 웃었다", "1/1_{n:04}.wav\tmina\t그는 웃었다", "1/1_{n:04}.wav,그는 웃었다,mina"],
)
def test_columns_that_may_be_speakers_are_not_taken_for_texts(tmp_path, line):
    source = corpora.one_file_of_texts(tmp_path / "t", "tabs")
    rows = "\n".join(line.format(n=n) for n in (1, 2))
    corpora.text(source / "transcript.txt", rows)
    with pytest.raises(AsrLabError, match="it has 3 columns, and no header"):
        read("folder", source)
    corpora.text(source / "transcript.txt", f"path,text\n{rows}" if "," in line else f"path\ttext\n{rows}")
    with pytest.raises(AsrLabError) as error:
        read("folder", source)
    assert "import csv" in error.value.next_command


@pytest.mark.parametrize(
    ("line", "encoding"),
    [
        ("소리{0}\t말 {0}\n", "utf-8-sig"),
        ("말 {0} (소리{0})\n", "cp949"),
        ("C:\\rec\\소리{0}.wav | 말 {0}\n", "utf-16"),
    ],
)
def test_names_without_suffix_or_of_another_machine_are_no_header(tmp_path, line, encoding):
    for number in range(3):
        corpora.sound(tmp_path / "in" / f"{normalize('NFD', '소리')}{number}.wav")
    (tmp_path / "in" / "transcript.txt").write_text("".join(map(line.format, range(3))), encoding=encoding)
    assert recognize(tmp_path / "in", tmp_path / "out").kind == "folder"
    assert texts(read("folder", tmp_path / "in")) == {"all": ["말 0", "말 1", "말 2"]}


def test_two_files_that_may_hold_the_transcripts_must_be_distinguished(tmp_path):
    source = corpora.one_file_of_texts(tmp_path / "t", "tabs")
    shutil.copy(source / "transcript.txt", source / "old.txt")
    with pytest.raises(AsrLabError) as error:
        read("folder", source)
    assert "--transcripts" in error.value.hint
    assert len(read("folder", source, transcripts=source / "old.txt").splits["all"]) == 2


# --- tables ---------------------------------------------------------------------------------------------------

ROWS = {"파일명": "a.wav", "내용": "그는 웃었다", "화자": "미나"}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "utf-8-sig", "utf-8"])
def test_tables_as_excel_saves_them_in_korea(tmp_path, encoding, separator):
    corpora.sound(tmp_path / "a.wav")
    lines = f"{separator.join(ROWS)}\r\n{separator.join(ROWS.values())}\r\n{separator * 2}\r\n"
    source = corpora.text(tmp_path / "table.csv", lines, encoding)
    columns = "audio=파일명,text=내용,speaker=화자"
    printed = ok("data", "import", "csv", source, tmp_path / "out", "--columns", columns)
    assert ("read as" in printed) == (encoding in ("cp949", "utf-16"))
    (cut,) = manifest.read(tmp_path / "out" / "all.jsonl.gz")
    assert [manifest.field(cut, name) for name in ("text", "speaker")] == ["그는 웃었다", "미나"]


def test_a_first_line_of_excel_names_the_separator_and_lines_are_counted_from_it(tmp_path):
    source = corpora.text(tmp_path / "t.csv", "sep=|\r\naudio|text|speaker\r\na.wav|가, 나; 다|x\r\nnone.wav|라|x\r\n")
    corpora.sound(tmp_path / "a.wav")
    assert faults("csv", source) == [(4, "no such audio file")]
    assert texts(read("csv", source, skip_faulty=True)) == {"all": ["가, 나; 다"]}


@pytest.mark.parametrize(
    "content",
    [
        "audio,text\na.wav,caf\xe9 na\xefve\n".encode("latin-1"),
        b"a\0u\0d\0i\0o\0",
        b"\xef\xbb\xbfaudio,text,speaker\na.wav,\xb0\xa1,x\n",
        "audio,text".encode("utf-16") + b"\n",
    ],
)
def test_other_encodings_are_refused(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(AsrLabError) as error:
        read("csv", tmp_path / "t.csv")
    assert "UTF-8" in error.value.allowed + error.value.hint


@pytest.mark.parametrize(("disk", "table"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_names_in_another_normal_form_are_the_same(tmp_path, disk, table):
    (cut,) = read("csv", corpora.names_in_nfd(tmp_path / "n", on_disk=disk, in_table=table)).splits["all"]
    assert cut.id == "녹음-첫째"
    assert manifest.field(cut, "speaker") == "미나"


def test_names_without_a_suffix_and_with_backslashes(tmp_path):
    corpora.sound(tmp_path / "wav" / "a.wav")
    source = corpora.text(tmp_path / "t.csv", "audio,text,speaker\nwav\\a,가,x\n")
    assert len(read("csv", source).splits["all"]) == 1
    corpora.sound(tmp_path / "wav" / "a.flac")
    with pytest.raises(ImportRefusedError) as error:
        read("csv", source)
    assert "a.flac, a.wav" in error.value.hint


def test_the_columns_of_another_kind_name_its_command(tmp_path):
    source = corpora.nemo(tmp_path / "n").rename(tmp_path / "n" / "m.jsonl")
    with pytest.raises(AsrLabError) as error:
        read("jsonl", source)
    assert error.value.next_command.startswith(f"asr-lab data import nemo {source} ")


def test_speakers_by_a_pattern_or_one_for_all(tmp_path):
    for name in ("kim_1.wav", "lee_1.wav"):
        corpora.sound(tmp_path / name)
    source = corpora.text(tmp_path / "t.csv", "audio,text\nkim_1.wav,가\nlee_1.wav,나\n")
    with pytest.raises(AsrLabError) as error:
        read("csv", source)
    assert "--speaker-from" in error.value.hint
    assert speakers(read("csv", source, speaker_from="^([a-z]+)_")) == {"kim", "lee"}
    assert speakers(read("csv", source, one_speaker="미나")) == {"미나"}
    for pattern in ("kim", "(", "(a)(b)"):
        with pytest.raises(AsrLabError, match="--speaker-from"):
            read("csv", source, speaker_from=pattern)
    with pytest.raises(AsrLabError, match="exclude each other"):
        read("csv", source, speaker_from="(k)", one_speaker="x")


# --- audio ----------------------------------------------------------------------------------------------------

needs_pyav = pytest.mark.skipif(not importlib.util.find_spec("av"), reason="PyAV is not there (the extra media)")


def encode(path, codec, rate):
    import av
    import soxr

    signal = soxr.resample(corpora.samples(2.0), corpora.RATE, rate)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray((signal * 32767).astype("<i2").reshape(1, -1), format="s16", layout="mono")
        frame.rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


@needs_pyav
@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("a.m4a", "aac", 16000), ("a.aac", "aac", 16000), ("a.mp4", "aac", 44100), ("a.webm", "libopus", 48000)],
)
def test_audio_that_needs_a_decoder_becomes_flac(tmp_path, name, codec, rate):
    encode(tmp_path / name, codec, rate)
    source = corpora.text(tmp_path / "t.csv", f"audio,text,speaker,start,end\n{name},가,x,0.5,1.5\n")
    result = read("csv", source)
    (cut,) = result.splits["all"]
    assert (cut.recording.sampling_rate, cut.duration) == (rate, 1.0)
    assert cut.recording.sources[0].source == str(tmp_path / "out" / "audio" / f"{name}.flac")
    assert len(read_cut(cut)) == 16000
    assert any("decoded to FLAC" in note for note in result.report.notes)


@needs_pyav
def test_media_that_are_cut_off_are_refused(tmp_path):
    encode(tmp_path / "a.webm", "libopus", 48000)
    (tmp_path / "a.webm").write_bytes((tmp_path / "a.webm").read_bytes()[:9000])
    source = corpora.text(tmp_path / "t.csv", "audio,text,speaker\na.webm,가,x\n")
    assert faults("csv", source) == [(2, "the audio cannot be decoded")]


FFMPEG = """#!/bin/sh
echo "  Duration: 00:00:{seconds}, start: 0.000000" >&2
for last; do :; done
cp {file} "${{last#file:}}"
"""


@pytest.mark.parametrize(("seconds", "is_whole"), [("00.60", True), ("09.00", False)])
def test_ffmpeg_decodes_where_pyav_is_not_there(tmp_path, monkeypatch, seconds, is_whole):
    """A stand-in for ffmpeg: it says how long the input is, and writes a FLAC of 0.6 s."""
    script = corpora.text(tmp_path / "bin" / "ffmpeg", FFMPEG.format(seconds=seconds, file=tmp_path / "done.flac"))
    script.chmod(0o755)
    corpora.sound(tmp_path / "done.flac", 0.6)
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A isom" + b"\0" * 400)
    source = corpora.text(tmp_path / "t.csv", "audio,text,speaker\na.m4a,가,x\n")
    monkeypatch.setattr("asr_lab.data.media.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    if is_whole:
        (cut,) = read("csv", source).splits["all"]
        assert cut.recording.sources[0].source == str(tmp_path / "out" / "audio" / "a.m4a.flac")
    else:
        assert faults("csv", source) == [(2, "the audio cannot be decoded")]


def test_without_a_decoder_both_ways_are_named(tmp_path, monkeypatch):
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A isom" + b"\0" * 400)
    source = corpora.text(tmp_path / "t.csv", "audio,text,speaker\na.m4a,가,x\n")
    monkeypatch.setattr("asr_lab.data.media.find_spec", lambda name: None)
    monkeypatch.setattr("asr_lab.data.media.shutil.which", lambda name: None)
    with pytest.raises(ImportRefusedError) as error:
        read("csv", source)
    (fault,) = error.value.report.faults
    assert (fault.line, "PyAV" in fault.allowed, "ffmpeg" in fault.allowed) == (2, True, True)
    assert not (tmp_path / "out").exists()


def test_git_lfs_pointers_are_called_so(tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n"
    corpora.text(tmp_path / "a.wav", pointer)
    source = corpora.text(tmp_path / "t.csv", "audio,text,speaker\na.wav,가,x\n")
    with pytest.raises(ImportRefusedError) as error:
        read("csv", source)
    assert "git lfs pull" in error.value.report.faults[0].hint
    with pytest.raises(AsrLabError, match="a Git LFS pointer"):
        read("csv", corpora.text(tmp_path / "p.csv", pointer))


def test_one_odd_file_among_many_is_left_out_and_listed(tmp_path):
    for number in range(30):
        corpora.sound(tmp_path / "t" / f"{number}.wav", 0.1)
        corpora.text(tmp_path / "t" / f"{number}.txt", "가")
    (tmp_path / "t" / "7.wav").write_bytes(b"RIFF")
    out = tmp_path / "out"
    assert "7.wav" in refused("data", "import", "folder", tmp_path / "t", out, "--one-speaker", "미나")
    printed = ok("data", "import", "folder", tmp_path / "t", out, "--one-speaker", "미나", "--skip-faulty")
    assert "30 utterances read, 29 imported, 1 left out" in printed
    with (out / "faults.tsv").open(encoding="utf-8", newline="") as file:
        assert [row["utterance"] for row in csv.DictReader(file, delimiter="\t")] == ["7.wav"]


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
