"""Which samples have a class that counts."""

from __future__ import annotations

import numpy as np
import pytest

from mstgraph.data import classes
from mstgraph.data.classes import classes_of
from mstgraph.data.labelled import UNKNOWN
from mstgraph.store.recipe import Labels


def test_a_sample_has_its_class_unless_it_is_unknown_or_ignored() -> None:
    """Whatever number stands for either."""
    stored = np.array([0, 7, 2, 1, 9])
    labels = Labels("classification", ("a", "b", "c"), ignored=1, unknown=7)
    found = classes_of(np.array([4, 2, 1, 3, 0]), labels, stored.__getitem__)
    assert found.tolist() == [UNKNOWN, 2, UNKNOWN, UNKNOWN, 0]


@pytest.mark.parametrize("unknown", [None, 7])
def test_a_map_is_labelled_if_a_pixel_of_it_is(
    unknown: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Maps are read in pieces, and not at all where no label is unknown."""
    monkeypatch.setattr(classes, "PIECE", 2)
    stored = np.full((5, 2, 2), 7)
    stored[1, 0, 0], stored[2, 1, 1], stored[4] = 1, 9, 0
    labels = Labels("segmentation", ("a", "b"), ignored=9, shape=(2, 2), unknown=unknown)
    found = classes_of(np.arange(5), labels, stored.__getitem__)
    expected = [0] * 5 if unknown is None else [UNKNOWN, 0, UNKNOWN, UNKNOWN, 0]
    assert found.tolist() == expected
