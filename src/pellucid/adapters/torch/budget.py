"""How many rows at once: bounded by memory, and small enough for a CPU's allocator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

MEMORY = 384 * 2**20
"""Bytes of activations at once on a CPU."""
REUSED = 24 * 2**20
"""Blocks above 32 MiB are mapped afresh by glibc each time, and their page faults cost more than the arithmetic."""
MOST = 256


@dataclass(frozen=True, slots=True)
class Budget:
    """The memory that one pass may take, for rows of one shape on one device."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    memory: int
    """Bytes that one pass may take on a CPU."""

    def rows(self, bytes_per_row: int, largest: int, backward: bool) -> int:
        """At least one, at most MOST. On an accelerator half of what is free; too much is halved when it happens."""
        if self.device.type == "cpu":
            return max(1, min(self.memory // max(bytes_per_row, 1), REUSED // max(largest, 1), MOST))
        free = torch.cuda.mem_get_info(self.device)[0] if self.device.type == "cuda" else 4 * 2**30
        return max(1, min(int(free * 0.5) // max(bytes_per_row, 1), 1024))


def available() -> int:
    """Bytes of memory this process may still take: the machine's, or its control group's if that is less."""
    free = 8 * 2**30
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        top, now = Path("/sys/fs/cgroup") / limit, Path("/sys/fs/cgroup") / used
        if top.exists() and now.exists() and top.read_text().strip().isdigit():
            free = min(free, int(top.read_text()) - int(now.read_text()))
    return max(free, 0)
