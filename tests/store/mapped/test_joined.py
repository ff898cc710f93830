"""Rows of several files are read as if they lay in one."""

from __future__ import annotations

import numpy as np
import pytest

from mstgraph.store.mapped.joined import Joined


class File:
    """Rows in memory that notes what is asked of it."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows
        self.outs: list[np.ndarray] = []
        self.needed: list[list[int]] = []

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Copy rows."""
        self.outs.append(out)
        out[...] = self.rows[indices]

    def will_need(self, indices: np.ndarray) -> None:
        """Note them."""
        self.needed.append(indices.tolist())


ROWS = np.random.default_rng(0).integers(0, 256, (9, 5)).astype(np.uint8)


def _joined() -> tuple[Joined, list[File]]:
    files = [File(ROWS[:2]), File(ROWS[2:3]), File(ROWS[3:])]
    return Joined([2, 1, 6], [lambda file=file: file for file in files]), files


@pytest.mark.parametrize("order", [[0], [8, 2, 1], [3, 8, 3], [*range(9)], [5, 0, 6, 1, 2, 2], []])
def test_rows_in_the_order_asked_for(order: list[int]) -> None:
    """From whichever files, repeated or not."""
    out = np.zeros((len(order), 5), np.uint8)
    joined, _ = _joined()
    joined.read(np.array(order, np.int64), out)
    np.testing.assert_array_equal(out, ROWS[np.array(order, int)])


def test_rows_in_the_order_of_files_are_read_to_their_place() -> None:
    """Without a copy in between; others are put there, all at once."""
    for order, shared in (([1, 0, 8, 4], True), ([4, 1, 0, 8], False)):
        out = np.zeros((4, 5), np.uint8)
        joined, files = _joined()
        joined.read(np.array(order), out)
        found = [np.shares_memory(own, out) for file in files for own in file.outs]
        assert found == [shared, shared]


def test_each_file_is_told_of_its_own_rows() -> None:
    """Counted from its first; a file without any is left alone."""
    joined, files = _joined()
    joined.will_need(np.array([8, 0, 3]))
    assert [file.needed for file in files] == [[[0]], [], [[5, 0]]]
