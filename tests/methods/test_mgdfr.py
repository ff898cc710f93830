"""MGDFR: the difference of logits, and which features a selection passes on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import training_worlds as small

from mstgraph.methods.mgdfr import FeatureSelection, LogitMSE
from mstgraph.support.errors import UserError

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")

SHAPES = [(8,), (8, 3), (8, 2, 3), (8, 2, 3, 2)]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def measured(shape: tuple[int, ...], salience: list[float], removed: float) -> FeatureSelection:
    """A selection that has seen two batches and knows the salience of each feature."""
    selection = FeatureSelection(shape, removed).train()
    for seed, size in ((1, 5), (2, 3)):
        with selection.observing():
            selection(random(size, *shape, seed=seed))
    for index, value in enumerate(salience):
        selection.add(index, torch.tensor([value - 0.5, value + 0.5]))
    return selection.eval()


def mse(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The loss, which asks nothing of the task."""
    return LogitMSE().compare(small.class_task(), one, other)


@pytest.mark.parametrize("extent", [(), (4, 2)])
def test_logit_mse_is_the_mean_square_over_the_classes(extent: tuple[int, ...]) -> None:
    """All logits count, per sample or pixel; 0 for equal ones, and symmetric."""
    one, other = random(6, 5, *extent), random(6, 5, *extent, seed=1)
    expected = np.zeros((6, *extent))
    for c in range(5):
        expected += (one[:, c].numpy() - other[:, c].numpy()) ** 2 / 5
    np.testing.assert_allclose(mse(one, other).numpy(), expected)
    torch.testing.assert_close(mse(one, other), mse(other, one))
    assert mse(one, one).abs().max() == 0


def test_logit_mse_sees_what_a_softmax_does_not() -> None:
    """A shift of all logits is a difference; one class is compared too."""
    one = random(6, 5)
    torch.testing.assert_close(mse(one, one + 3), torch.full((6,), 9.0))
    torch.testing.assert_close(mse(one[:, :1], one[:, :1] + 2), torch.full((6,), 4.0))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_replaces_the_least_salient_features_by_their_mean(shape: tuple[int, ...]) -> None:
    """Three quarters are constant, position by position; the others pass as they are."""
    salience = [3.0, 9.0, 1.0, 2.0, 8.0, 4.0, 6.0, 5.0]
    selection = measured(shape, salience, 0.75)
    feature = random(4, *shape, seed=3)
    seen = np.concatenate([random(5, *shape, seed=1).numpy(), random(3, *shape, seed=2).numpy()])
    expected = np.broadcast_to(seen.mean(0), feature.shape).copy()
    for index in (1, 4):
        expected[:, index] = feature[:, index].numpy()
    np.testing.assert_allclose(selection(feature).numpy(), expected, rtol=1e-12)


def test_the_answer_to_a_sample_does_not_depend_on_its_neighbours() -> None:
    """One sample alone gets what it gets in a batch."""
    selection = measured((8, 3), [float(i) for i in range(8)], 0.75)
    feature = random(4, 8, 3)
    torch.testing.assert_close(selection(feature)[2:3], selection(feature[2:3]))


@pytest.mark.parametrize(
    ("width", "removed", "kept"),
    [(8, 0.75, 2), (10, 0.75, 3), (4, 0.0, 4), (100, 0.29, 71), (3, 0.99, 1), (1, 0.75, 1)],
)
def test_keeps_the_rest_of_a_share_that_is_rounded_down(
    width: int, removed: float, kept: int
) -> None:
    """Never none; 0.29 of 100 is 29 whatever the rounding of 0.29."""
    selection = measured((width,), [float(i) for i in range(width)], removed)
    passed = selection.kept()
    assert int(passed.sum()) == kept
    assert passed[-kept:].all()


def test_equally_salient_features_go_in_the_order_of_their_numbers() -> None:
    """So that a run ends as another one does."""
    selection = measured((8,), [1.0, 2.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0], 0.5)
    assert selection.kept().nonzero().flatten().tolist() == [1, 4, 6, 7]


def test_salience_is_the_mean_over_the_samples_tested() -> None:
    """Tests of unequal numbers of samples count by sample; no test at all is known as such."""
    selection = FeatureSelection((3,))
    selection.add(0, torch.tensor([1.0, 3.0]))
    selection.add(0, torch.tensor([8.0]))
    selection.add(2, torch.tensor([5.0]))
    assert selection.salience().tolist() == [4.0, math.inf, 5.0]
    assert selection.untested() == 1


def test_the_mean_of_large_features_is_exact_in_single_precision() -> None:
    """Batches far from 0 do not lose their digits in a sum."""
    torch.set_default_dtype(torch.float32)
    selection = FeatureSelection((2,)).train()
    batches = [1e4 + random(64, 2, seed=seed) for seed in range(50)]
    with selection.observing():
        for batch in batches:
            selection(batch)
    expected = torch.cat(batches).double().mean(0)
    torch.testing.assert_close(selection.mean.double(), expected, rtol=0, atol=2e-3)
    assert int(selection.seen) == 3200


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_training_mode_passes_permutes_or_observes(shape: tuple[int, ...]) -> None:
    """One feature comes from other samples while it is permuted, nothing before and after."""
    selection = FeatureSelection(shape).train()
    feature, order = random(4, *shape), torch.tensor([2, 0, 3, 1])
    before = feature.clone()
    assert selection(feature) is feature
    with selection.permuting(5, order):
        answer = selection(feature)
    expected = feature.numpy().copy()
    for sample, source in enumerate(order):
        expected[sample, 5] = feature[source, 5].numpy()
    np.testing.assert_array_equal(answer.numpy(), expected)
    with selection.observing():
        assert selection(feature) is feature
    assert selection(feature) is feature
    assert torch.equal(feature, before)
    assert int(selection.seen) == 4


def test_a_failure_leaves_no_permutation_behind() -> None:
    """The module passes features on as before."""
    selection, feature = FeatureSelection((8,)).train(), random(4, 8)
    with pytest.raises(KeyError), selection.permuting(0, torch.arange(4)):
        raise KeyError
    assert selection(feature) is feature


def test_features_take_turns() -> None:
    """Each comes once in a round; more than there are, or None, means all."""
    selection = FeatureSelection((5,))
    rounds = [selection.next_features(2) for _ in range(5)]
    assert rounds == [[0, 1], [2, 3], [4, 0], [1, 2], [3, 4]]
    assert int(selection.turn) == 0
    assert selection.next_features(None) == [0, 1, 2, 3, 4]
    assert sorted(selection.next_features(9)) == [0, 1, 2, 3, 4]


def test_everything_measured_is_in_the_buffers() -> None:
    """A copy by state dict answers the same and goes on with the same turn; nothing is trained."""
    selection = measured((8, 2), [3.0, 9.0, 1.0, 2.0, 8.0, 4.0, 6.0, 5.0], 0.75)
    selection.next_features(3)
    assert not list(selection.parameters())
    other = FeatureSelection((8, 2))
    other.load_state_dict(selection.state_dict())
    feature = random(4, 8, 2)
    assert torch.equal(other.eval()(feature), selection(feature))
    assert other.next_features(1) == [3]


@pytest.mark.parametrize("removed", [-0.1, 1.0, 75, float("nan")])
def test_refuses_a_share_that_is_none(removed: float) -> None:
    """One sentence that names the option."""
    with pytest.raises(UserError, match=r"FeatureSelection\.removed is .*, expected at least 0"):
        FeatureSelection((8,), removed)
