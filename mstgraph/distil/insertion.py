"""Inserting a MaskNet at a mask point, for the forward passes inside a context and no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from weakref import WeakSet

from torch import Tensor, nn

from mstgraph.support.errors import UserError, nearest

_masked: WeakSet[nn.Module] = WeakSet()


@contextmanager
def inserted(network: nn.Module, point: str, masknet: nn.Module) -> Iterator[None]:
    """Rewrite the output of the module at ``point`` by ``masknet`` while the context is open.

    The network keeps no trace: neither parameters nor hooks, also after an exception. So several
    specialised teachers share one network and never see each other's masks.

    Args:
        network: the teacher.
        point: dotted path of a module inside it.
        masknet: called with the module's output, returns what takes its place.

    Raises:
        UserError: the network has no such module.
        RuntimeError: a mask is inserted in this network already.
    """
    module = mask_point(network, point)
    if network in _masked:
        raise RuntimeError(
            f"a mask is inserted in this {type(network).__name__} already; close its context "
            f"before inserting one at '{point}'"
        )
    _masked.add(network)
    # What comes after may overwrite what it is given, but not what the mask goes back through.
    handle = module.register_forward_hook(
        lambda _module, _inputs, output: rewritten(masknet, output).clone()
    )
    try:
        yield
    finally:
        handle.remove()
        _masked.discard(network)


@contextmanager
def tapped(network: nn.Module, points: Iterable[str]) -> Iterator[Mapping[str, Tensor]]:
    """Collect what the modules at ``points`` return while the context is open.

    It is copied at once: a network may overwrite it further on, as `nn.ReLU(inplace=True)` does.

    Args:
        network: the network.
        points: dotted paths of modules inside it.

    Raises:
        UserError: the network has no such module.
    """
    outputs: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for point in points:
            handle = mask_point(network, point).register_forward_hook(
                lambda _module, _inputs, output, point=point: outputs.__setitem__(
                    point, output.clone()
                )
            )
            stack.callback(handle.remove)
        yield outputs


def rewritten(masknet: nn.Module, feature: Tensor) -> Tensor:
    """Return what a mask makes of a feature, which others read, too.

    Raises:
        UserError: the mask overwrites the feature.
    """
    version = feature._version
    result: Tensor = masknet(feature)
    if feature._version != version:
        raise UserError(
            f"the mask {type(masknet).__name__} overwrites the feature it is given, expected that "
            "it returns a new tensor"
        )
    return result


def mask_point(network: nn.Module, point: str) -> nn.Module:
    """Return the module of ``network`` at the dotted path ``point``.

    Raises:
        UserError: there is no such module; names the network and the nearest path.
    """
    modules = dict(network.named_modules(remove_duplicate=False))
    del modules[""]
    if point not in modules:
        raise UserError(f"{type(network).__name__} has no layer '{point}'{nearest(point, modules)}")
    return modules[point]
