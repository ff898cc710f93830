"""Distillation from all teachers at once, without a gate (the setting of single-teacher KD)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import gin
import torch
from torch import Tensor

from mstgraph.methods.loss import ResponseLoss
from mstgraph.stages.node import Batch
from mstgraph.stages.stage import Place, Stage, StageNode, Term, decay_problem, decayed
from mstgraph.stages.weighting import Weighting, taught, teacher_weights
from mstgraph.support.errors import nearest
from mstgraph.tasks.task import Task

Ensemble = Literal["losses", "log-probabilities"]


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class Distill(Stage):
    """(1 − α) × task loss + α × the mean of the edges' losses.

    Attributes:
        distillation_weight: α of the first epoch.
        distillation_decay: (factor, every): α is multiplied by ``factor`` after every ``every``
            epochs, so that the task loss gains weight.
        task_weight: weight of the task loss; None takes 1 − α.
        weighting: what each teacher counts for a sample: all alike (``'mean'``), those more that
            are right about it (``'correctness'``, CA-MKD) or sure of it (``'confidence'``), see
            `mstgraph.stages.weighting`.
        ensemble: what is averaged over the teachers, their ``'losses'`` or, into one response
            that the student learns from, their ``'log-probabilities'`` (`Task.combine`: of numbers
            to be predicted the mean).
        label_gate: weigh each sample's task loss by κ, how far the student's output agrees with
            the teachers' (`mstgraph.tasks.task.Task.agreement`, without gradient), so that labels
            say less where they do not. After UCMKD (Tran et al. 2026,
            https://arxiv.org/abs/2606.10504), whose κ was not to be had: this is its idea, an
            overlap of outputs in 0 to 1, and not its formula.
    """

    kind: ClassVar[str] = "distill"
    place: ClassVar[Place] = "student"
    reads_edges: ClassVar[bool] = True

    distillation_weight: float = 0.5
    distillation_decay: tuple[float, int] = (0.5, 30)
    task_weight: float | None = None
    weighting: Weighting = "mean"
    ensemble: Ensemble = "losses"
    label_gate: bool = False

    def losses(self, node: StageNode, batch: Batch, epoch: int) -> Mapping[str, Term]:
        """Return the task loss and the mean loss over the teachers."""
        alpha = decayed(self.distillation_weight, *self.distillation_decay, epoch)
        distillation = self._distillation(node, batch)
        task = 1 - alpha if self.task_weight is None else self.task_weight
        there = batch.there(node.student)
        mean = batch.labelled_mean(self._task(node, batch), there)
        return {
            "task": Term(mean, task, batch.labelled_count(there)),
            "distill": Term(distillation, alpha, batch.count(taught(node, batch))),
        }

    def _task(self, node: StageNode, batch: Batch) -> Tensor:
        """Return the task loss of each sample, [batch]; times κ under the gate."""
        loss = self.validation_loss(node, batch)
        if not self.label_gate:
            return loss
        student, teachers = batch.response(node.student), self._response(node, batch)
        agreed = batch.average(batch.agreement(teachers, student).detach())
        there = taught(node, batch)
        # Where nobody teaches, nobody disagrees.
        return (agreed if there is None else agreed.masked_fill(~there, 1)) * loss

    def _distillation(self, node: StageNode, batch: Batch) -> Tensor:
        """Return the loss to the teachers, averaged over them and over the batch, []."""
        if self.ensemble == "log-probabilities":
            loss = node.teachers[0].loss
            assert isinstance(loss, ResponseLoss)
            response = self._response(node, batch)
            values = batch.divergence(loss, response, batch.response(node.student))
            return batch.mean(values, taught(node, batch))
        there = batch.each_there([teacher.name for teacher in node.teachers])
        whole = there is None or not all(teacher.loss.by_sample for teacher in node.teachers)
        if self.weighting == "mean" and whole:
            return self._of_edges(node, batch)
        losses = torch.stack([batch.edge_losses(teacher) for teacher in node.teachers], dim=1)
        weights = teacher_weights(batch, [t.name for t in node.teachers], self.weighting)
        return batch.mean((weights * losses).sum(dim=1), taught(node, batch))

    def _of_edges(self, node: StageNode, batch: Batch) -> Tensor:
        """Return the mean of the edges' losses, of those that some sample takes part in, []."""
        losses = []
        for teacher in node.teachers:
            there = batch.there(teacher.name, node.student)
            if there is None or there.any():
                losses.append(batch.edge_loss(teacher))
        return torch.stack(losses).mean() if losses else batch.edge_loss(node.teachers[0])

    def _response(self, node: StageNode, batch: Batch) -> Tensor:
        """Return the logits of a sample's teachers as one, [batch, num_outputs, ...] float."""
        names = [teacher.name for teacher in node.teachers]
        weights = teacher_weights(batch, names, self.weighting)
        return batch.combine([batch.response(name) for name in names], weights)

    def validation_loss(self, node: StageNode, batch: Batch) -> Tensor:
        """Return the student's task loss of each sample."""
        return batch.task_loss(node.student)

    def reported(self, node: StageNode) -> tuple[str, ...]:
        """Return the student."""
        return (node.student,)

    def validated(self, node: StageNode) -> tuple[str, ...]:
        """Return the student: no teacher is asked in validation."""
        return (node.student,)

    def problem(self, node: StageNode) -> tuple[str, str] | None:
        """Refuse a weight that is no share, a decay that never comes, losses that do not fit."""
        for option, valid in (("weighting", get_args(Weighting)), ("ensemble", get_args(Ensemble))):
            value = getattr(self, option)
            if value not in valid:
                return option, f"is '{value}'{nearest(str(value), valid)}"
        if self.task_weight is None and not 0 <= self.distillation_weight <= 1:
            return "distillation_weight", f"is {self.distillation_weight}, expected 0 to 1"
        names = ("distillation_weight", "distillation_decay", "task_weight")
        wrong = decay_problem({n: v for n in names if (v := getattr(self, n)) is not None})
        return wrong or self._unfit(node) or super().problem(node)

    def unfit(self, task: Task) -> tuple[str, str] | None:
        """Refuse to ask how sure or how alike responses are that are no probabilities."""
        asked = {"weighting": self.weighting == "confidence", "label_gate": self.label_gate}
        for option, asks in asked.items():
            if asks and not task.probabilities:
                wrong = f"is {getattr(self, option)!r}, but responses for the task '{task.kind}' "
                usual = "'mean' or 'correctness'" if option == "weighting" else "False"
                return option, wrong + f"are no probabilities, expected {usual}"
        return super().unfit(task)

    def _unfit(self, node: StageNode) -> tuple[str, str] | None:
        """Return what is wrong with the losses of several teachers."""
        losses = [teacher.loss for teacher in node.teachers]
        if self.ensemble == "log-probabilities":
            if len(set(losses)) == 1 and isinstance(losses[0], ResponseLoss):
                return None
            names = ", ".join(dict.fromkeys(type(loss).__name__ for loss in losses))
            wrong = f"is 'log-probabilities', but the losses of the teachers are {names}, expected "
            return "ensemble", wrong + "one of logits alone, with the same options for all teachers"
        if self.weighting != "mean":
            for teacher in node.teachers:
                if not teacher.loss.by_sample:
                    wrong = f"is '{self.weighting}', but the loss {type(teacher.loss).__name__} of "
                    wrong += f"member '{teacher.member}' is one of the batch as a whole, expected "
                    return "weighting", wrong + "'mean', or a loss of each sample such as KL"
        return None
