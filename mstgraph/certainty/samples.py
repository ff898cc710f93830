"""What each test sample contributes to the metrics of a stage's responses, on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from mstgraph.support.errors import UserError
from mstgraph.support.files import write_atomically

SAMPLES = "samples.npz"
Kind = Literal["contributions", "marks", "statistics"]
_FOLDERS = {"contributions": "test/", "marks": "marks/", "statistics": "statistics/"}


def save_samples(
    path: Path,
    contributions: Mapping[str, np.ndarray],
    marks: Mapping[str, np.ndarray] | None = None,
    statistics: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write what is known of test samples, atomically, whole numbers as small as they fit.

    Args:
        path: the file.
        contributions: response → what each sample contributes, [samples, statistics].
        marks: response → where it is right, [samples, places], where a sample has places.
        statistics: a stage's own statistic, such as ``share`` of a gate → [samples, …] float.

    Raises:
        UserError: the disk is full or cannot be written.
    """
    given: dict[Kind, Mapping[str, np.ndarray]] = {
        "contributions": contributions,
        "marks": marks or {},
        "statistics": statistics or {},
    }
    arrays = {
        f"{_FOLDERS[kind]}{name}": _narrow(values)
        for kind, found in given.items()
        for name, values in found.items()
    }

    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)

    write_atomically(path, write)


def load_samples(path: Path, kind: Kind = "contributions") -> dict[str, np.ndarray]:
    """Return response → [samples, …] of one kind; nothing of a stage that left no such file.

    Raises:
        UserError: the file is damaged: the archive's checksums do not fit.
    """
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            folder = _FOLDERS[kind]
            names = [name for name in archive.files if name.startswith(folder)]
            return {name.removeprefix(folder): archive[name] for name in names}
    except Exception as error:  # NumPy raises almost anything on a damaged archive
        raise UserError(
            f"what test samples contribute, '{path}', cannot be read ({error}); remove the folder "
            f"'{path.parent}' to train the stage again"
        ) from error


def _narrow(values: np.ndarray) -> np.ndarray:
    """Counts of pixels take two bytes or four, those of whole samples one."""
    whole = np.issubdtype(values.dtype, np.integer) and values.size and values.min() >= 0
    return values.astype(np.min_scalar_type(values.max())) if whole else values
