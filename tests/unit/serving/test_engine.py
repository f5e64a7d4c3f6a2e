"""The engine: order, errors of single requests, batch sizes, words, and many speakers over one base."""

import io
import itertools
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import tone_word
from encoders import VOCABULARY, network, recognizer, tuned
from streams import drawn_adapter as adapter_file

from asr_lab.data.subwords import Subwords
from asr_lab.data.text import TextNormalizer
from asr_lab.errors import AsrLabError, UnavailableError
from asr_lab.models.adapter import AdapterManager
from asr_lab.models.deepspeech2_pretrained import DeepSpeech2Config, DeepSpeech2ForCTC
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.models.wav2vec2.network import SpeechCTC
from asr_lab.serving.adapter_cache import AdapterCache
from asr_lab.serving.engine import Engine, Request

PEOPLE = tuple(f"p{number:02d}" for number in range(16))


def base(seed: int = 0, **changes) -> DeepSpeech2Recognizer:
    torch.manual_seed(seed)
    shape = {"vocab_size": len(VOCABULARY), "hidden_size": 16, "conv_channels": 4, **changes}
    model = DeepSpeech2ForCTC(DeepSpeech2Config(**shape)).eval()
    with torch.no_grad():
        model.head[-1].weight.mul_(20)  # texts, not blanks alone
    return DeepSpeech2Recognizer(model, dict(VOCABULARY), TextNormalizer())


def sounds(count: int) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    words = ["".join(draw.choice(list("abcdefg"), draw.integers(2, 9))) for _ in range(count)]
    return [tone_word(word, draw) for word in words]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A base, and a folder with adapters of sixteen people, some plain and some residual."""
    folder, of = tmp_path_factory.mktemp("adapters"), base()
    for number, name in enumerate(PEOPLE):
        adapter_file(folder, name, of, number + 1, residual=number % 3 > 0)
    return of, folder


def engine(crowd, **more) -> Engine:
    of, folder = crowd
    return Engine(of, AdapterCache(of.adapter_loader(), kind=of.adapter_kind, folder=folder, **more))


def alone(crowd, sound, name: str) -> str:
    """What the same speaker's adapter gives attached, in the way of `evaluate`."""
    of = base()
    if name:
        of.attach_adapter(AdapterManager(crowd[1]), name)
    return next(of.transcribe([sound]))


def test_the_seeds_differ(crowd):
    assert len({alone(crowd, sounds(1)[0], name) for name in ("", *PEOPLE)}) > 10


@pytest.mark.parametrize("batch_size", [0, 1, 4, 16])
def test_each_row_of_a_mixed_batch_has_the_text_it_has_alone(crowd, batch_size):
    rows = list(zip(sounds(20), itertools.cycle(("", *PEOPLE))))
    results = list(engine(crowd).transcribe((Request(audio=a, adapter=b) for a, b in rows), batch_size=batch_size))
    assert [one.text for one in results] == [alone(crowd, *row) for row in rows]
    assert [one.speaker for one in results] == [name for _, name in rows]
    assert all(one.adapter.startswith(f"{one.speaker}_adapter.pt#") for one in results if one.speaker)


@pytest.mark.parametrize("kind", ["deepspeech2", "wav2vec2", "hubert"])
def test_batches_change_neither_text_nor_times(kind):
    torch.manual_seed(1)
    own = Engine(base(8) if kind == "deepspeech2" else recognizer(SpeechCTC(network(kind, "group"))))
    given = [Request(audio=one, words=True) for one in sounds(12)]
    by_size = [list(own.transcribe(given, batch_size=size)) for size in (1, 4, 16)]
    assert any(one.text for one in by_size[0])
    for other in by_size[1:]:
        assert [one.text for one in other] == [one.text for one in by_size[0]]
        times = [[[(w.start_s, w.end_s) for w in one.words] for one in results] for results in (other, by_size[0])]
        assert times[0] == times[1]


def test_a_batch_is_bounded_in_padded_seconds_whatever_its_size(crowd, monkeypatch):
    monkeypatch.setattr("asr_lab.serving.engine._BATCH_S", 5.0)
    own, widths = engine(crowd), []
    compute = own.recognizer.adapted_logits
    monkeypatch.setattr(
        own.recognizer,
        "adapted_logits",
        lambda batch, adapters: (widths.append(len(adapters)), compute(batch, adapters))[1],
    )
    given = sounds(8)
    results = list(own.transcribe((Request(audio=one) for one in given), batch_size=10**6))
    assert [one.text for one in results] == [alone(crowd, one, "") for one in given]
    assert widths == [5, 3]  # the longest takes 0.87 s


