"""Recordings that many others are packed with: archives of Kaldi, tars of NeMo, shards of Lhotse."""

import io
import tarfile

import corpora
import pytest
import soundfile
from conftest import ok

from asr_lab.data import manifest
from asr_lab.data.cut_audio import read_cut
from asr_lab.data.importers.import_report import ImportRefusedError
from asr_lab.data.importers.registry import import_corpus
from asr_lab.errors import AsrLabError


def samples_of(content):
    return soundfile.read(io.BytesIO(content), dtype="float32")[0]


def imported(source, out, **options):
    result = import_corpus(source.name if source.is_dir() else "nemo", source, out, options)
    return {cut.id: cut for cuts in result.splits.values() for cut in cuts}


def test_a_wav_in_an_archive_of_kaldi(tmp_path):
    root, content, places = tmp_path / "kaldi", b"", {}
    wavs = {name: corpora.encoded(0.4, seed=number, format="WAV") for number, name in enumerate("ab")}
    for name, wav in wavs.items():
        content += f"{name} ".encode()
        places[name] = len(content)
        content += wav
    corpora.text(root / "wav.scp", "".join(f"{name} data/wav.ark:{place}\n" for name, place in places.items()))
    corpora.text(root / "text", "a 하나\nb 둘\n")
    corpora.text(root / "utt2spk", "a s\nb s\n")
    (root / "data").mkdir()
    (root / "data" / "wav.ark").write_bytes(content)
    cuts = imported(root, tmp_path / "out")
    for name, wav in wavs.items():
        assert (read_cut(cuts[name]) == samples_of(wav)).all()
    (root / "data" / "wav.ark").write_bytes(content[:-8])
    corpora.text(root / "wav.scp", f"a data/wav.ark:3\nb data/wav.ark:{places['b']}\n")
    with pytest.raises(ImportRefusedError) as error:
        imported(root, tmp_path / "out")
    kinds = [fault.kind for fault in error.value.report.faults]
    assert ["no WAV" in kinds[0], "cut off" in kinds[1]] == [True, True]


def tarred(root):
    rows = []
    for shard in (0, 1):
        root.mkdir(exist_ok=True)
        with tarfile.open(root / f"audio_{shard}.tar", "w") as archive:
            for number in (0, 1):
                content = corpora.encoded(0.4, seed=2 * shard + number)
                member = tarfile.TarInfo(f"u{number}.flac")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
                name = {"audio_filepath": member.name, "duration": 0.4, "shard_id": shard}
                rows.append(name | {"text": f"말 {shard} {number}", "speaker": f"s{number}"})
    return rows


def test_the_tars_of_nemo_are_unpacked(tmp_path):
    rows = tarred(tmp_path / "nemo")
    corpora.lines_of_json(tmp_path / "nemo" / "tarred_audio_manifest.json", *rows)
    assert "4 recordings are taken out of 2 tars" in ok("data", "import", tmp_path / "nemo", tmp_path / "out")
    cuts = {cut.id: cut for cut in manifest.read(tmp_path / "out" / "all.jsonl.gz")}
    assert sorted(cuts) == ["0-u0", "0-u1", "1-u0", "1-u1"]
    assert (read_cut(cuts["1-u0"]) == samples_of(corpora.encoded(0.4, seed=2))).all()
    lost = {"audio_filepath": "u9.flac", "shard_id": 1, "text": "x", "speaker": "s"}
    corpora.lines_of_json(tmp_path / "nemo" / "tarred_audio_manifest.json", *rows, lost)
    with pytest.raises(ImportRefusedError) as error:
        imported(tmp_path / "nemo", tmp_path / "out")
    assert [fault.line for fault in error.value.report.faults] == [5]
    before = sorted(path.name for path in (tmp_path / "out" / "audio").iterdir())
    assert before == [f"{shard}-u{number}.flac" for shard in (0, 1) for number in (0, 1)]  # of the import before
    assert len(imported(tmp_path / "nemo", tmp_path / "out", skip_faulty=True)) == 4


def test_shards_of_lhotse_are_read(tmp_path):
    from lhotse import Recording, SupervisionSegment
    from lhotse.shar import SharWriter

    root = tmp_path / "cuts"
    root.mkdir()
    with SharWriter(str(root), fields={"recording": "flac"}, shard_size=2) as writer:
        for number in range(3):
            recording = Recording.from_file(corpora.sound(tmp_path / "wavs" / f"{number}.wav", 0.4, number))
            cut = recording.to_cut()
            fields = {"text": f"말 {number}", "speaker": "s", "start": 0, "duration": recording.duration}
            cut.supervisions = [SupervisionSegment(id=f"u{number}", recording_id=recording.id, **fields)]
            writer.write(cut)
    said = ok("data", "import", root, tmp_path / "out")
    assert "shards of Lhotse" in said
    cuts = list(manifest.read(tmp_path / "out" / "all.jsonl.gz"))
    assert [manifest.text(cut) for cut in cuts] == ["말 0", "말 1", "말 2"]
    whole, _ = soundfile.read(tmp_path / "wavs" / "2.wav", dtype="float32")
    assert abs(read_cut(cuts[2]) - whole).max() < 1e-4
    tar = root / "recording.000000.tar"
    tar.write_bytes(tar.read_bytes()[:3000])
    with pytest.raises(AsrLabError, match="after cut"):
        import_corpus("cuts", root, tmp_path / "out2")
