"""Recognition for the command line, the pyfunc and servers: requests in, results in order out, of any family.

On a CPU, utterances are computed one at a time: batches do not pay there (wav2vec2 of 65 s of speech on one thread: one
at a time 453 ms, sorted batches of 8 1,275 ms). On a GPU, batches of similar duration are made within a memory budget.
Texts do not depend on it. Speakers with adapters share one base, whatever the batch.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lhotse.cut import Cut
from torch import Tensor

from asr_lab.data.audio import Signal
from asr_lab.data.segmentation import Cutting
from asr_lab.data.speech_activity import no_speech
from asr_lab.decoding.hot_word_counts import HotWordCount, total
from asr_lab.decoding.words import Word
from asr_lab.errors import AsrLabError, is_out_of_memory
from asr_lab.models.recognizer import Recognizer, SpeakerAdapter
from asr_lab.serving.adapter_cache import AdapterCache, VersionedAdapter
from asr_lab.serving.decoders import Decoders, HotWords
from asr_lab.serving.long_recordings import WHOLE_S, Opened, Segmentation, Transcriber, cutting_of, open_recording
from asr_lab.units import SAMPLE_RATE

_BATCH_S = 480.0
"""Seconds of padded audio in a batch; one that does not fit into memory is halved."""
_GPU_WINDOW = 256
"""Requests that are sorted together on a GPU."""
_PIECES = 32
"""Most pieces of a long recording that are computed together; on a GPU so many are."""
_WINDOW_S = 3600.0
"""Seconds of audio in memory, beyond which no more requests are read before their results are taken."""
_CUT_IT = "cut the recording into shorter ones"


@dataclass(frozen=True, kw_only=True)
class Request:
    """An utterance to transcribe."""

    audio: Signal | bytes | Path | Cut
    """Samples at `SAMPLE_RATE`, a file's bytes, a file, or an utterance of a manifest."""
    adapter: str = ""
    """A speaker's adapter: name, file or registry URI; "" for none."""
    name: str = ""
    """What error messages call it, for audio that has no path."""
    hot_words: tuple[str, ...] = ()
    """Words and phrases to be expected, besides those of the engine's decoder."""
    words: bool = False
    """Whether the result is to have words with times and confidence."""
    segmentation: Segmentation | None = None
    """How it is cut if it is longer than `WHOLE_S`; None: as the engine's."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The transcript of a request, or its `error`."""

    text: str = ""
    words: tuple[Word, ...] = ()
    """Each with rising times; empty unless asked for."""
    duration_s: float = 0.0
    speaker: str = ""
    """Whose adapter was used."""
    adapter: str = ""
    """Its version: a registry URI, or a file with its digest."""
    hot_words: tuple[HotWordCount, ...] = ()
    """How often each hot word was recognised."""
    note: str = ""
    """On conversions of the audio, and why there is no text."""
    error: AsrLabError | None = None


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """A request as the network takes it."""

    place: int
    features: Any
    duration_s: float
    adapter: VersionedAdapter | None
    note: str
    hot_words: HotWords
    words: bool


