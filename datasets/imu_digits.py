"""IMU Digits: digits drawn in the air with a phone, felt by its three sensors.

Source: J. Cai, "Android IMU Digits Gesture Dataset", 2025.
Licence: MIT; attribution: J. Cai, 2025. Changes: five seconds of each gesture resampled linearly to
64 times, values as float32, the sensors of all gestures joined in one file, a split added.
Raw layout: ``imu_digits.npz`` beside this file, with one array [500, 3, 64] per modality, ``label``
[500] and ``split`` [500] (0 train, 1 validation, 2 test).

Modalities, each along the phone's axes x, y and z: accelerometer (m/s², gravity included),
gyroscope (rad/s) and magnetometer (µT). One person drew all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mstgraph.store.recipe import Labels, Modality, Recipe

FILE = Path(__file__).with_name("imu_digits.npz")
UNITS = {"accelerometer": "m/s²", "gyroscope": "rad/s", "magnetometer": "µT"}
SHAPE = (3, 64)
PARTS = ("train", "validation", "test")


@dataclass
class IMUDigits(Recipe):
    """500 gestures, 50 of each digit; the split ``official`` has 300/100/100 of them."""

    title = "IMU Digits"
    source = "J. Cai, Android IMU Digits Gesture Dataset, 2025"
    licence = "MIT; attribution: J. Cai, 2025"

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        with np.load(FILE) as file:
            return dict(file)

    def modalities(self) -> tuple[Modality, ...]:
        """The three sensors, axes × times."""
        return tuple(Modality(name, "float32", SHAPE, unit=unit) for name, unit in UNITS.items())

    def labels(self) -> Labels:
        """The digit."""
        return Labels("classification", tuple("0123456789"))

    def __len__(self) -> int:
        return len(self._arrays["label"])

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        """Row ``index`` of every array."""
        return {name: self._arrays[name][index] for name in (*UNITS, "label")}

    def official_splits(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """The split that comes with the file, balanced over the digits."""
        codes = self._arrays["split"]
        parts = {name: np.flatnonzero(codes == code) for code, name in enumerate(PARTS)}
        return {"official": {name: ids.tolist() for name, ids in parts.items()}}

    def raw_files(self) -> tuple[Path, ...]:
        """The one file."""
        return (FILE,)