def test_words_are_those_of_the_text_with_rising_times(crowd):
    for result in engine(crowd).transcribe(Request(audio=one, words=True) for one in sounds(20)):
        assert " ".join(word.text for word in result.words) == result.text
        edges = [edge for word in result.words for edge in (word.start_s, word.end_s)]
        assert edges == sorted(edges)
        assert all(word.start_s < word.end_s <= result.duration_s + 0.02 for word in result.words)
        assert all(0 < word.confidence <= 1 for word in result.words)


@pytest.mark.parametrize("units", ["characters", "bpe"])
def test_words_are_those_of_the_text_however_it_was_decoded(units):
    class Fixed:
        name = "fixed"

        def decode(self, log_probs_BUV, lengths_B):
            return ["ab cad"] * len(lengths_B)

    of = base()
    if units == "bpe":
        subwords = Subwords.learn(["ab cad abc", "cad ab bad"] * 5, 14)
        network = base(vocab_size=len(subwords.vocabulary())).model
        of = DeepSpeech2Recognizer(network, subwords.vocabulary(), TextNormalizer(units="bpe"), subwords=subwords)
    for one in Engine(of).transcribe(Request(audio=one, words=True) for one in sounds(6)):
        assert " ".join(word.text for word in one.words) == one.text != ""
    of.decoder = Fixed()
    for one in Engine(of).transcribe(Request(audio=one, words=True) for one in sounds(6)):
        assert [word.text for word in one.words] == one.text.split() == ["ab", "cad"]
        edges = [edge for word in one.words for edge in (word.start_s, word.end_s)]
        assert edges == sorted(edges)


def test_a_bad_request_stops_no_other_and_keeps_the_order(crowd, tmp_path):
    good, texts = sounds(2), []
    (tmp_path / "broken.wav").write_bytes(b"RIFF" + b"x" * 40)
    soundfile.write(tmp_path / "good.wav", good[1], 16_000, subtype="FLOAT")
    given = [
        Request(audio=good[0]),
        Request(audio=tmp_path / "broken.wav"),
        Request(audio=tmp_path / "missing.wav"),
        Request(audio=good[0], adapter="nobody"),
        AsrLabError("a row that is none"),
        Request(audio=np.zeros(10, np.float32)),
        Request(audio=np.zeros(16_000, np.int16)),
        Request(audio=b""),
        Request(audio=(tmp_path / "good.wav").read_bytes()),
        Request(audio=tmp_path / "good.wav"),
    ]
    for size in (1, 4):
        results = list(engine(crowd).transcribe(given, batch_size=size))
        assert [bool(one.error) for one in results] == [False, *[True] * 7, False, False]
        texts.append([one.text for one in results])
        assert texts[-1][8] == texts[-1][9] == alone(crowd, good[1], "")
    assert texts[0] == texts[1]


@pytest.mark.parametrize("size", [0, 44, 5_000])
def test_bytes_that_end_early_are_an_error_as_a_file_of_them_is(crowd, tmp_path, size):
    content, file = io.BytesIO(), tmp_path / "a.wav"
    soundfile.write(content, sounds(1)[0], 16_000, format="WAV")
    file.write_bytes(content.getvalue()[:size])
    of_file, of_bytes = engine(crowd).transcribe([Request(audio=file), Request(audio=file.read_bytes())])
    assert of_file.error
    assert of_bytes.error
    assert of_bytes.error.what == of_file.error.what


