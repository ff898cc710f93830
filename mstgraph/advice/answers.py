"""What members answer on a part of the data, side by side for the same samples or pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mstgraph.data.feed import Pool
from mstgraph.derive.experiment import Experiment
from mstgraph.methods.loss import PENULTIMATE
from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.run.networks import Networks, Outputs, Shared
from mstgraph.stages.node import RESPONSE, Forward, Part
from mstgraph.support.errors import UserError
from mstgraph.support.seeds import derive_seed

PIXELS = 4096  # of a part, where every pixel has a label; samples are all taken


@dataclass(frozen=True)
class Answers:
    """What members answer for the samples (or pixels) of a part whose label is known.

    Attributes:
        labels: [samples] int64.
        logits: member → [samples, num_outputs] float.
        features: member → what its penultimate layer returns, or its logits if it names none,
            [samples, features] float.
        unlabelled: share of the part's samples that have no label.
    """

    labels: np.ndarray
    logits: Mapping[str, np.ndarray]
    features: Mapping[str, np.ndarray]
    unlabelled: float

    def right(self, member: str) -> np.ndarray:
        """Return whether a member is right, [samples] bool."""
        found: np.ndarray = self.logits[member].argmax(axis=1) == self.labels
        return found


def member_networks(
    experiment: Experiment, folder: RunFolder, stages: Mapping[str, str], device: torch.device
) -> Networks:
    """Return members' networks in eval mode, with the weights that stages left.

    Args:
        experiment: the members.
        folder: where the stages lie.
        stages: member → the stage.
        device: where to compute.
    """
    modules = {}
    for member, stage in stages.items():
        modules[member] = experiment.parts.build(Part("network", member), "cpu")
        folder.load(stage, member, modules[member])
        modules[member].to(device).eval()
    precision = experiment.engine.precision
    return Networks(
        modules, experiment.inputs_of, frozenset(), {}, precision, experiment.input_rules
    )


@torch.no_grad()
def answers(
    experiment: Experiment,
    networks: Networks,
    pool: Pool,
    part: str,
    members: Sequence[str],
    features: bool = True,
) -> Answers:
    """Let members answer a part of the data, not augmented.

    Args:
        experiment: says what a label is and which layers are penultimate.
        networks: of the members.
        pool: the data.
        part: ``train`` or ``validation``.
        members: who is asked.
        features: whether penultimate features are wanted, too.
    """
    graph, task = experiment.plan.graph, experiment.task
    forwards = {
        name: Forward(name, taps=graph.members[name].layers(PENULTIMATE) if features else ())
        for name in members
    }
    wanted = {modality for name in members for modality in experiment.inputs_of[name]}
    feed = pool.feed(part, [name for name in experiment.source.modalities if name in wanted])
    each = -(-PIXELS // len(feed))
    rows: list[dict[tuple[str, str], Tensor]] = []
    labels, labelled = [], 0
    for inputs, truth, positions in feed.epoch(experiment.data.batch_size):
        shared = Shared(inputs, truth, positions, {}, feed.lengths(positions))
        counted = task.counted(truth)
        known = torch.ones_like(truth, dtype=torch.bool) if counted is None else counted
        labelled += int(known.reshape(len(truth), -1).any(dim=1).sum())
        for name in members:  # side by side: of samples that all of them take part in
            there = networks.there(name, shared)
            if there is not None:
                known = known & there.view(-1, *[1] * (known.dim() - 1))
        if task.dense:
            known = _some_pixels(known, positions, each, graph.seed)
        labels.append(truth[known])
        found: dict[tuple[str, str], Tensor] = {}
        for name, forward in forwards.items():
            outputs = networks.outputs(forward, shared)
            found[name, "logits"] = _rows(outputs[RESPONSE], known)
            if features:
                found[name, "features"] = _rows(_features(outputs, forward, task.extent), known)
        rows.append(found)

    if not sum(map(len, labels)):
        raise UserError(
            f"no {part} sample has a label and all that {', '.join(members)} see, so that they "
            "cannot be compared; expected some that do"
        )

    def joined(kind: str) -> dict[str, np.ndarray]:
        return {name: torch.cat([r[name, kind] for r in rows]).cpu().numpy() for name in members}

    return Answers(
        labels=torch.cat(labels).cpu().numpy(),
        logits=joined("logits"),
        features=joined("features") if features else {},
        unlabelled=1 - labelled / len(feed),
    )


def _some_pixels(known: Tensor, positions: Tensor, each: int, seed: int) -> Tensor:
    """Return a choice of the pixels of each sample, [batch, height, width] bool."""
    chosen = torch.zeros_like(known)
    for row, position in enumerate(positions.tolist()):
        generator = torch.Generator().manual_seed(derive_seed(seed, "advice", position))
        places = known[row].flatten().nonzero().flatten().cpu()
        drawn = places[torch.randperm(len(places), generator=generator)[:each]]
        chosen[row].view(-1)[drawn.to(known.device)] = True
    return chosen


def _features(outputs: Outputs, forward: Forward, extent: tuple[int, ...]) -> Tensor:
    """Return the penultimate layer's output, [batch, features, *extent] float."""
    values = outputs[forward.taps[-1] if forward.taps else RESPONSE]
    if extent:
        return F.interpolate(values, size=extent, mode="nearest")
    return values.flatten(2).mean(2) if values.dim() > 2 else values


def _rows(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the chosen samples or pixels, [chosen, outputs], of [batch, outputs, *extent]."""
    return values.movedim(1, -1)[chosen]
