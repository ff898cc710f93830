"""Multiple Features: handwritten digits seen through six feature sets.

Source: R. Duin, "Multiple Features", UCI Machine Learning Repository, 1998,
https://doi.org/10.24432/C5HC70.
Licence: Creative Commons Attribution 4.0 (CC BY 4.0); attribution: Robert P. W. Duin, Delft
University of Technology. Changes: the six text files joined in one, values as float32, a split
added.
Raw layout: ``mfeat.npz`` beside this file, with one array [2000, features] per modality, ``label``
[2000] and ``split`` [2000] (0 train, 1 validation, 2 test).

Modalities: Fourier coefficients of the shape (fou, 76), profile correlations (fac, 216),
Karhunen-Loève coefficients (kar, 64), pixel averages in 2×3 windows (pix, 240), Zernike moments
(zer, 47) and morphological features (mor, 6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mstgraph.store.recipe import Labels, Modality, Recipe

FILE = Path(__file__).with_name("mfeat.npz")
FEATURES = {"fou": 76, "fac": 216, "kar": 64, "pix": 240, "zer": 47, "mor": 6}
PARTS = ("train", "validation", "test")


@dataclass
class MultipleFeatures(Recipe):
    """2,000 digits, 200 of each class; the split ``official`` has 1,200/200/600 of them."""

    title = "Multiple Features"
    source = "R. Duin, UCI Machine Learning Repository, https://doi.org/10.24432/C5HC70"
    licence = "CC BY 4.0; attribution: Robert P. W. Duin, Delft University of Technology"

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        with np.load(FILE) as file:
            return dict(file)

    def modalities(self) -> tuple[Modality, ...]:
        """The six feature sets, as vectors."""
        return tuple(Modality(name, "float32", (size,)) for name, size in FEATURES.items())

    def labels(self) -> Labels:
        """The digit."""
        return Labels("classification", tuple("0123456789"))

    def __len__(self) -> int:
        return len(self._arrays["label"])

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        """Row ``index`` of every array."""
        return {name: self._arrays[name][index] for name in (*FEATURES, "label")}

    def official_splits(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """The split that comes with the file."""
        codes = self._arrays["split"]
        parts = {name: np.flatnonzero(codes == code) for code, name in enumerate(PARTS)}
        return {"official": {name: ids.tolist() for name, ids in parts.items()}}

    def raw_files(self) -> tuple[Path, ...]:
        """The one file."""
        return (FILE,)
