"""Tables as researchers have them: pieces of files, lines and quotes, ages and genders, and what is left out."""

import csv
import json
import re

import numpy as np
import pytest
import soundfile
from conftest import ok, refused
from corpora import sound

from asr_lab.data import manifest
from asr_lab.data.cut_audio import read_cut
from asr_lab.data.importers.import_report import ImportRefusedError
from asr_lab.data.importers.pieces import meaning
from asr_lab.data.importers.registry import IMPORTERS, import_corpus
from asr_lab.data.text_files import lines, read_table
from asr_lab.errors import AsrLabError

LONG_S = 7.83


@pytest.fixture
def folder(tmp_path):
    sound(tmp_path / "long.wav", LONG_S)
    sound(tmp_path / "a.wav", 1.0)
    sound(tmp_path / "b.wav", 1.2)
    sound(tmp_path / "stereo.wav", 2.0, channels=2)
    return tmp_path


def jsonl(folder, *rows):
    path = folder / "t.jsonl"
    rows = [{"audio": "long.wav", "text": "a b", "speaker": "ann"} | row for row in rows]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


def table(folder, text, name="t.csv"):
    (folder / name).write_bytes(text.encode())
    return folder / name


def cuts_of(source, kind="", **options):
    result = import_corpus(kind or source.suffix.lstrip("."), source, source.parent / "out", options)
    return [cut for cuts in result.splits.values() for cut in cuts]


def faults_of(source, kind="", **options):
    with pytest.raises(ImportRefusedError) as error:
        cuts_of(source, kind, **options)
    return [(fault.line, fault.kind.partition(",")[0]) for fault in error.value.report.faults]


# --- pieces -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "start", "end"),
    [
        ({"offset": 0.5, "duration": 1.2}, 0.5, 1.7),
        ({"start": "0.5", "end": "1.7"}, 0.5, 1.7),
        ({"start_ms": 500, "end_ms": 1700}, 0.5, 1.7),
        ({"begin_samples": 8000, "num_samples": 19200}, 0.5, 1.7),
        ({"startTime": "00:00:00.5", "endTime": "0:01.7"}, 0.5, 1.7),
        ({"시작": 0.5, "종료": 1.7}, 0.5, 1.7),
        ({"시작(초)": 0.5, "길이(ms)": 1200}, 0.5, 1.7),
        ({"onset": "500 ms", "dur": "1.2 s"}, 0.5, 1.7),
        ({"start": 0.5, "end": 1.7, "duration": LONG_S}, 0.5, 1.7),
        ({"from": 0.5, "to": 1.7}, 0.5, 1.7),
        ({"t0": 0.5, "t1": 1.7}, 0.5, 1.7),
        ({"t_start": 0.5, "t_end": 1.7}, 0.5, 1.7),
        ({"t1": 3}, 0, LONG_S),
        ({"startms": 500, "endms": 1700}, 0.5, 1.7),
        ({"시작점": 0.5, "끝점": 1.7}, 0.5, 1.7),
        ({"stime": 0.5, "etime": 1.7}, 0.5, 1.7),
        ({"trim_start": 0.5, "trim_end": 1.7}, 0.5, 1.7),
        ({"start": 3}, 3, LONG_S),
        ({"duration": LONG_S - 0.02}, 0, LONG_S),
        ({"start": 0, "end": LONG_S + 0.05}, 0, LONG_S),
        ({"from": "studio"}, 0, LONG_S),
    ],
)
def test_columns_that_name_a_piece_cut_it(folder, fields, start, end):
    (cut,) = cuts_of(jsonl(folder, {"id": "s1", **fields}))
    assert (cut.id, round(cut.start, 6), round(cut.end, 6)) == ("s1", start, end)
    samples, _ = soundfile.read(folder / "long.wav", dtype="float32")
    assert np.array_equal(read_cut(cut), samples[round(16000 * start) : round(16000 * end)])
    if start:
        assert not set(fields) & set(manifest.supervision(cut).custom)


