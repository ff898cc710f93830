"""Which parameters of a stage are trained at which share of its rate and of its weight decay."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, nn

from mstgraph.distil.frozen import is_within

VECTORS = "vectors"  # among the paths of decays: biases, and scales of normalisations

Shares = Mapping[str, float]


def groups_by_share(
    parts: Mapping[str, nn.Module], rates: Shares, decays: Shares
) -> list[tuple[float, float, list[Tensor]]]:
    """Return (share of the rate, of the decay, parameters) of each group that is not empty.

    Args:
        parts: name → module that is trained.
        rates: path of a module → share of the rate of its parameters, of which the longest path
            that holds counts; 1 for all others. A path begins in any part, or with a part's name.
        decays: the same of the weight decay; ``'vectors'``, where it is there, is what holds for
            all parameters of one dimension.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for part, module in parts.items():
        for name, parameter in module.named_parameters():
            decay = _share(decays, part, name)
            if parameter.dim() < 2:
                decay = decays.get(VECTORS, decay)
            groups.setdefault((_share(rates, part, name), decay), []).append(parameter)
    return [(*shares, parameters) for shares, parameters in groups.items()]


def _share(shares: Shares, part: str, name: str) -> float:
    within = [path for path in shares if _holds(path, part, name)]
    return shares[max(within, key=len)] if within else 1.0


def without_parameters(
    parts: Mapping[str, nn.Module],
    paths: Collection[str],
    frozen: Mapping[str, Sequence[str]],
) -> list[str]:
    """Return the paths that no parameter lies in which trains.

    Args:
        parts: name → module that is trained.
        paths: as those of `groups_by_share`.
        frozen: part → paths of its modules that never train.
    """
    names = [
        (part, name)
        for part, module in parts.items()
        for name, _ in module.named_parameters()
        if not is_within(name, frozen.get(part, ()))
    ]
    return [path for path in paths if not any(_holds(path, *each) for each in names)]


def _holds(path: str, part: str, name: str) -> bool:
    return any(f"{found}.".startswith(f"{path}.") for found in (name, f"{part}.{name}"))
