"""What is said of a store: how many labels it lacks."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mstgraph.data.feed import Pool
from mstgraph.report.store_info import print_store
from mstgraph.store import Store
from mstgraph.store.build.builder import build
from mstgraph.store.recipe import Labels, Modality, Recipe


@dataclass
class Partly(Recipe):
    """Vectors or maps; every third has no label, two pixels of the other maps neither."""

    maps: bool = False

    title = "partly labelled"
    source = "drawn at random"
    licence = "none"
    synthetic = "random numbers"

    def modalities(self) -> tuple[Modality, ...]:
        """One vector."""
        return (Modality("a", "float32", (3,)),)

    def labels(self) -> Labels:
        """Two classes."""
        if self.maps:
            return Labels("segmentation", ("x", "y"), ignored=9, shape=(2, 4), unknown=7)
        return Labels("classification", ("x", "y"), unknown=-1)

    def __len__(self) -> int:
        return 30

    def sample(self, index: int) -> Mapping[str, object]:
        """Random numbers."""
        label = np.full((2, 4), index % 2) if self.maps else np.array(index % 2)
        if self.maps:
            label[0, :2], label[1, 3] = 7, 9
        numbers = np.random.RandomState(index).standard_normal(3).astype(np.float32)
        return {"a": numbers, "label": None if index % 3 == 0 else label}


def told(store: Store) -> str:
    """Return what is printed."""
    console = Console(file=io.StringIO(), width=120)
    print_store(store.describe(), console)
    return console.file.getvalue()


@pytest.mark.parametrize("maps", [False, True])
def test_missing_labels_are_counted(tmp_path: Path, maps: bool) -> None:
    """Samples without one, of maps also the share of pixels; and of each part of each split."""
    store = build(Partly(maps), tmp_path / "partly")
    share = (10 * 8 + 20 * 2) / (30 * 8)
    expected = (
        f"no label: 10 samples, {share:.1%} of the pixels" if maps else "no label: 10 samples"
    )
    assert f"{expected}\n" in told(store)
    for name, parts in store.metadata["unlabelled"]["splits"].items():
        for part, count in parts.items():
            assert count == (store.split(name, part) % 3 == 0).sum()


@pytest.mark.parametrize("maps", [False, True])
def test_samples_without_a_label_are_no_labelled_ones(tmp_path: Path, maps: bool) -> None:
    """Labelled samples are told apart without ``data.labelled``, too, and it hides none twice."""
    store = build(Partly(maps), tmp_path / "partly")
    ids = store.split("0", "train")
    for labelled in (None, 0.5):
        pool = Pool(store, "0", "cpu", "none", 10**6, labelled=labelled)
        known = pool.with_label.numpy()
        assert not known[ids % 3 == 0].any()
        total = (ids % 3 != 0).sum()
        assert known.sum() == (total if labelled is None else round(0.5 * total))
        order = pool.feed("train", ("a",)).order(0, 1, labelled=True)
        assert len(order) == len(ids)
        assert known[order.numpy()].all()


def test_a_store_of_all_labels_says_nothing(tiny_store: Path) -> None:
    """There is nothing to say."""
    assert "no label" not in told(Store(tiny_store))
