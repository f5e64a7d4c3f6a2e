"""What a run takes: its time, and the memory of this process and of its GPU."""

from __future__ import annotations

import re
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path


class Clock:
    """Seconds since it was made, and the most memory this process held since then."""

    def __init__(self) -> None:
        import torch

        self.began = time.monotonic()
        with suppress(OSError):  # Linux: reset the peak
            Path("/proc/self/clear_refs").write_text("5")
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def peak_memory(self) -> dict[str, float]:
        """The most memory as metrics: of this process, and what PyTorch had of the GPU where there is one."""
        import torch

        memory = {"perf/peak_memory_mb": self.peak_memory_mb()}
        if torch.cuda.is_available():
            memory["perf/peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated() / 1e6
        return memory

    @staticmethod
    def peak_memory_mb() -> float:
        """Largest resident size of this process, in MB (10^6 bytes); since its start where Linux does not report it."""
        with suppress(OSError):
            status = Path("/proc/self/status").read_text()
            if match := re.search(r"VmHWM:\s+(\d+) kB", status):
                return int(match[1]) * 1024 / 1e6
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest / 1e6 if sys.platform == "darwin" else largest * 1024 / 1e6
