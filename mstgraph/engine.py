"""Settings of the execution engine: what may be kept, where, and in which numbers."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import gin
import torch

from mstgraph import memory

MEMORY_SHARE = 0.25  # of the memory that is free when the run starts
DISK_SHARE = 0.25  # of the disk that is free


@gin.configurable("engine", module="mstgraph")
@dataclass(frozen=True)
class Engine:
    """Bound in gin under the name ``engine``.

    Attributes:
        cache: keep values that cannot change during a stage instead of computing them again;
            without it the same seed gives the same numbers to rounding, only slower.
        cache_dtype: ``'float32'`` (as they are computed), or ``'float16'`` to keep twice as many
            values (their error of 3e-4 changes results).
        memory_gigabytes: memory of the device for data and kept values; None takes a quarter of
            what is free.
        disk_gigabytes: disk for kept values, reclaimed when the stage is finished; None takes a
            quarter of what is free, 0 keeps nothing on disk.
        precision: ``'fp32'``, ``'tf32'`` (matrix products of a GPU in TensorFloat-32) or
            ``'bf16'`` (autocast to bfloat16).
    """

    cache: bool = True
    cache_dtype: Literal["float32", "float16"] = "float32"
    memory_gigabytes: float | None = None
    disk_gigabytes: float | None = None
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"

    def memory_budget(self, device: torch.device) -> int:
        """Return the bytes of the device that data and kept values may take."""
        if self.memory_gigabytes is not None:
            return int(self.memory_gigabytes * 1e9)
        on_gpu = device.type == "cuda"
        free = torch.cuda.mem_get_info(device)[0] if on_gpu else memory.available()
        return int(free * MEMORY_SHARE)

    def disk_budget(self, folder: Path) -> int:
        """Return the bytes of disk that kept values may take below a folder."""
        if self.disk_gigabytes is not None:
            return int(self.disk_gigabytes * 1e9)
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        return int(shutil.disk_usage(existing).free * DISK_SHARE)

    def problem(self) -> tuple[str, str] | None:
        """Return (option, what is wrong and what was expected) if the settings make no sense."""
        for option in ("memory_gigabytes", "disk_gigabytes"):
            value = getattr(self, option)
            if value is not None and not value >= 0:
                return option, f"is {value}, expected at least 0, or None"
        return None

    @property
    def halved(self) -> bool:
        """Whether floating values are kept as float16."""
        return self.cache_dtype == "float16"
