"""A batch as a stage sees it: labels, and responses that are computed at most once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from mstgraph.methods.loss import Answer, Edge, ResponseLoss
from mstgraph.run.kept import pick
from mstgraph.run.networks import Networks, Outputs, Shared
from mstgraph.stages.node import RESPONSE, Teacher
from mstgraph.stages.stage import StageNode
from mstgraph.support.errors import UserError
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
        self._versions: dict[str, dict[str, int]] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def module(self, name: str) -> nn.Module:
        """Return a part of the stage, such as the gate."""
        return self._networks.modules[name]

    def response(self, name: str, anew: bool = False) -> Tensor:
        """Return logits, [batch, num_outputs] or [batch, num_outputs, height, width] float."""
        if anew:
            return self._networks.computed(self.node.forwards[name], self._shared)[RESPONSE]
        return self._answered(name)[RESPONSE]

    def responses(self, names: Sequence[str], chosen: Tensor) -> Sequence[Tensor]:
        """Return what each sample's first, second, … choice answers, [batch, ...] float each."""
        forwards, shared = [self.node.forwards[name] for name in names], self._shared
        if all(forward in shared.kept for forward in forwards):
            kept = [shared.kept[forward] for forward in forwards]  # nothing waits for the device
            return [pick(kept, RESPONSE, shared.places, slot) for slot in chosen.unbind(1)]
        answers = self._networks.chosen_outputs(forwards, chosen, shared)
        # Put together: a loss then runs once, not once per teacher and its samples.
        first = answers[0][2][RESPONSE]
        responses = first.new_empty((chosen.shape[1], len(self), *first.shape[1:]))
        for j, rows, answer in answers:
            responses[(chosen[rows] == j).int().argmax(1), rows] = answer[RESPONSE]
        return responses.unbind(0)

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
        return self._labelled

    @cached_property
    def _labelled(self) -> Tensor:
        counted = self._task.counted(self.labels)
        if counted is None:
            return torch.ones(len(self), dtype=torch.bool, device=self.labels.device)
        return counted.reshape(len(self), -1).any(dim=1)

    def _answer(self, name: str, teacher: Teacher) -> Answer:
        roles = teacher.loss.roles(of_student=name == self.node.student)
        return Answer(self.response(name), self.features(name, roles))

    def _answered(self, name: str) -> Outputs:
        if name not in self._outputs:
            outputs = self._networks.outputs(self.node.forwards[name], self._shared)
            self._outputs[name] = outputs
            self._versions[name] = {key: value._version for key, value in outputs.items()}
        return self._outputs[name]

    def refuse_overwritten(self) -> None:
        """Refuse a loss that overwrote what it was given: others read it, too.

        Raises:
            UserError: names the stage and the response.
        """
        for name, outputs in self._outputs.items():
            for key, value in outputs.items():
                if value._version != self._versions[name][key]:
                    what = "response" if key == RESPONSE else f"layer '{key}'"
                    raise UserError(
                        f"stage {self.node.name}: a loss overwrites the {what} of '{name}', "
                        "expected that it makes a new tensor"
                    )

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

    def labelled_count(self) -> Tensor | None:
        """Return how many samples have a label, [] int64; None where all do, as for `Term`."""
        return self.labelled().sum() if self._task.unlabelled else None

    def total(self, values: Tensor) -> Tensor:
        """Add up over the samples, [batch, ...] → [...] float."""
        return values.sum(0)


def _mean_of(values: Tensor, rows: Tensor) -> Tensor:
    """Average the values of some samples ([batch] bool); 0 of none."""
    counted = rows.view(-1, *[1] * (values.dim() - 1))
    return torch.where(counted, values, torch.zeros_like(values)).sum(0) / rows.sum().clamp(min=1)
