"""What each test sample contributes to the metrics of a stage's responses, on disk."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mstgraph.support.errors import UserError
from mstgraph.support.files import write_atomically

SAMPLES = "samples.npz"
_FOLDER = "test/"  # in the archive, so that a response may have any name


def save_samples(path: Path, contributions: Mapping[str, np.ndarray]) -> None:
    """Write response → [samples, statistics], atomically, whole numbers as small as they fit.

    Raises:
        UserError: the disk is full or cannot be written.
    """
    arrays = {f"{_FOLDER}{name}": _narrow(values) for name, values in contributions.items()}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)

    write_atomically(path, write)


def load_samples(path: Path) -> dict[str, np.ndarray]:
    """Return response → [samples, statistics]; nothing of a stage that left no such file.

    Raises:
        UserError: the file is damaged: the archive's checksums do not fit.
    """
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name.removeprefix(_FOLDER): archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"what test samples contribute, '{path}', cannot be read ({error}); remove the folder "
            f"'{path.parent}' to train the stage again"
        ) from error


def _narrow(values: np.ndarray) -> np.ndarray:
    """Counts of pixels take two bytes or four, those of whole samples one."""
    whole = np.issubdtype(values.dtype, np.integer) and values.size and values.min() >= 0
    return values.astype(np.min_scalar_type(values.max())) if whole else values
