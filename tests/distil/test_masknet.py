"""MaskNet: counts, the exact fold against torch's own attention, and shapes of masks."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mstgraph.distil import masknet
from mstgraph.distil.masknet import MaskNet
from mstgraph.support.errors import UserError


def unfolded(network: MaskNet, z: Tensor) -> Tensor:
    """Return Eq. 6 written out with torch's own attention and the same parameters."""
    vector = z if network.reducer is None else network.reducer(z)
    tokens = network.projector(vector).unflatten(1, (-1, network.attention.embed_dim))
    attended, _ = network.attention(tokens, tokens, tokens)
    mask = torch.sigmoid(network.linear(attended).squeeze(-1))
    return mask.view(*mask.shape, *[1] * (z.dim() - 2)) * z


def gradients(network: MaskNet, function, z: Tensor) -> dict[str, Tensor]:
    """Return the output and the gradients of all parameters and the input."""
    z = z.clone().requires_grad_()
    network.zero_grad()
    output = function(z)
    weights = torch.linspace(-1, 2, output.numel(), dtype=z.dtype).view_as(output)
    (output * weights).sum().backward()
    found = {name: value.grad.clone() for name, value in network.named_parameters()}
    return {"output": output.detach(), "input": z.grad, **found}


def sharpened(shape: tuple[int, ...], dtype: torch.dtype, **options) -> MaskNet:
    """Return a MaskNet whose attention is far from uniform and whose biases are not zero."""
    torch.manual_seed(3)
    network = MaskNet(shape, **options).to(dtype)
    with torch.no_grad():
        network.attention.in_proj_weight.mul_(4)
        network.attention.in_proj_bias.normal_()
        network.attention.out_proj.bias.normal_()
    return network


@pytest.mark.parametrize(
    ("shape", "hidden", "millions"),
    [
        ((84,), 42, 0.307),
        ((120,), 60, 0.886),
        ((160,), 78, 2.034),
        ((256,), 126, 8.354),
        ((298,), 147, 13.185),
        ((320,), 159, 16.434),
        ((512,), 255, 67.239),
        ((596,), 297, 106.030),
        ((1024,), 510, 536.339),
        ((64, 56, 56), 30, 0.133),
        ((128, 28, 28), 63, 1.074),
        ((512, 15, 20), 255, 67.506),
    ],
)
def test_parameters_are_as_many_as_the_reference_counts(shape, hidden, millions):
    """The width h and the parameters follow h·d(d+1)+4h(h+1)+h+1, and d²+11d for maps."""
    with torch.device("meta"):
        network = MaskNet(shape)
    d, h = shape[0], hidden
    formula = h * d * (d + 1) + 4 * h * (h + 1) + h + 1 + (d * d + 11 * d if shape[1:] else 0)
    assert network.attention.embed_dim == hidden
    count = sum(value.numel() for value in network.parameters())
    assert count == formula
    assert round(count / 1e6, 3) == millions


@pytest.mark.parametrize("shape", [(18,), (30,), (18, 5, 4)])
def test_fold_equals_attention_in_double_precision(shape):
    """Mask, input gradient and every parameter's gradient agree with torch's attention to 1e-12."""
    network = sharpened(shape, torch.float64)
    z = torch.randn(5, *shape, dtype=torch.float64)
    reference = copy.deepcopy(network)
    expected = gradients(reference, lambda x: unfolded(reference, x), z)
    for name, value in gradients(network, network, z).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-10, atol=1e-12, msg=name)
    assert expected["output"].std() > 0.1


def test_fold_equals_attention_in_single_precision():
    """At the usual initialisation float32 results agree to rounding."""
    torch.manual_seed(0)
    network = MaskNet((84,))
    z = torch.randn(6, 84)
    expected = gradients(network, lambda x: unfolded(network, x), z)
    for name, value in gradients(network, network, z).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=2e-6, msg=name)


def test_gradcheck_in_double_precision():
    """The hand-written backward is the derivative of the forward."""
    network = sharpened((6,), torch.float64, factor=1)
    z = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, (z,))
    names = [name for name, _ in network.named_parameters()]

    def of_parameters(*values: Tensor) -> Tensor:
        return torch.func.functional_call(network, dict(zip(names, values, strict=True)), (z,))

    assert torch.autograd.gradcheck(of_parameters, tuple(network.parameters()))


