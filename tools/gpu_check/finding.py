"""What a part of the check found: a figure, and whether it is as it must be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tools.engine_bench.shapes import Shape, named
from tools.engine_bench.ways import Place


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        what: was looked at.
        figure: what was found, with its unit.
        holds: whether it is as it must be; None for what is only measured.
    """

    what: str
    figure: str
    holds: bool | None = None


@dataclass(frozen=True)
class Bench:
    """Where is checked, and how much of it.

    Attributes:
        device: that is checked against the CPU.
        folder: for stores and runs.
        small: whether the least is done that can fail, for a CPU.
    """

    device: torch.device
    folder: Path
    small: bool

    def place(self, shape: Shape, precision: str = "fp32", device: str = "") -> Place:
        """Return where a shape is run, here or on another device."""
        where = torch.device(device) if device else self.device
        return Place(self.folder / f"store-{shape.name}", self.folder / "runs", where, precision)

    @property
    def digits(self) -> Shape:
        """Vectors and perceptrons; tiny MaskNets."""
        return replace(named("mfeat"), samples=24, batch=8, gin="MaskNet.hidden = 6")

    @property
    def avmnist(self) -> Shape:
        """AV-MNIST at the paper's batch; small, of two samples and with tiny MaskNets."""
        shape = named("avmnist-image")
        if self.small:
            return replace(shape, samples=6, batch=2, gin=f"{shape.gin}MaskNet.hidden = 3\n")
        return replace(shape, samples=2048, batch=512)