def test_pieces_without_an_id_have_ids_of_their_own_and_can_be_used(folder):
    source = jsonl(folder, {"offset": 0.5, "duration": 1.2}, {"duration": 0.5, "speaker": "bob"}, {"audio": "a.wav"})
    printed = ok("data", "import", "jsonl", source, folder / "out")
    assert "3 utterances read, 3 imported, 0 left out" in printed
    assert "columns understood: audio, text, speaker, offset, duration\n" in printed
    cuts = manifest.read(folder / "out" / "all.jsonl.gz")
    assert list(cuts.ids) == ["long-0000500-0001700", "long-0000000-0000500", "a"]
    assert "all 3 utterances can be used" in ok("data", "check", folder / "out" / "all.jsonl.gz")


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"start": 5, "duration": 4}, "the piece is not inside the file"),
        ({"start": -1, "end": 1}, "the piece is not inside the file"),
        ({"start": 2, "end": 1}, "the piece is not inside the file"),
        ({"start": 2, "end": 2}, "the piece is not inside the file"),
        ({"start": 500, "end": 1700}, "the piece is not inside the file"),
        ({"start": float("nan"), "end": 2}, "start is not a time"),
        ({"start": "soon", "end": 2}, "start is not a time"),
        ({"start": 1, "end": 3, "duration": 1}, "the times contradict each other"),
        ({"start": 1, "start_ms": 1500}, "the times contradict each other"),
        ({"start_frame": 50, "end_frame": 100}, "the unit of start_frame is not known"),
        ({"duration": 1.2}, "the duration is not that of the file"),
        ({"end": 1.2}, "the duration is not that of the file"),
        ({"segment": [0.5, 1.2]}, "a piece of the audio in one column"),
        ({"segment": {"start": 0.5, "end": 1.2}}, "a piece of the audio in one column"),
        ({"channel": 1, "audio": "stereo.wav"}, "channel 1 of 2 may be counted from 0 or from 1"),
        ({"channel": 3}, "no such channel"),
    ],
)
def test_a_piece_that_is_none_is_reported_by_its_line(folder, fields, kind):
    assert faults_of(jsonl(folder, {"id": "good"}, {"id": "bad", **fields})) == [(2, kind)]


def test_a_channel_is_read_alone(folder):
    rows = [{"id": f"c{n}", "audio": "stereo.wav", "channel": n} for n in (0, 1)]
    samples, _ = soundfile.read(folder / "stereo.wav", dtype="float32")
    for number, cut in enumerate(cuts_of(jsonl(folder, *rows))):
        assert np.allclose(read_cut(cut), samples[:, number])


def test_channels_are_counted_from_1_where_the_last_one_is_named(folder):
    rows = [{"id": f"c{n}", "audio": "stereo.wav", "channel": n} for n in (1, 2)]
    samples, _ = soundfile.read(folder / "stereo.wav", dtype="float32")
    for number, cut in enumerate(cuts_of(jsonl(folder, *rows))):
        assert np.allclose(read_cut(cut), samples[:, number])


@pytest.mark.parametrize(
    "start",
    ["<html><table>", '\ufeff<!DOCTYPE html PUBLIC "-">', '<?xml version="1.0"?>\n<Workbook>', " <TABLE border=1>"],
)
def test_a_page_of_a_web_site_under_the_name_of_a_table_is_called_so(folder, start):
    path = folder / "목록.xls"
    path.write_text(f"{start}<tr><td>audio</td><td>text</td></tr></table>", encoding="utf-8")
    for words in (("import", path), ("import", "csv", path)):
        message = refused("data", *words, folder / "out")
        assert re.search("HTML|XML", message)
        assert ".xlsx" in message


@pytest.mark.parametrize(
    "name", ["text_length", "start_date", "num_words", "sample_rate", "chapter_id", "age", "up_votes", "n_channels"]
)
def test_names_that_are_of_no_piece(name):
    assert meaning(name) is None


