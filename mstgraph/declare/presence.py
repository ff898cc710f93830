"""Who is there: what an experiment says of it beside the store, and what of that makes no sense."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mstgraph.declare.configuration import Configuration
from mstgraph.declare.graph import Graph, Member
from mstgraph.declare.settings import Data
from mstgraph.store.presence import modalities_of
from mstgraph.store.splits import PARTS
from mstgraph.support.errors import UserError, nearest


def absences(data: Data, members: Mapping[str, Member]) -> dict[str, Any]:
    """Return what beside the store says which samples members take part in; {} where nothing."""
    said = {
        "absent": dict(data.absent) and [dict(data.absent), sorted(data.absent_in)],
        "incomplete": {n: m.absent for n, m in members.items() if m.absent != "out"},
        "modality_dropout": {
            n: m.modality_dropout for n, m in members.items() if m.modality_dropout
        },
    }
    return {name: value for name, value in said.items() if value}


def check_presence(
    data: Data, presence: Mapping[str, Any], graph: Graph, configuration: Configuration
) -> None:
    """Refuse a modality that a class never has in training, and members that take part in nothing.

    Args:
        data: the data's settings, its split resolved to a name.
        presence: what the store's metadata says; {} where all samples have all modalities.
        graph: the members.
        configuration: where bindings stand, for messages.

    Raises:
        UserError: names the member, the modality, and the class or the part.
    """
    split = str(data.split)
    lacking = presence.get("classes", {}).get(split, {})
    for name, member in graph.members.items():
        place = f"{configuration.where('graph', name)}: member '{name}' sees"
        for modality in member.inputs:
            if classes := lacking.get(modality):
                raise UserError(
                    f"{place} '{modality}', which no training sample of the class '{classes[0]}' "
                    f"has in split '{split}'; expected one at least"
                )
        for part, counts in presence.get("splits", {}).get(split, {}).items():
            if not any(_takes_part(member, pattern) for pattern in counts):
                seen = (" and " if member.absent == "out" else " or ").join(member.inputs)
                raise UserError(
                    f"{place} {seen}, which no {part} sample of split '{split}' has; expected one "
                    "at least"
                )


def _takes_part(member: Member, pattern: str) -> bool:
    own = [name in modalities_of(pattern) for name in member.inputs]
    return any(own) if member.absent == "zeros" else all(own)


def check_absent(data: Data, configuration: Configuration, modalities: Mapping[str, Any]) -> None:
    """Refuse shares that are none, and modalities and parts that there are not."""
    place = f"{configuration.where('data', 'absent')}: data.absent"
    for name, share in data.absent.items():
        if name not in modalities:
            raise UserError(
                f"{place} names the modality '{name}', which the store does not have"
                f"{nearest(str(name), modalities)}"
            )
        if not isinstance(share, float) or not 0 < share < 1:
            raise UserError(
                f"{place} of '{name}' is {share}, expected a share between 0 and 1 such as 0.2"
            )
    for part in data.absent_in:
        if part not in PARTS:
            raise UserError(
                f"{configuration.where('data', 'absent_in')}: data.absent_in names the part "
                f"'{part}'{nearest(str(part), PARTS)}"
            )