@dataclass
class Engine:
    """Transcribes with a recogniser, adapters of speakers, and decoders; for any number of threads."""

    recognizer: Recognizer
    adapters: AdapterCache | None = None
    decoders: Decoders = field(default=None, repr=False)  # type: ignore[assignment]
    """Greedy by default."""
    segmentation: Segmentation = "auto"
    """How recordings longer than `WHOLE_S` are cut; `none`: they are not."""
    lock: Any = field(default_factory=threading.RLock, repr=False)
    """Networks hold state in a forward pass, and torch spreads one over the cores."""

    def __post_init__(self) -> None:
        if self.adapters is not None:
            self.adapters.lock = self.lock  # an adapter of LoRA changes the network
        self.decoders = self.decoders or Decoders(self.recognizer)

    def transcribe(self, requests: Iterable[Request | AsrLabError], *, batch_size: int = 0) -> Iterator[Result]:
        """Yield the result of each request, in order; one that fails, or is an error, has it and stops no other.

        `batch_size`: most utterances of a batch, within the seconds allowed; 0: one on a CPU, any number on a GPU.
        """
        size = max(_GPU_WINDOW if self._on_gpu else 1, batch_size)
        window: list[_Prepared | Result] = []
        for request in requests:
            window.append(self._prepared(len(window), request, batch_size))
            if len(window) == size or sum(one.duration_s for one in window) > _WINDOW_S:
                yield from self._results(window, batch_size)
                window = []
        yield from self._results(window, batch_size)

    @property
    def _on_gpu(self) -> bool:
        return bool(self.recognizer.model.device.type != "cpu")

    def _results(self, window: Sequence[_Prepared | Result], batch_size: int) -> list[Result]:
        results = {place: one for place, one in enumerate(window) if isinstance(one, Result)}
        for batch in self._batches([one for one in window if isinstance(one, _Prepared)], batch_size):
            results |= self._compute(batch)
        return [results[place] for place in range(len(window))]

    def _prepared(self, place: int, request: Request | AsrLabError, batch_size: int) -> _Prepared | Result:
        """Read a request; return its result where nothing is to be computed, as of one that cannot be read."""
        if isinstance(request, AsrLabError):
            return Result(error=request)
        try:
            segmentation = request.segmentation or self.segmentation
            whole_s = WHOLE_S if segmentation != "none" else math.inf
            with open_recording(request.audio, request.name, whole_s) as opened:
                if opened.samples is None:
                    return self._transcribe_long(opened, request, cutting_of(segmentation), batch_size)
                return self._prepare(place, request, opened.samples, _note(opened.header))
        except AsrLabError as error:
            return Result(error=error)
        except OSError as error:
            return Result(error=AsrLabError(f"the audio cannot be read: {error.strerror or type(error).__name__}"))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return Result(error=AsrLabError("out of memory: the recording is too long", hint=_CUT_IT))

    def _transcribe_long(self, opened: Opened, request: Request, cutting: Cutting, batch_size: int) -> Result:
        """Transcribe a recording by its stretches of speech."""
        adapter, hot_words = self.adapter(request.adapter), self._hot_words(request)
        counts = [self.decoders.silent(hot_words)]

        def encode(signals: Sequence[Signal]) -> list[Tensor]:
            features = [self.recognizer.extract(one) for one in signals]
            own = [adapter.adapter if adapter else None] * len(signals)
            return self._logits(features, own) if signals else []

        def decode(logits_UV: Tensor) -> tuple[str, Sequence[Word]]:
            ((text, counted),) = self.decoders.decode(logits_UV[None], torch.tensor([len(logits_UV)]), [hot_words])
            counts.append(counted)
            return text, self._words(logits_UV, text) if request.words else ()

        size = min(batch_size, _PIECES) or (_PIECES if self._on_gpu else 1)
        transcriber = Transcriber(self.recognizer, encode, decode, size)
        text, timed, duration_s = transcriber.transcribe(opened.blocks, cutting)
        return Result(
            text=text,
            words=tuple(timed),
            duration_s=duration_s,
            speaker=adapter.speaker if adapter else "",
            adapter=adapter.version if adapter else "",
            hot_words=tuple(total(counts)),
            note=", ".join(filter(None, (_note(opened.header), "" if text else "no speech"))),
        )

    def _hot_words(self, request: Request) -> HotWords:
        """Return the hot words of a request; raises `AsrLabError` for one that cannot be written."""
        hot_words = self.decoders.hot_words(request.hot_words)
        self.decoders.check(hot_words)
        return hot_words

    def _words(self, logits_UV: Tensor, text: str) -> tuple[Word, ...]:
        return self.decoders.calibrated(self.recognizer.words(logits_UV, text))

    @torch.inference_mode()
    def _logits(self, features: Sequence[Tensor], adapters: Sequence[SpeakerAdapter | None]) -> list[Tensor]:
        """Compute logits (U, V) of each row of features."""
        with self.lock:
            logits_BUV, lengths_B = self.recognizer.adapted_logits(self.recognizer.collator().pad(features), adapters)
        return [logits_UV[: int(length)] for logits_UV, length in zip(logits_BUV, lengths_B, strict=True)]

    def _prepare(self, place: int, request: Request, samples: Signal, note: str) -> _Prepared | Result:
        """Compute features; return the result where nothing is to be computed. Raises `AsrLabError`."""
        adapter = self.adapter(request.adapter)
        hot_words = self._hot_words(request)
        duration_s = len(samples) / SAMPLE_RATE
        features = self.recognizer.extract(samples)
        if reason := no_speech(samples):
            return Result(
                duration_s=duration_s,
                speaker=adapter.speaker if adapter else "",
                adapter=adapter.version if adapter else "",
                hot_words=self.decoders.silent(hot_words),
                note=", ".join(filter(None, (note, f"no speech: {reason}"))),
            )
        return _Prepared(
            place=place,
            features=features,
            duration_s=duration_s,
            adapter=adapter,
            note=note,
            hot_words=hot_words,
            words=request.words,
        )

    def adapter(self, wanted: str) -> VersionedAdapter | None:
        """Return an adapter, None for ""; raise `AsrLabError` if it is unknown, or made for another base."""
        if not wanted:
            return None
        if self.adapters is None:
            raise AsrLabError(f"this model takes no adapter: {wanted!r}", allowed="none")
        return self.adapters.get(wanted)

    def _batches(self, prepared: list[_Prepared], batch_size: int) -> Iterator[list[_Prepared]]:
        """Split into batches of similar duration, within the size and the seconds allowed."""
        most = batch_size or (_GPU_WINDOW if self._on_gpu else 1)
        batch: list[_Prepared] = []
        for one in sorted(prepared, key=lambda one: -one.duration_s):
            longest = batch[0].duration_s if batch else one.duration_s
            if batch and (len(batch) == most or longest * (len(batch) + 1) > _BATCH_S):
                yield batch
                batch = []
            batch.append(one)
        if batch:
            yield batch

    @torch.inference_mode()
    def _compute(self, batch: Sequence[_Prepared]) -> dict[int, Result]:
        try:
            with self.lock:
                inputs = self.recognizer.collator().pad([one.features for one in batch])
                adapters = [one.adapter.adapter if one.adapter else None for one in batch]
                logits_BUV, lengths_B = self.recognizer.adapted_logits(inputs, adapters)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) > 1:
                half = len(batch) // 2
                return self._compute(batch[:half]) | self._compute(batch[half:])
            what = f"out of memory: {batch[0].duration_s:.0f} s of audio in one piece"
            return {batch[0].place: Result(error=AsrLabError(what, hint=_CUT_IT))}
        decoded = self.decoders.decode(logits_BUV, lengths_B, [one.hot_words for one in batch])
        rows = zip(batch, decoded, logits_BUV, lengths_B.tolist(), strict=True)
        return {one.place: self._result(one, *done, logits_UV[: int(length)]) for one, done, logits_UV, length in rows}

    def _result(self, one: _Prepared, text: str, hot_words: tuple[HotWordCount, ...], logits_UV: Tensor) -> Result:
        try:
            words = self._words(logits_UV, text) if one.words else ()
        except AsrLabError as error:  # of this request alone
            return Result(error=error)
        return Result(
            text=text,
            words=words,
            duration_s=one.duration_s,
            speaker=one.adapter.speaker if one.adapter else "",
            adapter=one.adapter.version if one.adapter else "",
            hot_words=hot_words,
            note=one.note,
        )


def read_samples(request: Request) -> tuple[Signal, str]:
    """Return the samples of a request, and a note on their conversion; raises `AsrLabError`."""
    with open_recording(request.audio, request.name, math.inf) as opened:
        assert opened.samples is not None
        return opened.samples, _note(opened.header)


def _note(info: Any) -> str:
    if info is None:
        return ""
    done = []
    if info.channels > 1:
        done.append(f"{info.channels} channels mixed to one")
    if info.samplerate != SAMPLE_RATE:
        done.append(f"resampled from {info.samplerate} Hz")
    return ", ".join(done)
