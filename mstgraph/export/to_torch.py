"""torch.export: the graph alone, run by torch without the code of the network."""

from __future__ import annotations

import io
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from mstgraph.export.format import Answer, Format, Model, quiet


class TorchExport(Format):
    """One ``.pt2`` file; ``torch.export.load(path).module()`` makes a network of it."""

    name: ClassVar[str] = "torch"
    title: ClassVar[str] = "torch.export"
    suffix: ClassVar[str] = ".pt2"
    runtime: ClassVar[str] = "torch"
    quantises: ClassVar[bool] = False  # torch has left it to other packages

    def write(self, model: Model, path: Path) -> None:
        """Write the exported program, with its facts as files beside it in the archive."""
        # Through memory: torch ends the program where a file takes no more.
        content = io.BytesIO()
        with quiet():
            torch.export.save(model.exported(), content, extra_files=dict(model.facts))
        path.write_bytes(content.getbuffer())

    def answer(self, path: Path, threads: int) -> Answer:
        """Return what runs the file; torch has one number of threads for all that it runs."""
        with path.open("rb") as file, quiet():
            network = torch.export.load(file).module()

        @torch.no_grad()
        def run(*values: np.ndarray) -> np.ndarray:
            return np.asarray(network(*map(torch.from_numpy, values)))

        return run
