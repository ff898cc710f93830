"""Contrastive representation distillation, with a memory of every training sample.

Tian, Krishnan, Isola 2020, https://arxiv.org/abs/1910.10699. Whether two embeddings, one of the
teacher and one of the student, are of the same sample is told by h = e^s / (e^s + K/n), where s is
their similarity over τ, less the log of a normalising constant, K the number of other samples that
each is compared with and n the number of training samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import gin
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.methods.loss import PENULTIMATE, Edge, EdgeLoss, EdgeShapes
from mstgraph.support.errors import UserError

UNSEEN = torch.iinfo(torch.int64).min
"""Label of a sample that no batch has held yet: of another class than all."""


def contrast(scores: Tensor, log_noise: float) -> Tensor:
    """Return −log h(positive) − Σ log(1 − h(negative)) with h = e^s / (e^s + noise).

    Args:
        scores: s of the positive, then of the negatives, [batch, 1 + negatives] float; −∞ for a
            negative that does not count.
        log_noise: log(K/n).

    Returns:
        [batch] float, > 0.
    """
    positive, negatives = scores[:, 0], scores[:, 1:]
    return F.softplus(log_noise - positive) + F.softplus(negatives - log_noise).sum(dim=1)


def draw_negatives(own: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Draw samples of other classes, evenly and with replacement, from torch's global generator.

    Args:
        own: labels of a batch, [batch] int64.
        labels: labels of all training samples, [samples] int64.
        count: how many to draw for each.

    Returns:
        Numbers of samples, [batch, count] int64, and whether there is any other class, [batch]
        bool; if not, the numbers mean nothing.
    """
    ordered, samples = labels.sort(stable=True)
    first = torch.searchsorted(ordered, own)
    size = torch.searchsorted(ordered, own, right=True) - first
    others = len(labels) - size
    drawn = torch.randint(2**62, (len(own), count), device=labels.device)
    drawn %= others.clamp(min=1).unsqueeze(1)
    # In the order of the labels a class is one run, which is stepped over.
    drawn += torch.where(drawn >= first.unsqueeze(1), size.unsqueeze(1), 0)
    return samples[drawn.clamp(max=len(labels) - 1)], others > 0


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class CRD(EdgeLoss):
    """Contrastive distillation at the penultimate layers, in both directions.

    Attributes:
        negatives: K, the number of samples of other classes that each is compared with; never
            more than there are other samples.
        temperature: τ.
        momentum: share of the old embedding that the memory keeps when it meets a sample again.
        width: size of the embeddings.
    """

    reads: ClassVar[tuple[str, ...]] = (PENULTIMATE,)
    classes_only: ClassVar[bool] = True

    negatives: int = 4096
    temperature: float = 0.07
    momentum: float = 0.5
    width: int = 128

    def adapter(self, shapes: EdgeShapes) -> nn.Module:
        """Build the embeddings and memories."""
        if shapes.task.num_outputs < 2 or shapes.samples < 2:
            raise UserError(
                f"CRD tells samples of different classes apart, but there are {shapes.samples} "
                f"training samples of {shapes.task.num_outputs} classes, expected at least 2 of 2"
            )
        teacher, student = (math.prod(s[PENULTIMATE][0]) for s in (shapes.teacher, shapes.student))
        return ContrastiveMemory(teacher, student, shapes.samples, self.width)

    def edge(self, edge: Edge) -> Tensor:
        """Return the sum of both directions for each sample, [batch] float; update the memories.

        Where samples are unlabelled, their share of the mean is 0: [].
        """
        labelled = edge.labelled()
        loss = self._of_labelled(labelled)
        return loss if labelled is edge else loss.sum() / len(edge.labels)

    def _of_labelled(self, edge: Edge) -> Tensor:
        if not len(edge.labels):
            return edge.student.logits.flatten(1).sum(1)  # none
        memory = edge.adapter
        assert isinstance(memory, ContrastiveMemory)
        embeddings = memory(edge.teacher.penultimate.detach(), edge.student.penultimate)
        memory.labels[edge.positions] = edge.labels
        samples = len(memory.labels)
        count = min(self.negatives, samples - 1)
        drawn, available = draw_negatives(edge.labels, memory.labels, count)
        compared = torch.cat([edge.positions.unsqueeze(1), drawn], dim=1)

        similarities = memory.similarities(embeddings, compared) / self.temperature
        similarities[..., 1:].masked_fill_(~available.view(-1, 1), -math.inf)
        constants = memory.normalise(similarities)
        memory.remember(embeddings, edge.positions, self.momentum)
        by_teacher, by_student = similarities - constants.view(2, 1, 1)
        log_noise = math.log(count / samples)
        return contrast(by_teacher, log_noise) + contrast(by_student, log_noise)

    def problem(self) -> tuple[str, str] | None:
        """Refuse numbers and sizes below 1, τ ≤ 0 and a momentum that never or only forgets."""
        for option, value in (("negatives", self.negatives), ("width", self.width)):
            if not isinstance(value, int) or value < 1:
                return option, f"is {value}, expected a whole number of at least 1"
        if not self.temperature > 0:
            return "temperature", f"is {self.temperature}, expected more than 0"
        if not 0 <= self.momentum < 1:
            return "momentum", f"is {self.momentum}, expected at least 0 and less than 1"
        return None


