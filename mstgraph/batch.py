"""A batch as a stage sees it: labels, and responses that are computed when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from mstgraph.insertion import inserted
from mstgraph.plan import StageNode
from mstgraph.tasks import Task


class Responder:
    """Computes the responses that a stage's node declares, without gradients for frozen ones."""

    def __init__(
        self,
        node: StageNode,
        modules: Mapping[str, nn.Module],
        inputs_of: Mapping[str, tuple[str, ...]],
    ):
        self.node = node
        self.modules = modules
        self.inputs_of = inputs_of

    def respond(self, name: str, inputs: Mapping[str, Tensor], rows: Tensor | None) -> Tensor:
        """Return the logits of a response for a batch, or for some of its rows.

        Args:
            name: one of the node's forwards.
            inputs: modality → [batch, ...] float.
            rows: [n] int64, or None for all.
        """
        forward = self.node.forwards[name]
        arguments = [inputs[modality] for modality in self.inputs_of[forward.member]]
        if rows is not None:
            arguments = [argument[rows] for argument in arguments]
        network = self.modules[forward.member]
        trained = any(part in self.node.trains for part in forward.parts)
        with torch.set_grad_enabled(torch.is_grad_enabled() and trained):
            if not forward.masknet:
                return network(*arguments)
            with inserted(network, forward.point, self.modules[forward.masknet]):
                return network(*arguments)


class Batch:
    """One batch; every response is computed at most once.

    Attributes:
        labels: [batch] or [batch, height, width] int64.
    """

    def __init__(
        self, inputs: Mapping[str, Tensor], labels: Tensor, responder: Responder, task: Task
    ):
        self.labels = labels
        self._inputs = inputs
        self._responder = responder
        self._task = task
        self._responses: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def module(self, name: str) -> nn.Module:
        """Return a part of the stage, such as the gate."""
        return self._responder.modules[name]

    def response(self, name: str) -> Tensor:
        """Return logits, [batch, num_outputs] or [batch, num_outputs, height, width] float."""
        if name not in self._responses:
            self._responses[name] = self._responder.respond(name, self._inputs, rows=None)
        return self._responses[name]

    def cross_entropy(self, name: str) -> Tensor:
        """Return the task loss of a response for each sample, [batch] float."""
        return self._task.cross_entropy(self.response(name), self.labels)

    def average(self, values: Tensor) -> Tensor:
        """Average values per pixel over each sample's labelled pixels, → [batch] float."""
        return self._task.average(values, self.labels)

    def where(self, chosen: Tensor, name: str, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Return a loss that only some samples have, asking a network for those samples alone.

        Args:
            chosen: [batch] float of 0 and 1.
            name: the response that the loss needs.
            loss: (response of the rows, rows as [n] int64) → [n] or [n, height, width] float.

        Returns:
            [batch] float, 0 for the others.
        """
        rows = chosen.nonzero().flatten()
        result = chosen.new_zeros(len(chosen))
        if len(rows) == 0:
            return result
        response = self._responder.respond(name, self._inputs, rows)
        values = self._task.average(loss(response, rows), self.labels[rows])
        return result.index_put((rows,), values)
