"""A finished run opened with its store, inside its own configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from mstgraph.derive.opening import open_finished
from mstgraph.look.opened import Opened
from mstgraph.run.artefacts.run_folder import CONFIG


@contextmanager
def opened_run(
    path: Path,
    device: torch.device,
    code: bool | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> Iterator[Opened]:
    """Open a finished run with its networks and its data.

    Raises:
        UserError: its store is gone, or its code may not be run; see
            `mstgraph.derive.opening.open_finished`.
    """
    experiment = open_finished(path / CONFIG, code, notice)
    with experiment.entered():
        yield Opened(path, device, experiment)
