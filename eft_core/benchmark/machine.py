"""What ran the benchmark: processor, threads, versions, date, memory; and the clock that waits for the device."""

import datetime
import os
import platform
import resource
import sys
import time

import torch
import transformers

from eft_core.benchmark.timing import Clock
from eft_core.hardware import processor


def clock(device: torch.device) -> Clock:
    """Seconds, read once the device has done all it was given."""

    def waiting() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return waiting if device.type == "cuda" else time.perf_counter


def description(device: torch.device, dtype: str) -> dict[str, str | int]:
    """The machine in plain values; a number without them means nothing."""
    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
    return {
        "cpu": processor(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        **gpu,
        "device": str(device),
        "dtype": dtype,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "system": platform.platform(terse=True),
        "date": datetime.date.today().isoformat(),
    }


def peak_memory(device: torch.device) -> dict[str, float]:
    """Megabytes of the process at its highest, and of the device."""
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in kilobytes
    peak = {"process_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}
    if device.type == "cuda":
        peak["device_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    return {name: round(megabytes, 1) for name, megabytes in peak.items()}
