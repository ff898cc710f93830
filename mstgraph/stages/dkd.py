"""Dynamic knowledge distillation (DKD): a gate picks teachers for each sample (Eq. 11–18)."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import gin
import torch
from torch import Tensor

from mstgraph.distil.gate import (
    among,
    evenly,
    layers_read,
    load_balance_cv,
    load_balance_kl,
    top_k,
)
from mstgraph.methods.loss import ResponseLoss
from mstgraph.stages.node import Batch
from mstgraph.stages.stage import Place, Stage, StageNode, Term, decay_problem, decayed
from mstgraph.stages.weighting import taught, teacher_weights
from mstgraph.support.errors import nearest

Routing = Literal["top-k", "mean", "confidence", "correctness"]
GATED = ("top-k", "confidence")  # routings that ask the gate

Balance = Literal["kl", "cv"]


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class DKD(Stage):
    """The student learns from the k teachers that the gate trusts most for each sample.

    Attributes:
        routing: ``'top-k'``, the sum over the k most trusted teachers (Eq. 13–14); ``'mean'``, all
            of them equally, without load balance (S3 left out in Table 3); ``'confidence'``, all
            of them, weighted by the gate's confidence; ``'correctness'``, all of them, those more
            that are right about the sample, see `mstgraph.stages.weighting`.
        k: how many teachers each sample learns from, with ``'top-k'`` (Eq. 13).
        distillation_weight: λ1 of the first epoch (Eq. 18).
        distillation_decay: (factor, every): λ1 is multiplied by ``factor`` after every ``every``
            epochs.
        balance: load balance loss, ``'kl'`` (Eq. 17) or ``'cv'`` (coefficient of variation).
        balance_weight: λ2 of the first epoch (Eq. 18).
        balance_decay: the same for λ2.
        gate_weight: weight of a loss that is not the paper's, in which the gate gets no gradient
            from distillation: the expected loss under the gate's confidence, Σ_j C_j (ℓ_j + CE_j)
            with ℓ_j of Eq. 14 and CE_j the task loss of teacher j. It trains the gate alone, and
            every teacher answers for every sample.
    """

    kind: ClassVar[str] = "dkd"
    place: ClassVar[Place] = "student"
    gated: ClassVar[bool] = True

    routing: Routing = "top-k"
    k: int = 1
    distillation_weight: float = 1.0
    distillation_decay: tuple[float, int] = (0.5, 30)
    balance: Balance = "kl"
    balance_weight: float = 1.0
    balance_decay: tuple[float, int] = (0.9, 10)
    gate_weight: float = 0.0

    def losses(self, node: StageNode, batch: Batch, epoch: int) -> Mapping[str, Term]:
        """Return ℓ_S, ℓ_DKD and L_LB, averaged over the batch (Eq. 14–18)."""
        confidence = self._confidence(node, batch)
        own, rows = batch.there(node.student), taught(node, batch)
        count = batch.count(rows)
        terms = {
            "task": Term(
                batch.labelled_mean(self.validation_loss(node, batch), own),
                samples=batch.labelled_count(own),
            ),
            "distill": Term(
                batch.mean(self._distillation(node, batch, confidence), rows),
                decayed(self.distillation_weight, *self.distillation_decay, epoch),
                count,
            ),
        }
        if self.routing in GATED:
            weight = decayed(self.balance_weight, *self.balance_decay, epoch)
            terms["balance"] = Term(self._balance(node, batch, confidence), weight, count)
        if self.gate_weight > 0:
            expected = batch.mean(self._expected_loss(node, batch), rows)
            terms["gate"] = Term(expected, self.gate_weight, count)
        return terms

    def validation_loss(self, node: StageNode, batch: Batch) -> Tensor:
        """Return the student's task loss of each sample (Eq. 15)."""
        return batch.task_loss(node.student)

    def reported(self, node: StageNode) -> tuple[str, ...]:
        """Return the student."""
        return (node.student,)

    def validated(self, node: StageNode) -> tuple[str, ...]:
        """Return the student; teachers are asked if it has to be known who is right."""
        asked = node.teachers if self.routing == "correctness" else ()
        return (node.student, *(teacher.name for teacher in asked))

    def statistics(self, node: StageNode, batch: Batch) -> Mapping[str, Tensor]:
        """Return the gate's confidence and the share of samples it sends to each teacher."""
        confidence, there = self._confidence(node, batch), _each_there(node, batch)
        if self.routing == "top-k":
            chosen = top_k(confidence, self.k, there)
            share = torch.zeros_like(confidence).scatter_(1, chosen, 1 / self.k)
            if there is not None:
                share = among(share, there)
        else:
            share = self._weights(node, batch, confidence)
        found, rows = {"confidence": confidence, "share": share}, taught(node, batch)
        if rows is None:
            return found
        gone = ~rows.unsqueeze(1)
        return {name: values.masked_fill(gone, torch.nan) for name, values in found.items()}

    def problem(self, node: StageNode) -> tuple[str, str] | None:
        """Refuse a k that is no number of teachers, and an unknown load balance."""
        if not 1 <= self.k <= len(node.teachers):
            names = ", ".join(teacher.name for teacher in node.teachers)
            return "k", f"is {self.k}, expected 1 to N = {len(node.teachers)} teachers ({names})"
        balances, routings = get_args(Balance), get_args(Routing)
        if self.balance not in balances:
            return "balance", f"is '{self.balance}'{nearest(self.balance, balances)}"
        if self.routing not in routings:
            return "routing", f"is '{self.routing}'{nearest(self.routing, routings)}"
        weights = (
            "distillation_weight",
            "distillation_decay",
            "balance_weight",
            "balance_decay",
            "gate_weight",
        )
        wrong = decay_problem({name: getattr(self, name) for name in weights})
        return wrong or super().problem(node)

    def _confidence(self, node: StageNode, batch: Batch, detached: bool = False) -> Tensor:
        """Eq. 11–12 among a sample's teachers: [batch, N]; ``detached``: none to the student."""
        gate, logits = batch.module(node.gate), batch.response(node.student)
        features = batch.features(node.student, layers_read(gate))
        if detached:
            logits = logits.detach()
            features = {role: tuple(f.detach() for f in found) for role, found in features.items()}
        confidence = gate(logits, features) if features else gate(logits)
        return among(confidence, _each_there(node, batch))

    def _balance(self, node: StageNode, batch: Batch, confidence: Tensor) -> Tensor:
        """Eq. 16–17, or the coefficient of variation: []."""
        there, rows = _each_there(node, batch), taught(node, batch)
        even = None if there is None else evenly(there, confidence.dtype)
        of = batch.mean if self.balance == "kl" else batch.total
        balance = load_balance_kl if self.balance == "kl" else load_balance_cv
        return balance(of(confidence, rows), None if even is None else of(even, rows))

    def _distillation(self, node: StageNode, batch: Batch, confidence: Tensor) -> Tensor:
        """Eq. 13–14: [batch]. Only a sample's own teachers have to answer for it."""
        names = [teacher.name for teacher in node.teachers]
        losses = _losses(node)
        student = batch.response(node.student)
        if self.routing == "top-k":
            there = batch.each_there(names)
            chosen = top_k(confidence, self.k, there)
            # Of k teachers some may not be there.
            counts = None if there is None else there.gather(1, chosen).to(confidence.dtype)
            return routed(batch, names, losses, chosen, student, counts)
        everybody = torch.arange(len(names), device=confidence.device).expand_as(confidence)
        weights = self._weights(node, batch, confidence)
        return routed(batch, names, losses, everybody, student, weights)

    def _weights(self, node: StageNode, batch: Batch, confidence: Tensor) -> Tensor:
        """What each teacher counts when all of them teach, [batch, N]; rows sum to one."""
        if self.routing == "confidence":
            return confidence.detach()
        if self.routing == "correctness":
            return teacher_weights(batch, [t.name for t in node.teachers], "correctness")
        if (there := _each_there(node, batch)) is not None:
            return evenly(there, confidence.dtype)
        return torch.full_like(confidence, 1 / confidence.shape[1])

    def _expected_loss(self, node: StageNode, batch: Batch) -> Tensor:
        """Expected distillation and task loss of the gate's choice, [batch]."""
        logits = batch.response(node.student).detach()
        confidence = self._confidence(node, batch, detached=True)
        with torch.no_grad():
            losses = [
                batch.divergence(loss, batch.response(teacher.name), logits)
                + batch.task_loss(teacher.name)
                for teacher, loss in zip(node.teachers, _losses(node), strict=True)
            ]
        return (confidence * torch.stack(losses, 1)).sum(1)


