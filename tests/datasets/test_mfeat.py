from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mstgraph.store.build.builder import build
from mstgraph.store.load import load_recipe
from mstgraph.store.reader import Store
from mstgraph.store.verification import verify

DATASETS = Path(__file__).parents[2] / "datasets"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The whole data set, built once."""
    recipe = load_recipe(DATASETS / "mfeat.py", None, {})
    return build(recipe, tmp_path_factory.mktemp("stores") / "mfeat")


def test_six_modalities_in_the_published_order(store: Store) -> None:
    """Member indices follow this order."""
    sizes = {name: item.shape for name, item in store.modalities.items()}
    assert sizes == {
        "fou": (76,),
        "fac": (216,),
        "kar": (64,),
        "pix": (240,),
        "zer": (47,),
        "mor": (6,),
    }
    assert list(sizes) == ["fou", "fac", "kar", "pix", "zer", "mor"]
    assert store.length == 2000
    assert store.metadata["synthetic"] == ""
    assert "CC BY 4.0" in store.metadata["licence"]


def test_samples_are_those_of_the_file(store: Store) -> None:
    """Bit for bit, in any order."""
    order = np.random.RandomState(0).permutation(2000)
    with np.load(DATASETS / "mfeat.npz") as file:
        for name in store.modalities:
            np.testing.assert_array_equal(store.read(name, order), file[name][order])
        np.testing.assert_array_equal(store.read_labels(order), file["label"][order])
    assert verify(store) == []


def test_official_split_is_balanced(store: Store) -> None:
    """1,200 / 200 / 600 digits, as many of each class."""
    for part, count in {"train": 120, "validation": 20, "test": 60}.items():
        labels = store.read_labels(store.split("official", part))
        assert np.bincount(labels).tolist() == [count] * 10


def test_statistics_come_from_the_training_part(store: Store) -> None:
    """Normalisation knows nothing of the test digits."""
    with np.load(DATASETS / "mfeat.npz") as file:
        values = file["mor"][file["split"] == 0].astype(np.float64)
    found = store.statistics("mor", "official")
    np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, values.std(axis=0), rtol=1e-12)
