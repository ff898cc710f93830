"""Dynamic knowledge distillation (DKD): a gate picks teachers for each sample (Eq. 11–18)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import gin
from torch import Tensor
from torch.nn import functional as F

from mstgraph.errors import nearest
from mstgraph.gate import load_balance_cv, load_balance_kl, top_k
from mstgraph.stages.stage import Stage, Term, decay_problem, decayed

if TYPE_CHECKING:
    from mstgraph.batch import Batch
    from mstgraph.plan import StageNode

BALANCES = {"kl": load_balance_kl, "cv": load_balance_cv}


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class DKD(Stage):
    """The student learns from the k teachers that the gate trusts most for each sample.

    Attributes:
        k: how many teachers each sample learns from (Eq. 13).
        distillation_weight: λ1 of the first epoch (Eq. 18).
        distillation_decay: (factor, every): λ1 is multiplied by ``factor`` after every ``every``
            epochs.
        balance: load balance loss, ``'kl'`` (Eq. 17) or ``'cv'`` (coefficient of variation).
        balance_weight: λ2 of the first epoch (Eq. 18).
        balance_decay: the same for λ2.
    """

    kind: ClassVar[str] = "dkd"

    k: int = 1
    distillation_weight: float = 1.0
    distillation_decay: tuple[float, int] = (0.5, 30)
    balance: Literal["kl", "cv"] = "kl"
    balance_weight: float = 1.0
    balance_decay: tuple[float, int] = (0.9, 10)

    def losses(self, node: StageNode, batch: Batch, epoch: int) -> Mapping[str, Term]:
        """Return ℓ_S, ℓ_DKD and L_LB, averaged over the batch (Eq. 14–18)."""
        confidence = self._confidence(node, batch)
        return {
            "task": Term(self.validation_loss(node, batch).mean()),
            "distill": Term(
                self._distillation(node, batch, confidence).mean(),
                decayed(self.distillation_weight, *self.distillation_decay, epoch),
            ),
            "balance": Term(
                BALANCES[self.balance](confidence),
                decayed(self.balance_weight, *self.balance_decay, epoch),
            ),
        }

    def validation_loss(self, node: StageNode, batch: Batch) -> Tensor:
        """Return the student's cross-entropy of each sample (Eq. 15)."""
        return batch.cross_entropy(node.student)

    def reported(self, node: StageNode) -> tuple[str, ...]:
        """Return the student."""
        return (node.student,)

    def statistics(self, node: StageNode, batch: Batch) -> Mapping[str, Tensor]:
        """Return the gate's confidence and the share of samples it sends to each teacher."""
        confidence = self._confidence(node, batch)
        chosen = F.one_hot(top_k(confidence, self.k), confidence.shape[1]).sum(1)
        return {"confidence": confidence, "share": chosen.to(confidence.dtype) / self.k}

    def problem(self, node: StageNode) -> tuple[str, str] | None:
        """Refuse a k that is no number of teachers, and an unknown load balance."""
        if not 1 <= self.k <= len(node.teachers):
            names = ", ".join(teacher.name for teacher in node.teachers)
            return "k", f"is {self.k}, expected 1 to N = {len(node.teachers)} teachers ({names})"
        if self.balance not in BALANCES:
            return "balance", f"is '{self.balance}'{nearest(self.balance, BALANCES)}"
        weights = ("distillation_weight", "distillation_decay", "balance_weight", "balance_decay")
        wrong = decay_problem({name: getattr(self, name) for name in weights})
        return wrong or super().problem(node)

    def _confidence(self, node: StageNode, batch: Batch) -> Tensor:
        """Eq. 11–12: [batch, N]."""
        return batch.module(node.gate)(batch.response(node.student))

    def _distillation(self, node: StageNode, batch: Batch, confidence: Tensor) -> Tensor:
        """Eq. 13–14: [batch]. Only a sample's own teachers have to answer for it."""
        return batch.routed(
            [teacher.name for teacher in node.teachers],
            [teacher.loss for teacher in node.teachers],
            top_k(confidence, self.k),
            batch.response(node.student),
        )
