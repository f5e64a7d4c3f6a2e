"""Run the HTTP API with uvicorn until the process is asked to stop."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import sys
from collections.abc import Callable

import uvicorn

from asr_lab.errors import AsrLabError
from asr_lab.serving.http_api import Limits, create_app
from asr_lab.serving.http_gate import LOOPBACK
from asr_lab.serving.realtime_api import MAX_MESSAGE
from asr_lab.serving.served_models import ServedModels

_GRACE_S = 30
"""How long requests under way may take to end."""
_BACKLOG = 2048


def check_key(host: str, api_key: str) -> None:
    """Raise `AsrLabError` if other machines can reach the server, and there is no key."""
    if api_key != api_key.strip() or not (api_key.isascii() and api_key.isprintable()):
        raise AsrLabError("no API key: it has spaces around it, or characters that are not printable ASCII")
    if host not in LOOPBACK and not api_key:
        raise AsrLabError(
            f"other machines can reach {host}, and there is no API key",
            allowed=f"ASR_LAB_API_KEY=..., or --api-key; without one: --host {LOOPBACK[0]}",
        )


def has_websockets() -> bool:
    """Whether streams can be served: the extra `serve` is installed."""
    return importlib.util.find_spec("websockets") is not None


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that has the address, before anything is loaded; raise `AsrLabError` if it cannot be had."""
    made: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
        if os.name == "posix":  # elsewhere it would let two servers share a port
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        if made:
            made.close()
        raise AsrLabError(
            f"the server cannot listen on {host}:{port}: {error.strerror or error}",
            allowed="a free port of this machine: --port 8001, or --port 0 for any",
        ) from error
    return made


def run(models: ServedModels, bound: socket.socket, limits: Limits, api_key: str, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM, which raise as in every command once requests under way have ended.

    `ready` is called with the address once requests are accepted.
    """
    _log_to_stderr()
    host, port = bound.getsockname()[:2]
    shown = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    config = uvicorn.Config(
        create_app(models, limits, api_key),
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="websockets-sansio" if has_websockets() else "none",
        ws_max_size=MAX_MESSAGE,
        ws_per_message_deflate=False,  # samples hardly get smaller
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE_S,
    )
    _Server(config, lambda: ready(shown)).run(sockets=[bound])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def _log_to_stderr() -> None:
    """Log the requests, without texts and names, and uvicorn's warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for name, level in (("asr_lab.serving", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
