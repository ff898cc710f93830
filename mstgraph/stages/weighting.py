"""What each of several teachers counts for a sample, judged by the teachers' own answers.

Zhang et al. 2022, "Confidence-Aware Multi-Teacher Knowledge Distillation" (CA-MKD),
https://arxiv.org/abs/2201.00007: teachers that are right about a sample teach it more. Without a
label it is not known who is right, and those that are sure teach it more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from mstgraph.distil.gate import evenly
from mstgraph.stages.node import Batch
from mstgraph.stages.stage import StageNode

Weighting = Literal["mean", "correctness", "confidence"]


def weights_by_cost(costs: Tensor, there: Tensor | None = None) -> Tensor:
    """Return w_j = (1 − softmax_j(cost_j)) / (N − 1): who costs less counts more (CA-MKD, w_KD).

    Args:
        costs: [batch, N] float; CA-MKD takes each teacher's cross-entropy.
        there: which teachers a sample has, [batch, N] bool; None: all N. It is as though there
            were no others, and without any all weights are 0.

    Returns:
        [batch, N] float, 0 to 1 / (N − 1), rows summing to one; one teacher alone counts 1.
    """
    teachers = costs.shape[1]
    if there is not None:
        count = there.sum(dim=1, keepdim=True)
        # The lowest number, not −∞: without any teacher the softmax stays finite.
        own = costs.masked_fill(~there, torch.finfo(costs.dtype).min).softmax(dim=1)
        weights = torch.where(count > 1, (1 - own) / (count - 1).clamp(min=1), 1.0)
        return torch.where(there, weights, torch.zeros_like(costs))
    if teachers == 1:
        return torch.ones_like(costs)
    return (1 - costs.softmax(dim=1)) / (teachers - 1)


def taught(node: StageNode, batch: Batch) -> Tensor | None:
    """Return the samples that the student and one of its teachers take part in, [batch] bool.

    None: all of them.
    """
    own, teachers = batch.there(node.student), batch.each_there([t.name for t in node.teachers])
    if teachers is None:
        return own
    return teachers.any(1) if own is None else teachers.any(1) & own


def teacher_weights(batch: Batch, names: Sequence[str], weighting: Weighting) -> Tensor:
    """Return what each teacher counts for each sample, without gradient.

    Args:
        batch: answers for the teachers, and knows the labels.
        names: the teachers' responses.
        weighting: all alike (``'mean'``), by the task loss of each teacher's output (of classes the
            cross-entropy), where a sample has a label, else by its entropy (``'correctness'``), or
            always by its entropy (``'confidence'``). Where outputs have none, all count alike.

    Returns:
        [batch, N] float, rows summing to one: of the teachers that a sample has, 0 of the others.
    """
    responses = [batch.response(name).detach() for name in names]
    there = batch.each_there(names)
    if weighting == "mean" and there is not None:
        return evenly(there, responses[0].dtype)
    if weighting == "mean":
        return responses[0].new_full((len(batch), len(names)), 1 / len(names))
    costs = torch.stack([batch.uncertainty(outputs) for outputs in responses], dim=1)
    if weighting == "correctness":
        wrong = torch.stack([batch.task_loss(name).detach() for name in names], dim=1)
        costs = torch.where(batch.labelled().unsqueeze(1), wrong, costs)
    return weights_by_cost(costs, there)
