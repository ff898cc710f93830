"""How one raw item becomes a modality where a recipe says nothing of its own: numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sample_recipes import Vectors

from mstgraph.store.recipe import Modality

WINDOW = Modality("window", "float32", (2, 3))
PIXELS = Modality("pixels", "uint8", (4,))


@pytest.mark.parametrize("line", ["1,2.5,3,4,5,-6", "1 2.5 3  4 5 -6\n", "1;2.5;3;4;5;-6"])
def test_a_line_of_numbers_fills_the_array_row_by_row(line: str) -> None:
    """Whatever stands between them; of the stored type."""
    values = Vectors().item(WINDOW, line)
    np.testing.assert_array_equal(values, [[1, 2.5, 3], [4, 5, -6]])
    assert values.dtype == np.float32


def test_a_file_of_one_array(tmp_path: Path) -> None:
    """Integers are stored as they are where they fit, doubles in the precision of the store."""
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(2, 3) / 3)
    expected = (np.arange(6.0).reshape(2, 3) / 3).astype(np.float32)
    np.testing.assert_array_equal(Vectors().item(WINDOW, tmp_path / "a.npy"), expected)
    np.save(tmp_path / "b.npy", np.array([0, 1, 254, 255]))
    assert Vectors().item(PIXELS, tmp_path / "b.npy").dtype == np.uint8


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("1,2,3", "it is 3; expected 2×3 of 'window'"),
        ("1,2,three,4,5,6", "it is no line of numbers, 2×3 of 'window': could not convert"),
        ("", "it is 0; expected 2×3"),
        (np.zeros(6), "it is 6; expected 2×3"),
        (np.array(["a"]), "it is no .npy file of numbers, 2×3 of 'window': it holds <U1"),
        (b"no array", r"it is no .npy file of numbers"),
    ],
)
def test_what_are_no_such_numbers(item: object, message: str, tmp_path: Path) -> None:
    """What was found and what was expected."""
    path = tmp_path / "item.npy"
    if isinstance(item, bytes):
        path.write_bytes(item)
    elif isinstance(item, np.ndarray):
        np.save(path, item)
    with pytest.raises(ValueError, match=message):
        Vectors().item(WINDOW, item if isinstance(item, str) else path)


@pytest.mark.parametrize("line", ["0 1 2 256", "0 1 2 -1", "0 1 2 2.5", "0 1 2 nan"])
def test_nothing_is_rounded_or_wraps_around(line: str) -> None:
    """A value that an integer type cannot hold is refused."""
    with pytest.raises(ValueError, match="values that 'pixels' cannot store; expected uint8"):
        Vectors().item(PIXELS, line)
