"""Features on a plane."""

from __future__ import annotations

import numpy as np
import pytest

from mstgraph.look.features import flat, principal
from mstgraph.support.errors import UserError

VALUES = np.random.default_rng(0).normal(size=(40, 5)) * [5, 3, 1, 0.5, 0.1] + 7


def test_principal_components_are_those_of_the_covariance() -> None:
    """Their variances are its greatest eigenvalues, and they are not correlated."""
    found = principal(VALUES)
    eigenvalues = np.linalg.eigvalsh(np.cov(VALUES.T))[::-1]
    np.testing.assert_allclose(np.cov(found.T), np.diag(eigenvalues[:2]), atol=1e-9)


def test_a_copy_lies_where_its_original_does() -> None:
    """What a mask leaves alone is one point, not two."""
    found = flat(np.concatenate([VALUES, VALUES]))
    np.testing.assert_allclose(found[:40], found[40:])


def test_vectors_of_one_number_lie_on_a_line() -> None:
    """A feature of width one has a second component of zero."""
    found = principal(VALUES[:, :1])
    assert found.shape == (40, 2)
    np.testing.assert_allclose(found[:, 1], 0)


def test_an_unknown_method_is_answered_with_the_nearest() -> None:
    """One sentence."""
    with pytest.raises(UserError, match=r"'tsnee'.*tsne"):
        flat(VALUES, "tsnee")
