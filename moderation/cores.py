"""How many cores this process may use, which is often fewer than the machine has."""

from __future__ import annotations

import os
from functools import cache
from math import ceil
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Of a container (Linux, cgroup v2): microseconds of cores within a period, or ``max``, and the period."""


@cache
def count_cores(quota: Path = _QUOTA) -> int:
    """The cores that this process may run on, no more than the quota of its container comes to."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        used, period = (int(part) for part in quota.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return cores
    return max(1, min(cores, ceil(used / period))) if period > 0 else cores
