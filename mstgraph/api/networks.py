"""Members for data of one's own, as gin text: a network for each shape of a sample."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mstgraph.store.recipe import Modality
from mstgraph.support.errors import UserError
from mstgraph.support.text import shape_in_words

LARGER = "larger"  # the teacher of a student whose modality is the only one
FUSED = "fused"
TWIN = "twin"  # as gin/methods/recommended.gin calls it
WIDTHS = (16, 32, 64, 64, 64, 64, 64, 64)  # of a network's blocks, each of which halves the sample


def members_in_gin(modalities: Mapping[str, Modality], target: str) -> str:
    """Return gin text that declares a member for each modality, and a teacher that sees all.

    Args:
        modalities: by name.
        target: the student, which comes first; alone, it has a larger teacher of its kind.

    Raises:
        UserError: no network takes samples of such a shape, or a modality has the name of a member
            that is declared beside it.
    """
    for name in {LARGER, FUSED, TWIN} & modalities.keys():
        raise UserError(f"a modality is called '{name}', as a teacher will be; rename its column")
    names = [target, *(name for name in modalities if name != target)]
    members = [_member(name, modalities[name]) for name in names]
    if len(names) == 1:
        members.append(_member(LARGER, modalities[target], times=2, sees=target))
    else:
        members.append(_fused({name: modalities[name] for name in names}))
    return "\n".join(members)


def _member(name: str, modality: Modality, times: int = 1, sees: str = "") -> str:
    """Return a member's gin text; its widths are so many times the usual ones."""
    network, option, widths = _network(modality)
    wide = tuple(times * width for width in widths)
    inputs = f"  inputs = ({sees!r},)\n" if sees else ""
    return f"""
graph.{name} = @{name}/Member()
{name}/Member:
  network = @{network}    # a sample is {shape_in_words(modality.shape)}
{inputs}{_roles(network)}{name}/{network}.{option} = {wide!r}
"""


def _network(modality: Modality) -> tuple[str, str, tuple[int, ...]]:
    """Return a network, and the setting of its widths with a value that suits the sample."""
    shape = modality.shape
    if len(shape) == 1:
        return "MLP", "hidden", (64, 64)
    if len(shape) not in (2, 3) or min(shape[1:]) < 2:
        raise UserError(
            f"a sample of '{modality.name}' is {shape_in_words(shape)}; expected a vector, a "
            "sequence (channels×time) or a map (channels×height×width)"
        )
    blocks = min(len(WIDTHS), max(1, round(math.log2(min(shape[1:]))) - 3))
    return "Sequence1d" if len(shape) == 2 else "Conv2d", "channels", WIDTHS[:blocks]


def _roles(network: str) -> str:
    """Return the layers that play a role, of a network that does not propose them itself."""
    if network != "MLP":
        return ""
    return "  hints = ('hidden1', 'hidden2')\n  penultimate = 'hidden2'\n  masks = ('hidden2',)\n"


def _fused(modalities: Mapping[str, Modality]) -> str:
    branches = ", ".join(f"@{name}/{_network(each)[0]}" for name, each in modalities.items())
    return f"""
graph.{FUSED} = @{FUSED}/Member()
{FUSED}/Member:
  network = @Fused    # a branch for each modality, as its own member has it
  inputs = {tuple(modalities)!r}
{FUSED}/Fused.branches = ({branches})
"""
