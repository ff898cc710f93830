"""Labels that are vectors: yes or no in each place, or numbers; stored, counted, and read again."""

# ruff: noqa: D102
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from mstgraph.data.feed import Pool
from mstgraph.data.labelled import UNKNOWN
from mstgraph.store import Store
from mstgraph.store.build.builder import build
from mstgraph.store.recipe import Labels, Modality, Recipe
from mstgraph.support.errors import UserError


@dataclass
class Several(Recipe):
    """Thirty random vectors, and labels that a test gives."""

    said: Labels = field(default_factory=lambda: Labels("multilabel", ("hat", "scarf", "boots")))
    given: dict[int, object] = field(default_factory=dict)

    title = "several labels"
    source = "drawn at random"
    licence = "none"
    synthetic = "random numbers"

    def modalities(self) -> tuple[Modality, ...]:
        return (Modality("rgb", "float32", (4,)),)

    def labels(self) -> Labels:
        return self.said

    def __len__(self) -> int:
        return 30

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        draw = np.random.default_rng(index)
        numbers = draw.standard_normal(len(self.said.classes))
        label = numbers if self.said.task == "regression" else (numbers > 0).astype(int)
        values = draw.standard_normal(4).astype(np.float32)
        return {"rgb": values, "label": self.given.get(index, label)}


def train_labels(store: Store, **options: object) -> torch.Tensor:
    """The labels of the training split as a stage sees them."""
    pool = Pool(store, "0", "cpu", "standard", 10**9, **options)
    return torch.cat(list(pool.labels("train")))


def test_yes_and_no_are_stored_in_a_byte(tmp_path: Path) -> None:
    """As the recipe gives them, int64 on the device; a place may be unknown, and a whole label."""
    said = Labels("multilabel", ("hat", "scarf", "boots"), unknown=-1)
    given: dict[int, object] = {0: None, 3: np.array([1, -1, 0]), 4: np.array([True, False, True])}
    store = build(Several(said, given), tmp_path / "store")
    assert store.labels_spec == said
    assert store.labels_spec.shape == (3,)
    assert store.columns["label"].row_bytes <= 6
    found = store.read_labels([0, 3, 4])
    assert found.tolist() == [[-1, -1, -1], [1, -1, 0], [1, 0, 1]]
    assert store.metadata["unlabelled"]["samples"] == 1
    labels = train_labels(store)
    assert labels.dtype == torch.int64
    assert labels.tolist() == store.read_labels(store.split("0", "train")).tolist()


def test_numbers_are_stored_as_floats_and_nan_is_unknown(tmp_path: Path) -> None:
    """On the device, too; described in JSON that any reader takes."""
    said = Labels("regression", ("height", "width"), unknown=math.nan)
    given: dict[int, object] = {0: None, 3: np.array([1.5, np.nan]), 4: np.array([2, 3])}
    store = build(Several(said, given), tmp_path / "store")
    found = store.read_labels([0, 3, 4])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[np.nan, np.nan], [1.5, np.nan], [2, 3]])
    assert math.isnan(store.labels_spec.unknown or 0)
    assert "NaN" not in (tmp_path / "store/metadata.json").read_text()
    assert store.metadata["unlabelled"]["samples"] == 1
    labels = train_labels(store)
    assert labels.dtype == torch.get_default_dtype()
    expected = store.read_labels(store.split("0", "train"))
    np.testing.assert_array_equal(labels.numpy(), expected)


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_labels_can_be_hidden(task: str, tmp_path: Path) -> None:
    """As many whole labels as asked for stay; there are no classes to keep the shares of."""
    store = build(Several(Labels(task, ("a", "b"))), tmp_path / "store")
    labels = train_labels(store, labelled=0.5)
    hidden = labels.isnan() if task == "regression" else labels == UNKNOWN
    assert hidden.all(1).sum() == hidden.any(1).sum() == len(labels) // 2


FAULTY = {
    "two": ("multilabel", np.array([0, 2, 1]), "expected 0 to 1, found 2"),
    "a half": ("multilabel", np.array([0.5, 0, 1]), "expected an integer type, found float64"),
    "too short": ("multilabel", np.array([0, 1]), "expected shape 3, found 2"),
    "none": ("multilabel", None, "it is None"),
    "not a number": (
        "regression",
        np.array([1.0, np.nan, 0]),
        "finite float32 numbers, found nan",
    ),
    "infinite": (
        "regression",
        np.array([np.inf, 0, 0]),
        "finite float32 numbers, found inf",
    ),
    "too large": (
        "regression",
        np.array([1e300, 0, 0]),
        "finite float32 numbers, found 1e+300",
    ),
    "words": ("regression", np.array(["a", "b", "c"]), "expected numbers, found"),
}


@pytest.mark.parametrize("name", FAULTY)
def test_faulty_labels_are_named(name: str, tmp_path: Path) -> None:
    """In one sentence with the sample."""
    task, label, sentence = FAULTY[name]
    recipe = Several(Labels(task, ("hat", "scarf", "boots")), {2: label})
    with pytest.raises(UserError, match="sample '2', label: ") as caught:
        build(recipe, tmp_path / "store")
    assert sentence in str(caught.value)


DECLARED = {
    "another shape": (Labels("multilabel", ("a", "b"), shape=(3,)), "expected (2,), a place for"),
    "an ignored one": (Labels("multilabel", ("a", "b"), 0), "expected unknown in its place"),
    "a class as unknown": (Labels("multilabel", ("a", "b"), unknown=1), "is a class or ignored"),
    "a number as unknown": (Labels("regression", ("a",), unknown=-1), "expected math.nan"),
    "nan among classes": (Labels("multilabel", ("a",), unknown=math.nan), "a whole number such as"),
    "nobody": (Labels("regression", ()), "expected one or more"),
    "a misspelt task": (Labels("multilable", ("a", "b")), "did you mean 'multilabel'?"),
}


@pytest.mark.parametrize("name", DECLARED)
def test_faulty_declarations_are_refused(name: str, tmp_path: Path) -> None:
    """Before any sample is read."""
    labels, sentence = DECLARED[name]
    with pytest.raises(UserError) as caught:
        build(Several(labels), tmp_path / "store")
    assert sentence in str(caught.value)
