"""MaskNet: a soft mask on a feature, Z* = σ(Linear(MHSA(Projector(Z)))) ⊗ Z (paper, Eq. 6).

The last Linear maps every token to one number right after the attention's output projection, so
everything behind the attention's weights is linear and folds, exactly, into one scalar per token
and head. Values, attention × values and the output projection are never formed at full width; the
parameters, the function and the gradients are those of Eq. 6.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import gin
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mstgraph.distil.products import linear, products
from mstgraph.networks.normalisation import BatchNorm
from mstgraph.support.errors import UserError

SCORE_BYTES = 2**20
"""Attention scores held at a time, in bytes: on a CPU, what stays in a core's cache."""

SCORE_BYTES_ACCELERATOR = 256 * 2**20
"""The same on an accelerator, where few large kernels are faster than many small ones."""


@gin.configurable
class MaskNet(nn.Module):
    """A mask in (0, 1) on one feature of a frozen network (paper, Eq. 6).

    A vector [d] is projected to d tokens of width h, which attend to each other and each become
    one number of the mask. Maps and token sequences are first reduced to a vector with one entry
    per channel (strided depthwise convolution, 1×1 convolution, batch normalisation, ReLU, global
    average); their mask holds one number per channel.

    Args:
        shape: shape of the feature without the batch: [d], [tokens, channels],
            [channels, height, width] or [channels, time, height, width]. A feature whose other
            extents are all 1 is a vector.
        factor: shrinks the width of the tokens, h = heads·⌊d/(heads·factor)⌋.
        heads: number of attention heads.
        hidden: h itself, in place of ``factor``.
        channel_axis: axis of ``shape`` that holds the channels; by default the last of two and
            the first of three or more. The other extents may differ from call to call.

    Attributes:
        last_mask: the mask of the last batch in eval mode, [batch, d] float, to report what masks
            look like; None before.

    Raises:
        UserError: the shape has no such axis or no MaskNet, or h is 0 or no multiple of ``heads``.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        factor: int = 2,
        heads: int = 3,
        hidden: int | None = None,
        channel_axis: int | None = None,
    ) -> None:
        super().__init__()
        self.channel_axis = _channel_axis(tuple(shape), channel_axis)
        channels = shape[self.channel_axis]
        hidden = _hidden(tuple(shape), channels, factor, heads, hidden)
        spatial = len(shape) - 1 if math.prod(shape) > channels else 0
        self.reducer = _reducer(channels, spatial) if spatial else None
        self.projector = nn.Linear(channels, channels * hidden)
        # Holds the parameters under the names that torch gives them; `_logits` computes with them.
        self.attention = nn.MultiheadAttention(hidden, heads, batch_first=True)
        self.linear = nn.Linear(hidden, 1)
        self.last_mask: Tensor | None = None

    def forward(self, z: Tensor) -> Tensor:
        """Return the feature times its mask, the shape of ``z``: [batch, *shape] float."""
        return self.mask(z) * z

    def mask(self, z: Tensor) -> Tensor:
        """Return the mask alone, in (0, 1), of a shape that broadcasts to ``z``.

        Args:
            z: the feature, [batch, *shape] float.
        """
        axis = self.channel_axis + 1
        broadcast = [1] * z.dim()
        broadcast[0], broadcast[axis] = z.shape[0], z.shape[axis]
        vector = z.movedim(axis, 1)
        vector = vector.flatten(1) if self.reducer is None else self.reducer(vector)
        mask = torch.sigmoid(self._logits(vector))
        if not self.training:
            self.last_mask = mask.detach()
        return mask.view(broadcast)

    def _logits(self, vector: Tensor) -> Tensor:
        """Return Linear(MHSA(Projector(vector))), [batch, d], by the fold."""
        attention = self.attention
        heads, hidden = attention.num_heads, attention.embed_dim
        projected = linear(vector, self.projector.weight, self.projector.bias)
        tokens = projected.unflatten(1, (-1, hidden))
        weight_q, weight_k, weight_v = attention.in_proj_weight.chunk(3)
        bias_q, _, bias_v = attention.in_proj_bias.chunk(3)

        # Linear(out_proj(x)) = output·x + offset.
        output = self.linear.weight @ attention.out_proj.weight
        offset = self.linear.weight @ attention.out_proj.bias + self.linear.bias
        # Weights of attention sum to one, so the value's bias passes through to the offset.
        offset = offset + output @ bias_v
        fold = (output.view(heads, -1, 1) * weight_v.view(heads, -1, hidden)).sum(dim=1)

        values = _by_head(tokens @ fold.t(), heads).squeeze(-1)
        queries = _by_head(linear(tokens, weight_q, bias_q), heads)
        # A key's bias adds the same number to all scores of a query: softmax does not see it.
        keys = _by_head(linear(tokens, weight_k), heads)
        attended = _ScalarAttention.apply(queries, keys, values)
        return attended.unflatten(0, (len(vector), heads)).sum(dim=1) + offset


def _by_head(x: Tensor, heads: int) -> Tensor:
    """Return [batch·heads, tokens, width] of [batch, tokens, heads·width]."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2).flatten(0, 1)


