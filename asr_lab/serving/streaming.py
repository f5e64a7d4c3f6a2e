"""Recognition while audio comes in: many streams over one streaming model, each with its speaker's adapter.

While audio comes in, texts are decoded greedily: a letter is written `deepspeech2_streaming.LATENCY_S` after it at the
earliest, and is not taken back. The text of an utterance that has ended is that of the engine's decoder, with language
model and hot words, and equals that of the whole recording, whatever the length of the pieces.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from asr_lab.data.audio import Signal
from asr_lab.data.speech_activity import SpeechActivity
from asr_lab.data.text import SPACE, WORD_START
from asr_lab.decoding.greedy import to_text
from asr_lab.decoding.words import Word, path_words
from asr_lab.errors import AsrLabError
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.models.deepspeech2_streaming import StreamingEncoder, StreamState
from asr_lab.serving.adapter_cache import VersionedAdapter
from asr_lab.serving.decoders import HotWords
from asr_lab.serving.engine import Engine, Result
from asr_lab.units import SAMPLE_RATE

_MOST_AT_ONCE = 64  # streams in one step of the network


@dataclass(frozen=True, kw_only=True)
class Endpointing:
    """When an utterance ends: by what was decoded, as Kaldi's online decoders do."""

    pause_s: float = 0.8
    """Without a letter, after one."""
    long_s: float = 15.0
    """From this length on `short_pause_s` is enough."""
    short_pause_s: float = 0.2
    most_s: float = 30.0
    """It ends here in any case."""

    def ends(self, duration_s: float, pause_s: float, *, has_text: bool) -> bool:
        """Whether an utterance of this length ends with this pause."""
        if not has_text:
            return duration_s >= self.long_s
        enough_s = self.pause_s if duration_s < self.long_s else self.short_pause_s
        return pause_s >= enough_s or duration_s >= self.most_s


DEFAULT_RULES = Endpointing()


@dataclass(eq=False)
class Stream:
    """One utterance, as far as it has come in."""

    state: StreamState
    adapter: VersionedAdapter | None = None
    start_s: float = 0.0
    """Where it begins, for the times of its words."""
    hot_words: HotWords = ()
    """Of its text once it has ended."""
    text: str = ""
    """What was recognised so far; it only grows, but for the last syllable of jamo."""
    ended_words: str = ""
    """The words of what was recognised but the last one, whose classes are `last_word`."""
    last_word: list[int] = field(default_factory=list)
    num_samples: int = 0
    path: list[int] = field(default_factory=list)
    """The best class of each output frame so far."""
    log_probs: list[float] = field(default_factory=list)
    """The log probability of each."""
    logits: list[Tensor] | None = None
    """Of each piece (U, V), where a search needs them."""
    activity: SpeechActivity = field(default_factory=SpeechActivity)
    has_speech: bool = False
    quiet_frames: int = 0
    """Output frames since the last letter."""

    @property
    def duration_s(self) -> float:
        return self.num_samples / SAMPLE_RATE