@pytest.mark.parametrize("chunk_rows", [1, 2, 4])
def test_chunks_change_nothing(monkeypatch, chunk_rows):
    """Scores computed a few rows at a time give what all at once give."""
    network = sharpened((12,), torch.float64)
    z = torch.randn(5, 12, dtype=torch.float64)
    monkeypatch.setattr(masknet, "SCORE_BYTES", 2**30)
    whole = gradients(network, network, z)
    monkeypatch.setattr(masknet, "SCORE_BYTES", chunk_rows * 12 * 12 * 8)
    for name, value in gradients(network, network, z).items():
        torch.testing.assert_close(value, whole[name], rtol=1e-12, atol=1e-14, msg=name)


def test_chunks_bound_the_scores_held(monkeypatch):
    """No chunk's scores exceed the byte budget, and together the chunks cover all rows once."""
    monkeypatch.setattr(masknet, "SCORE_BYTES", 1000)
    queries = torch.zeros(7, 8, 3)
    slices = list(masknet._chunks(queries))
    assert [row for part in slices for row in range(*part.indices(7))] == list(range(7))
    assert max(len(queries[part]) * 8 * 8 * 4 for part in slices) <= 1000


def test_state_dict_is_that_of_torch_attention():
    """Parameters keep torch's names and shapes, so a plain attention loads them, and back."""
    network = MaskNet((18,), heads=3, hidden=6)
    plain = nn.MultiheadAttention(6, 3)
    plain.load_state_dict(network.attention.state_dict())
    names = set(network.state_dict())
    assert {f"attention.{name}" for name in plain.state_dict()} < names
    assert names - {f"attention.{name}" for name in plain.state_dict()} == {
        "projector.weight",
        "projector.bias",
        "linear.weight",
        "linear.bias",
    }


def test_state_dict_round_trip_and_pickle():
    """Weights and batch statistics survive saving, loading and pickling."""
    network = MaskNet((6, 4, 4)).eval()
    z = torch.randn(2, 6, 4, 4)
    twin = MaskNet((6, 4, 4)).eval()
    assert not torch.equal(twin(z), network(z))
    twin.load_state_dict(network.state_dict())
    assert torch.equal(twin(z), network(z))
    assert torch.equal(pickle.loads(pickle.dumps(network))(z), network(z))


