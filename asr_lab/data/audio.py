"""Read audio of any rate and number of channels as a mono signal at `SAMPLE_RATE`."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from asr_lab.data.containers import HEAD_BYTES, LFS_HINT, LFS_POINTER, kind_of
from asr_lab.data.media import MEDIA, decode
from asr_lab.errors import AsrLabError
from asr_lab.units import FRAME_LENGTH, SAMPLE_RATE, counted

Signal = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Pcm:
    """Format of audio without a header: little-endian integers, by default as in KsponSpeech."""

    rate: int = SAMPLE_RATE
    width: int = 16
    """Bits of a sample: 8 (unsigned, as in WAV), 16, 24 or 32."""
    channels: int = 1

    def __post_init__(self) -> None:
        if self.rate < 1 or self.width not in (8, 16, 24, 32) or self.channels < 1:
            raise AsrLabError(
                f"no format of headerless audio: {self.rate} Hz, {self.width} bits, {self.channels} channels",
                allowed="a rate and channels above 0, and 8, 16, 24 or 32 bits",
            )

    @property
    def frame_bytes(self) -> int:
        return self.width // 8 * self.channels

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of `soundfile.SoundFile`."""
        subtype = "PCM_U8" if self.width == 8 else f"PCM_{self.width}"
        endian = {} if self.width == 8 else {"endian": "LITTLE"}
        return {"samplerate": self.rate, "channels": self.channels, "format": "RAW", "subtype": subtype, **endian}


HEADERLESS_SUFFIXES = (".pcm",)
_NO_HEADER = (
    "it has no header: headerless PCM is read if it is named .pcm, or with --pcm-rate, --pcm-width and --pcm-channels "
    "of asr-lab data import"
)
_IS_EMPTY = "the audio file is empty (0 bytes)"
_IS_CUT = "the audio file is cut off: it holds less than its header says"
_PLACEHOLDERS = 0x7FFF0000
"""The least size in the header of a WAV file whose writer did not know it: sox 0x7ffff024, arecord 0x80000024, ffmpeg
0xffffffff."""
_BLOCK_S = 10
"""Seconds of a block of a long recording."""
_declared: ContextVar[Pcm | None] = ContextVar("declared", default=None)


@contextmanager
def headerless(pcm: Pcm | None) -> Iterator[None]:
    """Read all files without a header, of any name, as `pcm`; None: only `.pcm`, in the default format."""
    token = _declared.set(pcm)
    try:
        yield
    finally:
        _declared.reset(token)


def probe(path: Path, where: str = "") -> Any:
    """Return the header of an audio file (`samplerate`, `frames`, `channels`) after checking that it is complete.

    `where` names it in messages, by default its path. Raises `AsrLabError` if the file is missing, empty, not audio, or
    truncated.
    """
    where = where or str(path)
    with open_audio(path, where) as file:
        file.seek(max(0, file.frames - 1))
        readable = file.frames == 0 or len(file.read(1)) == 1
        if not readable or _riff_is_cut(_head(path, 12), path.stat().st_size):
            raise AsrLabError(_IS_CUT, where=where)
        if file.frames == 0:
            raise AsrLabError("the audio file holds no samples", where=where)
        return file


def pcm_width(path: Path, info: Any) -> int:
    """Return the bits of a sample of headerless audio, by what `probe` returned; 0 for others, and the default."""
    bits = int(info.subtype.lstrip("PCM_SU")) if info.format == "RAW" else 0
    return 0 if bits == Pcm.width and path.suffix.lower() in HEADERLESS_SUFFIXES else bits


def _open(path: Path) -> BinaryIO:
    """Open a file; raise `AsrLabError` if it is missing or empty."""
    try:
        file = path.open("rb", buffering=0)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise AsrLabError("no such audio file", where=str(path)) from None
    if os.fstat(file.fileno()).st_size == 0:
        file.close()
        raise AsrLabError(_IS_EMPTY, where=str(path))
    return file


def _kind(file: BinaryIO) -> str:
    """Return the kind of an open file, which is where it was again, at its begin."""
    kind = kind_of(file.read(HEAD_BYTES))
    file.seek(0)
    return kind