def m4a(samples: np.ndarray) -> bytes:
    av = pytest.importorskip("av")
    content = io.BytesIO()
    with av.open(content, "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = 16_000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return content.getvalue()


def test_media_are_decoded_once_from_files_and_from_bytes(crowd, tmp_path, monkeypatch):
    from asr_lab.data import audio

    content, decoded = m4a(sounds(1)[0]), []
    whole, cut_off = tmp_path / "a.m4a", tmp_path / "b.m4a"
    whole.write_bytes(content)
    cut_off.write_bytes(content[: len(content) // 2])
    monkeypatch.setattr(audio, "decode", lambda *paths, of=audio.decode: (decoded.append(paths), of(*paths)))
    given = [Request(audio=one) for one in (whole, content, cut_off, cut_off.read_bytes())]
    of_file, of_bytes, *faults = engine(crowd).transcribe(given)
    assert len(decoded) == len(given)
    assert of_file.text == of_bytes.text != ""
    for fault in faults:
        assert fault.error
        assert "/" not in fault.error.what  # a path of ours


def test_what_the_system_refuses_is_an_error_of_its_request(crowd, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", sounds(1)[0], 16_000)

    def fails(error: Exception):
        monkeypatch.setattr("asr_lab.serving.long_recordings.with_header", lambda path: (_ for _ in ()).throw(error))
        refused, done = engine(crowd).transcribe([Request(audio=tmp_path / "a.wav"), Request(audio=sounds(1)[0])])
        return refused.error.what, done.text

    text = alone(crowd, sounds(1)[0], "")
    for error in (PermissionError(13, "Permission denied", "/secret/a.wav"), MemoryError()):
        what, done = fails(error)
        assert "/secret" not in what
        assert done == text


def test_long_recordings_are_not_all_read_before_the_first_result(crowd, monkeypatch):
    monkeypatch.setattr("asr_lab.serving.engine._WINDOW_S", 1.0)
    heard, read = sounds(8), []

    def given():
        for samples in heard:
            read.append(len(samples) / 16_000)
            yield Request(audio=samples)

    results = engine(crowd).transcribe(given(), batch_size=16)
    first = next(results)
    assert 1.0 < sum(read) < sum(map(len, heard)) / 16_000
    assert [first.text, *(one.text for one in results)] == [alone(crowd, one, "") for one in heard]


def test_silence_and_steady_noise_have_no_text(crowd):
    noise = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    padded = np.concatenate([np.zeros(16_000, np.float32), noise])
    results = list(engine(crowd).transcribe(Request(audio=one) for one in (np.zeros_like(noise), noise, padded)))
    assert [one.text for one in results] == [""] * 3
    assert ["silence" in results[0].note, "noise" in results[1].note, "noise" in results[2].note] == [True] * 3
    assert alone(crowd, noise, "")  # the model itself writes something


# --- the cache --------------------------------------------------------------------------------------------


class Registry:
    """Registered adapters, whose alias can be moved, and which may not answer."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.champion, self.away, self.asked = folder, 1, False, 0

    def resolve_version(self, uri: str) -> str:
        self.asked += 1
        if self.away:
            raise UnavailableError("no answer")
        if "-ann@" not in uri:
            raise AsrLabError(f"no model {uri!r}")
        return uri.replace("@champion", f"/{self.champion}")

    def adapter_file(self, uri: str) -> Path:
        return self.folder / uri.rpartition("/")[2] / "ann_adapter.pt"

    def resolve(self, uri: str) -> Path:
        raise AssertionError(uri)


def test_a_moved_alias_is_used_after_half_a_minute_and_each_answer_names_its_version(tmp_path):
    of, now = base(), [0.0]
    for version in (1, 2):
        adapter_file(tmp_path / str(version), "ann", of, version)
    registry = Registry(tmp_path)
    cache = AdapterCache(
        of.adapter_loader(),
        registry,
        kind=of.adapter_kind,
        folder=tmp_path,
        names=lambda: ["ann"],
        clock=lambda: now[0],
    )
    own, sound = Engine(of, cache), sounds(1)[0]

    def answer() -> tuple[str, str]:
        (result,) = own.transcribe([Request(audio=sound, adapter="ann")])
        return result.text, result.adapter

    first = answer()
    under_way = cache.get("ann")
    registry.champion, now[0] = 2, 29.0
    assert answer() == first
    assert first[1] == "models:/deepspeech2-adapter-ann/1"
    now[0] = 31.0
    second = answer()
    assert second[1] == "models:/deepspeech2-adapter-ann/2"
    assert second[0] != first[0]
    assert under_way.version == first[1]
    registry.away, now[0] = True, 90.0
    assert answer() == second
    with pytest.raises(UnavailableError):  # it may be registered
        cache.get("anna")
    registry.away = False
    with pytest.raises(AsrLabError, match="did you mean 'ann'"):
        cache.get("anna")


def test_an_unknown_name_is_asked_for_once_in_half_a_minute(tmp_path):
    of, now, listed = base(), [0.0], []
    registry = Registry(tmp_path)
    cache = AdapterCache(
        of.adapter_loader(),
        registry,
        kind=of.adapter_kind,
        folder=tmp_path,
        names=lambda: listed.append(1) or ["anne"],
        clock=lambda: now[0],
    )
    for wanted in ("anna", "anna", "anna", "bob"):
        with pytest.raises(AsrLabError) as raised:
            cache.get(wanted)
        assert raised.value.allowed == "anne"
    assert (registry.asked, len(listed)) == (2, 1)
    adapter_file(tmp_path / "1", "ann", of, 1)
    now[0], registry.resolve_version = 31.0, lambda uri: uri.replace("@champion", "/1")
    assert cache.get("anna").version == "models:/deepspeech2-adapter-anna/1"


def test_a_registry_that_hangs_delays_no_other_thread(tmp_path):
    of, now, asked, answer = base(), [0.0], threading.Event(), threading.Event()
    adapter_file(tmp_path / "1", "ann", of, 1)
    registry = Registry(tmp_path)
    cache = AdapterCache(of.adapter_loader(), registry, kind=of.adapter_kind, folder=tmp_path, clock=lambda: now[0])
    own, sound = Engine(of, cache), sounds(1)[0]
    (first,) = own.transcribe([Request(audio=sound, adapter="ann")])

    def hangs(uri: str) -> str:
        asked.set()
        assert answer.wait(30)
        return first.adapter

    registry.resolve_version, now[0] = hangs, 31.0
    waiting = threading.Thread(target=cache.get, args=("ann",))
    waiting.start()
    try:
        assert asked.wait(30)
        done = [next(own.transcribe([Request(audio=sound, adapter=name)])) for name in ("ann", "")]
        assert not answer.is_set()
        assert (done[0].text, done[0].adapter) == (first.text, first.adapter)
        assert done[1].text == alone((of, tmp_path), sound, "")
    finally:
        answer.set()
        waiting.join()


def test_a_replaced_file_is_used_and_the_least_recently_used_adapter_goes(tmp_path):
    of = base()
    for number, name in enumerate("abc"):
        adapter_file(tmp_path, name, of, number)
    cache = AdapterCache(of.adapter_loader(), kind=of.adapter_kind, folder=tmp_path, most=2)
    first, b = cache.get("a"), cache.get("b")
    assert cache.get("a") is first
    cache.get("c")
    assert len(cache) == 2
    assert cache.get("a") is first
    assert cache.get("b") is not b
    adapter_file(tmp_path, "a", of, 9)
    assert cache.get("a").version != first.version


def test_an_adapter_of_another_base_or_vocabulary_is_refused(tmp_path):
    of = base()
    adapter_file(tmp_path, "other", base(seed=5), 1)
    other = base()
    other.vocabulary = {unit: index for index, unit in enumerate(reversed(VOCABULARY))}
    adapter_file(tmp_path, "letters", other, 1)
    own = engine((of, tmp_path))
    results = list(own.transcribe(Request(audio=sounds(1)[0], adapter=name) for name in ("other", "letters")))
    assert "another base" in results[0].error.what
    assert "another vocabulary" in results[1].error.what


def test_a_path_is_no_name_where_files_are_not_allowed(tmp_path):
    of = base()
    file = adapter_file(tmp_path, "ann", of, 1)
    cache = AdapterCache(of.adapter_loader(), kind=of.adapter_kind, folder=None)
    for wanted in (str(file), "../ann", "ann"):
        with pytest.raises(AsrLabError, match="no adapter"):
            cache.get(wanted)


@pytest.mark.parametrize("times", [5, pytest.param(60, marks=pytest.mark.slow)])
def test_threads_of_one_person_each_get_their_own_text(crowd, times):
    own, sound = engine(crowd, most=5), sounds(3)[2]
    expected = {name: alone(crowd, sound, name) for name in PEOPLE}
    wrong: list[str] = []

    def ask(name: str) -> None:
        for _ in range(times):
            (result,) = own.transcribe([Request(audio=sound, adapter=name)])
            if (result.text, result.speaker) != (expected[name], name):
                wrong.append(name)

    threads = [threading.Thread(target=ask, args=(name,)) for name in PEOPLE]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- LoRA and its like ------------------------------------------------------------------------------------


def peft_folder(folder: Path, base_model: Path, method: str, seed: int) -> Path:
    """Adapters on the base, whose weights and head are drawn."""
    from asr_lab.models import load_model

    of = load_model(base_model)
    model = tuned(of.model, str(base_model), tune="lora", freeze_layers=0, lora={"method": method})
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    of.model = model
    of.save(folder)
    return folder


@pytest.mark.parametrize("methods", [("lora", "rslora"), ("dora", "lora"), ("ia3", "ia3"), ("lokr", "loha")])
@pytest.mark.slow
def test_each_row_has_its_own_peft_adapter(tmp_path, methods):
    from asr_lab.models import load_model

    plain = recognizer(SpeechCTC(network()))
    plain.save(tmp_path / "base")
    folders = [str(peft_folder(tmp_path / f"{n}", tmp_path / "base", m, n)) for n, m in enumerate((*methods, *methods))]
    of = load_model(tmp_path / "base")
    own = Engine(of, AdapterCache(of.adapter_loader(), kind=of.adapter_kind))
    rows = list(zip(sounds(10), itertools.cycle(("", *folders))))
    expected = [next(load_model(name or tmp_path / "base").transcribe([sound])) for sound, name in rows]
    assert len(set(expected)) > 5
    for size in (1, 4, 10):
        results = list(own.transcribe((Request(audio=a, adapter=b) for a, b in rows), batch_size=size))
        assert [one.error for one in results] == [None] * len(rows)
        assert [one.text for one in results] == expected


def test_without_a_model_the_base_that_lora_names_is_used(tmp_path):
    from asr_lab.interfaces.in_memory import FolderStore
    from asr_lab.serving.opening import open_engine

    recognizer(SpeechCTC(network())).save(tmp_path / "base")
    folder = peft_folder(tmp_path / "lora", tmp_path / "base", "lora", 1)
    own, uri = open_engine(FolderStore(), "", [str(folder)], str(tmp_path / "adapters"))
    assert uri == str(tmp_path / "base")
    (result,) = own.transcribe([Request(audio=sounds(1)[0], adapter=str(folder))])
    assert (result.error, result.adapter) == (None, str(folder))
    config = folder / "adapter_config.json"
    config.write_text(config.read_text().replace(str(tmp_path / "base"), "someone/hub-base"))
    with pytest.raises(AsrLabError, match="of its own"):
        open_engine(FolderStore(), "", [str(folder)], str(tmp_path / "adapters"))


def test_peft_adapters_that_are_dropped_leave_the_network(tmp_path):
    from asr_lab.models import load_model

    recognizer(SpeechCTC(network())).save(tmp_path / "base")
    folders = [str(peft_folder(tmp_path / f"{n}", tmp_path / "base", "lora", n)) for n in range(4)]
    of = load_model(tmp_path / "base")
    own = Engine(of, AdapterCache(of.adapter_loader(), kind=of.adapter_kind, most=2))
    rows = [Request(audio=sounds(1)[0], adapter=name) for name in folders * 2]
    texts = [one.text for one in own.transcribe(rows)]
    assert texts[:4] == texts[4:]
    (held,) = (one.network.peft_config for one in of.speakers._networks.values())
    assert len(held) <= 3


def test_peft_adapters_of_another_base_or_vocabulary_are_refused(tmp_path):
    from asr_lab.models import load_model

    recognizer(SpeechCTC(network())).save(tmp_path / "base")
    other = SpeechCTC(network())
    with torch.no_grad():
        next(other.parameters()).add_(1)
    recognizer(other).save(tmp_path / "else")
    foreign = peft_folder(tmp_path / "foreign", tmp_path / "else", "lora", 0)
    swapped = peft_folder(tmp_path / "swapped", tmp_path / "base", "lora", 0)
    vocabulary = (swapped / "vocab.json").read_text()
    (swapped / "vocab.json").write_text(vocabulary.replace('"a"', '"z"'))
    of = load_model(tmp_path / "base")
    load = of.adapter_loader()
    with pytest.raises(AsrLabError, match="another base"):
        load(foreign)
    with pytest.raises(AsrLabError, match="another vocabulary"):
        load(swapped)
    shutil.rmtree(swapped)
    with pytest.raises(AsrLabError, match="adapter_config"):
        load(swapped)
