"""The plain schedule: what the released code of MST-Distill does, its stacked masks mended.

Every specialised teacher runs whole, on every batch, with its one MaskNet and torch's own
attention; nothing is kept, shared or routed before it is computed. Only a network's response
without a mask is computed once per batch, as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from mstgraph.distil.insertion import inserted
from mstgraph.distil.masknet import MaskNet
from mstgraph.run.networks import Networks, Outputs, Shared
from mstgraph.stages.node import RESPONSE, Forward, Question
from mstgraph.support.numerics import autocast


class PlainMaskNet(MaskNet):
    """A MaskNet that computes Eq. 6 with ``nn.MultiheadAttention``; the same parameters."""

    def _logits(self, vector: Tensor) -> Tensor:
        tokens = self.projector(vector).unflatten(1, (-1, self.attention.embed_dim))
        attended, _ = self.attention(tokens, tokens, tokens)
        return self.linear(attended).squeeze(-1)


def unfold(modules: Sequence[nn.Module]) -> None:
    """Make plain ones of all MaskNets, parameters kept, and store all weights as torch does."""
    for module in modules:
        convert_conv2d_weight_memory_format(module, torch.contiguous_format)
        if isinstance(module, MaskNet):
            module.__class__ = PlainMaskNet


class PlainNetworks(Networks):
    """Computes every response that is asked for, whole.

    Attributes:
        tracked: whether frozen networks run with autograd on, as in the released code, which
            never freezes them and only leaves them out of the optimiser.
    """

    tracked = False

    def outputs(self, question: Question, shared: Shared, rows: Tensor | None = None) -> Outputs:
        """Return logits of the whole batch, or of some rows of it."""
        assert isinstance(question, Forward)  # nothing is cut
        if question not in shared.memo or question.masknet:
            frozen = self.trained.isdisjoint(question.parts)
            untracked = torch.no_grad() if frozen and not self.tracked else nullcontext()
            with untracked:
                shared.memo[question] = {RESPONSE: self._whole(question, shared)}
        response = shared.memo[question][RESPONSE]
        return {RESPONSE: response if rows is None else response[rows]}

    def chosen_outputs(
        self, forwards: Sequence[Forward], chosen: Tensor, shared: Shared
    ) -> list[tuple[int, Tensor, Outputs]]:
        """Ask every teacher for every sample, then pick."""
        logits = [self.outputs(forward, shared)[RESPONSE] for forward in forwards]
        rows_of = [(chosen == j).any(1).nonzero().flatten() for j in range(len(forwards))]
        return [
            (j, rows, {RESPONSE: logits[j][rows]}) for j, rows in enumerate(rows_of) if len(rows)
        ]

    def _whole(self, forward: Forward, shared: Shared) -> Tensor:
        network = self.modules[forward.member]
        inputs = [shared.inputs[modality] for modality in self.inputs_of[forward.member]]
        with ExitStack() as stack:
            if forward.masknet:
                masknet = self.modules[forward.masknet]
                stack.enter_context(inserted(network, forward.point, masknet))
            stack.enter_context(autocast(self.precision, shared.labels.device))
            return network(*inputs).to(torch.get_default_dtype())