def _riff_is_cut(head: bytes, size: int) -> bool:
    """Return whether a WAV file is shorter than its header says; libsndfile reads such files without an error.

    A file that was written to a pipe has a placeholder there, and is read to its end.
    """
    declared = int.from_bytes(head[4:8], "little")
    if head[:4] != b"RIFF" or head[8:] != b"WAVE" or declared >= _PLACEHOLDERS:
        return False
    return 8 + declared > size + 1  # + 1: an odd chunk may lack its pad


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _pcm_of(path: Path, given: Pcm | None) -> Pcm | None:
    """Return the format of a file without a header, None for others; its bytes say whether it has one, not its name.

    Raises `AsrLabError` if it is not whole samples.
    """
    default = Pcm() if path.name.lower().endswith(HEADERLESS_SUFFIXES) else None
    pcm = given or _declared.get() or default
    if pcm is None or kind_of(_head(path, HEAD_BYTES)):
        return None
    if rest := path.stat().st_size % pcm.frame_bytes:
        raise AsrLabError(
            f"headerless audio that ends within a sample: {path.stat().st_size} bytes are {rest} more than whole "
            f"samples of {pcm.width} bits in {pcm.channels} channel{'s' * (pcm.channels > 1)}",
            where=str(path),
            allowed="complete files",
            hint="it is cut off, or of another format, which asr-lab data import takes: --pcm-width, --pcm-channels",
        )
    return pcm


@contextmanager
def open_audio(source: Path | BinaryIO, where: str, pcm: Pcm | None = None) -> Iterator[Any]:
    """Open a sound file; raise errors of libsndfile as `AsrLabError`."""
    try:
        with ExitStack() as stack:
            file = stack.enter_context(_open(source)) if isinstance(source, Path) else source
            if _kind(file) in MEDIA:
                source = stack.enter_context(_decoded(source))
                file = stack.enter_context(_open(source))
            settings: dict[str, Any] = {}
            opened: Any = file
            if isinstance(source, Path):
                pcm_file = _pcm_of(source, pcm)
                settings = pcm_file.settings if pcm_file else {}
                opened = file.fileno()  # not the name: soundfile believes .raw
            yield stack.enter_context(soundfile.SoundFile(opened, **settings, closefd=False))
    except soundfile.LibsndfileError as error:
        raise AsrLabError(
            f"not an audio file, or cut off: {getattr(error, 'error_string', str(error)).strip()}",
            where=where,
            allowed="complete WAV, FLAC, OGG or MP3 files",
            hint=_what_it_is(source) if isinstance(source, Path) else "",
        ) from error


@contextmanager
def _decoded(source: Path | BinaryIO) -> Iterator[Path]:
    """Yield a temporary FLAC of what needs a decoder."""
    with TemporaryDirectory(prefix="asr_lab-") as folder:
        if not isinstance(source, Path):
            given = Path(folder, "given")
            with given.open("wb") as file:
                shutil.copyfileobj(source, file)
            source = given
        decode(source, Path(folder, "audio.flac"))
        yield Path(folder, "audio.flac")


def _what_it_is(path: Path) -> str:
    """Return a hint on a file that libsndfile does not read."""
    kind = kind_of(_head(path, HEAD_BYTES))
    if kind == LFS_POINTER:
        return f"it is {kind}: {LFS_HINT}"
    return f"its first bytes are those of {kind}" if kind else _NO_HEADER


def read_file(path: Path) -> Signal:
    """Return the samples (num_samples,) of a file: mono, `SAMPLE_RATE` Hz, float32 in [-1, 1].

    Channels are averaged, other rates resampled (soxr, high quality). Raises `AsrLabError` if the file is missing,
    empty, not audio, truncated, or has samples that are not finite.
    """
    return read_with_header(path)[0]


def read_with_header(path: Path) -> tuple[Signal, Any]:
    """Return what `read_file` and `probe` do, decoding a file that needs a decoder once."""
    with with_header(path) as (plain, header):
        return read_audio(plain, str(path)), header


def read_bytes(content: bytes, where: str) -> Signal:
    """Return the samples of a file that is in memory; raises as `read_file` does."""
    if not content:
        raise AsrLabError(_IS_EMPTY, where=where)
    if _riff_is_cut(content[:12], len(content)):
        raise AsrLabError(_IS_CUT, where=where)
    return read_audio(io.BytesIO(content), where)


@contextmanager
def with_header(path: Path) -> Iterator[tuple[Path, Any]]:
    """Yield a file that libsndfile reads, a temporary one if this one needs a decoder, and what `probe` returns."""
    with _open(path) as file:
        needs_decoder = _kind(file) in MEDIA
    with _decoded(path) if needs_decoder else nullcontext(path) as plain:
        yield plain, probe(plain, str(path))