def routed(
    batch: Batch,
    names: Sequence[str],
    losses: Sequence[ResponseLoss],
    chosen: Tensor,
    student: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the sum of each sample's losses to the teachers it chose (Eq. 14).

    Args:
        batch: answers for the teachers.
        names: the N responses to choose from.
        losses: the loss of each.
        chosen: [batch, k] int64, indices into them.
        student: logits of the student, for all samples.
        weights: what each choice counts, [batch, k] float; None counts each as one.

    Returns:
        [batch] float.
    """
    responses = batch.responses(names, chosen)
    values = []
    for place, (slot, teacher) in enumerate(zip(chosen.unbind(1), responses, strict=True)):
        value = _chosen_loss(batch, losses, slot, teacher, student)
        values.append(value if weights is None else value * weights[:, place])
    return functools.reduce(torch.add, values)


def _chosen_loss(
    batch: Batch, losses: Sequence[ResponseLoss], slot: Tensor, teacher: Tensor, student: Tensor
) -> Tensor:
    """Return for each sample the loss of the teacher it chose, [batch] float."""
    if losses.count(losses[0]) == len(losses):
        return batch.divergence(losses[0], teacher, student)
    values = []
    for loss in dict.fromkeys(losses):
        own = student.new_tensor([float(other == loss) for other in losses])
        values.append(batch.divergence(loss, teacher, student) * own[slot])
    return functools.reduce(torch.add, values)


def _each_there(node: StageNode, batch: Batch) -> Tensor | None:
    return batch.each_there([teacher.name for teacher in node.teachers])


def _losses(node: StageNode) -> list[ResponseLoss]:
    """The losses of the teachers; a plan with another kind under a gate is refused."""
    return [t.loss for t in node.teachers if isinstance(t.loss, ResponseLoss)]
