"""A batch as a stage sees it: labels, and responses that are computed at most once."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from mstgraph.methods.loss import Answer, Edge, ResponseLoss
from mstgraph.networks.rows import spread
from mstgraph.run.kept import pick
from mstgraph.run.networks import Networks, Outputs, Shared
from mstgraph.stages.node import RESPONSE, Teacher
from mstgraph.stages.stage import StageNode
from mstgraph.store.presence import pattern_name
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
        student = partial(self.response, self.node.student)
        return self._networks.chosen_responses(forwards, chosen, shared, student).unbind(0)

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
        """Return what the loss of a teacher's edge to the student sees of the batch.

        It sees the samples that both take part in.
        """
        adapter = self.node.adapters.get(teacher.name)
        there = self.there(teacher.name, self.node.student)
        edge = Edge(
            teacher=self._answer(teacher.name, teacher),
            student=self._answer(self.node.student, teacher),
            labels=self.labels,
            positions=self._shared.positions,
            task=self._task,
            adapter=None if adapter is None else self.module(adapter),
        )
        return edge if there is None else edge.rows(there.nonzero().flatten())

    def edge_losses(self, teacher: Teacher, hint: bool = False) -> Tensor:
        """Return the loss of a teacher's edge for each sample, [batch]; or [] if of the whole.

        It is 0 for a sample that the two do not both take part in.

        Args:
            teacher: where the edge begins.
            hint: take `EdgeLoss.hint` in the place of `EdgeLoss.edge`.
        """
        there = self.there(teacher.name, self.node.student)
        if there is not None and not there.any():
            return self.response(self.node.student).new_zeros(len(self))
        edge = self.edge(teacher)
        loss = teacher.loss.hint(edge) if hint else teacher.loss.edge(edge)
        if not hint and loss.shape == (len(edge.labels), *self._task.extent):
            loss = self._task.average(loss, edge.labels)
        if there is None or not loss.dim():
            return loss
        return spread(loss, there.nonzero().flatten(), len(self))

    def edge_loss(self, teacher: Teacher) -> Tensor:
        """Return the loss of a teacher's edge to the student, averaged over the batch, [] float."""
        there = self.there(teacher.name, self.node.student)
        return self.mean(self.edge_losses(teacher), there)

    def there(self, *names: str) -> Tensor | None:
        """Return in which samples all of some responses take part, [batch] bool; None: in all."""
        if not self._shared.lengths:  # nobody lacks anything
            return None
        members = dict.fromkeys(self.node.forwards[name].member for name in names)
        every = (self._networks.there(member, self._shared) for member in members)
        found = [there for there in every if there is not None]
        return functools.reduce(torch.logical_and, found) if found else None

    def each_there(self, names: Sequence[str]) -> Tensor | None:
        """Return in which samples each response takes part, [batch, N] bool; None: in all."""
        if not self._shared.lengths:
            return None
        found = [self.there(name) for name in names]
        if all(there is None for there in found):
            return None
        everywhere = torch.ones(len(self), dtype=torch.bool, device=self.labels.device)
        return torch.stack([everywhere if f is None else f for f in found], dim=1)

    def patterns(self, modalities: Sequence[str]) -> dict[str, Tensor]:
        """Return pattern of presence → which samples have it, [batch] bool; {}: all have all.

        Args:
            modalities: names of all that there are.
        """
        lengths, everywhere = self._shared.lengths, self.labels.new_ones(len(self)).bool()
        if not lengths:
            return {}
        table = torch.stack([lengths[n] > 0 if n in lengths else everywhere for n in modalities], 1)
        kinds, own = table.unique(dim=0, return_inverse=True)
        names = [pattern_name(modalities, kind) for kind in kinds.tolist()]
        return {name: own == kind for kind, name in enumerate(names)}

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
        """Return the task loss of a response for each sample, [batch] float.

        It is 0 for a sample that the response takes no part in.
        """
        loss = self._task.loss(self.response(name), self.labels)
        there = self.there(name)
        return loss if there is None else torch.where(there, loss, torch.zeros_like(loss))

    def combine(self, responses: Sequence[Tensor], weights: Tensor) -> Tensor:
        """Return several teachers' responses as one, see `Task.combine`."""
        return self._task.combine(responses, weights)

    def uncertainty(self, response: Tensor) -> Tensor:
        """Return how unsure a response is of each sample, [batch] float."""
        return self._task.uncertainty(response)

    def agreement(self, one: Tensor, other: Tensor) -> Tensor:
        """Return how much two responses agree, 0 to 1: [batch] or, if dense, per pixel."""
        return self._task.agreement(one, other)

    def divergence(self, loss: ResponseLoss, teacher: Tensor, student: Tensor) -> Tensor:
        """Return a loss between two responses for each sample, [batch] float."""
        return self.average(loss.compare(self._task, teacher, student))

    def average(self, values: Tensor) -> Tensor:
        """Average values per pixel over each sample's labelled pixels, → [batch] float."""
        return self._task.average(values, self.labels)

    def mean(self, values: Tensor, there: Tensor | None = None) -> Tensor:
        """Average over the samples that take part, [batch, ...] → [...]; 0 if none does.

        A value of the whole batch, [], stays. Every mean over a batch is taken here, or over its
        labelled samples below: several processes have to agree on these two alone.

        Args:
            values: of each sample.
            there: which samples have what is asked for, [batch] bool, see `there`; None: all.
        """
        present = _both(None if self._task.dense else self._task.present(self.labels), there)
        if not values.dim() or present is None:
            return values.mean(0) if values.dim() else values
        return _mean_of(values, present)

    def labelled_mean(self, values: Tensor, there: Tensor | None = None) -> Tensor:
        """Average over the samples with a label, [batch] → []; 0 if there is none.

        Args:
            values: of each sample.
            there: which samples have what is asked for, as for `mean`.
        """
        if not self._task.unlabelled:
            return self.mean(values, there)
        counted = _both(self.labelled(), there)
        assert counted is not None
        return _mean_of(values, counted)

    def sum_of_means(
        self,
        values: Sequence[Tensor],
        there: Sequence[Tensor | None],
        labelled: bool = False,
    ) -> Tensor:
        """Return the sum of means, each over its own samples, [].

        Args:
            values: [batch] float each.
            there: which samples each is a mean over, as for `mean`.
            labelled: whether samples without a label are left out.
        """
        mean = self.labelled_mean if labelled else self.mean
        if all(own is None for own in there):
            return mean(torch.stack(list(values)).sum(0))
        return torch.stack([mean(v, own) for v, own in zip(values, there, strict=True)]).sum()

    def count(self, there: Tensor | None) -> Tensor | None:
        """Return how many samples `mean` is over, [] int64; None where all are, as for `Term`."""
        return None if there is None else there.sum()

    def labelled_count(self, there: Tensor | None = None) -> Tensor | None:
        """Return how many samples `labelled_mean` is over, [] int64; None where all are."""
        return self.count(_both(self.labelled() if self._task.unlabelled else None, there))

    def total(self, values: Tensor, there: Tensor | None = None) -> Tensor:
        """Add up over the samples that take part, [batch, ...] → [...] float."""
        if there is None:
            return values.sum(0)
        counted = there.view(-1, *[1] * (values.dim() - 1))
        return torch.where(counted, values, torch.zeros_like(values)).sum(0)


def _both(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _mean_of(values: Tensor, rows: Tensor) -> Tensor:
    """Average the values of some samples ([batch] bool); 0 of none."""
    counted = rows.view(-1, *[1] * (values.dim() - 1))
    return torch.where(counted, values, torch.zeros_like(values)).sum(0) / rows.sum().clamp(min=1)
