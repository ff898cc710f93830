"""Which parameters of a stage are trained at which share of its learning rate."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


def groups_by_rate(
    parts: Mapping[str, nn.Module], rates: Mapping[str, float]
) -> list[tuple[float, list[Tensor]]]:
    """Return (share of the rate, parameters) of each group that is not empty.

    Args:
        parts: name → module that is trained.
        rates: path of a module → share of the rate of its parameters, of which the longest path
            that holds counts; 1 for all others. A path begins in any part, or with a part's name.
    """
    groups: dict[float, list[Tensor]] = {}
    for part, module in parts.items():
        for name, parameter in module.named_parameters():
            within = [path for path in rates if _holds(path, part, name)]
            share = rates[max(within, key=len)] if within else 1.0
            groups.setdefault(share, []).append(parameter)
    return list(groups.items())


def without_parameters(parts: Mapping[str, nn.Module], rates: Mapping[str, float]) -> list[str]:
    """Return the paths that no parameter lies in."""
    names = [
        (part, name) for part, module in parts.items() for name, _ in module.named_parameters()
    ]
    return [path for path in rates if not any(_holds(path, *each) for each in names)]


def _holds(path: str, part: str, name: str) -> bool:
    return any(f"{found}.".startswith(f"{path}.") for found in (name, f"{part}.{name}"))
