"""A batch as a stage sees it: labels, and responses that are computed at most once.

What several stages of a group ask for, and what several specialised teachers of one member share,
is computed once per batch; what is kept (`mstgraph.kept`) is not computed at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from mstgraph.cuts import Cut
from mstgraph.insertion import inserted
from mstgraph.kept import Kept, pick
from mstgraph.methods.loss import EdgeLoss
from mstgraph.numerics import autocast
from mstgraph.plan import Forward, StageNode
from mstgraph.tasks import Task

RESPONSE = "response"  # name of the one tensor of a kept response


class Shared:
    """What all stages of a group have in common in one batch.

    Args:
        inputs: modality → [batch, ...] float.
        labels: [batch] or [batch, height, width] int64.
        positions: place of each sample in its part of the split, [batch] int64.
        kept: response or member → what is kept of it.
    """

    def __init__(
        self,
        inputs: Mapping[str, Tensor],
        labels: Tensor,
        positions: Tensor,
        kept: Mapping[Forward | str, Kept],
    ):
        self.inputs = inputs
        self.labels = labels
        self.positions = positions
        self.kept = kept
        self.memo: dict[Forward | str, Mapping[str, Tensor]] = {}


class Networks:
    """The parts of a group of stages, and how responses are computed with them.

    Args:
        modules: name of a part → module.
        inputs_of: member → its modalities.
        trained: names of the parts that some stage of the group trains.
        cuts: member → its frozen network, cut at its mask points.
        precision: see `mstgraph.engine.Engine`.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        inputs_of: Mapping[str, tuple[str, ...]],
        trained: frozenset[str],
        cuts: Mapping[str, Cut],
        precision: str = "fp32",
    ):
        self.modules = modules
        self.inputs_of = inputs_of
        self.trained = trained
        self.cuts = cuts
        self.precision = precision

    def response(self, forward: Forward, shared: Shared, rows: Tensor | None = None) -> Tensor:
        """Return logits of a batch, or of some of its rows ([n] int64)."""
        if forward in shared.kept:
            positions = shared.positions if rows is None else shared.positions[rows]
            return shared.kept[forward].read(positions)[RESPONSE]
        if self.trained.isdisjoint(forward.parts):
            with torch.no_grad():
                if rows is not None:
                    return self._compute(forward, shared, rows)
                if forward not in shared.memo:
                    shared.memo[forward] = {RESPONSE: self._compute(forward, shared, None)}
                return shared.memo[forward][RESPONSE]
        return self._compute(forward, shared, rows)

    def trunk(
        self, member: str, shared: Shared, rows: Tensor | None = None
    ) -> Mapping[str, Tensor]:
        """Return what crosses the cuts of a member's frozen network."""
        if member in shared.kept:
            positions = shared.positions if rows is None else shared.positions[rows]
            return shared.kept[member].read(positions)
        with torch.no_grad():
            if rows is not None:
                return self.cuts[member].trunk(self._arguments(member, shared, rows))
            if member not in shared.memo:
                shared.memo[member] = self.cuts[member].trunk(self._arguments(member, shared, None))
            return shared.memo[member]

    def routed(
        self, forwards: Sequence[Forward], chosen: Tensor, shared: Shared
    ) -> Sequence[tuple[int, Tensor, Tensor]]:
        """Ask each network for the rows that chose it.

        Teachers of one member go through the network up to their mask points together.

        Args:
            forwards: the N responses to choose from.
            chosen: [batch, k] int64, indices into them.
            shared: the batch.

        Returns:
            (index j, rows [n] int64, logits [n, ...]) of each that some row chose.
        """
        rows_of = [(chosen == j).any(1).nonzero().flatten() for j in range(len(forwards))]
        trunks: dict[str, tuple[Tensor, Mapping[str, Tensor]]] = {}
        answers = []
        for j, forward in enumerate(forwards):
            rows = rows_of[j]
            if len(rows) == 0:
                continue
            if forward in shared.kept or forward.member not in self.cuts or not forward.masknet:
                answers.append((j, rows, self.response(forward, shared, rows)))
                continue
            if forward.member not in trunks:
                same = [f.member == forward.member and bool(f.masknet) for f in forwards]
                union = torch.cat([r for r, s in zip(rows_of, same, strict=True) if s]).unique()
                trunks[forward.member] = union, self.trunk(forward.member, shared, union)
            union, values = trunks[forward.member]
            places = torch.searchsorted(union, rows)
            needed = self.cuts[forward.member].needed(forward.point)
            trained = not self.trained.isdisjoint(forward.parts)
            with torch.set_grad_enabled(trained and torch.is_grad_enabled()):
                logits = self._tail(forward, {name: values[name][places] for name in needed})
            answers.append((j, rows, logits))
        return answers

    def _compute(self, forward: Forward, shared: Shared, rows: Tensor | None) -> Tensor:
        if forward.masknet and forward.member in self.cuts:
            return self._tail(forward, self.trunk(forward.member, shared, rows))
        network = self.modules[forward.member]
        arguments = self._arguments(forward.member, shared, rows)
        with ExitStack() as stack:
            if forward.masknet:
                masknet = self.modules[forward.masknet]
                stack.enter_context(inserted(network, forward.point, masknet))
            stack.enter_context(autocast(self.precision, shared.labels.device))
            return network(*arguments).to(torch.get_default_dtype())

    def _tail(self, forward: Forward, values: Mapping[str, Tensor]) -> Tensor:
        cut, masknet = self.cuts[forward.member], self.modules[forward.masknet]
        with autocast(self.precision, next(iter(values.values())).device):
            return cut.tail(forward.point, values, masknet).to(torch.get_default_dtype())

    def _arguments(self, member: str, shared: Shared, rows: Tensor | None) -> list[Tensor]:
        inputs = [shared.inputs[modality] for modality in self.inputs_of[member]]
        return inputs if rows is None else [values[rows] for values in inputs]


