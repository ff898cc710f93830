"""Modules of a member that never train: they are there, and something is left that does."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mstgraph.distil.frozen import is_within
from mstgraph.distil.insertion import mask_point
from mstgraph.support.errors import UserError


def check_frozen(
    network: nn.Module, frozen: Sequence[str], trained: bool, name: str, place: str
) -> None:
    """Refuse frozen modules that the network has not, and a trained member that is all frozen.

    Args:
        network: the member's.
        frozen: dotted paths of its modules that never train.
        trained: whether the others do.
        name: the member's.
        place: where they are written.

    Raises:
        UserError: names the place and the nearest module.
    """
    for path in frozen:
        try:
            mask_point(network, path)
        except UserError as error:
            raise UserError(f"{place}: member '{name}': {error}") from error
    if not frozen or not trained:
        return
    if all(is_within(parameter, frozen) for parameter, _ in network.named_parameters()):
        raise UserError(
            f"{place}: all parameters of member '{name}' are frozen, so there is nothing to train; "
            f"expected fewer modules, or '{name}/Member.trained = False'"
        )