def test_columns_that_are_only_kept_are_reported(folder):
    source = table(folder, "audio,text,speaker,mood\na.wav,cab,ann,glad\n")
    assert "columns understood: audio, text, speaker; only kept as fields: mood\n" in ok(
        "data", "import", "csv", source, folder / "out"
    )


def kaldi(folder, **files):
    files = {
        "wav_scp": "rec1 long.wav\n",
        "text": "u1 hello there\nu2 the rest\n",
        "utt2spk": "u1 ann\nu2 bob\n",
        "segments": "u1 rec1 0.5 1.7\nu2 rec1 3.0 -1\n",
        "spk2gender": "ann f\nbob m\n",
    } | files
    for name, text in files.items():
        (folder / name.replace("wav_scp", "wav.scp")).write_text(text, encoding="utf-8")
    return folder


def test_the_segments_of_kaldi_are_cut(folder):
    first, second = cuts_of(kaldi(folder), "kaldi")
    assert [(cut.start, round(cut.end, 6)) for cut in (first, second)] == [(0.5, 1.7), (3.0, LONG_S)]
    assert [manifest.field(first, name) for name in ("text", "speaker", "gender")] == ["hello there", "ann", "female"]


def test_the_side_of_a_recording_of_kaldi_is_its_channel(folder):
    kaldi(
        folder,
        wav_scp="r-A stereo.wav\nr-B stereo.wav\nr-C a.wav\n",
        segments="u1 r-A 0.5 1\nu2 r-B 0.5 1\nu3 r-C 0.1 1\n",
        text="u1 hello there\nu2 the rest\nu3 alone\n",
        utt2spk="u1 ann\nu2 bob\nu3 ann\n",
        reco2file_and_channel="r-A st A\nr-B st B\nr-C a B\n",
    )
    samples, _ = soundfile.read(folder / "stereo.wav", dtype="float32")
    first, second, third = cuts_of(folder, "kaldi")
    assert np.allclose(read_cut(first), samples[8000:16000, 0])
    assert np.allclose(read_cut(second), samples[8000:16000, 1])
    assert third.channel == 0


def test_files_of_kaldi_that_match_nothing_are_refused_and_unmatched_lines_counted(folder):
    kaldi(folder, spk2gender="ann f\ncho f\n", utt2spk="u1 ann\nu2 bob\nu3 cho\n")
    result = import_corpus("kaldi", folder, folder / "out")
    assert [note for note in result.report.notes if "spk2gender" in note or "utt2spk" in note] == [
        "1 of 3 lines in utt2spk are of no utterance, and not used",
        "1 of 2 speakers have no lines in spk2gender",
        "1 of 2 lines in spk2gender are of no speaker, and not used",
    ]
    kaldi(folder, spk2gender="ANN f\nBOB m\n")
    with pytest.raises(ImportRefusedError) as error:
        import_corpus("kaldi", folder, folder / "out")
    assert [fault.item for fault in error.value.report.faults] == ["spk2gender"]
    skipped = import_corpus("kaldi", folder, folder / "out", {"skip_faulty": True})
    assert "2 utterances read, 2 imported, 0 left out" in skipped.summary


def test_lines_of_kaldi_that_are_faulty_are_reported_and_can_be_left_out(folder):
    texts = "u1 hello there\nu2 late\nu3 piped\nu4 unknown\n"
    kaldi(
        folder,
        text=texts,
        wav_scp="rec1 long.wav\nrec2 sox a.sph -t wav - |\n",
        utt2spk="u1 ann\nu2 bob\nu3 ann\n",
        segments="u1 rec1 0.5 1.7\nu2 rec1 5 9\nu3 rec2 0 1\n",
    )
    assert sorted(faults_of(folder, "kaldi")) == [
        (2, "the piece is not inside the file"), (3, "wav.scp has a command"), (4, "it is not in utt2spk")
    ]  # fmt: skip
    assert [cut.id for cut in cuts_of(folder, "kaldi", skip_faulty=True)] == ["u1"]


