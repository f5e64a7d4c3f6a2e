"""`POST /invocations` as MLflow's scoring server has it, by MLflow's own parsing, on the engine of a server.

All forms that MLflow takes: JSON with `dataframe_split`, `dataframe_records`, `inputs` or `instances` (and `params`),
CSV, and Parquet. Messages are one sentence, without traces, paths, and the data that was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, BinaryIO

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.models.utils import _enforce_params_schema, _enforce_schema
from mlflow.pyfunc import scoring_server
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType
from starlette.responses import JSONResponse, Response

from asr_lab.data.audio import Signal
from asr_lab.errors import AsrLabError, listing
from asr_lab.serving.http_errors import ApiError
from asr_lab.serving.refused import refusing
from asr_lab.serving.served_models import ServedModels
from asr_lab.serving.signature import SIGNATURE
from asr_lab.serving.tables import Audio, Tables
from asr_lab.serving.transcription_api import MOST_HOT_WORDS
from asr_lab.units import SAMPLE_RATE

ADDRESS, PING = "/invocations", "/ping"
_LONGEST = 500  # characters of a message
_TYPES = {DataType.long: "a whole number", DataType.string: "text", DataType.boolean: "true or false"}
_OF_JSON = Schema(
    [ColSpec(AnyType() if one.name == "audio" else one.type, one.name, False) for one in SIGNATURE.inputs]
)
"""By the signature itself MLflow decodes base64, and refuses all rows for one that is none."""
_COLUMNS = "`audio`: bytes, or base64 text; `adapter`: text"

ReadSamples = Callable[[BinaryIO, float], Signal]
"""Reads a recording of at most so many seconds; raises `ApiError`."""


class Invocations:
    """Answers requests of MLflow's scoring protocol with a served recogniser; speakers are named as in its API."""

    def __init__(self, models: ServedModels, read: ReadSamples, max_audio_s: float) -> None:
        """`max_audio_s`: most seconds of all recordings of a request."""
        self._models, self._read, self._max_audio_s = models, read, max_audio_s

    def answer(self, content: bytes, content_type: str) -> tuple[Response, float]:
        """Return the response, also to what is refused, and the seconds of speech."""
        model = _Scored(self._models, self._read, self._max_audio_s)
        is_json = content_type.partition(";")[0].strip() == scoring_server.CONTENT_TYPE_JSON
        try:
            done = scoring_server.invocations(content, content_type, model, _OF_JSON if is_json else SIGNATURE.inputs)
        except RecursionError:
            return refusal("the request is no JSON that can be read: it is nested too deeply", 400), model.speech_s
        except MlflowException as error:
            return refusal(_brief(error.message), error.get_http_status_code(), error.error_code), model.speech_s
        if done.status != 200:
            return refusal(_brief(done.response), done.status), model.speech_s
        return Response(done.response, media_type=done.mimetype), model.speech_s


def refusal(
    message: str, status: int, code: str = "BAD_REQUEST", headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return an error in the shape of MLflow's."""
    return JSONResponse({"error_code": code, "message": message}, status, headers)


def _brief(message: str) -> str:
    """Return a message of MLflow's without what follows the first line, which is data or a trace."""
    error = message.rpartition("\nError: ")[2]  # what MLflow's server puts before it is the data
    return " ".join(error.strip().partition("\n")[0].split())[:_LONGEST]


def _typed(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters, each of its type; raises `AsrLabError` that names one that is not."""
    types = {param.name: param.dtype for param in SIGNATURE.params}
    for name, value in params.items():
        try:
            _enforce_params_schema({name: value}, SIGNATURE.params)
        except MlflowException as error:
            what = f"the parameter `{name}` is {value!r}"[:100]
            raise AsrLabError(what, allowed=_TYPES[types[name]]) from error
    return dict(_enforce_params_schema(dict(params), SIGNATURE.params))


class _Scored:
    """One request's view of a model: what `scoring_server.invocations` needs of one."""

    metadata = Model(signature=SIGNATURE)

    def __init__(self, models: ServedModels, read: ReadSamples, left_s: float) -> None:
        self._read, self._left_s, self.speech_s = read, left_s, 0.0
        self._tables = Tables(
            models.engine,
            read=self._samples,
            adapter_of=models.adapter_of,
            most_hot_words=MOST_HOT_WORDS,
            allows_whole=models.engine.segmentation == "none",
        )

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Return the transcripts; raises `RefusedError`."""
        known = [param.name for param in SIGNATURE.params]
        with refusing():
            if unknown := sorted(set(params or {}) - set(known)):
                raise AsrLabError(f"no parameter {unknown[0]!r}", allowed=listing(known))
            if isinstance(data, pd.DataFrame) and not data.columns.is_unique:
                raise AsrLabError("two columns have the same name", allowed=_COLUMNS)
            try:
                table = _enforce_schema(data, SIGNATURE.inputs)
            except MlflowException as error:
                raise AsrLabError("the columns are not those of this model", allowed=_COLUMNS) from error
            return self._tables.predict(table, _typed(params or {}))

    def _samples(self, audio: Audio) -> Audio:
        assert isinstance(audio, bytes), "a request holds no paths"
        try:
            samples = self._read(BytesIO(audio), self._left_s)
        except ApiError as error:
            raise AsrLabError(error.message) from error
        seconds = len(samples) / SAMPLE_RATE
        self._left_s, self.speech_s = self._left_s - seconds, self.speech_s + seconds
        return samples
