"""A batch as a stage sees it: labels, and responses that are computed at most once.

What several stages of a group ask for, and what several specialised teachers of one member share,
is computed once per batch; what is kept (`mstgraph.run.kept`) is not computed at all.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mstgraph.methods.loss import Answer, Edge, ResponseLoss
from mstgraph.run.kept import pick
from mstgraph.run.networks import Networks, Outputs, Shared
from mstgraph.stages.node import RESPONSE, Forward, Teacher
from mstgraph.stages.stage import StageNode
from mstgraph.tasks.task import Task


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
        self._outputs: dict[str, Outputs] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def module(self, name: str) -> nn.Module:
        """Return a part of the stage, such as the gate."""
        return self._networks.modules[name]

    def response(self, name: str) -> Tensor:
        """Return logits, [batch, num_outputs] or [batch, num_outputs, height, width] float."""
        return self._answered(name)[RESPONSE]

    def features(self, name: str, roles: Sequence[str]) -> Mapping[str, tuple[Tensor, ...]]:
        """Return role → what the layers return that play it, [batch, ...] float each."""
        if not roles:
            return {}
        outputs, layers = self._answered(name), self.node.layers[self.node.forwards[name].member]
        return {
            role: tuple(outputs[layer] for layer in layers[role])
            for role in roles
            if all(layer in outputs for layer in layers[role])
        }

    def compute(self, name: str) -> Tensor:
        """Return logits computed anew, for a stage that changes a part between two calls."""
        return self._networks.compute(self.node.forwards[name], self._shared)[RESPONSE]

    def edge(self, teacher: Teacher) -> Edge:
        """Return what the loss of a teacher's edge to the student sees of the batch."""
        adapter = self.node.adapters.get(teacher.name)
        return Edge(
            teacher=self._answer(teacher.name, teacher),
            student=self._answer(self.node.student, teacher),
            labels=self.labels,
            positions=self._shared.positions,
            task=self._task,
            adapter=None if adapter is None else self.module(adapter),
        )

    def edge_losses(self, teacher: Teacher) -> Tensor:
        """Return the loss of a teacher's edge for each sample, [batch]; or [] if of the whole."""
        loss = teacher.loss.edge(self.edge(teacher))
        places = (len(self), *self._task.extent)
        return self.average(loss) if loss.shape == places else loss

    def edge_loss(self, teacher: Teacher) -> Tensor:
        """Return the loss of a teacher's edge to the student, averaged over the batch, [] float."""
        return self.mean(self.edge_losses(teacher))

    def labelled(self) -> Tensor:
        """Return which samples have a label, of some pixel at least, [batch] bool."""
        counted = self._task.counted(self.labels)
        if counted is None:
            return torch.ones(len(self), dtype=torch.bool, device=self.labels.device)
        return counted.reshape(len(self), -1).any(dim=1)

    def _answer(self, name: str, teacher: Teacher) -> Answer:
        roles = teacher.loss.roles(of_student=name == self.node.student)
        return Answer(self.response(name), self.features(name, roles))

    def _answered(self, name: str) -> Outputs:
        if name not in self._outputs:
            self._outputs[name] = self._networks.outputs(self.node.forwards[name], self._shared)
        return self._outputs[name]

    def task_loss(self, name: str) -> Tensor:
        """Return the task loss of a response for each sample, [batch] float."""
        return self._task.loss(self.response(name), self.labels)

    def divergence(self, loss: ResponseLoss, teacher: Tensor, student: Tensor) -> Tensor:
        """Return a loss between two responses for each sample, [batch] float."""
        return self.average(loss.compare(self._task, teacher, student))

    def average(self, values: Tensor) -> Tensor:
        """Average values per pixel over each sample's labelled pixels, → [batch] float."""
        return self._task.average(values, self.labels)

    def mean(self, values: Tensor) -> Tensor:
        """Average over the samples that take part, [batch, ...] → [...].

        A value of the whole batch, [], stays. Every mean over a batch is taken here, or over its
        labelled samples below: several processes have to agree on these two alone.
        """
        present = None if self._task.dense else self._task.present(self.labels)
        if not values.dim() or present is None:
            return values.mean(0) if values.dim() else values
        return _mean_of(values, present)

    def labelled_mean(self, values: Tensor) -> Tensor:
        """Average over the samples with a label, [batch] → []; 0 if there is none."""
        return _mean_of(values, self.labelled()) if self._task.unlabelled else self.mean(values)

    def total(self, values: Tensor) -> Tensor:
        """Add up over the samples, [batch, ...] → [...] float."""
        return values.sum(0)

    def routed(
        self,
        names: Sequence[str],
        losses: Sequence[ResponseLoss],
        chosen: Tensor,
        student: Tensor,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Return the sum of each sample's losses to the teachers it chose.

        A network that is not kept answers for the samples that chose it alone.

        Args:
            names: the N responses to choose from.
            losses: the loss of each.
            chosen: [batch, k] int64, indices into them.
            student: logits of the student, for all samples.
            weights: what each choice counts, [batch, k] float; None counts each as one.

        Returns:
            [batch] float.
        """
        forwards = [self.node.forwards[name] for name in names]
        responses = self._chosen_responses(forwards, chosen, student)
        values = []
        for place, (slot, teacher) in enumerate(zip(chosen.unbind(1), responses, strict=True)):
            value = self._chosen_loss(losses, slot, teacher, student)
            values.append(value if weights is None else value * weights[:, place])
        return functools.reduce(torch.add, values)

    def _chosen_loss(
        self, losses: Sequence[ResponseLoss], slot: Tensor, teacher: Tensor, student: Tensor
    ) -> Tensor:
        """Return for each sample the loss of the teacher it chose, [batch] float."""
        if losses.count(losses[0]) == len(losses):
            return self.divergence(losses[0], teacher, student)
        values = []
        for loss in dict.fromkeys(losses):
            own = student.new_tensor([float(other == loss) for other in losses])
            values.append(self.divergence(loss, teacher, student) * own[slot])
        return functools.reduce(torch.add, values)

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


def _mean_of(values: Tensor, rows: Tensor) -> Tensor:
    """Average the values of some samples ([batch] bool); 0 of none."""
    counted = rows.view(-1, *[1] * (values.dim() - 1))
    return torch.where(counted, values, torch.zeros_like(values)).sum(0) / rows.sum().clamp(min=1)
