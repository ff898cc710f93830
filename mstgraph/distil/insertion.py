"""Inserting a MaskNet at a mask point, for the forward passes inside a context and no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mstgraph.distil.shapes import OnlyShapes
from mstgraph.support.errors import UserError, nearest

PROBE_BATCH = 2
"""Batch size of the forward pass that finds shapes."""

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


def output_shapes(
    network: nn.Module, inputs: Mapping[str, tuple[int, ...]], points: Iterable[str] = ()
) -> dict[str, tuple[int, ...]]:
    """Find what the modules at ``points`` return, without computing anything.

    One forward pass on the meta device; the network itself may lie on any device and is left as it
    is.

    Args:
        network: a network as `mstgraph.networks` describes them.
        inputs: modality to shape of one sample, in the member's order.
        points: dotted paths of modules inside the network.

    Returns:
        ``{point: shape}`` without the batch, and under ``""`` the shape of the network's output.

    Raises:
        UserError: a point is no module, or its module is not called exactly once or does not
            return one float tensor [batch, …]; or the network does not run on such inputs.
    """
    outputs: dict[str, list[Any]] = {point: [] for point in points}
    samples = [torch.empty(PROBE_BATCH, *shape, device="meta") for shape in inputs.values()]
    with ExitStack() as stack:
        for point, seen in outputs.items():
            handle = mask_point(network, point).register_forward_hook(
                lambda _module, _inputs, output, seen=seen: seen.append(output)
            )
            stack.callback(handle.remove)
        final = _run_on_meta(network, inputs, samples)
    shapes = {point: _shape_at(network, point, seen) for point, seen in outputs.items()}
    return {**shapes, "": _shape(f"{type(network).__name__}", final)}


def _run_on_meta(
    network: nn.Module, inputs: Mapping[str, tuple[int, ...]], samples: list[Tensor]
) -> Any:
    """Run the network with its parameters and buffers replaced by meta tensors."""
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    meta = {name: value.detach().to("meta") for name, value in state.items()}
    try:
        with torch.no_grad(), OnlyShapes():
            return functional_call(network, meta, tuple(samples))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        given = ", ".join(f"'{name}' {shape}" for name, shape in inputs.items())
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{type(network).__name__} does not run on samples of {given}: {reason}"
        ) from error


def _shape_at(network: nn.Module, point: str, seen: list[Any]) -> tuple[int, ...]:
    """Return the shape of a mask point's only output."""
    where = f"layer '{point}' of {type(network).__name__}"
    if len(seen) != 1:
        times = "never" if not seen else f"{len(seen)} times"
        raise UserError(f"{where} cannot be masked: a forward pass calls it {times}, not once")
    return _shape(where, seen[0])


def _shape(where: str, output: Any) -> tuple[int, ...]:
    """Return the shape of an output without the batch."""
    if not isinstance(output, Tensor):
        raise UserError(f"{where} returns a {type(output).__name__}, expected one float tensor")
    if not output.is_floating_point():
        raise UserError(f"{where} returns a tensor of {output.dtype}, expected a float one")
    if output.dim() < 2 or output.shape[0] != PROBE_BATCH:
        raise UserError(
            f"{where} returns a tensor of shape {tuple(output.shape)} for a batch of "
            f"{PROBE_BATCH}, expected the batch first"
        )
    return tuple(output.shape[1:])
