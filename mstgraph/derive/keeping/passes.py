"""Which stages go through the data together."""

from __future__ import annotations

from collections.abc import Sequence

from mstgraph.stages.stage import StageNode


def group_stages(stages: Sequence[StageNode]) -> list[list[StageNode]]:
    """Group stages that go through the data together because they read the same frozen networks.

    Stages of a group do not wait for each other and take the same batches in the same number of
    epochs. Each keeps its own optimiser, state and artefact: it comes out as if it had run alone.

    Args:
        stages: in an order in which each comes after all that it needs.
    """
    groups: list[list[StageNode]] = []
    done: set[str] = set()
    waiting = list(stages)
    while waiting:
        group = [waiting[0]]
        ready = [node for node in waiting[1:] if set(node.needs) <= done]
        for node in ready:
            if all(_fits(node, other) for other in group):
                group.append(node)
        groups.append(group)
        done |= {node.name for node in group}
        waiting = [node for node in waiting if node.name not in done]
    return groups


def _fits(node: StageNode, other: StageNode) -> bool:
    one, another = node.settings, other.settings
    one_pass = (one.epochs, one.batch_size, one.samples) == (
        another.epochs,
        another.batch_size,
        another.samples,
    )
    common = set(node.parts) & set(other.parts)
    frozen = common.isdisjoint((*node.trains, *other.trains))
    same_weights = all(node.sources.get(part) == other.sources.get(part) for part in common)
    return one_pass and bool(common) and frozen and same_weights
