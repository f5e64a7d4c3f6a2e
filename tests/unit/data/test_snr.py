"""SNR estimates compared with noise added at a known SNR."""

import numpy as np
import pytest
import soundfile
import soxr
from conftest import make_corpus, ok, refused, run

from asr_lab.data import audio_measures, levels, manifest
from asr_lab.data.identity import FOLDER
from asr_lab.data.noise import generate, loop_from, mix
from asr_lab.data.snr import MAX_SNR_DB, MIN_SNR_DB, estimate, wada_table

LEVELS = (0, 5, 10, 15, 20)


@pytest.fixture(scope="module")
def spoken():
    """Clean sentences of different voices at 16 kHz."""
    pytest.importorskip("espeakng_loader")
    from asr_lab.data.synthesis import voices
    from asr_lab.data.synthesis.espeak import Engine
    from asr_lab.data.synthesis.sentences import Sentences

    engine, sentences, found = Engine(), Sentences("en", 0), []
    for speaker in voices.ordinary("en")[::3]:
        for text in sentences.take(4):
            samples, _ = engine.synthesize(text, speaker.voice)
            found.append(soxr.resample(samples, engine.sample_rate, 16000).astype(np.float32))
    return found


def errors(spoken, method, kind):
    draw = np.random.default_rng(0)
    return np.array(
        [
            [estimate(mix(clean, generate(kind, len(clean), draw), snr), method) - snr for snr in LEVELS]
            for clean in spoken
        ]
    )


@pytest.mark.parametrize("kind", ["white", "pink"])
def test_mean_error_on_speech_with_known_noise(spoken, kind):
    by_floor, by_wada = np.abs(errors(spoken, "floor", kind)), np.abs(errors(spoken, "wada", kind))
    assert by_floor.mean() < 1.0  # dB; 0.8 measured
    assert by_floor.max() < 4
    assert by_wada.mean() < 2.3  # 1.9 measured
    assert by_wada[:, :3].mean() < 1.5  # up to 10 dB, where it matters


def test_people_talking_in_the_background_are_estimated_as_less_noise_than_they_are(spoken):
    draw = np.random.default_rng(0)
    talk = [np.resize(np.concatenate([spoken[i] for i in draw.permutation(len(spoken))]), 400_000) for _ in range(8)]
    crowd = np.sum([voice / voice.std() for voice in talk], axis=0).astype(np.float32)

    def error(method, snr):
        noisy = [mix(clean, loop_from(crowd, len(clean), draw), snr) for clean in spoken]
        return np.mean([estimate(samples, method) - snr for samples in noisy])

    assert 0 < error("floor", 10) < 3.5
    assert 2 < error("floor", 0) < 6.5
    assert abs(error("wada", 10)) < 2
    assert abs(error("wada", 0)) < 3


def test_more_noise_is_always_less(spoken):
    noise = generate("pink", len(spoken[0]), np.random.default_rng(1))
    found = [estimate(mix(spoken[0], noise, snr)) for snr in range(-10, 35, 5)]
    assert found == sorted(found)


def test_the_loudness_does_not_matter(spoken):
    noisy = mix(spoken[0], generate("white", len(spoken[0]), np.random.default_rng(1)), 10)
    assert estimate(noisy * 0.05) == pytest.approx(estimate(noisy), abs=0.2)
    assert estimate(noisy * 0.05, "wada") == pytest.approx(estimate(noisy, "wada"), abs=0.2)


@pytest.mark.parametrize("method", ["floor", "wada"])
@pytest.mark.parametrize("snr", [2, 20])
def test_digital_silence_is_not_the_noise_of_a_recording(spoken, method, snr):
    """At the start, at the end, and as lost packets of 20 ms."""
    noisy = mix(spoken[0], generate("white", len(spoken[0]), np.random.default_rng(1)), snr)
    silence, gaps = np.zeros(1600, np.float32), noisy.copy()
    for start in range(4000, len(noisy) - 320, 6000):
        gaps[start : start + 320] = 0
    found = estimate(noisy, method)
    assert estimate(np.concatenate([silence, noisy, silence]), method) == pytest.approx(found, abs=0.3)
    assert estimate(gaps, method) == pytest.approx(found, abs=0.5)


@pytest.mark.parametrize("method", ["floor", "wada"])
def test_a_constant_offset_does_not_matter(spoken, method):
    silence = np.zeros(1600, np.float32)
    for snr in (2, 16):
        noisy = mix(spoken[0], generate("white", len(spoken[0]), np.random.default_rng(1)), snr)
        found, offset = estimate(noisy, method), np.float32(0.03)
        assert estimate(noisy + offset, method) == pytest.approx(found, abs=0.2)
        assert estimate(np.concatenate([silence, noisy]) + offset, method) == pytest.approx(found, abs=0.3)
        assert estimate(np.concatenate([silence, noisy + offset]), method) == pytest.approx(found, abs=0.3)


def test_the_ends_of_the_scale(spoken):
    assert estimate(np.zeros(16000, np.float32)) == MIN_SNR_DB
    assert estimate(np.full(16000, 0.03, np.float32)) == MIN_SNR_DB
    assert estimate(np.full(16000, 0.03, np.float32), "wada") == MIN_SNR_DB
    assert estimate(spoken[0]) > 20  # pauses of digital silence: no noise to measure
    assert estimate(np.random.default_rng(0).standard_normal(16000).astype(np.float32) * 0.1) < -5
    assert MIN_SNR_DB <= estimate(spoken[0][:200], "wada") <= MAX_SNR_DB