class Batch:
    """One batch for one stage.

    Args:
        node: the stage.
        networks: its networks.
        shared: the batch's data.
        task: the task.
    """

    def __init__(self, node: StageNode, networks: Networks, shared: Shared, task: Task):
        self.node = node
        self.labels = shared.labels
        self._networks = networks
        self._shared = shared
        self._task = task
        self._responses: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def module(self, name: str) -> nn.Module:
        """Return a part of the stage, such as the gate."""
        return self._networks.modules[name]

    def response(self, name: str) -> Tensor:
        """Return logits, [batch, num_outputs] or [batch, num_outputs, height, width] float."""
        if name not in self._responses:
            forward = self.node.forwards[name]
            self._responses[name] = self._networks.response(forward, self._shared)
        return self._responses[name]

    def cross_entropy(self, name: str) -> Tensor:
        """Return the task loss of a response for each sample, [batch] float."""
        return self._task.cross_entropy(self.response(name), self.labels)

    def average(self, values: Tensor) -> Tensor:
        """Average values per pixel over each sample's labelled pixels, → [batch] float."""
        return self._task.average(values, self.labels)

    def routed(
        self, names: Sequence[str], losses: Sequence[EdgeLoss], chosen: Tensor, student: Tensor
    ) -> Tensor:
        """Return the sum of each sample's losses to the teachers it chose.

        A network that is not kept answers for the samples that chose it alone.

        Args:
            names: the N responses to choose from.
            losses: the loss of each.
            chosen: [batch, k] int64, indices into them.
            student: logits of the student, for all samples.

        Returns:
            [batch] float.
        """
        forwards = [self.node.forwards[name] for name in names]
        total = torch.zeros((), device=student.device, dtype=student.dtype)
        responses = self._chosen_responses(forwards, chosen, student)
        for slot, teacher in zip(chosen.unbind(1), responses, strict=True):
            for loss in dict.fromkeys(losses):
                values = self._task.average(loss(teacher, student), self.labels)
                if len(set(losses)) > 1:
                    own = [float(other == loss) for other in losses]
                    values = values * values.new_tensor(own)[slot]
                total = total + values
        return total

    def _chosen_responses(
        self, forwards: Sequence[Forward], chosen: Tensor, student: Tensor
    ) -> Sequence[Tensor]:
        """Return what each sample's first, second, … choice answers, [batch, ...] each."""
        shared = self._shared
        if all(forward in shared.kept for forward in forwards):
            kept = [shared.kept[forward] for forward in forwards]  # nothing waits for the device
            return [pick(kept, RESPONSE, shared.positions, slot) for slot in chosen.unbind(1)]
        # Put together first: the loss then runs once, not once per teacher and its samples.
        responses = student.new_empty((chosen.shape[1], *student.shape))
        for j, rows, teacher in self._networks.routed(forwards, chosen, shared):
            responses[(chosen[rows] == j).int().argmax(1), rows] = teacher
        return responses.unbind(0)
