"""Training on the task alone."""

from __future__ import annotations

import numpy as np
import pytest
import training_worlds as small

from mstgraph.run.train import total
from mstgraph.stages.pretrain import Pretrain

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("dense", [False, True])
def test_loss_is_the_mean_cross_entropy(dense: bool) -> None:
    """Eq. 15; of a segmentation, the mean over samples of the mean over labelled pixels."""
    world = small.world(Pretrain(), "pretrain", dense=dense)
    batch = world.batch()
    terms = world.node.settings.losses(world.node, batch, 1)
    labels = world.labels.numpy()
    values = small.cross_entropy(world.numpy("s"), labels)
    expected = small.per_sample(values, labels, dense).mean()
    assert {name: term.scale for name, term in terms.items()} == {"task": 1.0}
    assert float(total(terms).detach()) == pytest.approx(expected, abs=1e-13)
    own = world.node.settings.validation_loss(world.node, batch).detach().numpy()
    np.testing.assert_allclose(own, small.per_sample(values, labels, dense))
    total(terms).backward()
    assert set(world.gradients()) == {"s"}
    assert world.node.settings.reported(world.node) == ("s",)
