"""Members for data of one's own, as gin text: a network for each shape of a sample."""

from __future__ import annotations

from collections.abc import Mapping

from mstgraph.store.recipe import Modality
from mstgraph.support.errors import UserError
from mstgraph.support.text import shape_in_words

# Rank of a sample → its network, which of its layers play a role, and settings that make it larger.
NETWORKS = {
    1: ("MLP", ("hidden1", "hidden2"), "hidden2", "hidden = (256, 128)"),
    2: ("Sequence1d", ("block2", "block3"), "hidden", "channels = (32, 64, 128)"),
    3: ("LeNet5", ("conv3", "hidden1"), "hidden1", ""),
}
LARGER = "larger"  # the teacher of a student whose modality is the only one
FUSED = {1: "FusedMLP", 2: "FusedSequence1d"}


def members_in_gin(modalities: Mapping[str, Modality], target: str) -> str:
    """Return gin text that declares a member for each modality, and one that sees all.

    Args:
        modalities: by name.
        target: the student, which comes first.

    Raises:
        UserError: no network takes samples of such a shape.
    """
    names = [target, *(name for name in modalities if name != target)]
    members = [_member(name, modalities[name], teaches=name != target) for name in names]
    if len(names) == 1:
        members.append(_member(LARGER, modalities[target], teaches=True, sees=target))
    ranks = {len(modality.shape) for modality in modalities.values()}
    if len(names) > 1 and len(ranks) == 1 and ranks <= FUSED.keys():
        members.append(_fused(names, FUSED[ranks.pop()]))
    return "\n".join(members)


def _member(name: str, modality: Modality, teaches: bool, sees: str = "") -> str:
    """Return a member's gin text; one that sees a modality of another name is larger."""
    if len(modality.shape) not in NETWORKS:
        raise UserError(
            f"a sample of '{name}' is {shape_in_words(modality.shape)}; expected a vector, a "
            "sequence (channels×time) or a map (channels×height×width)"
        )
    network, hints, penultimate, larger = NETWORKS[len(modality.shape)]
    masks = f"  masks = ({penultimate!r},)\n" if teaches else ""
    inputs = f"  inputs = ({sees!r},)\n" if sees else ""
    width = f"{name}/{network}.{larger}\n" if sees and larger else ""
    return f"""
graph.{name} = @{name}/Member()
{name}/Member:
  network = @{network}    # samples are {shape_in_words(modality.shape)}
  hints = {hints!r}
  penultimate = {penultimate!r}
  representation = {penultimate!r}
{inputs}{masks}{width}"""


def _fused(names: list[str], network: str) -> str:
    return f"""
graph.fused = @fused/Member()
fused/Member:
  network = @{network}
  inputs = {tuple(names)!r}
  masks = ('fusion',)
  penultimate = 'fusion'
  representation = 'fusion'
"""
