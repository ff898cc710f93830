"""A network over long sequences: what shortens them, and that padding changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mstgraph.distil.probing import output_shapes
from mstgraph.networks.long_sequence import LongBlock, LongSequence1d, MaskedBatchNorm1d
from mstgraph.support.errors import UserError
from mstgraph.support.numerics import masked

ONE = {"sensor": (2, 50)}
LENGTHS = torch.tensor([50, 31, 7, 1])


@pytest.fixture
def sequences() -> Tensor:
    """Return four sequences, padded."""
    return masked(torch.randn(4, 2, 50, generator=torch.Generator().manual_seed(0)), LENGTHS)


def test_padding_moves_no_statistics(sequences: Tensor) -> None:
    """Values, gradients and running statistics are those of all times that are there in a row."""
    norm, plain = MaskedBatchNorm1d(2), nn.BatchNorm1d(2)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([2.0, 3.0]))
        norm.bias.copy_(torch.tensor([-1.0, 1.0]))
    plain.load_state_dict(norm.state_dict())
    padded = sequences.clone().requires_grad_()
    row = torch.cat([one[:, :n] for one, n in zip(sequences, LENGTHS, strict=True)], dim=1)
    row.requires_grad_()
    found, expected = norm(padded, LENGTHS), plain(row[None])[0]
    there = torch.cat([one[:, :n] for one, n in zip(found, LENGTHS, strict=True)], dim=1)
    torch.testing.assert_close(there, expected)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    (there * weights).sum().backward()
    (expected * weights).sum().backward()
    assert padded.grad is not None
    gradient = torch.cat([g[:, :n] for g, n in zip(padded.grad, LENGTHS, strict=True)], dim=1)
    torch.testing.assert_close(gradient, row.grad)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(norm.state_dict()[name], value)

    longer = nn.functional.pad(sequences, (0, 200))
    torch.testing.assert_close(norm(longer, LENGTHS)[..., :50], norm(sequences, LENGTHS))
    assert not torch.allclose(norm(longer)[..., :50], norm(longer, LENGTHS)[..., :50])


def test_statistics_by_hand() -> None:
    """Of 1, 3 and 5 beside a place of padding: mean 3, variance 8/3, without bias 4."""
    norm = MaskedBatchNorm1d(1)
    found = norm(torch.tensor([[[1.0, 3.0]], [[5.0, 0.0]]]), torch.tensor([2, 1]))
    torch.testing.assert_close(found[0, 0, 0].item(), -2 / (8 / 3 + 1e-5) ** 0.5)
    torch.testing.assert_close(norm.running_mean, torch.tensor([0.3]))
    torch.testing.assert_close(norm.running_var, torch.tensor([0.9 + 0.4]))


@pytest.mark.parametrize("options", [{}, {"stride": 3, "pool": 1}, {"stride": 1, "pool": 3}])
def test_a_padded_sequence_is_answered_as_alone(sequences: Tensor, options: Any) -> None:
    """However much its blocks shorten it, with statistics that a padded batch left."""
    torch.manual_seed(1)
    network = LongSequence1d(ONE, 5, channels=(4, 6), kernel=5, hidden=7, **options)
    lengths = LENGTHS[:, None]
    for _ in range(3):
        network(sequences, lengths=lengths)
    answers = network.eval()(sequences, lengths=lengths)
    for row, length in enumerate(LENGTHS):
        alone = network(sequences[row : row + 1, :, :length])
        torch.testing.assert_close(answers[row : row + 1], alone)
    whole = torch.full((4, 1), 50)
    torch.testing.assert_close(network(sequences, lengths=whole), network(sequences))


def test_a_block_shortens_by_stride_and_pool(sequences: Tensor) -> None:
    """Rounded up, so that the shortest sequence leaves a time."""
    block = LongBlock(2, 3, 5, stride=3, pool=4).eval()
    assert block(sequences).shape == (4, 3, 5)  # 50 → 17 → 5
    left = block.left(LENGTHS)
    assert left is not None
    assert left.tolist() == [5, 3, 1, 1]
    expected = nn.functional.max_pool1d(
        torch.relu(block.norm(block.conv(sequences))), 4, ceil_mode=True
    )
    torch.testing.assert_close(block(sequences), expected)


def test_weights_do_not_depend_on_the_length() -> None:
    """A minute at 100 Hz is as many as five seconds; its layers are mask points and roles."""
    minute = {"sensor": (3, 6000)}
    network = LongSequence1d(minute, 5)
    size = sum(p.numel() for p in network.parameters())
    assert size == sum(p.numel() for p in LongSequence1d({"sensor": (3, 500)}, 5).parameters())
    roles = network.roles
    assert (roles["penultimate"], roles["masks"]) == (("hidden",), ("block3", "hidden"))
    shapes = output_shapes(network, minute, ("block3", "hidden"))
    assert shapes == {"block3": (64, 94), "hidden": (64,), "": (5,)}


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ({"a": (2, 50), "b": (2, 50)}, {}, "exactly one modality"),
        ({"x": (4,)}, {}, "takes a sequence"),
        (ONE, {"kernel": 4}, "LongSequence1d.kernel is 4, expected an odd number"),
        (ONE, {"stride": 0}, "LongSequence1d.stride"),
        (ONE, {"channels": ()}, "LongSequence1d.channels is empty"),
    ],
)
def test_what_cannot_be_is_refused(inputs: Any, options: Any, message: str) -> None:
    """In one sentence."""
    with pytest.raises(UserError) as caught:
        LongSequence1d(inputs, 5, **options)
    assert message in str(caught.value)
