"""Other targets of the real digits: what is predicted, and which digit is rare."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mstgraph.store.load import load_recipe
from mstgraph.store.recipe import Recipe
from mstgraph.support.errors import UserError

DATASETS = Path(__file__).parents[2] / "datasets"
ARRAYS = dict(np.load(DATASETS / "mfeat.npz"))


def recipe(predict: str) -> Recipe:
    """The recipe with its option."""
    return load_recipe(DATASETS / "mfeat_targets.py", None, {"predict": predict})


def test_attributes_are_read_off_the_digit() -> None:
    """An eight has a loop and is even; every digit has another set of attributes."""
    attributes = recipe("attributes")
    names = attributes.labels().classes
    found = {int(ARRAYS["label"][i]): tuple(attributes.sample(i)["label"]) for i in range(2000)}
    assert [n for n, yes in zip(names, found[8], strict=True) if yes] == [
        "loop",
        "even",
        "above four",
    ]
    assert len(set(found.values())) == 10
    assert {m.name for m in attributes.modalities()} == set(ARRAYS) - {"label", "split"}


def test_shape_is_morphology_of_a_size_of_one_and_no_input() -> None:
    """Mean 0 and spread 1 to some digits, of training samples."""
    shape = recipe("shape")
    assert "mor" not in {m.name for m in shape.modalities()}
    assert "mor" not in shape.sample(0)
    ids = shape.official_splits()["official"]["train"]
    labels = np.stack([shape.sample(i)["label"] for i in ids])
    np.testing.assert_allclose(labels.mean(0), 0, atol=0.05)
    np.testing.assert_allclose(labels.std(0), 1, atol=0.05)
    order = np.argsort(labels[:, 0])
    assert (np.diff(ARRAYS["mor"][ids][order, 3]) >= 0).all()


def test_the_rare_digit_has_four_percent_but_for_the_test() -> None:
    """Of training and of validation; nothing crosses."""
    parts = recipe("rare").official_splits()["official"]
    for part in ("train", "validation"):
        digits = ARRAYS["label"][parts[part]]
        assert (digits == 9).mean() == pytest.approx(0.04, abs=0.003)
    assert (ARRAYS["label"][parts["test"]] == 9).sum() == 60
    everything = np.concatenate([parts[part] for part in parts])
    assert len(set(everything.tolist())) == len(everything)


def test_a_misspelt_target_is_refused() -> None:
    """In one sentence."""
    with pytest.raises(UserError, match="predict is 'shapes', expected attributes, shape, rare"):
        recipe("shapes").labels()