def test_the_table_is_that_of_the_paper():
    """Amplitudes drawn from the definition give the values of the table."""
    draw = np.random.default_rng(0)
    levels_db, spreads = wada_table()
    assert (np.diff(spreads) >= 0).all()
    for level in (0.0, 10.0, 20.0):
        speech = draw.gamma(0.4, 1.0, 2_000_000) * draw.choice([-1, 1], 2_000_000)
        noise = draw.standard_normal(2_000_000) * np.sqrt(0.4 * 1.4 / 10 ** (level / 10))
        amplitude = np.abs(speech + noise)
        drawn = np.log(amplitude.mean()) - np.log(amplitude).mean()
        assert np.interp(level, levels_db, spreads) == pytest.approx(drawn, abs=0.005)


def test_a_manifest_gets_what_it_lacks_and_keeps_its_digest(tmp_path):
    path = make_corpus(tmp_path, {"a": "cab dad", "b": "bed egg", "c": "fad"})
    given = list(manifest.read(path))
    manifest.supervision(given[1]).custom["snr_db"] = 7.0
    manifest.write(given, path)
    before = manifest.digest(manifest.read(path))
    said = ok("data", "snr", path)
    assert "2 of 3 utterances had no snr_db: 2 estimated by floor" in said
    cuts = manifest.read(path)
    assert manifest.field(cuts["b"], "snr_db") == 7.0
    assert manifest.field(cuts["b"], "snr_by") is None
    assert manifest.field(cuts["a"], "snr_by") == "floor"
    assert manifest.field(cuts["a"], "snr_db") > 10
    assert manifest.digest(cuts) == before
    assert {file.name for file in tmp_path.iterdir()} == {"audio", "all.jsonl.gz", FOLDER}
    assert "0 of 3 utterances had no snr_db" in ok("data", "snr", path)


def test_measuring_goes_on_where_it_was_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_measures, "_PART_S", 0.1)  # each utterance is a part
    path, read = make_corpus(tmp_path, {"a": "cab dad", "b": "bed egg"}), []

    def read_cut(cut):
        read.append(cut.id)
        if cut.id == "b" and read.count("b") == 1:
            raise KeyboardInterrupt
        return np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)

    monkeypatch.setattr(levels, "read_cut", read_cut)
    assert run("data", "snr", path, "--workers", "1").exit_code != 0
    ok("data", "snr", path, "--workers", "1")
    assert read == ["a", "b", "b"]
    assert all(manifest.field(cut, "snr_by") == "floor" for cut in manifest.read(path))
    assert not list((tmp_path / FOLDER).glob("*.check"))


def test_recordings_that_cannot_be_read_are_named_and_the_others_measured(tmp_path):
    path = make_corpus(tmp_path, {"a": "cab dad", "b": "bed egg", "c": "fad"})
    before = manifest.digest(manifest.read(path))
    soundfile.write(tmp_path / "audio" / "b.wav", np.zeros(160, np.float32), 16000)
    said = run("data", "snr", path)
    assert said.exit_code == 0
    assert "3 of 3 utterances had no snr_db: 2 estimated" in said.output
    assert "1 cannot be read and have none: b: the audio is cut off" in said.output
    cuts = manifest.read(path)
    assert [manifest.field(cut, "snr_by") for cut in cuts] == ["floor", None, "floor"]
    assert manifest.digest(cuts) == before
    assert "1 recording cannot be read, nothing was written" in refused("data", "snr", path)  # none that is left


def test_an_snr_that_is_no_number_is_not_given(tmp_path):
    path = make_corpus(tmp_path, {"a": "cab dad", "b": "bed egg"}, snr_db=float("nan"))
    ok("data", "snr", path)
    assert all(manifest.field(cut, "snr_db") > 10 for cut in manifest.read(path))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_table_does_not_give_numbers_that_are_none(tmp_path, kind):
    make_corpus(tmp_path, {"a": "cab dad"})
    rows = {
        "csv": "audio,text,speaker,age,snr_db,l1\naudio/a.wav,cab,ann,nan,inf,nan\n",
        "jsonl": '{"audio": "audio/a.wav", "text": "cab", "speaker": "ann", "age": NaN, "snr_db": NaN, "l1": "nan"}',
    }
    (tmp_path / f"table.{kind}").write_text(rows[kind])
    ok("data", "import", kind, tmp_path / f"table.{kind}", tmp_path / "out")
    custom = manifest.supervision(manifest.read(tmp_path / "out" / "all.jsonl.gz")[0]).custom
    assert custom["l1"] == "nan"  # a name
    assert not {"age", "snr_db"} & set(custom)
    assert "1 of 1 utterances had no snr_db" in ok("data", "snr", tmp_path / "out" / "all.jsonl.gz")


def test_recordings_that_cannot_be_read_are_named_and_nothing_is_written(tmp_path):
    path = make_corpus(tmp_path, {"a": "cab dad", "b": "bed egg"})
    before = path.read_bytes()
    (tmp_path / "audio" / "b.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "audio" / "a.wav", np.zeros(100, np.float32), 16000)
    said = refused("data", "snr", path)
    assert "2 recordings cannot be read" in said
    assert "b: not an audio file" in said
    assert path.read_bytes() == before


def test_out_is_another_manifest(tmp_path):
    path = make_corpus(tmp_path, {"a": "cab dad"})
    out = tmp_path / "deep" / "er" / "measured.jsonl.gz"
    ok("data", "snr", path, "--out", out, "--method", "wada", "--workers", "1")
    assert manifest.field(manifest.read(path)[0], "snr_db") is None
    assert manifest.field(manifest.read(out)[0], "snr_by") == "wada"
    manifest.check_files(manifest.read(out))
    assert "would be replaced" in refused("data", "snr", path, "--out", out)
