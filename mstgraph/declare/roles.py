"""The roles of layers that a member's network proposes, asked of one that is built for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gin
import torch

from mstgraph.declare.configuration import Configuration
from mstgraph.distil.probing import looks_at_values
from mstgraph.distil.shapes import OnlyShapes
from mstgraph.networks.roles import Roles
from mstgraph.support.errors import UserError, in_words

OUTPUTS = 2  # of the network that is built to be asked; roles do not depend on it


def network_roles(
    network: Callable[..., Any] | None,
    scope: str,
    inputs: Mapping[str, tuple[int, ...]],
    configuration: Configuration,
) -> Roles:
    """Return what a member's network proposes, built without values in the member's scope.

    Args:
        network: what builds it.
        scope: in which its settings are read.
        inputs: modality → shape of a sample.
        configuration: where bindings stand, for messages.

    Raises:
        UserError: the network cannot be built.
    """
    if network is None or not isinstance(getattr(network, "roles", None), property):
        return {}
    with gin.config_scope(scope), torch.random.fork_rng(devices=[]):
        try:
            roles: Roles = _built(network, inputs).roles
            return roles
        except (Exception, SystemExit) as error:  # whatever building a network raises
            users = isinstance(error, UserError)
            text = str(error).splitlines()[0] if users else in_words(error)
            place = configuration.place_of_option(network, scope, text)
            place = place or configuration.where("Member", "network", scope)
            cannot = "" if users else "its network cannot be built: "
            raise UserError(f"{place}: member '{scope}': {cannot}{text}") from error


def _built(network: Callable[..., Any], inputs: Mapping[str, tuple[int, ...]]) -> Any:
    try:
        with torch.device("meta"), OnlyShapes():
            return network(inputs, OUTPUTS)
    except Exception as error:
        if not looks_at_values(error):
            raise
    with torch.device("cpu"):
        return network(inputs, OUTPUTS)
