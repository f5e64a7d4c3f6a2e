"""Convert recordings and labels of an AI-Hub corpus to utterances."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lhotse.cut import Cut

from asr_lab.data import guesses, manifest
from asr_lab.data.importers.aihub import dialogues
from asr_lab.data.importers.aihub.folders import Location, parse_split, split_of_location
from asr_lab.data.importers.aihub.labels import Keys, dialect_forms, flat, lacking, read_label, value_of
from asr_lab.data.importers.aihub.metadata_table import Row
from asr_lab.data.importers.aihub.shared_labels import Entry
from asr_lab.data.importers.aihub.speakers import UnnamedSpeaker, assign_speakers
from asr_lab.data.importers.hints import candidates, quoted
from asr_lab.data.importers.import_report import ImportReport
from asr_lab.data.importers.speaker_fields import age_of, gender_of, snr_of
from asr_lab.data.importers.speaker_options import Speakers
from asr_lab.data.importers.table_rows import NO_WORDS
from asr_lab.data.text import TextNormalizer
from asr_lab.data.transcript_marks import spoken_dialect
from asr_lab.errors import AsrLabError, listing
from asr_lab.units import counted

_SPLITS = ("train", "val", "test", "all")
_DETAILS = ("age", "gender", "snr_db")
_NOT_READ = {
    "age": "ages are not years: written as age_range",
    "gender": "genders are not known: left out",
    "snr_db": "SNRs are not numbers: left out",
}


class Reader:
    """Collects utterances, faults and notes, recording by recording."""

    def __init__(self, keys: Keys, report: ImportReport, speakers: Speakers) -> None:
        self._report, self._speakers = report, speakers
        self._keys = keys
        self._cuts: list[tuple[Cut, str]] = []
        self._unnamed: list[UnnamedSpeaker] = []
        self._not_read: dict[str, Counter[str]] = defaultdict(Counter)
        self._notes: list[str] = []
        self._moved = self._pieces = self._odd_times = self._in_ms = self._silent = self._local = self._translated = (
            self._wordless
        ) = 0
        self._lacking: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def read(
        self, id: str, audio: Path, location: Location, label: Path | Entry | AsrLabError | None, row: Row
    ) -> None:
        """Add the utterances of one recording, or its fault."""
        try:
            split = parse_split(named) if (named := value_of(row, "split")) else split_of_location(location)
            if not isinstance(label, Path | Entry):
                raise label or AsrLabError("there is no label", where=f"{'/'.join(location)}.json")
            path, content = (label, read_label(label)) if isinstance(label, Path) else (label.path, label.content)
            segments = dialogues.segments(content)
            if self._are_utterances(segments, flat(content)):
                cuts = list(self._segments(id, audio, location, path, content, segments, row))
            else:
                cuts = [self._recording(id, audio, location, path, flat(content), row)]
        except AsrLabError as error:
            self._report.add_error(id, error)
            return
        self._moved += split_of_location(location) not in ("all", split)
        spoken = [cut for cut in cuts if TextNormalizer()(manifest.text(cut))]
        if wordless := len(cuts) - len(spoken):
            self._wordless += wordless
            self._report.left_out[NO_WORDS] += wordless
        self._cuts += [(cut, split) for cut in spoken]

    def splits(self) -> dict[str, list[Cut]]:
        """Return the utterances by split, after all are read; those without a speaker become faults."""
        unknown, self._notes = assign_speakers(self._unnamed)
        self._unnamed = []
        for one in unknown:
            self._report.add_error(one.cut.id, one.fault)
        left_out = {one.cut.id for one in unknown}
        splits: dict[str, list[Cut]] = defaultdict(list)
        for cut, split in self._cuts:
            if cut.id not in left_out:
                splits[split].append(cut)
        return {name: splits[name] for name in _SPLITS if name in splits}

    def notes(self) -> list[str]:
        """Return notes on the recordings."""
        counts = (
            (self._moved, "utterance", "are", "in the folder of another split: the split of the table is used"),
            (self._in_ms, "recording", "have", "segments whose times are milliseconds: in seconds they are outside"),
            (self._silent, "segment", "have", "no text: left out"),
            (self._wordless, "utterance", "have", "no words but marks and signs: left out"),
            (self._pieces, "label", "name", "a start and an end within the recording: cut"),
            (self._odd_times, "label", "name", "times that are not in the recording, all of which gets the text"),
            (self._translated, "text", "are", "translated from dialect: the label lacks the spoken form"),
            (self._local, "segment", "name", "the speaker by a number or a letter: local to the recording"),
        )
        not_read = [
            f"{sum(texts.values())} {_NOT_READ[field]}, such as {listing([text for text, _ in texts.most_common(3)])}"
            for field, texts in self._not_read.items()
        ]
        return (
            self._notes
            + [f"{counted(count, noun, verb)} {rest}" for count, noun, verb, rest in counts if count]
            + not_read
        )

    def hints(self) -> list[str]:
        """Return options that name a key for each field that labels lack, of keys with a name and values like it."""
        return [
            " or ".join(f"--keys {quoted(f'{field}={key}')}, such as {str(labels[0].get(key))[:40]!r}" for key in keys)
            for field, labels in self._lacking.items()
            for keys in candidates(labels, [field]).values()
        ]

    def _are_utterances(self, segments: list[dict[str, Any]], label: dict[str, Any]) -> bool:
        """Return whether segments are utterances; without speakers and beside a complete text, they are words."""
        rows = [flat(segment) for segment in segments]
        if not any(self._text(row) for row in rows):
            return False
        named = all(value_of(row, "speaker", self._keys) for row in rows)
        return named or not self._text(dialogues.outside(label), is_segment=False)

    def _text(self, row: dict[str, Any], *, is_segment: bool = True) -> str:
        return self._text_and_kind(row, is_segment=is_segment)[0]

    def _text_and_kind(self, row: dict[str, Any], *, is_segment: bool = True) -> tuple[str, bool]:
        """Return (the spoken form, False); (its translation, True) if a label of dialect has nothing else."""
        spoken, standard = dialect_forms(row)
        text = value_of(row, "text", self._keys)
        if "text" not in self._keys.named:
            text = spoken or text or (value_of(row, "form") if is_segment or standard else "")
            if not text:
                return standard, bool(standard)
        return spoken_dialect(text) if spoken or standard else text, False

    def _mark(self, cut: Cut, *, is_translation: bool) -> None:
        """Mark what is guessed of an utterance."""
        guesses.mark(manifest.supervision(cut), *["text"] * is_translation)
        guesses.mark_korean(manifest.supervision(cut))
        self._translated += is_translation

    def _recording(self, id: str, audio: Path, location: Location, path: Path, label: dict[str, Any], row: Row) -> Cut:
        text, is_translation = self._text_and_kind(label, is_segment=False)
        speaker = self._of_recording(id, location) or self._first([label], "speaker", row)
        details = {field: self._first([label], field, row) for field in _DETAILS}
        if not text:
            self._lacking["text"].append(label)
            raise lacking("text", label, path, self._keys)
        whole = _utterance(id, audio, text, speaker, **self._details(details))
        cut, is_odd = dialogues.piece_of(dialogues.outside(label), whole)
        self._pieces += cut is not whole
        self._odd_times += is_odd
        self._mark(cut, is_translation=is_translation)
        if not speaker:
            self._lacking["speaker"].append(label)
            number = "" if "speaker" in self._keys.named else value_of(label, "speaker_number")
            self._unnamed.append(UnnamedSpeaker(cut, location, number, lacking("speaker", label, path, self._keys)))
        return cut

    def _segments(
        self,
        id: str,
        audio: Path,
        location: Location,
        path: Path,
        content: Mapping[str, Any],
        segments: list[dict[str, Any]],
        row: Row,
    ) -> Iterator[Cut]:
        """Yield an utterance per segment; faults of single segments are reported."""
        recording_cut, speakers, label = _utterance(id, audio, "", ""), dialogues.speakers(content), flat(content)
        named = {value_of(flat(segment), "speaker", self._keys) for segment in segments}
        unit = dialogues.unit_of(segments, recording_cut.duration)
        self._in_ms += unit != 1
        for number, segment in enumerate(segments):
            fields = flat(segment)
            try:
                text, is_translation = self._text_and_kind(fields)
                if not text:
                    self._silent += 1
                    self._report.left_out["a segment without text"] += 1
                    continue
                name = value_of(fields, "speaker", self._keys)
                single_speaker = len({*speakers, *named}) < 2  # whose fields are those of the whole recording
                sources = [fields, flat(speakers.get(name, {})), *([label] if single_speaker else [])]
                details = {field: self._first(sources, field, row if single_speaker else {}) for field in _DETAILS}
                speaker = dialogues.speaker_id(name, id) if name else self._of_recording(id, location)
                speaker = speaker or self._first([label], "speaker", row)
                if not speaker:
                    self._lacking["speaker"].append(fields)
                    raise lacking("speaker", fields, path, self._keys)
                cut = dialogues.segment_cut(
                    recording_cut, segment, number, text=text, speaker=speaker, unit=unit, **self._details(details)
                )
                is_local = bool(name) and speaker != name
                self._local += is_local
                guesses.mark(manifest.supervision(cut), *["speaker"] * is_local)
                self._mark(cut, is_translation=is_translation)
                yield cut
            except AsrLabError as error:
                self._report.add_error(f"{id}-{number:04}", error)

    def _of_recording(self, id: str, location: Location) -> str:
        """Return the speaker of a recording as the user says, "" if that is nothing."""
        return self._speakers.speaker("", "/".join(location), id)[0] if self._speakers.are_given else ""

    def _first(self, labels: list[dict[str, Any]], field: str, row: Row) -> str:
        """Return the value in the table, else in the first label that has one."""
        of_labels = [value_of(label, field, self._keys) for label in labels if label]
        return value_of(row, field) or next(filter(None, of_labels), "")

    def _details(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return age, gender and SNR for the manifest; count values that cannot be parsed."""
        gender = gender_of(texts["gender"])
        details = {**age_of(texts["age"]), **({"gender": gender} if gender else {}), **snr_of(texts["snr_db"])}
        known = {*details, *(["age"] if "age_group" in details else [])}
        for field, text in texts.items():
            if text and field not in known:
                self._not_read[field][text] += 1
        return details


def _utterance(id: str, audio: Path, text: str, speaker: str, **details: Any) -> Cut:
    return manifest.utterance(id=id, audio=audio, text=text, speaker=speaker, language="ko", corpus="aihub", **details)
