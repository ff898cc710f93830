"""Where the jobs of a benchmark are done, and which of their folders somebody holds."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from mstgraph.run.artefacts.run_folder import locked
from mstgraph.support.disk.locks import InUse


@dataclass(frozen=True)
class Workplace:
    """What all jobs have in common, wherever they are done.

    Attributes:
        artefacts: folder of what stages leave, on a path that all workers see.
        scratch: folder of what a job keeps while it is under way.
        device: name of the device.
        threads: torch's threads in a worker; sums depend on it to rounding, so that it is one
            number for all jobs and whatever their number.
        share: how many workers divide this machine's memory and disk between them.
        log_every: seconds between two lines of a worker on how far it is; 0 for none.
        tests: whether finished stages are measured on the test split; if not, it is never opened.
        by_name: whether artefacts are those of one run, whose folders have the stages' names; else
            several runs share them, and a hash tells them apart.
    """

    artefacts: Path
    scratch: Path
    device: str = "cpu"
    threads: int = 1
    share: int = 1
    log_every: float = 0.0
    tests: bool = True
    by_name: bool = False

    def folder_of(self, stage: str, artefact: str) -> Path:
        """Return where a stage leaves its artefact."""
        return self.artefacts / (stage if self.by_name else artefact)

    @property
    def stop_file(self) -> Path:
        """Its being there asks all workers to stop."""
        return self.scratch / "stop"


def is_held(folder: Path) -> bool:
    """Say whether another process has locked a folder, see `RunFolder.locked`."""
    with ExitStack() as held:
        return folder.is_dir() and not taken(folder, held)


def taken(folder: Path, held: ExitStack) -> bool:
    """Lock a folder for as long as the stack lasts; say whether that could be done."""
    try:
        held.enter_context(locked(folder))
    except InUse:
        return False
    return True
