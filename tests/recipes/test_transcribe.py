"""`asr-lab transcribe` on many files: what goes in, what comes out, interruptions, speakers."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from conftest import ok, refused, run, tone_word
from full_disks import full_disk

pytestmark = pytest.mark.usefixtures("at_home")


def rows(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def folder(home, tmp_path):
    """Six recordings in two folders, and files that are none."""
    made = tmp_path / "rec"
    (made / "below").mkdir(parents=True)
    for number in range(6):
        shutil.copy(home / f"john/audio/j0{number}.wav", made / ("below" if number % 2 else "."))
    (made / "notes.txt").write_text("no audio")
    (made / ".j09.wav").write_bytes(b"a fork of macOS")
    return made


def test_a_folder_gives_what_its_files_give(folder):
    files = sorted(folder.rglob("j*.wav"))
    assert len(files) == 6
    alone = [ok("transcribe", file).strip() for file in files]
    said = ok("transcribe", folder, "--workers", "1")
    assert said.splitlines() == [f"{file}: {text}" for file, text in zip(files, alone, strict=True)]
    assert ok("transcribe", folder, "--workers", "2") == said


def test_a_model_is_given_by_name_too(folder):
    said = [ok("transcribe", folder / "j00.wav", "--model", name) for name in ("deepspeech2", "deepspeech2/1")]
    assert said == [ok("transcribe", folder / "j00.wav", "--model", "models:/deepspeech2@champion")] * 2
    assert "deepspeech2" in refused("transcribe", folder / "j00.wav", "--model", "deepspech2")
    assert "not a model" in refused("transcribe", folder / "j00.wav", "--model", "no/such/folder")


def test_a_folder_without_audio_is_one_message(folder):
    for file in folder.rglob("*.wav"):
        file.unlink()
    assert "no audio files" in refused("transcribe", folder)


def test_standard_input(folder, monkeypatch):
    file = folder / "j00.wav"
    expected = ok("transcribe", file)

    class Stdin:
        buffer = io.BytesIO(file.read_bytes())

    monkeypatch.setattr(sys, "stdin", Stdin)
    from asr_lab.serving.sources import find_sources

    (source,) = find_sources(["-"], Stdin.buffer)
    assert source.audio == file.read_bytes()
    from click.testing import CliRunner

    from asr_lab.cli import cli

    assert CliRunner().invoke(cli, ["transcribe", "-"], input=file.read_bytes()).output == expected


def test_a_manifest_has_ids_speakers_and_the_error_rate_of_evaluate(home, tmp_path):
    said = run("transcribe", "john/all.jsonl.gz", "--adapter-by", "speaker", "--out", tmp_path / "x.jsonl")
    assert said.exit_code == 0, said.output
    found = rows(tmp_path / "x.jsonl")
    assert [row["file"] for row in found] == [f"j{number:02d}" for number in range(20)]
    assert {row["speaker"] for row in found} == {"john"}
    assert all(row["adapter"].startswith("john_adapter.pt#") for row in found)
    assert all(" ".join(word["text"] for word in row["words"]) == row["text"] for row in found)
    evaluated = ok("evaluate", "--model", "models:/deepspeech2/1", "--adapter", "john", "--data", "john/all.jsonl.gz")
    wer = next(line.split()[1] for line in evaluated.splitlines() if "test/wer" in line)
    assert f"WER {wer.rstrip(',')}" in said.output


def test_speakers_without_an_adapter_and_files_without_speaker_are_refused_first(home, tmp_path, folder):
    said = refused("transcribe", "corpus/all.jsonl.gz", "--adapter-by", "speaker", "--out", tmp_path / "x.txt")
    assert "no adapter 'ann'" in said
    assert not (tmp_path / "x.txt").exists()
    assert "the speaker of 6 of 6 is not known" in refused("transcribe", folder, "--adapter-by", "speaker")
    assert "given 2 times" in refused("transcribe", folder, "--adapter", "john", "--adapter", "jane")
    assert "did you mean 'john'" in refused("transcribe", folder, "--adapter", "jahn")


def test_a_registered_name_needs_no_file(home, folder, tmp_path):
    own = ok("transcribe", folder / "j00.wav", "--adapter", "john", "--format", "json")
    shared = ok("transcribe", folder / "j00.wav", "--adapter", "john", "--adapter-dir", tmp_path, "--format", "json")
    assert json.loads(own)["text"] == json.loads(shared)["text"]
    assert json.loads(shared)["adapter"] == "models:/deepspeech2-adapter-john/1"


def test_a_bad_file_is_named_and_a_second_call_does_it_alone(folder, tmp_path):
    bad, out = folder / "below" / "j01.wav", tmp_path / "t.txt"
    content = bad.read_bytes()
    bad.write_bytes(content[:60])
    said = refused("transcribe", folder, "--out", out)
    assert str(bad) in said
    assert "1 of 6 files could not be read" in said
    assert len(out.read_text().splitlines()) == 5
    assert "would be replaced" in refused("transcribe", folder, "--out", out)
    bad.write_bytes(content)
    assert "5 of 6 were transcribed before" in ok("transcribe", folder, "--out", out, "--resume")
    expected = ok("transcribe", folder)
    assert out.read_text().replace("\t", ": ") == expected
    assert "6 of 6 were transcribed before" in ok("transcribe", folder, "--out", out, "--resume")
    assert out.read_text().replace("\t", ": ") == expected


def test_new_and_changed_files_are_transcribed_by_the_next_call(folder, tmp_path):
    out = tmp_path / "t.jsonl"
    ok("transcribe", folder, "--out", out)
    before = {row["file"]: row["text"] for row in rows(out)}
    soundfile.write(folder / "j00.wav", tone_word("egg fad", np.random.default_rng(9)), 16_000)
    shutil.copy(folder / "j02.wav", folder / "k.wav")
    assert "5 of 7 were transcribed before" in ok("transcribe", folder, "--out", out, "--resume")
    after = {row["file"]: row["text"] for row in rows(out)}
    assert after[str(folder / "k.wav")] == before[str(folder / "j02.wav")]
    assert after[str(folder / "j00.wav")] == ok("transcribe", folder / "j00.wav").strip()


def test_other_settings_do_not_resume(folder, tmp_path):
    ok("transcribe", folder, "--out", tmp_path / "t.txt")
    before = (tmp_path / "t.txt").read_text()
    said = refused("transcribe", folder, "--out", tmp_path / "t.txt", "--adapter", "john", "--resume")
    assert "adapter none -> john" in said
    said = refused("transcribe", folder, "--out", tmp_path / "t.txt", "--segment", "none", "--resume")
    assert "segmentation" in said
    said = refused("transcribe", folder, "--out", tmp_path / "t.txt", "decode.calibration=1.0,0.5", "--resume")
    assert "decoding none -> calibration" in said
    assert (tmp_path / "t.txt").read_text() == before
    ok("transcribe", folder, "--out", tmp_path / "t.txt", "--adapter", "john", "--overwrite")
    assert "needs --out" in refused("transcribe", folder, "--resume")


@pytest.mark.parametrize("suffix", ["srt", "vtt", "TextGrid"])
def test_one_file_of_subtitles_for_each_recording(folder, tmp_path, suffix):
    assert "holds one recording" in refused("transcribe", folder, "--out", tmp_path / f"x.{suffix}")
    ok("transcribe", folder, "--out", tmp_path / "subs" / f"{{}}.{suffix}")
    assert sorted(file.stem for file in (tmp_path / "subs").glob(f"*.{suffix}")) == [f"j0{n}" for n in range(6)]


def test_what_another_made_or_corrected_is_not_replaced(folder, tmp_path):
    out, subs = tmp_path / "t.txt", tmp_path / "{}.srt"
    out.write_text("by hand")
    for option in ((), ("--resume",)):
        assert "would be replaced" in refused("transcribe", folder, "--out", out, *option)
    (tmp_path / "j03.srt").write_text("by hand")
    assert "j03.srt would be replaced" in refused("transcribe", folder, "--out", subs)
    ok("transcribe", folder, "--out", subs, "--overwrite")
    (tmp_path / "j04.srt").write_text("corrected")
    (tmp_path / "j05.srt").unlink()
    ok("transcribe", folder, "--out", subs, "--resume")
    assert (tmp_path / "j04.srt").read_text() == "corrected"
    assert (tmp_path / "j05.srt").exists()
    assert out.read_text() == "by hand"


def test_a_full_disk_ends_with_the_option_that_goes_on(folder, tmp_path):
    with full_disk(900):
        said = refused("transcribe", folder, "--out", tmp_path / "t.txt")
    assert "--resume" in said
    assert not (tmp_path / "t.txt").exists()
    assert "of 6 were transcribed before" in ok("transcribe", folder, "--out", tmp_path / "t.txt", "--resume")
    assert len((tmp_path / "t.txt").read_text().splitlines()) == 6


def test_two_recordings_of_one_name_are_refused_before_anything(folder, tmp_path):
    shutil.copy(folder / "j00.wav", folder / "below" / "j00.wav")
    assert "would be one file" in refused("transcribe", folder, "--out", tmp_path / "subs" / "{}.srt")
    assert not (tmp_path / "subs").exists()


def test_audio_that_cannot_be_read_is_not_passed_over(folder):
    (folder / "k.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + b"x" * 60)
    said = refused("transcribe", folder)
    assert "k.m4a" in said
    assert "1 of 7 files could not be read" in said


def test_formats_that_are_none(folder, tmp_path):
    assert "allowed: .txt, .jsonl" in refused("transcribe", folder, "--out", tmp_path / "x.doc")
    assert "--out NAME.jsonl" in refused("transcribe", folder, "--out", tmp_path / "x.txt", "--format", "json")
    assert "without suffix" in refused("transcribe", folder, "--out", tmp_path / "x")


def test_silence_has_no_text_and_says_why(tmp_path):
    soundfile.write(tmp_path / "s.wav", np.zeros(16_000), 16_000)
    (row,) = [json.loads(ok("transcribe", tmp_path / "s.wav", "--json"))]
    assert (row["text"], row["words"], row["error"]) == ("", [], "")
    assert "silence" in row["note"]


@pytest.mark.slow
def test_a_long_recording_is_transcribed_by_its_stretches(home, folder, tmp_path, monkeypatch):
    parts, rate = [], 16000
    while sum(map(len, parts)) < 45 * rate:
        for file in sorted(folder.rglob("j*.wav")):
            samples, rate = soundfile.read(file)
            parts += [samples, np.zeros(round(0.4 * rate))]
    talk, out = tmp_path / "talk.flac", tmp_path / "talk.jsonl"
    soundfile.write(talk, np.concatenate(parts), rate)
    ok("transcribe", talk, "--out", out, "--segment", "energy")
    (row,) = rows(out)
    assert row["duration_s"] == pytest.approx(sum(map(len, parts)) / rate, abs=0.01)
    edges = [edge for word in row["words"] for edge in (word["start_s"], word["end_s"])]
    assert edges == sorted(edges)
    assert edges[-1] > row["duration_s"] - 3
    assert " ".join(word["text"] for word in row["words"]) == row["text"]
    monkeypatch.setattr("asr_lab.data.segmentation.find_spec", lambda name: None)
    assert "silero-vad" in refused("transcribe", talk, "--segment", "vad")


@pytest.mark.slow
def test_a_killed_call_goes_on_and_has_every_file_once(home, tmp_path):
    many = tmp_path / "many"
    many.mkdir()
    for number in range(400):
        shutil.copy(home / f"john/audio/j{number % 20:02d}.wav", many / f"{number:03d}.wav")
    words = [
        sys.executable,
        "-m",
        "asr_lab",
        "transcribe",
        str(many),
        "--out",
        str(tmp_path / "t.txt"),
        "--workers",
        "2",
    ]
    journal = tmp_path / ".t.txt.journal"
    began = subprocess.Popen(words, cwd=home, env=os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db"})
    while not journal.exists() or journal.read_text().count("\n") < 20:
        assert began.poll() is None
        time.sleep(0.01)
    began.send_signal(signal.SIGKILL)
    began.wait()
    assert not (tmp_path / "t.txt").exists()
    ok("transcribe", many, "--out", tmp_path / "t.txt", "--resume")
    lines = (tmp_path / "t.txt").read_text().splitlines()
    assert [line.partition("\t")[0] for line in lines] == [str(many / f"{number:03d}.wav") for number in range(400)]
    by_twenty = [[line.partition("\t")[2] for line in lines[start : start + 20]] for start in range(0, 400, 20)]
    assert all(texts == by_twenty[0] for texts in by_twenty)
    assert any(by_twenty[0])