def test_speechocean762_with_segments_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "segments").write_text("u1 rec1 0 1\n")
    with pytest.raises(AsrLabError) as error:
        import_corpus("speechocean762", tmp_path, tmp_path / "out")
    assert error.value.where.endswith("segments")
    assert "import kaldi" in error.value.next_command


# --- lines and quotes -------------------------------------------------------------------------------------

ODD = "one\u2028two\u2029three\u0085four\x0cfive\x1csix"


def test_lines_end_with_line_feeds_only():
    assert lines(f"{ODD}\r\nb\n\nc") == [ODD, "b", "", "c"]
    assert lines("a\n") == ["a"]
    assert lines("") == []


def test_separators_of_unicode_are_text(folder):
    source = jsonl(folder, {"text": ODD, "id": "x"}, {"id": "y", "audio": "a.wav"})
    assert [manifest.text(cut) for cut in cuts_of(source)] == [ODD, "a b"]
    source = table(folder, f'audio,text,speaker\r\na.wav,"{ODD}, z",x\r\nb.wav,"two\nlines",y\r\n')
    assert [manifest.text(cut) for cut in cuts_of(source)] == [f"{ODD}, z", "two\nlines"]
    transcripts = folder / "transcripts.txt"
    transcripts.write_text("a.wav\t가\u2028나\t1\nb.wav\t다\t2\n", encoding="utf-8")
    assert [manifest.text(cut) for cut in cuts_of(transcripts, "kospeech")] == ["가\u2028나", "다"]
    kaldi(folder, text="u1 one\u0085two\nu2 three\n")
    assert [manifest.text(cut) for cut in cuts_of(folder, "kaldi")] == ["one\u0085two", "three"]


def test_a_row_is_named_by_its_first_line(folder):
    source = table(folder, 'audio,text,speaker\na.wav,"two\nlines",x\n\nnone.wav,"and\nagain",y\n')
    assert faults_of(source) == [(5, "no such audio file")]


def test_tables_with_tabs_or_semicolons(folder):
    source = table(folder, 'audio\ttext\tspeaker\na.wav\t"Hello, he said\tx\nb.wav\tfine "yes"\ty\n', "t.tsv")
    assert [manifest.text(cut) for cut in cuts_of(source, "csv")] == ['"Hello, he said', 'fine "yes"']
    source = table(folder, "audio;text;speaker\na.wav;well, yes;x\n")
    assert [manifest.text(cut) for cut in cuts_of(source)] == ["well, yes"]


def test_a_quote_that_is_not_closed_glues_no_rows(folder):
    source = table(folder, 'audio,text,speaker\na.wav,fine,x\na.wav,"Hello he said,x\nb.wav,fine,y\n')
    with pytest.raises(AsrLabError) as error:
        read_table(source)
    assert "line 3" in error.value.what
    with pytest.raises(AsrLabError, match="several columns are named text"):
        read_table(table(folder, "audio,text,text\na.wav,b,c\n"))


# --- what is left out -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", IMPORTERS)
def test_every_importer_can_leave_out_what_is_faulty(kind):
    assert IMPORTERS[kind].accepts("skip_faulty")