def read_audio(
    source: Path | BinaryIO,
    where: str,
    *,
    pcm: Pcm | None = None,
    start_s: float = 0.0,
    duration_s: float | None = None,
    channels: Sequence[int] | None = None,
) -> Signal:
    """Read a path or an open file like `read_file`, optionally a segment of it or some channels.

    `where` names it in messages; `pcm` is its format if it has no header. Raises `AsrLabError` also if the segment goes
    beyond the end.
    """
    with open_audio(source, where, pcm) as file:
        samples = read_segment(file, where, start_s, duration_s, channels)
        return _clean(samples, file.samplerate, where)


def read_segment(
    file: Any,
    where: str,
    start_s: float,
    duration_s: float | None,
    channels: Sequence[int] | None,
    kind: str = "float32",
) -> npt.NDArray[Any]:
    """Return the samples (num_samples, channels) of a segment at the rate of the file, of a kind of soundfile's."""
    wanted = _seek(file, start_s, duration_s)
    samples = file.read(wanted, dtype=kind, always_2d=True)
    if len(samples) < wanted:
        raise _cut_off(len(samples), wanted, file.samplerate, where)
    return _channels(samples, channels)


def read_blocks(
    source: Path | BinaryIO,
    where: str,
    *,
    pcm: Pcm | None = None,
    start_s: float = 0.0,
    duration_s: float | None = None,
    channels: Sequence[int] | None = None,
) -> Iterator[Signal]:
    """Yield what `read_audio` returns in blocks of about ten seconds; raises as it does, where a block is reached."""
    with open_audio(source, where, pcm) as file:
        rate, wanted = file.samplerate, _seek(file, start_s, duration_s)
        left = wanted
        resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32") if rate != SAMPLE_RATE else None
        while left:
            samples = file.read(min(left, _BLOCK_S * rate), dtype="float32", always_2d=True)
            if len(samples) == 0:
                raise _cut_off(wanted - left, wanted, rate, where)
            left -= len(samples)
            mono = to_mono(_channels(samples, channels), where)
            yield resampler.resample_chunk(mono, last=left == 0) if resampler else mono


def _seek(file: Any, start_s: float, duration_s: float | None) -> int:
    """Go to the start of a segment; return its number of samples, by default to the end."""
    rate, frames = file.samplerate, file.frames
    start = min(round(start_s * rate), frames)
    if start:  # a seek to where the file is costs a frame's decoding
        file.seek(start)
    return int(frames - start) if duration_s is None else round(duration_s * rate)


def _channels(samples: npt.NDArray[Any], wanted: Sequence[int] | None) -> npt.NDArray[Any]:
    """Return some channels of (num_samples, channels); no copy if they are all there are."""
    is_all = wanted is None or list(wanted) == list(range(samples.shape[1]))
    return samples if is_all else samples[:, list(wanted or ())]


def _cut_off(got: int, wanted: int, rate: int, where: str) -> AsrLabError:
    what = f"the audio is cut off: {got / rate:.2f} s of the {wanted / rate:.2f} s it should hold"
    return AsrLabError(what, where=where)


def check_samples(samples: npt.NDArray[Any], where: str = "") -> Signal:
    """Return samples (num_samples,) at `SAMPLE_RATE` as float32; raise `AsrLabError` if they are none, or too few."""
    if samples.ndim != 1 or samples.dtype.kind != "f":
        what = f"the samples are {samples.dtype} of the shape {samples.shape}"
        raise AsrLabError(what, where=where, allowed="floats in [-1, 1] of the shape (num_samples,), at 16 kHz")
    return _clean(samples.astype(np.float32)[:, None], SAMPLE_RATE, where)


def to_mono(samples: npt.NDArray[np.float32], where: str) -> Signal:
    """Return the mean (num_samples,) of the channels of (num_samples, channels); raise if it is not finite."""
    if not np.isfinite(samples).all():
        bad = int((~np.isfinite(samples)).sum())
        raise AsrLabError(f"{counted(bad, 'sample', 'are')} not numbers (NaN or infinite)", where=where)
    return np.ascontiguousarray(samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1), dtype=np.float32)


def _clean(samples: npt.NDArray[np.float32], rate: int, where: str) -> Signal:
    mono = to_mono(samples, where)
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE)
    check_length(len(mono), where)
    return np.ascontiguousarray(mono, dtype=np.float32)


def check_length(num_samples: int, where: str) -> None:
    """Raise `AsrLabError` if there are too few samples, of `SAMPLE_RATE`, for a frame."""
    if num_samples < FRAME_LENGTH:
        raise AsrLabError(
            f"the audio is too short: {num_samples / SAMPLE_RATE * 1000:.0f} ms",
            where=where,
            allowed=f"at least {FRAME_LENGTH / SAMPLE_RATE * 1000:.0f} ms",
        )