class StreamingRecognizer:
    """Transcribes streams with a recogniser and adapters of speakers; one thread at a time."""

    def __init__(self, engine: Engine) -> None:
        """Raise `AsrLabError` if the model reads whole recordings only."""
        recognizer = engine.recognizer
        if not isinstance(recognizer, DeepSpeech2Recognizer) or not recognizer.streams:
            raise AsrLabError(
                "this model reads whole recordings and cannot transcribe while audio comes in",
                allowed="a deepspeech2 that was trained with model.streaming=true",
            )
        self.engine, self._recognizer = engine, recognizer
        self._encoder = StreamingEncoder(recognizer.model)
        self._units, self._blank = recognizer.units, recognizer.blank
        self._written = {label for label in range(len(self._units)) if to_text([label], self._units)}

    def open(self, adapter: str = "", start_s: float = 0.0, hot_words: Sequence[str] = ()) -> Stream:
        """Begin an utterance, of a speaker's adapter.

        Raises `AsrLabError` if there is none, or hot words cannot be written.
        """
        decoders = self.engine.decoders
        hot = decoders.hot_words(hot_words)
        decoders.check(hot)
        searched = decoders.settings.is_beam or hot
        return Stream(
            self._encoder.start(), self.engine.adapter(adapter), start_s, hot, logits=[] if searched else None
        )

    def writes(self, label: int) -> bool:
        """Whether a class is a letter, not blank, space or `<unk>`."""
        return label in self._written

    def accept(self, streams: Sequence[Stream], pieces: Sequence[Signal], last: Sequence[bool]) -> None:
        """Read the next piece (num_samples,) of each stream, which may be empty; `last`: the utterance ends with it."""
        encoded, states = self._encoder.step(pieces, [stream.state for stream in streams], last)
        best = self._best(encoded, streams)
        for stream, piece, state, (labels, log_probs) in zip(streams, pieces, states, best, strict=True):
            stream.state = state
            stream.activity.push(piece)
            stream.num_samples += len(piece)
            stream.log_probs += log_probs
            for label in labels:
                self._extend(stream, label)
            self._write(stream)

    def ends(self, stream: Stream, rules: Endpointing) -> bool:
        """Whether the utterance has come to its end."""
        pause_s = stream.quiet_frames * self._recognizer.frame_shift_s
        return rules.ends(stream.duration_s, pause_s, has_text=bool(stream.text))

    def result(self, stream: Stream) -> Result:
        """Return the transcript of an utterance that has ended, with its words."""
        adapter = stream.adapter
        result = Result(
            duration_s=stream.duration_s,
            speaker=adapter.speaker if adapter else "",
            adapter=adapter.version if adapter else "",
        )
        decoders = self.engine.decoders
        if reason := stream.activity.no_speech():
            return replace(result, hot_words=decoders.silent(stream.hot_words), note=f"no speech: {reason}")
        text, words = self._written_text(stream), self._path_words(stream)
        if stream.logits:
            logits_UV = torch.cat(stream.logits)
            length = torch.tensor([len(logits_UV)])
            ((text, counts),) = decoders.decode(logits_UV[None], length, [stream.hot_words])
            words, result = self._recognizer.words(logits_UV, text), replace(result, hot_words=counts)
        moved = [
            replace(word, start_s=round(word.start_s + stream.start_s, 3), end_s=round(word.end_s + stream.start_s, 3))
            for word in words
        ]
        return replace(result, text=text, words=decoders.calibrated(moved))

    def _path_words(self, stream: Stream) -> list[Word]:
        return path_words(stream.path, stream.log_probs, self._units, self._blank, self._recognizer.frame_shift_s)

    def _extend(self, stream: Stream, label: int) -> None:
        """Take the best class of the next frame."""
        is_new = label != self._blank and label != (stream.path[-1] if stream.path else self._blank)
        stream.path.append(label)
        stream.quiet_frames = 0 if self.writes(label) else stream.quiet_frames + 1
        if not is_new:
            return
        if self._units[label] == SPACE or self._units[label].startswith(WORD_START):
            stream.ended_words, stream.last_word = self._written_text(stream), []
        stream.last_word.append(label)

    def _write(self, stream: Stream) -> None:
        """Set the text so far; none while there was but silence, clicks or noise, for which models write letters."""
        text = self._written_text(stream)
        if text and not stream.has_speech:
            stream.has_speech = not stream.activity.no_speech()
        stream.text = text if stream.has_speech else ""

    def _written_text(self, stream: Stream) -> str:
        return " ".join(filter(None, (stream.ended_words, to_text(stream.last_word, self._units))))

    @torch.inference_mode()
    def _best(self, encoded: Sequence[Tensor], streams: Sequence[Stream]) -> list[tuple[list[int], list[float]]]:
        """Return the best class of each frame of encoder outputs (U, H), and its log probability: each adapter once."""
        best: list[tuple[list[int], list[float]]] = [([], [])] * len(streams)
        rows_of: dict[VersionedAdapter | None, list[int]] = {}
        for row, stream in enumerate(streams):
            if len(encoded[row]):
                rows_of.setdefault(stream.adapter, []).append(row)
        for adapter, rows in rows_of.items():
            weights = adapter.adapter.weights if adapter else None
            logits_UV = self._recognizer.head(torch.cat([encoded[row] for row in rows]), weights)
            values_U, labels_U = logits_UV.float().log_softmax(dim=-1).max(dim=-1)
            edges = list(itertools.accumulate(len(encoded[row]) for row in rows[:-1]))
            split = (one.tensor_split(edges) for one in (labels_U, values_U, logits_UV))
            for row, labels, values, logits in zip(rows, *split, strict=True):
                best[row] = labels.tolist(), values.tolist()
                if (kept := streams[row].logits) is not None:
                    kept.append(logits.cpu())
        return best


@dataclass(frozen=True)
class _Job:
    stream: Stream
    piece: Signal
    last: bool
    done: Future[None]


class StreamWorker:
    """Computes what streams of many threads wait for together, in a thread of its own.

    A stream's next piece has to wait for its last one.
    """

    def __init__(self, recognizer: StreamingRecognizer) -> None:
        self.recognizer = recognizer
        self._waiting: deque[_Job] = deque()
        self._thread = ThreadPoolExecutor(1, "streams")

    def close(self) -> None:
        """End once what is under way has ended; what waits is cancelled."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        while self._waiting:
            self._waiting.popleft().done.cancel()

    def accept(self, stream: Stream, piece: Signal, *, last: bool = False) -> Future[None]:
        """Read the next piece of a stream; see `StreamingRecognizer.accept`."""
        job = _Job(stream, piece, last, Future())
        self._waiting.append(job)
        self._thread.submit(self._compute)
        return job.done

    def _compute(self) -> None:
        taken = [self._waiting.popleft() for _ in range(min(_MOST_AT_ONCE, len(self._waiting)))]
        jobs = [job for job in taken if job.done.set_running_or_notify_cancel()]
        if not jobs:
            return
        try:
            self.recognizer.accept(
                [job.stream for job in jobs], [job.piece for job in jobs], [job.last for job in jobs]
            )
        except BaseException as error:  # each waits for its own
            for job in jobs:
                job.done.set_exception(error)
            return
        for job in jobs:
            job.done.set_result(None)
