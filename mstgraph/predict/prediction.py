"""What a student says of one raw item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Prediction:
    """What the student says of one item.

    Attributes:
        name: of the item.
        outputs: probabilities of exclusive classes, or the task's outputs, [outputs, *extent].
        classes: names of the classes; none where outputs are no classes.
    """

    name: str
    outputs: np.ndarray
    classes: tuple[str, ...]

    @property
    def index(self) -> np.ndarray:
        """The most probable class, [] or [height, width] int64."""
        return self.outputs.argmax(0)

    def document(self) -> dict[str, Any]:
        """Return it as plain data; of a map the share of each class that it shows."""
        if not self.classes:
            return {"item": self.name, "outputs": self.outputs.tolist()}
        if self.outputs.ndim > 1:
            counts = np.bincount(self.index.ravel(), minlength=len(self.classes))
            shares = counts / counts.sum()
            shown = {self.classes[i]: float(shares[i]) for i in np.flatnonzero(counts)}
            return {"item": self.name, "shares": shown}
        chances = dict(zip(self.classes, self.outputs.tolist(), strict=True))
        index = int(self.index)
        return {
            "item": self.name,
            "class": self.classes[index],
            "index": index,
            "probabilities": chances,
        }
