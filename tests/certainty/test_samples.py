"""What test samples contribute comes back from disk as it was, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mstgraph.certainty.samples import load_samples, save_samples
from mstgraph.support.errors import UserError


def test_every_response_comes_back(tmp_path: Path) -> None:
    """Counts of any size, sums, a response of any name, and none at all."""
    path = tmp_path / "samples.npz"
    given = {
        "file": np.array([[0, 1], [255, 3]], np.int32),
        "fused.fusion": np.array([[70_000, 0]], np.int32),
        "sums": np.array([[0.25, -1.5]]),
    }
    save_samples(path, given)
    found = load_samples(path)
    assert set(found) == set(given)
    for name, values in given.items():
        np.testing.assert_array_equal(found[name], values)
    save_samples(path, given, marks={"file": np.array([[0, 2], [1, 1]], np.uint8)})
    assert set(load_samples(path)) == set(given)
    np.testing.assert_array_equal(load_samples(path, "marks")["file"], [[0, 2], [1, 1]])
    save_samples(path, {})
    assert load_samples(path) == {}
    assert load_samples(tmp_path / "none.npz") == {}


def test_counts_take_little_room(tmp_path: Path) -> None:
    """654 images of 40 classes: far less than a megabyte."""
    path = tmp_path / "samples.npz"
    counts = np.random.default_rng(0).poisson(0.3, (654, 120)).astype(np.int32) * 997
    save_samples(path, {"rgb": counts})
    assert path.stat().st_size < 200_000


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    """Cut short, or with a bit that has turned."""
    path = tmp_path / "samples.npz"
    save_samples(path, {"zer": np.arange(3000, dtype=np.int32).reshape(100, 30)})
    whole = path.read_bytes()
    turned = bytearray(whole)
    turned[len(whole) // 2] ^= 4
    for content in (whole[: len(whole) // 2], bytes(turned), b""):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"cannot be read .*; remove the folder"):
            load_samples(path)
