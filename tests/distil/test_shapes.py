"""Shapes by rules are those of torch's own tensors on the processor, and refusals are torch's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.distil.shapes import COMPUTED, OnlyShapes

Size = tuple[int, ...]
LAST = torch.channels_last


def described(value: Any) -> Any:
    """Type, shape and strides, where an extent of 1 has none that matters."""
    if isinstance(value, (list, tuple)):
        return [described(item) for item in value]
    steps = [step for size, step in zip(value.shape, value.stride(), strict=True) if size > 1]
    return value.dtype, tuple(value.shape), steps if value.numel() else None


def on_meta(value: Any) -> Any:
    """The same tensors without numbers."""
    if isinstance(value, (list, tuple)):
        return [on_meta(item) for item in value]
    if not isinstance(value, Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")


def compare(function: Callable[..., Any], *inputs: Any) -> None:
    """Run on numbers, then on shapes alone; a module is moved in between."""
    with torch.no_grad():
        expected = described(function(*inputs))
        shapes = on_meta(inputs)
        if isinstance(function, nn.Module):
            function.to("meta")
        with OnlyShapes():
            found = function(*shapes)
    assert described(found) == expected


MODULES: list[tuple[Callable[[], nn.Module], Size]] = [
    (lambda: nn.Conv1d(4, 6, 3), (2, 4, 9)),
    (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2, bias=False), (2, 4, 9)),
    (lambda: nn.Conv2d(3, 8, 3), (2, 3, 9, 7)),
    (lambda: nn.Conv2d(3, 8, (3, 2), stride=(2, 1), padding=(1, 0)), (2, 3, 9, 7)),
    (lambda: nn.Conv2d(4, 8, 3, dilation=2, groups=4), (2, 4, 9, 7)),
    (lambda: nn.Conv2d(4, 4, 4, padding="same"), (2, 4, 9, 7)),
    (lambda: nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"), (2, 3, 9, 7)),
    (lambda: nn.Conv2d(3, 8, 3), (3, 9, 7)),
    (lambda: nn.Conv3d(2, 4, 3, padding=1), (2, 2, 5, 6, 7)),
    (lambda: nn.Conv2d(3, 8, 3).to(memory_format=LAST), (2, 3, 9, 7)),
    (lambda: nn.Conv2d(3, 8, 3).double(), (2, 3, 9, 7)),
    (lambda: nn.ConvTranspose2d(3, 8, 3, stride=2, output_padding=1), (2, 3, 9, 7)),
    (lambda: nn.Linear(5, 7), (3, 5)),
    (lambda: nn.Linear(5, 7, bias=False), (3, 5)),
    (lambda: nn.Linear(5, 7), (2, 3, 5)),
    (lambda: nn.Linear(5, 7), (2, 3, 4, 5)),
    (lambda: nn.Linear(5, 7), (5,)),
    (lambda: nn.BatchNorm1d(5), (3, 5)),
    (lambda: nn.BatchNorm1d(5), (3, 5, 4)),
    (lambda: nn.BatchNorm2d(5, affine=False), (3, 5, 4, 6)),
    (lambda: nn.BatchNorm2d(5, track_running_stats=False), (3, 5, 4, 6)),
    (lambda: nn.BatchNorm3d(5), (3, 5, 4, 6, 2)),
    (lambda: nn.LayerNorm(6), (3, 4, 6)),
    (lambda: nn.LayerNorm((4, 6)), (3, 4, 6)),
    (lambda: nn.GroupNorm(2, 4), (3, 4, 5)),
    (lambda: nn.InstanceNorm2d(4), (3, 4, 5, 6)),
    (lambda: nn.MaxPool1d(2), (2, 4, 9)),
    (lambda: nn.MaxPool2d(2), (2, 4, 8, 6)),
    (lambda: nn.MaxPool2d(2, return_indices=True), (2, 4, 8, 6)),
    (lambda: nn.MaxPool2d(2), (2, 4, 9, 7)),
    (lambda: nn.MaxPool2d(3, stride=2, padding=1, dilation=2), (2, 4, 9, 7)),
    (lambda: nn.MaxPool2d(2, ceil_mode=True), (2, 4, 9, 7)),
    (lambda: nn.AvgPool2d(2), (2, 4, 8, 6)),
    (lambda: nn.AdaptiveAvgPool2d(1), (2, 4, 8, 6)),
    (lambda: nn.AdaptiveAvgPool2d((3, 2)), (2, 4, 8, 6)),
    (lambda: nn.AdaptiveMaxPool1d(3), (2, 4, 8)),
    (lambda: nn.Upsample(scale_factor=2), (2, 4, 8, 6)),
    (lambda: nn.Upsample(size=(5, 9), mode="bilinear"), (2, 4, 8, 6)),
    (lambda: nn.PixelShuffle(2), (2, 8, 3, 4)),
    (lambda: nn.Flatten(), (2, 4, 8, 6)),
    (lambda: nn.ReLU(), (2, 4, 8, 6)),
    (lambda: nn.ReLU(inplace=True), (2, 4, 8, 6)),
    (lambda: nn.GELU(), (2, 4)),
    (lambda: nn.PReLU(4), (2, 4, 8)),
    (lambda: nn.Hardswish(), (2, 4)),
    (lambda: nn.Softmax(-1), (2, 4, 8)),
    (lambda: nn.LogSoftmax(1), (2, 4, 8, 6)),
    (lambda: nn.Dropout(0.4), (2, 4, 8)),
    (lambda: nn.Dropout2d(0.4), (2, 4, 8, 6)),
    (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
    (lambda: nn.LSTM(4, 6, batch_first=True, bidirectional=True), (2, 5, 4)),
    (lambda: nn.GRU(4, 6, num_layers=2), (2, 5, 4)),
]


IN_BOTH_LAYOUTS = [
    (case, last)
    for case, (_, size) in enumerate(MODULES)
    for last in ([False, True] if len(size) == 4 else [False])
]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("case", "channels_last"), IN_BOTH_LAYOUTS)
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_modules_return_what_they_return_with_numbers(
    case: int, channels_last: bool, training: bool
) -> None:
    """Shape, type and strides; images in both layouts."""
    build, size = MODULES[case]
    x = torch.rand(size)
    module = build().train(training)
    x = x.to(next(module.parameters(), x).dtype)
    compare(module, x.to(memory_format=LAST) if channels_last else x)


def image(*size: int) -> Tensor:
    """Return an image with channels last."""
    return torch.rand(size).to(memory_format=LAST)


FUNCTIONS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (torch.add, (torch.rand(3, 1), torch.rand(1, 4))),
    (torch.add, (torch.rand(2, 3, 4), torch.rand(4))),
    (torch.add, (torch.rand(2, 3), 1)),
    (torch.add, (torch.arange(3), 1.5)),
    (torch.add, (torch.arange(3), torch.rand(3))),
    (torch.add, (torch.arange(3), torch.tensor(1.5))),
    (torch.add, (image(2, 3, 4, 5), torch.rand(2, 3, 4, 5))),
    (torch.add, (torch.rand(2, 3, 4, 5), image(2, 3, 4, 5))),
    (torch.mul, (image(2, 3, 4, 5), torch.rand(2, 1, 4, 5))),
    (torch.mul, (image(2, 3, 4, 5), torch.rand(3, 1, 1))),
    (torch.mul, (image(2, 3, 4, 5), image(2, 3, 1, 1))),
    (torch.mul, (torch.rand(4, 3).T, torch.rand(4, 3).T)),
    (torch.mul, (torch.rand(4, 3).T, torch.rand(3, 4))),
    (torch.pow, (torch.rand(2, 3), 2)),
    (torch.pow, (2, torch.rand(2, 3))),
    (torch.pow, (torch.rand(2, 3), torch.rand(3))),
    (torch.div, (torch.arange(4), 2)),
    (torch.floor_divide, (torch.arange(4), 2)),
    (torch.ge, (torch.rand(2, 3), 0.5)),
    (torch.where, (torch.rand(2, 3) > 0.5, torch.rand(2, 3), torch.rand(3))),
    (torch.clamp, (torch.rand(2, 3), 0, 1)),
    (torch.add, (torch.rand(0, 3), torch.rand(3))),
    (lambda x, y: x.add_(y, alpha=2), (torch.rand(2, 3), torch.rand(3))),
    (lambda x: x.masked_fill(x > 0.5, 0), (torch.rand(2, 3),)),
    (lambda x: x[1].mul_(2), (torch.rand(2, 3),)),
    (lambda *x: torch.cat(x, 1), (torch.rand(2, 3), torch.rand(2, 4))),
    (lambda *x: torch.cat(x, 1), (image(2, 3, 4, 5), image(2, 2, 4, 5))),
    (lambda *x: torch.stack(x, 1), (torch.rand(2, 3), torch.rand(2, 3))),
    (lambda x: x.split(2, 1), (torch.rand(2, 5),)),
    (lambda x: x.chunk(2, 1), (torch.rand(2, 5),)),
    (lambda x: x.view(6, 4), (torch.rand(2, 3, 4),)),
    (lambda x: x.permute(2, 0, 1), (torch.rand(2, 3, 4),)),
    (lambda x: x.permute(2, 0, 1).relu(), (torch.rand(2, 3, 4),)),
    (lambda x: x.permute(2, 0, 1).contiguous(), (torch.rand(2, 3, 4),)),
    (lambda x: x.permute(2, 0, 1).flatten(1), (torch.rand(2, 3, 4),)),
    (lambda x: x.transpose(1, 2).reshape(2, 12), (torch.rand(2, 3, 4),)),
    (lambda x: x.expand(5, 3) + 1, (torch.rand(1, 3),)),
    (lambda x: x[:, None, ::2], (torch.rand(2, 3),)),
    (lambda x: x.mean((2, 3)), (image(2, 3, 4, 5),)),
    (lambda x: x.sum(1, keepdim=True), (torch.rand(2, 3),)),
    (lambda x: x.max(1), (torch.rand(2, 3),)),
    (lambda x: x.topk(2), (torch.rand(2, 3),)),
    (lambda x: x.softmax(1), (torch.rand(2, 3),)),
    (lambda x: x.to(torch.float64), (torch.rand(2, 3),)),
    (lambda x: x.half(), (image(2, 3, 4, 5),)),
    (lambda x: x.bool(), (torch.rand(2, 3),)),
    (lambda x: x.clone(), (image(2, 3, 4, 5),)),
    (torch.empty_like, (torch.rand(4, 3).T,)),
    (lambda x: torch.zeros_like(x, dtype=torch.int64), (image(2, 3, 4, 5),)),
    (lambda x: x.new_zeros(4, 5), (torch.rand(2, 3),)),
    (lambda x: torch.arange(3, device=x.device), (torch.rand(1),)),
    (lambda x: torch.arange(1, 8, 3, device=x.device), (torch.rand(1),)),
    (lambda x: torch.arange(8, 1, -3, device=x.device), (torch.rand(1),)),
    (lambda x: torch.arange(0, 1, 0.3, device=x.device), (torch.rand(1),)),
    (lambda x: torch.arange(3, dtype=torch.float32, device=x.device), (torch.rand(1),)),
    (torch.mm, (torch.rand(2, 3), torch.rand(3, 4))),
    (torch.mm, (torch.rand(3, 2).T, torch.rand(4, 3).T)),
    (torch.bmm, (torch.rand(2, 3, 4), torch.rand(2, 4, 5))),
    (torch.matmul, (torch.rand(2, 3, 4), torch.rand(4, 5))),
    (torch.matmul, (torch.rand(3), torch.rand(3))),
    (lambda x, y: torch.einsum("bij,bkj->bik", x, y), (torch.rand(2, 3, 4), torch.rand(2, 5, 4))),
    (torch.addmm, (torch.rand(4), torch.rand(2, 3), torch.rand(3, 4))),
    (lambda *x: torch.addmm(*x, beta=0.5), (torch.rand(2, 1), torch.rand(2, 3), torch.rand(3, 4))),
    (F.embedding, (torch.tensor([[1, 2, 0]]), torch.rand(3, 4))),
    (F.embedding, (torch.tensor([[1, 2, 0]], dtype=torch.int32), torch.rand(3, 4))),
    (F.one_hot, (torch.tensor([1, 2]), 4)),
    (F.pad, (torch.rand(2, 3), (1, 2))),
    (F.interpolate, (image(2, 3, 4, 5), None, 2)),
    (F.max_pool2d, (torch.rand(3, 8, 6), 2)),
    (F.normalize, (torch.rand(2, 3),)),
    (F.scaled_dot_product_attention, (torch.rand(2, 2, 5, 4),) * 3),
    (F.unfold, (torch.rand(2, 3, 8, 6), 3)),
    (lambda x, i: x.gather(1, i), (torch.rand(2, 3), torch.tensor([[0], [2]]))),
    (lambda x, i, y: x.scatter(1, i, y), (torch.rand(2, 3), torch.tensor([[0]]), torch.rand(1, 4))),
    (
        lambda x, i, y: x.scatter_(-1, i, y),
        (torch.rand(2, 3), torch.tensor([[0]]), torch.rand(1, 4)),
    ),
    (lambda x: torch.fft.rfft(x), (torch.rand(2, 8),)),
    (lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), (image(2, 3, 4, 6),)),
]


@pytest.mark.parametrize("case", range(len(FUNCTIONS)))
def test_functions_return_what_they_return_with_numbers(case: int) -> None:
    """Shape, type and strides, also of views and of what is changed in place."""
    function, inputs = FUNCTIONS[case]
    compare(function, *(x.clone() if isinstance(x, Tensor) else x for x in inputs))


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_attention(training: bool, need_weights: bool) -> None:
    """By torch's own quick path in eval mode, too."""
    module = nn.MultiheadAttention(8, 2, batch_first=True).train(training)
    x = torch.rand(2, 5, 8)
    with torch.no_grad():
        expected = module(x, x, x, need_weights=need_weights)
        module.to("meta")
        with OnlyShapes():
            found = module(*[on_meta(x)] * 3, need_weights=need_weights)
    assert found[0].shape == expected[0].shape
    assert (found[1] is None) == (expected[1] is None)
    if need_weights:
        assert found[1].shape == expected[1].shape