def test_rows_that_are_faulty_are_left_out_counted_and_listed(folder):
    source = jsonl(folder, {"id": "x"}, {"audio": "none.wav"}, {"id": "z", "text": ""}, {"id": "w", "speaker": ""})
    source.write_text(source.read_text() + "\n{bad\n")
    assert "4 faults, nothing was imported" in refused("data", "import", "jsonl", source, folder / "out")
    assert not (folder / "out").exists()
    printed = ok("data", "import", "jsonl", source, folder / "out", "--skip-faulty")
    assert "5 utterances read, 1 imported, 4 left out" in printed
    with (folder / "out" / "faults.tsv").open(encoding="utf-8", newline="") as file:
        rows = {row["utterance"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert {name: row["fault"].partition(":")[0] for name, row in rows.items()} == {
        "none.wav": "no such audio file",
        "z": "the transcript is missing",
        "w": "the speaker is missing",
        "line 5": "not JSON",
    }
    assert rows["line 5"]["file"] == f"{source}, line 5"


def test_odd_files_of_other_corpora_are_left_out_too(folder):
    sound(folder / "digits" / "1_ann_0.wav", 0.5)
    (folder / "digits" / "2_ann_0.wav").write_bytes(b"RIFF")
    sound(folder / "digits" / "hello.wav", 0.5)
    assert len(faults_of(folder / "digits", "fsdd")) == 2
    assert [cut.id for cut in cuts_of(folder / "digits", "fsdd", skip_faulty=True)] == ["fsdd-ann-1-00"]
    transcripts = folder / "transcripts.txt"
    transcripts.write_text("a.wav\t가\nnone.wav\t나\na.wav\t다\nb.wav\n", encoding="utf-8")
    assert len(faults_of(transcripts, "kospeech")) == 3
    assert [manifest.text(cut) for cut in cuts_of(transcripts, "kospeech", skip_faulty=True)] == ["가"]


def kids(root, *utterances):
    """The layout of CMU Kids; audio for each of `utterances`, in the transcripts fabmABC1 to 3."""
    tables, audio = root / "cmu_kids" / "tables", root / "cmu_kids" / "kids" / "fabm" / "signal"
    tables.mkdir(parents=True)
    audio.mkdir(parents=True)
    (tables / "sentence.tbl").write_text("ABC\t1\ta cab\n")
    (tables / "speaker.tbl").write_text("ID\n--\nfabm\tSUM95\t3/9\t100\t62\n")
    (tables / "transcrp.tbl").write_text("".join(f"fabmABC{n} A CAB\n" for n in (1, 2, 3)))
    for name in utterances:
        soundfile.write(audio / f"{name}.sph", np.full(16000, 0.1), 16000, format="NIST")
    return audio


def test_one_odd_file_of_a_recipe_is_left_out(tmp_path):
    audio = kids(tmp_path / "in", "fabmABC1", "fabmABC3")
    (audio / "fabmABC3.sph").write_bytes(b"NIST_1A")
    with pytest.raises(AsrLabError) as error:
        import_corpus("lhotse", tmp_path / "in", tmp_path / "out", {"name": "cmu_kids"})
    assert {"fabmABC3.sph", "fabmABC2"} <= set(error.value.hint.replace(";", ",").replace(": ", ", ").split(", "))
    printed = ok("data", "import", "lhotse", "cmu_kids", tmp_path / "in", tmp_path / "out", "--skip-faulty")
    assert "3 utterances read, 1 imported, 2 left out" in printed
    faults = (tmp_path / "out" / "faults.tsv").read_text()
    assert f"fabmABC2\tits audio file is not there\t{tmp_path}/in/cmu_kids/tables/transcrp.tbl, line 2" in faults
    (cut,) = manifest.read(tmp_path / "out" / "all.jsonl.gz")
    assert cut.recording.sources[0].source.endswith("in/cmu_kids/kids/fabm/signal/fabmABC1.sph")


@pytest.mark.slow
def test_clips_of_common_voice_that_are_missing_are_counted(tmp_path):
    head = "client_id\tpath\tsentence\tage\tgender\taccents\tvariant\n"
    rows = [f"c\t{name}.wav\thello\ttwenties\tfemale_feminine\t\t\n" for name in ("cv1", "cv2")]
    sound(tmp_path / "en" / "clips" / "cv1.wav", 0.5)
    (tmp_path / "en" / "train.tsv").write_text(head + "".join(rows))
    parts = ("--option", 'splits=["train"]')
    printed = ok("data", "import", "lhotse", "commonvoice", tmp_path, tmp_path / "out", *parts, "--skip-faulty")
    assert "2 utterances read, 1 imported, 1 left out (its audio file is not there: 1)" in printed
    assert f"{tmp_path}/en/train.tsv, line 3" in (tmp_path / "out" / "faults.tsv").read_text()
    (cut,) = manifest.read(tmp_path / "out" / "en-train.jsonl.gz")
    assert [manifest.field(cut, name) for name in ("gender", "age_group", "age")] == ["female", "20-29", None]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_is_a_table_whose_faults_have_their_lines(folder, indent):
    rows = [{"audio": f"{name}.wav", "text": f"말 {name}", "speaker": "kim"} for name in ("a", "b", "none")]
    source = folder / "t.json"
    source.write_text("\n" + json.dumps(rows[:2], ensure_ascii=False, indent=indent), encoding="utf-8")
    assert "2 imported" in ok("data", "import", source, folder / "out")
    source.write_text(json.dumps(rows, ensure_ascii=False, indent=indent)[:-1], encoding="utf-8")
    line = 12 if indent else 1
    assert faults_of(source, "jsonl")[-1] == (line, "no such audio file")
    assert "not JSON" in [kind for _, kind in faults_of(source, "jsonl")]


@pytest.mark.parametrize("text", ["nan", "NULL", "N/A", "#N/A", "<NA>", "None", "-"])
def test_what_software_writes_for_nothing_is_no_transcript_unless_it_is_spoken(folder, text):
    assert faults_of(jsonl(folder, {"text": text})) == [(1, "the transcript is missing")]
    (cut,) = cuts_of(jsonl(folder, {"text": f"{text}x."}))
    assert manifest.text(cut) == f"{text}x."
    (cut,) = cuts_of(jsonl(folder, {"text": "없음"}))
    assert manifest.text(cut) == "없음"


def test_speakers_who_are_not_known_are_one_who_is_marked_as_guessed(folder):
    rows = [{"audio": f"{name}.wav", "speaker": name_of} for name, name_of in zip("ab", ("없음", "NA"), strict=True)]
    printed = ok("data", "import", "jsonl", jsonl(folder, {}, *rows), folder / "out")
    assert "'없음' 1 times" in printed
    cuts = manifest.read(folder / "out" / "all.jsonl.gz")
    assert [manifest.field(cut, "speaker") for cut in cuts] == ["ann", "unknown", "unknown"]
    assert [manifest.field(cut, "guessed") for cut in cuts] == [None, "speaker", "speaker"]


def test_transcripts_of_marks_alone_are_left_out_and_counted(folder):
    rows = ({}, {"audio": "a.wav", "text": "{laughing} ..."}, {"audio": "b.wav", "text": "b/ ((xx))"})
    printed = ok("data", "import", "jsonl", jsonl(folder, *rows), folder / "out")
    assert "3 utterances read, 1 imported, 2 left out (no words but marks and signs: 2)" in printed


def test_of_two_columns_that_may_be_the_text_none_is_taken(folder):
    head, row = "path,sentence,transcript,spk\n", "{}.wav,{},{},kim\n"
    source = table(folder, head + row.format("a", "하나", "둘") + row.format("b", "셋", "셋"))
    with pytest.raises(AsrLabError) as error:
        cuts_of(source, keys={"audio": "path", "speaker": "spk"})
    assert "sentence, transcript" in error.value.hint
    same = table(folder, head + row.format("a", "하나", "하나") + row.format("b", "셋", "셋"))
    assert "2 imported" in ok("data", "import", same, folder / "out")


@pytest.mark.parametrize(("encoding", "end"), [("utf-8", "\r"), ("utf-32", "\n"), ("cp949", "\r")])
def test_tables_of_old_macs_and_in_utf_32_are_recognised(folder, encoding, end):
    text = end.join(["audio,text,speaker", "a.wav,하나 둘,미나", "b.wav,셋,주노", ""])
    (folder / "t.csv").write_bytes(text.encode(encoding))
    assert "2 utterances of 2 speakers" in ok("data", "import", folder / "t.csv", folder / "out")


# --- hints and keys ---------------------------------------------------------------------------------------


def test_columns_that_look_like_the_fields_are_proposed(folder):
    for name in ("c1.wav", "c2.wav", "c3.wav"):
        sound(folder / "clips" / name, 0.5)
    rows = "k1\tc1.wav\thi you\tfemale\nk1\tc2.wav\tyes no\tfemale\nk2\tc3.wav\tno\tmale\n"
    source = table(folder, "client_id\tpath\tsentence\tgender\n" + rows, "t.tsv")
    with pytest.raises(AsrLabError) as error:
        cuts_of(source, "csv")
    keys = "audio=path,text=sentence,speaker=client_id"
    assert error.value.next_command.endswith(f"--columns {keys} --audio {folder / 'clips'}")
    out = folder / "out"
    printed = ok("data", "import", "csv", source, out, "--keys", keys, "--audio", folder / "clips")
    assert "3 utterances of 2 speakers" in printed


@pytest.mark.parametrize("column", ["utt_speaker", "speaker_age", "sentence"])
def test_what_is_no_speaker_is_not_proposed(folder, column):
    values = {"utt_speaker": ("p", "q"), "speaker_age": ("7", "7"), "sentence": ("x", "y")}[column]
    source = table(folder, f"audio,text,{column}\na.wav,x,{values[0]}\nb.wav,y,{values[1]}\n")
    with pytest.raises(AsrLabError) as error:
        cuts_of(source)
    assert "for speaker?" not in error.value.hint
    assert error.value.next_command.endswith("--speaker NAME")
    assert "--columns" not in error.value.next_command


@pytest.mark.parametrize("column", ["sentence", "path"])
def test_a_speaker_key_with_as_many_values_as_rows_is_refused(folder, column):
    source = table(folder, "path,sentence\na.wav,hello\nb.wav,there\n")
    keys = {"audio": "path", "text": "sentence", "speaker": column}
    with pytest.raises(AsrLabError, match="are no speakers"):
        cuts_of(source, keys=keys)


def test_labels_of_aihub_get_a_hint_of_what_looks_like_a_speaker(tmp_path):
    for number in range(4):
        sound(tmp_path / "원천데이터" / f"u{number}.wav", 0.5)
        label = {
            "전사정보": {"LabelText": f"가요 {number} 번"},
            "기타": {"녹음자코드": f"k{number % 2}", "화자나이": "7"},
        }
        path = tmp_path / "라벨링데이터" / f"u{number}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(label, ensure_ascii=False), encoding="utf-8")
    with pytest.raises(ImportRefusedError) as error:
        cuts_of(tmp_path, "aihub")
    assert "--keys speaker=기타.녹음자코드" in error.value.hint
    assert "LabelText" not in error.value.hint
    with pytest.raises(AsrLabError, match="are no speakers"):
        cuts_of(tmp_path, "aihub", keys={"speaker": "전사정보.LabelText"})
    assert len(cuts_of(tmp_path, "aihub", keys={"speaker": "기타.녹음자코드"})) == 4


def test_the_channels_of_one_file_are_utterances_of_their_own(folder):
    rows = (
        {"audio": "stereo.wav", "채널번호": 0},
        {"audio": "stereo.wav", "채널번호": 1, "text": "c d", "speaker": "bob"},
    )
    cuts = cuts_of(jsonl(folder, *rows))
    assert [(cut.channel, manifest.text(cut)) for cut in cuts] == [(0, "a b"), (1, "c d")]
    assert len({cut.id for cut in cuts}) == 2


def test_one_file_with_two_texts_is_no_two_utterances(folder):
    rows = ({"id": "u1", "t0": 0.5}, {"id": "u2", "t0": 2, "text": "c d"}, {"id": "u3", "start": 3, "text": "e f"})
    assert faults_of(jsonl(folder, *rows)) == [(2, "another text for the same audio")]
    assert len(cuts_of(jsonl(folder, {"id": "u1"}, {"id": "u2", "audio": "a.wav", "text": "c d"}))) == 2


@pytest.mark.parametrize("timing", [{"start": 1, "end": 2}, {"offset": 0.5, "length": 1}])
def test_a_piece_named_within_an_object_is_not_kept_as_a_field(folder, timing):
    assert faults_of(jsonl(folder, {"timing": timing})) == [(1, "a piece of the audio in one column")]


# --- ages and genders -------------------------------------------------------------------------------------


def test_ages_and_genders_as_they_are_written(folder):
    rows = [("twenties", "여"), ("20대", "F"), ("7세", "female_feminine"), ("만 7세", "Male"), ("72개월", "남"),
            ("41", "man"), ("", "robot")]  # fmt: skip
    source = jsonl(folder, *({"id": str(n), "age": age, "gender": gender} for n, (age, gender) in enumerate(rows)))
    result = import_corpus("jsonl", source, folder / "out")
    fields = [[manifest.field(cut, name) for name in ("age", "age_group", "gender")] for cut in result.splits["all"]]
    assert fields == [
        [None, "20-29", "female"], [None, "20-29", "female"], [7, None, "female"], [7, None, "male"],
        [6, None, "male"], [41.0, None, "male"], [None, None, "robot"],
    ]  # fmt: skip
    assert result.report.unknown_values == {"gender": {"robot": 1}}


def test_an_age_that_is_none_is_counted_and_no_fault(folder):
    ages = ["초3", 1990, "-19", "41", 7, "", None]
    source = jsonl(folder, *({"id": str(number), "age": age} for number, age in enumerate(ages)))
    result = import_corpus("jsonl", source, folder / "out")
    fields = [[manifest.field(cut, name) for name in ("age", "age_range")] for cut in result.splits["all"]]
    assert fields == [[None, "초3"], [None, "1990"], [None, "-19"], [41, None], [7, None], [None, None], [None, None]]
    assert result.report.unknown_values["age"] == {"초3": 1, "1990": 1, "-19": 1}


def test_ages_and_genders_under_other_names_are_hinted_at(folder):
    source = table(folder, "audio,text,speaker,성별,나이\na.wav,cab,ann,여,20대\n")
    assert "--columns gender=성별,age=나이\n" in ok("data", "import", "csv", source, folder / "out")
    (cut,) = cuts_of(source, keys={"gender": "성별", "age": "나이"})
    assert [manifest.field(cut, name) for name in ("gender", "age_group", "성별")] == ["female", "20-29", None]


def test_the_json_of_l2_asr_names_pieces_too(folder):
    row = {"canonical_aligned": "hh ae t", "perceived_train_target": "hh ae t", "wrd": "hat", "spk_id": "YKWK"}
    rows = {
        "long.wav": row | {"start": 0.5, "end": 1.5},
        "a.wav": row | {"duration": 1.0},
        "b.wav": row | {"duration": 9.0},
        "none.wav": row,
    }
    (folder / "train.json").write_text(json.dumps(rows))
    with pytest.raises(AsrLabError, match="1 audio file is not there"):
        cuts_of(folder / "train.json", "l2-json")
    result = import_corpus("l2-json", folder / "train.json", folder / "out", {"skip_faulty": True})
    assert [(cut.start, cut.duration) for cut in result.splits["train"]] == [(0.5, 1.0), (0.0, 1.0)]
    assert result.summary.startswith("4 utterances read, 2 imported, 2 left out")


def test_age_groups_are_stratified_by_and_sliced_by(folder):
    rows = [{"id": str(n), "speaker": f"s{n}", "age": "20대" if n % 2 else "60+"} for n in range(8)]
    ok("data", "import", "jsonl", jsonl(folder, *rows), folder / "out")
    path = folder / "out" / "all.jsonl.gz"
    ok("data", "split", path, folder / "parts", "--val", "0", "--test", "0.5")
    test = manifest.read(folder / "parts" / "test.jsonl.gz")
    assert sorted(manifest.field(cut, "age_group") for cut in test) == ["20-29"] * 2 + ["60+"] * 2

    from asr_lab.data.text import TextNormalizer
    from asr_lab.metrics.slices import slices
    from asr_lab.recipes.recognition.scoring import score

    by_slice = slices(score(test, {cut.id: "a b" for cut in test}, TextNormalizer()))
    assert list(by_slice[by_slice["slice"] == "age_group"]["value"]) == ["20-29", "60+"]