class ContrastiveMemory(nn.Module):
    """Embeddings of teacher and student, and what they were for every sample when last seen.

    Args:
        teacher: size of the teacher's feature.
        student: size of the student's feature.
        samples: number of training samples.
        width: size of the embeddings.

    Attributes:
        memories: last embeddings of the teacher and the student, [2, samples, width], of length 1;
            random until a sample is seen.
        labels: [samples] int64, `UNSEEN` until a sample is seen.
        constants: log of the normalising constants of both directions, [2], nan until the first
            batch.
    """

    memories: Tensor
    labels: Tensor
    constants: Tensor

    def __init__(self, teacher: int, student: int, samples: int, width: int) -> None:
        super().__init__()
        self.teacher = nn.Linear(teacher, width)
        self.student = nn.Linear(student, width)
        self.register_buffer("memories", F.normalize(torch.randn(2, samples, width), dim=2))
        self.register_buffer("labels", torch.full((samples,), UNSEEN))
        self.register_buffer("constants", torch.full((2,), math.nan))

    def forward(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return both embeddings, [2, batch, width], of features [batch, ...]."""
        pair = self.teacher(teacher.flatten(1)), self.student(student.flatten(1))
        return F.normalize(torch.stack(pair), dim=2)

    def similarities(self, embeddings: Tensor, compared: Tensor) -> Tensor:
        """Return similarities of each embedding to the other network's memories.

        Args:
            embeddings: of teacher and student, [2, batch, width].
            compared: samples to compare with, [batch, count] int64.

        Returns:
            [2, batch, count] float in [-1, 1].
        """
        # All of them, then a choice: far less memory than a choice of memories for each sample.
        # flip makes a copy, so `remember` may write while autograd holds on to it.
        every = embeddings @ self.memories.flip(0).transpose(1, 2)
        return every.gather(2, compared.expand(2, -1, -1))

    @torch.no_grad()
    def normalise(self, scores: Tensor) -> Tensor:
        """Return the log of the constants, n·mean(e^score), fixed on the first batch: [2] float.

        Args:
            scores: similarities over τ, [2, batch, count] float.
        """
        mean = scores.logsumexp(dim=(1, 2)) - scores.isfinite().sum(dim=(1, 2)).log()
        first = mean + math.log(len(self.labels))
        self.constants.copy_(torch.where(self.constants.isnan(), first, self.constants))
        return self.constants.clone()

    @torch.no_grad()
    def remember(self, embeddings: Tensor, positions: Tensor, momentum: float) -> None:
        """Move the memories of a batch's samples towards their embeddings, back to length 1.

        Args:
            embeddings: of teacher and student, [2, batch, width].
            positions: numbers of the samples, [batch] int64.
            momentum: share of the old one that is kept.
        """
        moved = momentum * self.memories[:, positions] + (1 - momentum) * embeddings
        self.memories[:, positions] = F.normalize(moved, dim=2)
