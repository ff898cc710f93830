"""Other things to predict from the digits of Multiple Features: attributes, shape, a rare class.

The data are those of ``mfeat.npz`` beside this file (CC BY 4.0; attribution: Robert P. W. Duin,
Delft University of Technology; see ``mfeat.py``). The option ``predict`` says what for:

- ``attributes``: multi-label, six properties of the digit, read off its class;
- ``shape``: regression, the last three morphological features (mor), which then are no input;
- ``rare``: classification, in which digit 9 has but 4 % of the training and validation samples;
  the test part is whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mstgraph.store.recipe import Labels, Modality, Recipe
from mstgraph.support.errors import UserError

FILE = Path(__file__).with_name("mfeat.npz")
FEATURES = {"fou": 76, "fac": 216, "kar": 64, "pix": 240, "zer": 47, "mor": 6}
PARTS = ("train", "validation", "test")
ATTRIBUTES = {
    "loop": (0, 6, 8, 9),
    "straight": (1, 4, 5, 7),
    "open left": (2, 3, 5, 7, 9),
    "open right": (2, 4, 5, 6),
    "even": (0, 2, 4, 6, 8),
    "above four": (5, 6, 7, 8, 9),
}
# Of the last three morphological features over all digits, so that numbers have a size of one.
SHAPE = ("mor3", "mor4", "mor5")
MEAN, SPREAD = (156.4, 1.640, 6155.0), (25.0, 0.291, 3757.0)
RARE, SHARE = 9, 0.04


@dataclass
class MultipleFeaturesTargets(Recipe):
    """2,000 digits; what is predicted is an option.

    Attributes:
        predict: ``attributes``, ``shape`` or ``rare``.
    """

    predict: str = "attributes"

    title = "Multiple Features, other targets"
    source = "R. Duin, UCI Machine Learning Repository, https://doi.org/10.24432/C5HC70"
    licence = "CC BY 4.0; attribution: Robert P. W. Duin, Delft University of Technology"

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        with np.load(FILE) as file:
            return dict(file)

    @property
    def _inputs(self) -> dict[str, int]:
        return {n: size for n, size in FEATURES.items() if (self.predict, n) != ("shape", "mor")}

    def modalities(self) -> tuple[Modality, ...]:
        """The feature sets, as vectors; not the one that is predicted."""
        return tuple(Modality(name, "float32", (size,)) for name, size in self._inputs.items())

    def labels(self) -> Labels:
        """Attributes, numbers, or the digit.

        Raises:
            UserError: ``predict`` is none of them.
        """
        known = {
            "attributes": Labels("multilabel", tuple(ATTRIBUTES)),
            "shape": Labels("regression", SHAPE),
            "rare": Labels("classification", tuple("0123456789")),
        }
        if self.predict not in known:
            raise UserError(f"predict is '{self.predict}', expected {', '.join(known)}")
        return known[self.predict]

    def __len__(self) -> int:
        return len(self._arrays["label"])

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        """Row ``index`` of every array, and what is predicted."""
        digit, shape = self._arrays["label"][index], self._arrays["mor"][index, 3:]
        label = {
            "attributes": np.array([int(digit in digits) for digits in ATTRIBUTES.values()]),
            "shape": (shape - MEAN) / SPREAD,
            "rare": digit,
        }[self.predict]
        return {**{name: self._arrays[name][index] for name in self._inputs}, "label": label}

    def official_splits(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """The split that comes with the file; of the rare digit the first ones alone."""
        codes, digits = self._arrays["split"], self._arrays["label"]
        parts = {name: np.flatnonzero(codes == code) for code, name in enumerate(PARTS)}
        if self.predict == "rare":
            for name in ("train", "validation"):
                others = parts[name][digits[parts[name]] != RARE]
                own = parts[name][digits[parts[name]] == RARE]
                kept = round(len(others) * SHARE / (1 - SHARE))
                parts[name] = np.sort(np.concatenate([others, own[:kept]]))
        return {"official": {name: ids.tolist() for name, ids in parts.items()}}

    def raw_files(self) -> tuple[Path, ...]:
        """The one file."""
        return (FILE,)