def test_initialisation_depends_on_the_seed_alone():
    """The same seed gives the same weights, another seed others."""

    def build(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.cat([value.flatten() for value in MaskNet((12,)).parameters()])

    assert torch.equal(build(1), build(1))
    assert not torch.equal(build(1), build(2))


@pytest.mark.parametrize(
    ("shape", "mask_shape"),
    [
        ((12,), (2, 12)),
        ((12, 1, 1), (2, 12, 1, 1)),
        ((12, 6, 5), (2, 12, 1, 1)),
        ((12, 3, 6, 5), (2, 12, 1, 1, 1)),
        ((7, 12), (2, 1, 12)),
        ((1, 12), (2, 1, 12)),
    ],
)
def test_mask_broadcasts_to_the_feature(shape, mask_shape):
    """One number in (0, 1) per channel; the output is mask times feature."""
    torch.manual_seed(0)
    network = MaskNet(shape).eval()
    z = torch.randn(2, *shape)
    mask = network.mask(z)
    assert tuple(mask.shape) == mask_shape
    assert bool(((mask > 0) & (mask < 1)).all())
    assert mask.std() > 0
    torch.testing.assert_close(network(z), mask * z, rtol=0, atol=0)


def test_map_of_one_pixel_is_a_vector():
    """A feature of 1×1 extent has the parameters and the mask of a vector of its channels."""
    torch.manual_seed(0)
    pixel = MaskNet((12, 1, 1))
    torch.manual_seed(0)
    vector = MaskNet((12,))
    z = torch.randn(3, 12)
    assert pixel.reducer is None
    assert torch.equal(pixel(z.view(3, 12, 1, 1)).flatten(1), vector(z))


def test_token_sequences_of_any_length_share_one_mask():
    """The mask of [tokens, channels] holds one number per channel, whatever the length."""
    network = MaskNet((7, 12)).eval()
    for length in (1, 4, 30):
        assert tuple(network.mask(torch.randn(2, length, 12)).shape) == (2, 1, 12)


def test_channel_axis_names_the_channels():
    """Moving the channels and naming their axis moves the mask with them."""
    torch.manual_seed(0)
    first = MaskNet((12, 6, 5)).eval()
    last = MaskNet((6, 5, 12), channel_axis=-1).eval()
    last.load_state_dict(first.state_dict())
    z = torch.randn(2, 12, 6, 5)
    torch.testing.assert_close(last(z.movedim(1, -1)), first(z).movedim(1, -1))
    assert tuple(MaskNet((12, 7), channel_axis=0).eval().mask(torch.randn(2, 12, 7)).shape) == (
        2,
        12,
        1,
    )


def test_evaluation_is_deterministic_and_per_sample():
    """In eval mode a sample's mask depends on that sample alone, and repeats bit for bit."""
    torch.manual_seed(0)
    network = MaskNet((12, 6, 5))
    network(torch.randn(8, 12, 6, 5))
    network.eval()
    z = torch.randn(4, 12, 6, 5)
    assert torch.equal(network(z), network(z))
    torch.testing.assert_close(network(z)[1:2], network(z[1:2]))


@pytest.mark.parametrize("shape", [(12,), (12, 6, 5)])
def test_an_empty_batch_stays_empty(shape):
    """A teacher that no sample of a batch was routed to can still be called."""
    network = MaskNet(shape).eval()
    output = network(torch.randn(0, *shape))
    output.sum().backward()
    assert output.shape == (0, *shape)
    assert all(not value.grad.any() for value in network.parameters() if value.grad is not None)


def test_runs_on_the_meta_device():
    """Shapes can be found without computing: forward and backward on the meta device."""
    with torch.device("meta"):
        network = MaskNet((12, 6, 5))
        output = network(torch.empty(4, 12, 6, 5))
    output.sum().backward()
    assert output.shape == (4, 12, 6, 5)


def test_runs_in_reduced_precision():
    """Under autocast to bfloat16 the mask is that of float32 within its rounding."""
    torch.manual_seed(0)
    network = MaskNet((84,))
    z = torch.randn(4, 84)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mask = network.mask(z)
        mask.float().sum().backward()
    torch.testing.assert_close(mask.float(), network.mask(z), rtol=0, atol=1e-2)
    assert all(bool(value.grad.isfinite().all()) for value in network.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (5,)}, "needs 6 channels, not 5"),
        ({"shape": (12,), "hidden": 7}, "MaskNet.hidden is 7, expected a multiple of its 3 heads"),
        ({"shape": (12,), "hidden": 0}, "MaskNet.hidden is 0"),
        ({"shape": (12,), "heads": 0}, "MaskNet.heads is 0"),
        ({"shape": (12, 4, 4), "channel_axis": 3}, "axes 0 to 2"),
        ({"shape": ()}, "cannot rewrite a feature of shape ()"),
        ({"shape": (1, 2, 3, 4, 5)}, "cannot rewrite"),
    ],
)
def test_what_has_no_masknet_is_refused(arguments, message):
    """A shape or an option that does not fit is the user's error, in one sentence."""
    with pytest.raises(UserError) as caught:
        MaskNet(**arguments)
    assert message in str(caught.value)


def test_maps_are_reduced_by_hand():
    """A strided depthwise 3×3 convolution, a 1×1 one, normalisation, ReLU and the average."""
    torch.manual_seed(0)
    network = MaskNet((6, 5, 4)).double()
    network(torch.randn(3, 6, 5, 4, dtype=torch.float64))
    network.eval()
    assert network.reducer is not None
    depthwise, pointwise, norm = list(network.reducer)[:3]
    kernel = depthwise.weight.detach().numpy()[:, 0]
    z = torch.randn(1, 6, 5, 4, dtype=torch.float64)
    padded = np.pad(z[0].numpy(), ((0, 0), (1, 1), (1, 1)))
    small = np.zeros((6, 3, 2))
    for channel, row, column in np.ndindex(small.shape):
        window = padded[channel, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        small[channel, row, column] = (window * kernel[channel]).sum()
    mixed = np.einsum("oc,chw->ohw", pointwise.weight.detach().numpy()[:, :, 0, 0], small)
    mean, variance, scale, shift = (
        value.detach().numpy()[:, None, None]
        for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    normal = (mixed - mean) / np.sqrt(variance + norm.eps) * scale + shift
    expected = np.maximum(normal, 0).mean(axis=(1, 2))
    np.testing.assert_allclose(network.reducer(z)[0].detach().numpy(), expected, rtol=1e-10)


def test_the_last_mask_is_kept_in_eval_mode_alone():
    """Without a graph, for reports; training keeps nothing."""
    network = sharpened((6,), torch.float64)
    z = torch.randn(3, 6, dtype=torch.float64)
    network.train()(z)
    assert network.last_mask is None
    network.eval()(z)
    assert torch.equal(network.last_mask, network.mask(z))
    assert not network.last_mask.requires_grad
