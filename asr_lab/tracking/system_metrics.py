"""CPU, memory and GPU of this machine during a run, under MLflow's names (`system/...`).

MLflow's own monitor writes to the store, and waits for it; this one writes to the run's spool. It records less: the UI
lists these figures before all others of a run.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from mlflow.environment_variables import (
    MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING,
    MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL,
)
from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

from asr_lab.metrics.catalog import SYSTEM

_EVERY_S, _FIRST_S = 10.0, 1.0


class SystemMetrics:
    """Samples in a thread of its own, a second after the start and every ten seconds, until `stop`, which samples once
    more. `MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL` sets another interval.
    """

    def __init__(self, write: Callable[[Mapping[str, float], int], object], first_step: int = 0) -> None:
        self._write, self._step = write, first_step
        self._stopped = threading.Event()
        self._monitors: list[BaseMetricsMonitor] = [CPUMonitor(), *_gpu()]
        self._thread = threading.Thread(target=self._run, daemon=True, name="system metrics")
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        every_s = MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL.get() or _EVERY_S
        self._sample()  # the first CPU load is that since the start of the process
        wait_s = min(_FIRST_S, every_s)
        while not self._stopped.wait(wait_s):
            self._record()
            wait_s = every_s
        self._record()

    def _sample(self) -> dict[str, float]:
        values: dict[str, float] = {}
        for monitor in self._monitors:
            with suppress(Exception):  # a device that is lost must not end the thread
                monitor.collect_metrics()
                values |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        return {SYSTEM + name: float(value) for name, value in values.items()}

    def _record(self) -> None:
        with suppress(Exception):  # as of a full disk, which the run itself reports
            self._write(self._sample(), self._step)
            self._step += 1


def is_wanted() -> bool:
    """Return whether runs record the machine: unless `MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING` is false."""
    setting = MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING
    return setting.name not in os.environ or bool(setting.get())


def _gpu() -> list[BaseMetricsMonitor]:
    """Return a monitor of the GPUs, if there are any: by NVML, else by what PyTorch knows, which is their memory."""
    with suppress(Exception):  # no library, no driver
        return [GPUMonitor()]
    torch = sys.modules.get("torch")
    return [_TorchGPUMonitor()] if torch and torch.cuda.is_available() else []  # type: ignore[no-untyped-call]


class _TorchGPUMonitor(BaseMetricsMonitor):
    def collect_metrics(self) -> None:
        import torch

        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            self._metrics[f"gpu_{number}_memory_usage_megabytes"].append((total - free) / 1e6)
            self._metrics[f"gpu_{number}_memory_usage_percentage"].append(100 * (total - free) / total)

    def aggregate_metrics(self) -> dict[str, float]:
        return {name: round(sum(values) / len(values), 1) for name, values in self._metrics.items()}
