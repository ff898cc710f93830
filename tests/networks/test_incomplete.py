"""Networks that are told how much of their inputs is there, and modality dropout."""

from __future__ import annotations

import pytest
import torch

from mstgraph.distil.probing import output_shapes
from mstgraph.networks.incomplete import IncompleteSequence1d, MeanSequence1d
from mstgraph.networks.presence import drop_modalities
from mstgraph.support.errors import UserError
from mstgraph.support.numerics import masked

ONE = {"sound": (2, 20)}
TWO = {"sound": (2, 20), "touch": (3, 16)}


def test_padding_changes_nothing():
    """A padded sequence is answered as the sequence alone, in training as in evaluation."""
    torch.manual_seed(0)
    network = MeanSequence1d(ONE, 5, channels=(8, 6), kernel=5, hidden=7)
    x, lengths = torch.randn(4, 2, 20), torch.tensor([[20], [13], [2], [1]])
    padded = network(masked(x, lengths[:, 0]), lengths=lengths)
    for row, (length,) in enumerate(lengths.tolist()):
        alone = network(x[row : row + 1, :, :length])
        torch.testing.assert_close(padded[row : row + 1], alone)
    assert not torch.allclose(network(masked(x, lengths[:, 0]))[1], padded[1])
    whole = torch.full((4, 1), 20)
    torch.testing.assert_close(network(x, lengths=whole), network(x))


def test_a_learned_vector_stands_in():
    """What an absent sequence holds changes nothing, and its stand-in learns from it alone."""
    torch.manual_seed(0)
    network = IncompleteSequence1d(TWO, 5, channels=(4, 4)).eval()
    inputs, lengths = (
        [torch.randn(2, 2, 20), torch.randn(2, 3, 16)],
        torch.tensor([[20, 0], [20, 16]]),
    )
    answer = network(*inputs, lengths=lengths)
    other = network(inputs[0], torch.randn(2, 3, 16), lengths=lengths)
    torch.testing.assert_close(answer[0], other[0])
    assert not torch.allclose(answer[1], other[1])
    answer[0].sum().backward()
    assert network.instead.grad[1].any()
    assert not network.instead.grad[0].any()
    torch.testing.assert_close(
        network(*inputs, lengths=torch.tensor([[20, 16]] * 2)), network(*inputs)
    )


def test_mask_points():
    """With their shapes, asked without lengths."""
    points = {"conv1": (32, 20), "hidden": (64,)}
    assert output_shapes(MeanSequence1d(ONE, 5), ONE, points) == {**points, "": (5,)}
    points = {"fusion": (64,), "branches.sound.hidden": (32,)}
    assert output_shapes(IncompleteSequence1d(TWO, 5), TWO, points) == {**points, "": (5,)}


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (TWO, {}, "exactly one modality"),
        ({"x": (4,)}, {}, "takes a sequence"),
        (ONE, {"kernel": 4}, "expected an odd number"),
        (ONE, {"channels": ()}, "one width at least"),
    ],
)
def test_what_cannot_be_is_refused(inputs, options, message):
    """In one sentence."""
    with pytest.raises(UserError, match=message):
        MeanSequence1d(inputs, 5, **options)


def test_dropout_leaves_one_of_those_that_are_there():
    """Each is dropped as often as said, but for the last; what was not there stays away."""
    torch.manual_seed(0)
    lengths = torch.tensor([[3, 4, 0]] * 4000)
    left = drop_modalities(lengths, 0.5)
    assert not left[:, 2].any()
    assert bool((left > 0).any(1).all())
    assert set(left[:, 0].tolist()) == {0, 3}
    # Both stay in a quarter, and in a quarter both would go, of which one stays.
    for place in (0, 1):
        assert abs(float((left[:, place] > 0).float().mean()) - 0.625) < 0.03
    assert torch.equal(drop_modalities(lengths, 0.0), lengths)
    assert not drop_modalities(torch.zeros(3, 2, dtype=torch.int64), 0.9).any()


@pytest.mark.parametrize("shape", [(4,), (2, 4), (3, 2, 4)])
def test_zeros_stand_behind_the_end(shape):
    """On the last axis; nothing at all is left of what is not there."""
    values, lengths = torch.rand(3, *shape) + 1, torch.tensor([4, 2, 0])
    found = masked(values, lengths)
    for row, length in enumerate(lengths.tolist()):
        assert torch.equal(found[row, ..., :length], values[row, ..., :length])
        assert not found[row, ..., length:].any()
    assert not masked(torch.full((1, 2), torch.nan), torch.tensor([0])).isnan().any()
