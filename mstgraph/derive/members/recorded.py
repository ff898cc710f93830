"""What a finished run records of the weights that its members started from, and needs no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from mstgraph.support.disk.descriptions import read_description


class _Member(TypedDict):
    name: str


class _Plan(TypedDict):
    members: list[_Member]


def recorded_weights(plan: Path) -> dict[str, Any]:
    """Return member → what a run's ``plan.json`` says of its weights.

    Raises:
        UserError: the plan cannot be used.
    """
    if not plan.is_file() or '"weights": {' not in plan.read_text(encoding="utf-8"):
        return {}
    members = read_description(plan, _Plan, "give the run's command again")["members"]
    return {member["name"]: member["weights"] for member in members if "weights" in member}