LARGE_CASES: list[Callable[[], Callable[[Tensor], Any]]] = [
    lambda: nn.ReLU(),
    lambda: nn.MaxPool2d((2, 1), return_indices=True),
    lambda: nn.MaxPool2d(3, stride=2, padding=1),
    lambda: nn.AvgPool2d(2),
    lambda: nn.Dropout(0.4),
    lambda: nn.BatchNorm2d(6),
    lambda: nn.Upsample(scale_factor=2),
    lambda: nn.Softmax(1),
    lambda: nn.Flatten(),
    lambda: lambda x: x + x,
    lambda: lambda x: x.sum(1),
    lambda: lambda x: torch.cat([x, x], 1),
]


@pytest.mark.parametrize("case", range(len(LARGE_CASES)))
@pytest.mark.parametrize("channels_last", [False, True])
def test_large_tensors(case: int, channels_last: bool) -> None:
    """More elements than are computed: by rule, or by torch's meta kernel."""
    x = torch.rand(2, 6, 2 * (COMPUTED // 48) + 2, 4)
    assert x.numel() > COMPUTED
    compare(LARGE_CASES[case](), x.to(memory_format=LAST) if channels_last else x)


counts = some.integers(1, 3)


@settings(max_examples=200, deadline=None)
@given(data=some.data())
def test_convolutions_of_any_size(data: some.DataObject) -> None:
    """Accepted with torch's shape; what torch refuses with numbers is left to its meta device."""
    draw = data.draw
    extents, groups = draw(some.integers(1, 2)), draw(counts)
    channels = groups * draw(counts) if draw(some.booleans()) else draw(some.integers(1, 6))
    size = [draw(counts), channels, *(draw(some.integers(1, 9)) for _ in range(extents))]
    weight = torch.rand(groups * draw(counts), draw(counts), *[draw(some.integers(1, 4))] * extents)
    bias = torch.rand(len(weight)) if draw(some.booleans()) else None
    options = {
        "stride": draw(some.integers(0, 3)),
        "padding": draw(some.integers(-1, 2)),
        "dilation": draw(some.integers(0, 2)),
        "groups": groups,
    }
    x = torch.rand(size)
    if extents == 2 and draw(some.booleans()):
        x = x.to(memory_format=LAST)
    convolve = partial(F.conv1d if extents == 1 else F.conv2d, **options)
    given = on_meta([x, weight, bias])
    if refusal(convolve, x, weight, bias) is None:
        expected = described(convolve(x, weight, bias))
        with OnlyShapes():
            assert described(convolve(*given)) == expected
    else:
        expected_words = refusal(convolve, *given)
        with OnlyShapes():
            assert refusal(convolve, *given) == expected_words


@settings(max_examples=200, deadline=None)
@given(sizes=some.lists(some.lists(some.integers(0, 3), max_size=4), min_size=2, max_size=2))
def test_broadcasting_of_any_size(sizes: list[list[int]]) -> None:
    """Accepted with torch's shape, or refused, as torch does it with numbers."""
    one, other = (torch.rand(size) for size in sizes)
    try:
        expected = described(one + other)
    except RuntimeError:
        with pytest.raises(RuntimeError), OnlyShapes():
            on_meta(one) + on_meta(other)
    else:
        with OnlyShapes():
            found = on_meta(one) + on_meta(other)
        assert described(found) == expected


def empty(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a tensor without numbers."""
    return torch.empty(size, dtype=dtype, device="meta")


def refusal(function: Callable[..., Any], *given: Any) -> str | None:
    """Return the words in which torch refuses something, or None if it does not."""
    try:
        function(*given)
    except (RuntimeError, ValueError, IndexError, ZeroDivisionError) as refused:
        return str(refused)
    return None


REFUSED: list[Callable[[], Any]] = [
    lambda: F.conv2d(empty(2, 3, 9, 9), empty(4, 5, 3, 3)),
    lambda: F.conv2d(empty(2, 3, 9), empty(4, 3, 3, 3)),
    lambda: F.conv2d(empty(2, 3, 2, 2), empty(4, 3, 3, 3)),
    lambda: F.linear(empty(2, 3), empty(4, 5)),
    lambda: F.linear(empty(2, 3), empty(4, 3), empty(5)),
    lambda: empty(2, 3) @ empty(4, 5),
    lambda: F.batch_norm(empty(2, 3, 4), empty(5), empty(5)),
    lambda: empty(2, 3) + empty(2, 4),
    lambda: empty(3).add_(empty(2, 3)),
    lambda: empty(3, dtype=torch.int64).add_(empty(3)),
    lambda: empty(2, 3).view(7),
    lambda: torch.cat([empty(2, 3), empty(3, 4)]),
    lambda: F.max_pool2d(empty(2, 3, 1, 1), 2),
    lambda: empty(2, 3).scatter_(2, empty(1, 1, dtype=torch.int64), empty(1, 1)),
    lambda: empty(2, 3).scatter_(1, empty(1, 4, dtype=torch.int64), empty(1, 2)),
    lambda: empty(2, 3).normal_(std=-1),
    lambda: torch.arange(3, 1, device="meta"),
    lambda: F.dropout(empty(2), 1.5),
]


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_what_torch_refuses_is_refused_in_its_words(case: int) -> None:
    """The sentence is that of torch's meta device without rules."""
    expected = refusal(REFUSED[case])
    assert expected is not None
    with OnlyShapes():
        assert refusal(REFUSED[case]) == expected


def test_the_generator_stays_where_it_is() -> None:
    """A probe changes nothing of a run: what is drawn afterwards is what would have been drawn."""
    state = torch.get_rng_state()
    with torch.device("meta"), OnlyShapes():
        nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.Linear(4, 2))(torch.rand(2, 3))
    assert torch.equal(torch.get_rng_state(), state)


def test_tensors_with_numbers_keep_them() -> None:
    """Only what has no numbers goes by rules."""
    with OnlyShapes():
        assert (torch.arange(3) + 1).tolist() == [1, 2, 3]
