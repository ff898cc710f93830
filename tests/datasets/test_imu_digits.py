"""The gestures that come with the package, and what their gin files imply."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from graph_files import call

from mstgraph.store.build.builder import build
from mstgraph.store.load import load_recipe
from mstgraph.store.reader import Store
from mstgraph.store.verification import verify

DATASETS = Path(__file__).parents[2] / "datasets"
SENSORS = ["accelerometer", "gyroscope", "magnetometer"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The whole data set, built once."""
    recipe = load_recipe(DATASETS / "imu_digits.py", None, {})
    return build(recipe, tmp_path_factory.mktemp("stores") / "imu_digits")


def test_three_sensors(store: Store) -> None:
    """Member indices follow their order; units and licence are told; the data is real."""
    assert list(store.modalities) == SENSORS
    assert {item.shape for item in store.modalities.values()} == {(3, 64)}
    assert [item.unit for item in store.modalities.values()] == ["m/s²", "rad/s", "µT"]
    assert store.length == 500
    assert store.metadata["synthetic"] == ""
    assert store.metadata["licence"] == "MIT; attribution: J. Cai, 2025"


def test_samples_are_those_of_the_file(store: Store) -> None:
    """Bit for bit, in any order."""
    order = np.random.RandomState(0).permutation(500)
    with np.load(DATASETS / "imu_digits.npz") as file:
        for name in SENSORS:
            np.testing.assert_array_equal(store.read(name, order), file[name][order])
        np.testing.assert_array_equal(store.read_labels(order), file["label"][order])
    assert verify(store) == []


def test_gravity_is_felt(store: Store) -> None:
    """The accelerometer is in m/s² and holds gravity: its readings are about 9.8 long."""
    readings = store.read("accelerometer", np.arange(500))
    lengths = np.linalg.norm(readings, axis=1)
    assert 9 < np.median(lengths) < 11


def test_official_split_is_balanced(store: Store) -> None:
    """300 / 100 / 100 gestures, as many of each digit; the numbered groups stay."""
    for part, count in {"train": 30, "validation": 10, "test": 10}.items():
        labels = store.read_labels(store.split("official", part))
        assert np.bincount(labels).tolist() == [count] * 10
        assert len(store.split("4", part)) == count * 10


def test_statistics_come_from_the_training_part(store: Store) -> None:
    """Normalisation knows nothing of the test gestures: one mean for each axis."""
    with np.load(DATASETS / "imu_digits.npz") as file:
        values = file["magnetometer"][file["split"] == 0].astype(np.float64)
    found = store.statistics("magnetometer", "official")
    np.testing.assert_allclose(found.mean, values.mean(axis=(0, 2)), rtol=1e-12)
    np.testing.assert_allclose(found.std, values.std(axis=(0, 2)), rtol=1e-12)


@pytest.mark.parametrize("student", SENSORS)
def test_a_students_teachers(student: str, tmp_path: Path) -> None:
    """The fused network of all three sensors, then both others, each at two mask points."""
    expected = [(0, "fused", "fusion"), (0, "fused", "hidden")]
    for delta, name in enumerate(SENSORS, start=1):
        if name != student:
            expected += [(delta, name, "block3"), (delta, name, "hidden")]
    store = f"data.store = '{tmp_path / 'no-store'}'"
    document = json.loads(call("show", f"imu_digits_{student}.gin", [store], "--json"))
    found = document["teachers"][student]
    assert [(item["delta"], item["member"], item["point"]) for item in found] == expected
