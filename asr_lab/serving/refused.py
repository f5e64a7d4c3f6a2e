"""What MLflow's server shows clients of a model where a request fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE

from asr_lab.errors import AsrLabError, UnavailableError
from asr_lab.serving.tables import one_sentence

_log = logging.getLogger(__name__)


class RefusedError(MlflowException):
    """What a client is answered: one sentence in `message`, without a trace, paths, or the data that it sent."""

    @property
    def message(self) -> str:
        return self._sentence

    @message.setter
    def message(self, text: str) -> None:
        self._sentence = text.rpartition("\nError: ")[2]  # MLflow's server puts the data before it


@contextmanager
def refusing() -> Iterator[None]:
    """Raise every error as `RefusedError`; what is no user's mistake goes to the log."""
    try:
        yield
    except MlflowException:
        raise
    except UnavailableError as error:
        raise RefusedError(one_sentence(error), TEMPORARILY_UNAVAILABLE) from error
    except AsrLabError as error:
        raise RefusedError(one_sentence(error), INVALID_PARAMETER_VALUE) from error
    except Exception as error:
        _log.exception("a request failed")
        what = f"the model failed on this request ({type(error).__name__}); the server's log has the details"
        raise RefusedError(what, INTERNAL_ERROR) from None
