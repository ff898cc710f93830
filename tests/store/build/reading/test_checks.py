from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sample_recipes import Maps, Vectors

from mstgraph.store.build.builder import build
from mstgraph.store.recipe import Labels, Modality
from mstgraph.support.errors import UserError

NAN = np.full(7, 1.0, np.float32)
NAN[2] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"rgb": np.zeros((3, 4, 6), np.uint8)},
            "modality 'rgb': expected shape 3×4×5, found 3×4×6",
        ),
        ({"audio": np.float32(1)}, "modality 'audio': expected shape 7, found a single value"),
        ({"audio": np.zeros(7)}, "modality 'audio': expected type float32, found float64"),
        ({"audio": np.zeros(7, np.int64)}, "expected type float32, found int64"),
        ({"rgb": np.zeros((3, 4, 5), np.int8)}, "expected type uint8, found int8"),
        ({"audio": NAN}, "modality 'audio': expected finite values, found nan at (2,)"),
        ({"audio": np.full(7, np.inf, np.float32)}, "expected finite values, found inf at (0,)"),
        ({"label": np.array(3)}, "label: expected 0 to 2, or -1 for ignored, found 3"),
        ({"label": np.array(-2)}, "label: expected 0 to 2, or -1 for ignored, found -2"),
        ({"label": np.array([1])}, "label: expected shape a single value, found 1"),
        ({"label": np.array(1.0)}, "label: expected an integer type, found float64"),
        ({"audio": None}, "lacks 'audio'; expected audio, label, rgb"),
        ({"label": None}, "lacks 'label'"),
        ({"adio": NAN}, "unknown modality 'adio'; did you mean 'audio'?"),
    ],
)
def test_faulty_samples_are_named(tmp_path: Path, change: dict, message: str) -> None:
    """The sentence names the sample as its recipe does, the modality, and both sides."""
    recipe = Vectors()
    recipe.changes = {17: change}
    with pytest.raises(UserError, match="sample 'clip017'.*" + re.escape(message)):
        build(recipe, tmp_path / "vectors")


def test_unreadable_sample_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken file is the user's to mend: the sample and the reason are told."""

    def sample(self: Vectors, index: int) -> dict:
        raise OSError("broken data stream")

    monkeypatch.setattr(Vectors, "sample", sample)
    with pytest.raises(
        UserError, match="'clip000' of test vectors cannot be read: OSError: broken"
    ):
        build(Vectors(), tmp_path / "vectors")


def test_types_that_lose_nothing_are_converted(tmp_path: Path) -> None:
    """float16 and small integers fit float32 exactly; the ignored label is kept."""
    recipe = Vectors(length=10)
    recipe.changes = {
        0: {"audio": np.arange(7, dtype=np.float16), "label": np.array(-1, np.int8)},
        1: {"audio": np.arange(7, dtype=np.int16)},
    }
    store = build(recipe, tmp_path / "vectors")
    assert store.read("audio", [0, 1]).tolist() == [list(range(7))] * 2
    assert store.read_labels([0]).tolist() == [-1]


def test_pixel_labels_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One wrong pixel is enough."""
    label = np.full((4, 5), 255)
    label[3, 4] = 7
    original = Maps.sample
    monkeypatch.setattr(
        Maps, "sample", lambda self, index: {**original(self, index), "label": label}
    )
    with pytest.raises(UserError, match="'0', label: expected 0 to 2, or 255 for ignored, found 7"):
        build(Maps(size=(4, 5)), tmp_path / "maps")


RGB = Modality("rgb", "uint8", (3, 4, 5))
CLASSES = Labels("classification", ("cat", "dog"))


@pytest.mark.parametrize(
    ("modalities", "labels", "message"),
    [
        ((), CLASSES, "declares no modality"),
        ((RGB, RGB), CLASSES, "declares modality 'rgb' more than once"),
        ((replace(RGB, name="label"),), CLASSES, "cannot be stored under this name"),
        ((replace(RGB, name="a/b"),), CLASSES, "cannot be stored under this name"),
        ((replace(RGB, dtype="unit8"),), CLASSES, "type 'unit8'.*did you mean 'uint8'"),
        ((replace(RGB, dtype="U3"),), CLASSES, "type 'U3'"),
        ((replace(RGB, shape=()),), CLASSES, "expected one or more positive sizes"),
        ((replace(RGB, shape=(3, 0)),), CLASSES, "expected one or more positive sizes"),
        ((replace(RGB, scale=0.0),), CLASSES, "scale 0.0; expected a finite positive"),
        ((replace(RGB, scale=0.5, integers=True),), CLASSES, "holds integers, but has type"),
        ((replace(RGB, dtype="float32", integers=True),), CLASSES, "expected an integer type"),
        ((RGB,), Labels("classification", ("cat",)), "declares 1 class names"),
        ((RGB,), Labels("classification", ("cat", "cat")), "1 of them distinct"),
        ((RGB,), replace(CLASSES, shape=(4, 5)), r"expected \(\) for classification"),
        ((RGB,), Labels("segmentation", ("a", "b")), r"expected \(height, width\)"),
        ((RGB,), Labels("detection", ("a", "b")), "task 'detection'"),  # type: ignore[arg-type]
        (
            (RGB,),
            Labels("segmentation", ("a", "b"), shape=(8, 10)),
            "'rgb' has height × width 4×5; expected 8×10",
        ),
    ],
)
def test_faulty_declarations_are_refused_before_anything_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    modalities: tuple[Modality, ...],
    labels: Labels,
    message: str,
) -> None:
    """A recipe that cannot be stored leaves no directory behind."""
    monkeypatch.setattr(Vectors, "modalities", lambda self: modalities)
    monkeypatch.setattr(Vectors, "labels", lambda self: labels)
    with pytest.raises(UserError, match=message):
        build(Vectors(), tmp_path / "vectors")
    assert list(tmp_path.iterdir()) == []
