"""What kind of file the first bytes say it is, whatever its name."""

from __future__ import annotations

from pathlib import Path

from asr_lab.errors import AsrLabError, listing

AUDIO_SUFFIXES = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".caf", ".sph", ".w64", ".pcm",
    ".m4a", ".mp4", ".aac", ".webm", ".wma", ".amr", ".mov", ".3gp", ".mkv", ".mka", ".wv",
)  # fmt: skip
"""Of the files of a folder that are transcribed; those that cannot be read are named, not passed over. The second line
needs a decoder (`data.media`)."""
HEAD_BYTES = 8192
"""Bytes to read for `kind_of`: two frames of any MPEG audio."""

LFS_POINTER = "a Git LFS pointer"
"""A few lines of text in place of a large file, which `git lfs pull` fetches."""
LFS_HINT = "git lfs pull, in its repository, fetches the file itself"

_MARKS = (
    (0, b"version https://git-lfs.github.com/spec/", LFS_POINTER),
    (0, b"RIFF", "WAV"),
    (0, b"RIFX", "WAV"),
    (0, b"RF64", "WAV"),
    (0, b"riff\x2e\x91\xcf\x11", "Wave64"),
    (0, b"FORM", "AIFF"),
    (0, b"fLaC", "FLAC"),
    (0, b"OggS", "OGG"),
    (0, b"ID3\x02", "MP3"),
    (0, b"ID3\x03", "MP3"),
    (0, b"ID3\x04", "MP3"),
    (4, b"ftyp", "MP4 (m4a)"),
    (0, b"\x1a\x45\xdf\xa3", "WebM"),
    (0, b"NIST_1A", "SPHERE"),
    (0, b".snd", "AU"),
    (0, b"caff", "CAF"),
    (0, b"#!AMR", "AMR"),
    (0, b"wvpk", "WavPack"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b\x08", "a gzip archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"%PDF", "a PDF"),
    (0, b"\x89PNG", "an image"),
)
_FORMS = {"WAV": (b"WAVE",), "AIFF": (b"AIFF", b"AIFC")}  # the form type of RIFF and IFF files, at byte 8
_MPEG_1_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG_2_KBPS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG_RATES = (44100, 48000, 32000)


def recording_of(name: str) -> str:
    """Return the path of an audio file without its suffix; the id of an utterance, which may hold dots, as it is."""
    path = Path(name)
    return str(path.with_suffix("")) if path.suffix.lower() in AUDIO_SUFFIXES else name


def refuse_pointers(folder: Path) -> None:
    """Raise `AsrLabError` if files of a folder are Git LFS pointers, as of a model cloned without git-lfs."""
    pointers = [path.name for path in sorted(folder.iterdir()) if path.is_file() and _is_pointer(path)]
    if pointers:
        raise AsrLabError(f"not the file, but {LFS_POINTER}: {listing(pointers, 4)}", where=str(folder), hint=LFS_HINT)


def _is_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return kind_of(file.read(64)) == LFS_POINTER


def kind_of(head: bytes) -> str:
    """Return the kind of a file with these first bytes; "" if they name none, as in headerless audio.

    MPEG audio and AAC without a tag need two frames in sequence: the mark of one is also a pair of quiet samples.
    """
    for start, mark, kind in _MARKS:
        if head[start : start + len(mark)] == mark and (kind not in _FORMS or head[8:12] in _FORMS[kind]):
            return kind
    length = _mpeg_frame(head)
    if length and _mpeg_frame(head[length:]) and head[length + 1] == head[1]:
        return "MP3"
    length = _adts_frame(head)
    if length and _adts_frame(head[length:]):
        return "AAC"
    return "a text" if _is_text(head) else ""


def _mpeg_frame(head: bytes) -> int:
    """Return the number of bytes of the frame of MPEG layer III that starts here, 0 if none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:  # 11 bits of synchronisation, layer III
        return 0
    version, bitrate, rate = head[1] >> 3 & 3, (head[2] >> 4) - 1, head[2] >> 2 & 3
    if version == 1 or not 0 <= bitrate < len(_MPEG_1_KBPS) or rate == len(_MPEG_RATES):
        return 0
    is_mpeg_1 = version == 3
    bits = 1000 * (_MPEG_1_KBPS if is_mpeg_1 else _MPEG_2_KBPS)[bitrate]
    hertz = _MPEG_RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    return (144 if is_mpeg_1 else 72) * bits // hertz + (head[2] >> 1 & 1)


def _adts_frame(head: bytes) -> int:
    """Return the number of bytes of the frame of AAC (ADTS) that starts here, 0 if none does."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:  # 12 bits of synchronisation, layer 0
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length >= 7 and head[2] >> 2 & 15 < 13 else 0


def _is_text(head: bytes) -> bool:
    """Return whether the bytes are UTF-8 without control characters; audio that long never is."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else a character is cut off at the end
            return False
        text = head[: error.start].decode()
    return len(text) >= 16 and all(character.isprintable() or character in "\n\r\t\ufeff" for character in text)
