"""What several processes have to have in common, or a run of theirs is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from mstgraph.stages.stage import StageNode
from mstgraph.support.errors import RunError, UserError
from mstgraph.support.processes.group import Processes

ROUNDING = 1e-4  # of a number; what a process computes of its rows alone differs by more


def refuse_unshareable(processes: Processes, stages: Sequence[StageNode], batch_size: int) -> None:
    """Refuse stages that these processes cannot run together.

    Args:
        processes: the processes.
        stages: of the plan that each was given.
        batch_size: of those that do not say otherwise.

    Raises:
        UserError: a batch has fewer samples than there are processes, or they are not given the
            same experiment.
    """
    for settings in (node.settings for node in stages):
        own = settings.batch_size
        if (own or batch_size) < processes.count:
            option = f"{type(settings).__name__}.batch_size" if own else "data.batch_size"
            raise UserError(
                f"{option} is {own or batch_size}, of which {processes.count} processes cannot "
                "each take a sample, expected as many samples, or fewer processes"
            )
    hashes = {node.name: node.hash for node in stages}
    if processes.any(processes.agreed(hashes) != hashes):
        raise UserError(
            "the processes of this run are not given the same experiment, expected the same files, "
            "data and version of mstgraph for all"
        )


@torch.no_grad()
def refuse_apart(processes: Processes, stage: str, parts: Mapping[str, nn.Module]) -> None:
    """Refuse trained parts that are not the same in all processes.

    Raises:
        RunError: a network gathers numbers of its own of the rows that it sees.
    """
    if processes.count == 1:
        return
    named = [(part, name, v) for part, m in parts.items() for name, v in m.state_dict().items()]
    if not named:
        return
    sums = torch.stack([value.double().abs().sum().nan_to_num() for _, _, value in named])
    every = processes.gather(sums.unsqueeze(0), [1] * processes.count)
    apart = ((every - every[0]).abs() > ROUNDING * every[0].abs()).any(0).tolist()
    for part, name, _ in (named[place] for place, differs in enumerate(apart) if differs):
        raise RunError(
            f"stage {stage}: '{name}' of part '{part}' is not the same in all processes, so it is "
            "made of what each sees of a batch; such a network trains in one process"
        )
