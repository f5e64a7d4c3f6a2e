"""Errors of the HTTP API, in the shape of OpenAI's: one sentence, and no paths of the server."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse

from asr_lab.errors import AsrLabError

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """What a client is answered: an HTTP status, a sentence, which field is wrong, and a code for programs."""

    def __init__(
        self, status: int, message: str, *, param: str = "", code: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    def content(self) -> dict[str, str | None]:
        """Return what clients are shown."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"message": self.message, "type": kind, "param": self.param or None, "code": self.code or None}

    def response(self) -> JSONResponse:
        return JSONResponse({"error": self.content()}, self.status, self.headers)


def sentence(error: AsrLabError, private: str = "") -> str:
    """Return a message in one line, without where it is; a `private` path in it is called `the file`."""
    text = error.what + (f"; allowed: {error.allowed}" if error.allowed else "")
    return " ".join((text.replace(private, "the file") if private else text).split())
