"""Who speaks: by the corpus, by a pattern in the path, one speaker for all, or a guess that is marked as such."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from unicodedata import normalize

from asr_lab.data.importers.speaker_fields import is_unknown
from asr_lab.errors import AsrLabError

UNKNOWN = "unknown"
_NO_SPEAKERS = frozenset(
    (
        *("train", "training", "val", "valid", "validation", "dev", "test", "eval", "evaluation", "all"),
        *("eval_clean", "eval_other", "data", "dataset", "corpus", "audio", "wav", "wavs", "flac", "mp3", "clips"),
        *("sound", "sounds", "recordings", "speech", "files", "음성", "녹음", "오디오"),
    )
)
"""Names of folders that are not those of speakers."""
_ALLOWED = "a regular expression with the group (?P<speaker>...), or with one group"


@dataclass(frozen=True, kw_only=True)
class Speakers:
    """Determines the speakers of a corpus; with `guesses`, those that it does not name are guessed."""

    pattern: re.Pattern[str] | None = None
    one: str = ""
    guesses: bool = False
    folders: frozenset[str] = frozenset()
    """The folders of the audio files: several are taken for speakers, if speakers are guessed."""

    @classmethod
    def of(cls, speaker_from: str | None = None, one_speaker: str | None = None) -> Speakers:
        """Make it from the options of an importer; raises `AsrLabError` for a pattern that is none."""
        if speaker_from and one_speaker:
            raise AsrLabError("--speaker-from and --one-speaker exclude each other", allowed="one of them")
        return cls(pattern=_compiled(speaker_from) if speaker_from else None, one=one_speaker or "")

    def guessing(self, paths: Iterable[str] = ()) -> Speakers:
        """Return one that guesses the speakers that are neither given nor named, by the folders of these paths."""
        return replace(self, guesses=True, folders=frozenset(map(_folder, paths)))

    @property
    def are_given(self) -> bool:
        """Whether the user names the speakers, so that the corpus need not."""
        return bool(self.pattern or self.one)

    def speaker(self, named: str, path: str, id: str = "") -> tuple[str, bool]:
        """Return (speaker, whether it is guessed) of an utterance, for which the corpus names `named` or nobody.

        All whose name says that it is not known (`없음`, `NA`) are one speaker, who is then in one split alone.

        Raises `AsrLabError` if the pattern is in neither the path nor the id, or the speaker is missing.
        """
        if self.one:
            return normalize("NFC", self.one), False
        if self.pattern:
            return _matched(self.pattern, path, id), False
        if named and not is_unknown(named):
            return normalize("NFC", named), False
        if named and not self.guesses:
            return UNKNOWN, True
        if not self.guesses:
            raise AsrLabError("the speaker is missing", where=path, hint=WAYS)
        folder = _folder(path) if len(self.folders) > 1 else ""
        return folder or UNKNOWN, True


AS_NAMED = Speakers()
"""The corpus names them."""
WAYS = "--speaker-from '(?P<speaker>PATTERN)' finds speakers in the audio paths, --one-speaker NAME is for a single one"


def _folder(path: str) -> str:
    """Return the folder of a path that may be a speaker's, "" for `train`, `wavs` and the like."""
    name = PurePosixPath(normalize("NFC", path).replace("\\", "/")).parent.name
    return "" if name.lower() in _NO_SPEAKERS else name


def _compiled(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(normalize("NFC", text))
    except re.error as error:
        raise AsrLabError(f"--speaker-from {text!r} is no regular expression: {error}", allowed=_ALLOWED) from error
    if "speaker" not in pattern.groupindex and pattern.groups != 1:
        raise AsrLabError(f"--speaker-from {text!r} has {pattern.groups} groups", allowed=_ALLOWED)
    return pattern


def _matched(pattern: re.Pattern[str], *texts: str) -> str:
    group = "speaker" if "speaker" in pattern.groupindex else 1
    for text in filter(None, texts):
        if (match := pattern.search(normalize("NFC", text).replace("\\", "/"))) and match[group]:
            return str(match[group])
    raise AsrLabError(
        f"--speaker-from matches neither path nor id: {texts[0]}", allowed=f"what matches {pattern.pattern}"
    )
