"""Corpora imported by Lhotse's recipes: options, speakers, and what a recipe drops."""

import numpy as np
import pytest
import soundfile
from conftest import ok, refused, run, tone_word
from corpora import sound

from asr_lab.data import manifest
from asr_lab.data.importers.registry import import_corpus
from asr_lab.errors import AsrLabError


def kspon(root):
    """Two utterances in the layout of KsponSpeech; only `train`."""
    folder = root / "KsponSpeech_01" / "KsponSpeech_0001"
    folder.mkdir(parents=True)
    for number in (1, 2):
        samples = (tone_word("cab", np.random.default_rng(number)) * 32767).astype("<i2")
        (folder / f"KsponSpeech_00000{number}.pcm").write_bytes(samples.tobytes())
    lines = [
        f"KsponSpeech_01/KsponSpeech_0001/KsponSpeech_00000{number}.pcm :: b/ (3개)/(세 개) 있어+" for number in (1, 2)
    ]
    (root / "train.trn").write_text("\n".join(lines), encoding="utf-8")
    return root


def kids(root, transcripts=1, recorded=(1,)):
    """The layout of CMU Kids: `transcripts` of one child, and audio for the `recorded` ones, counted from 1."""
    tables, audio = root / "cmu_kids" / "tables", root / "cmu_kids" / "kids" / "fabm" / "signal"
    tables.mkdir(parents=True)
    audio.mkdir(parents=True)
    (tables / "sentence.tbl").write_text("ABC\t1\ta cab\n")
    (tables / "speaker.tbl").write_text("ID\n--\nfabm\tSUM95\t3/9\t100\t62\n")
    (tables / "transcrp.tbl").write_text("".join(f"fabmABC{n + 1} A CAB\n" for n in range(transcripts)))
    for n in recorded:
        soundfile.write(audio / f"fabmABC{n}.sph", tone_word("cab", np.random.default_rng(0)), 16000, format="NIST")
    return root


def test_a_child_corpus_by_lhotses_recipe(tmp_path):
    ok("data", "import", "lhotse", "cmu_kids", kids(tmp_path / "in"), tmp_path / "out")
    cut = manifest.read(tmp_path / "out" / "all.jsonl.gz")[0]
    segment = manifest.supervision(cut)
    assert (segment.text, segment.speaker, segment.gender, segment.language) == ("a cab", "fabm", "female", "en")
    assert (manifest.field(cut, "age"), manifest.field(cut, "corpus")) == (9, "cmu_kids")
    ok("data", "check", tmp_path / "out" / "all.jsonl.gz")


def test_parts_options_and_missing_speakers(tmp_path):
    options = ("--option", "dataset_parts=train")
    said = ok("data", "import", "lhotse", "ksponspeech", kspon(tmp_path / "in"), tmp_path / "out", *options)
    assert "2 utterances name no speaker: their folder is used" in said
    assert "2 transcripts hold two readings" in said
    cut = manifest.read(tmp_path / "out" / "train.jsonl.gz")[0]
    assert manifest.supervision(cut).text == "b/ (3개)/(세 개) 있어+"
    assert manifest.supervision(cut).speaker == "KsponSpeech_0001"
    assert "would be replaced" in refused(
        "data", "import", "lhotse", "ksponspeech", tmp_path / "in", tmp_path / "out", *options
    )


def test_what_lhotse_leaves_no_word_of_is_reported_and_so_are_parts_that_share_speakers(tmp_path):
    root = kspon(tmp_path / "in")
    first, second = (root / "train.trn").read_text(encoding="utf-8").splitlines()
    (root / "train.trn").write_text(first + "\n" + second.partition(" :: ")[0] + " :: b/ n/\n", encoding="utf-8")
    (root / "dev.trn").write_text(first, encoding="utf-8")
    parts = ("--option", 'dataset_parts=["train", "dev"]')
    said = ok("data", "import", "lhotse", "ksponspeech", root, tmp_path / "out", *parts)
    assert "1 left out (no word as Lhotse reads it: 1)" in said
    assert "KsponSpeech_000002" in said
    assert "warning: the splits are not disjoint by speaker: train and dev share 1: KsponSpeech_0001" in said


def test_mistakes_with_lhotse_are_one_message(tmp_path):
    (tmp_path / "in").mkdir()
    out = tmp_path / "out"
    assert "did you mean 'ksponspeech'" in refused("data", "import", "lhotse", "kspon", tmp_path / "in", out)
    said = refused("data", "import", "lhotse", "cmu_kids", tmp_path / "in", out)
    assert "Lhotse's recipe for cmu_kids failed: FileNotFoundError" in said
    said = refused("data", "import", "lhotse", "cmu_kids", tmp_path / "in", out, "--option", "mic=far")
    assert "has no option mic" in said
    assert "absolute_paths" in said
    assert "lhotse takes NAME SOURCE OUT" in run("data", "import", "lhotse", tmp_path / "in", out).output
    assert "--option has no effect on csv" in refused("data", "import", "csv", "a", "b", "--option", "x=1")
    assert not out.exists()


def test_one_odd_file_of_a_recipe_is_left_out(tmp_path):
    root = kids(tmp_path / "in", transcripts=3, recorded=(1, 3))
    (root / "cmu_kids" / "kids" / "fabm" / "signal" / "fabmABC3.sph").write_bytes(b"NIST_1A")
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


PARTS = ("--option", "dataset_parts=train")


def test_a_reading_that_was_chosen_is_obeyed(tmp_path):
    options = (*PARTS, "--option", "normalize_text=default")
    ok("data", "import", "lhotse", "ksponspeech", kspon(tmp_path / "in"), tmp_path / "out", *options)
    assert {manifest.text(cut) for cut in manifest.read(tmp_path / "out" / "train.jsonl.gz")} == {"3개 있어"}


def test_an_option_that_takes_several_is_a_list_of_words():
    from lhotse.recipes import prepare_commonvoice

    from asr_lab.data.importers.lhotse_recipes import _options

    given = {"splits": "train,test", "languages": '["ko"]', "num_jobs": "2"}
    assert _options("commonvoice", prepare_commonvoice, given) == {
        "splits": ["train", "test"],
        "languages": ["ko"],
        "num_jobs": 2,
    }
