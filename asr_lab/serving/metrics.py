"""What `GET /metrics` shows, in the text format of Prometheus: no texts and no names of speakers."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from asr_lab.serving.http_errors import ApiError

ADDRESS = "/metrics"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET")
_OTHER = "other"
"""Any other method: clients without a key could add a series with each word."""
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Metrics:
    """Counters of one server; without prometheus_client nothing is counted."""

    def __init__(self, under_way: Callable[[], float], adapters: Callable[[], float]) -> None:
        self._registry: Any = None
        if importlib.util.find_spec("prometheus_client") is None:
            return
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        from prometheus_client.process_collector import ProcessCollector

        self._registry = of = CollectorRegistry()
        labels = ["method", "route"]
        self._requests = Counter("asr_lab_requests", "Requests answered.", [*labels, "status"], registry=of)
        self._seconds = Histogram(
            "asr_lab_request_seconds", "Time from the first byte to the answer.", labels, buckets=_SECONDS, registry=of
        )
        self._speech = Counter("asr_lab_speech_seconds", "Seconds of audio transcribed.", registry=of)
        Gauge("asr_lab_requests_under_way", "Transcriptions waiting or under way.", registry=of).set_function(under_way)
        Gauge("asr_lab_adapters_loaded", "Adapters of speakers in memory.", registry=of).set_function(adapters)
        ProcessCollector(registry=of)  # processor time, memory, open files

    def count(self, method: str, route: str, status: str, seconds: float, speech_s: float) -> None:
        """Count a request that has ended."""
        if self._registry is None:
            return
        method = method if method in _METHODS else _OTHER
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)
        self._speech.inc(speech_s)

    def text(self) -> tuple[bytes, str]:
        """Return the content and its type; raise `ApiError` without prometheus_client."""
        if self._registry is None:
            message = "there are no metrics: prometheus_client is not installed; allowed: pip install 'asr_lab[serve]'"
            raise ApiError(501, message, code="not_installed")
        from prometheus_client import generate_latest
        from prometheus_client.exposition import CONTENT_TYPE_LATEST

        return generate_latest(self._registry), CONTENT_TYPE_LATEST