class _ScalarAttention(torch.autograd.Function):
    """softmax(QKᵀ/√width) v for one number v per token, a chunk of the scores at a time.

    The backward recomputes the scores. With output o and its gradient g, the scores' gradient is
    P ∘ g_i (v_j − o_i): rank one apart from P, so P is not kept either.
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Return [rows, tokens]; ``queries`` and ``keys`` are [rows, tokens, width]."""
        attended = torch.empty_like(values)
        for rows in _chunks(queries):
            weights = _weights(queries[rows], keys[rows])
            attended[rows] = torch.bmm(weights, values[rows].unsqueeze(-1)).squeeze(-1)
        ctx.save_for_backward(queries, keys, values, attended)
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of queries, keys and values."""
        queries, keys, values, attended = ctx.saved_tensors
        by_query, by_key, by_value = map(torch.empty_like, (queries, keys, values))
        scaled = gradient / math.sqrt(queries.shape[-1])
        for rows in _chunks(queries):
            weights = _weights(queries[rows], keys[rows])
            by_value[rows] = torch.bmm(gradient[rows].unsqueeze(1), weights).squeeze(1)
            weights *= values[rows].unsqueeze(1) - attended[rows].unsqueeze(2)
            factor = scaled[rows].unsqueeze(2)
            by_query[rows] = products(weights, keys[rows].transpose(1, 2)).mul_(factor)
            by_key[rows] = products(
                (queries[rows] * factor).transpose(1, 2), weights.transpose(1, 2)
            ).transpose(1, 2)
        return by_query, by_key, by_value


def _weights(queries: Tensor, keys: Tensor) -> Tensor:
    """Return the attention's weights, [rows, tokens, tokens]."""
    return torch.softmax(products(queries / math.sqrt(queries.shape[-1]), keys), dim=-1)


def _chunks(queries: Tensor) -> Iterator[slice]:
    """Yield slices of the rows whose scores fit the budget, one row at least."""
    rows, tokens, _ = queries.shape
    budget = SCORE_BYTES if queries.device.type == "cpu" else SCORE_BYTES_ACCELERATOR
    step = max(1, budget // (tokens * tokens * queries.element_size()))
    for start in range(0, rows, step):
        yield slice(start, start + step)


def _channel_axis(shape: tuple[int, ...], axis: int | None) -> int:
    """Return the axis of the channels, counted from 0 without the batch."""
    rank = len(shape)
    if not 1 <= rank <= 4 or min(shape) < 1:
        raise UserError(
            f"a MaskNet cannot rewrite a feature of shape {shape}, expected a vector, a sequence "
            "or a map of up to three extents"
        )
    if axis is None:
        return 1 if rank == 2 else 0
    if not -rank <= axis < rank:
        raise UserError(
            f"MaskNet.channel_axis is {axis}, but a feature of shape {shape} has axes 0 to "
            f"{rank - 1}"
        )
    return axis % rank


def _hidden(
    shape: tuple[int, ...], channels: int, factor: int, heads: int, hidden: int | None
) -> int:
    """Return the width h of the tokens."""
    if heads < 1 or factor < 1:
        raise UserError(
            f"MaskNet.heads is {heads} and MaskNet.factor {factor}, expected at least 1 each"
        )
    if hidden is None:
        hidden = heads * (channels // (heads * factor))
        if hidden == 0:
            raise UserError(
                f"a MaskNet on a feature of shape {shape} has hidden size 0: with {heads} heads "
                f"and factor {factor} it needs {heads * factor} channels, not {channels}; set "
                "MaskNet.heads, MaskNet.factor or MaskNet.hidden"
            )
    if hidden < 1 or hidden % heads:
        raise UserError(f"MaskNet.hidden is {hidden}, expected a multiple of its {heads} heads")
    return hidden


def _reducer(channels: int, spatial: int) -> nn.Sequential:
    """Return the layers from [batch, channels, *extents] to [batch, channels]."""
    convolution: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[spatial - 1]
    average: Any = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[spatial - 1]
    return nn.Sequential(
        convolution(channels, channels, 3, stride=2, padding=1, groups=channels, bias=False),
        convolution(channels, channels, 1, bias=False),
        BatchNorm(channels),
        nn.ReLU(),
        average(1),
        nn.Flatten(),
    )
