"""Asking a network what it answers with, before anything is trained.

Shapes come from the meta device, where nothing is computed. A network that looks at values cannot
live there; it is asked on the CPU, with random input.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from mstgraph.distil.insertion import mask_point
from mstgraph.distil.shapes import OnlyShapes
from mstgraph.networks.inputs import drawn, dtype_of
from mstgraph.support.errors import UserError, in_words
from mstgraph.support.seeds import python_seeded
from mstgraph.support.text import shape_in_words

PROBE_BATCH = 2
"""Batch size of the forward pass that finds shapes."""


def output_shapes(
    network: nn.Module,
    inputs: Mapping[str, tuple[int, ...]],
    points: Iterable[str] = (),
    *,
    by_value: bool = False,
) -> dict[str, tuple[int, ...]]:
    """Find what the modules at ``points`` return, in training and in evaluation mode alike.

    Args:
        network: a network as `mstgraph.networks` describes them; on whatever device it lies, it is
            left as it is.
        inputs: modality to shape of one sample, in the member's order.
        points: dotted paths of modules inside the network.
        by_value: run it as it is, on random numbers, instead of on the meta device;
            what it keeps of a batch, such as running means, changes then.

    Returns:
        ``{point: shape}`` without the batch, and under ``""`` the shape of the network's output.

    Raises:
        UserError: a point is no module, or its module is not called exactly once or does not
            return one float tensor [batch, …]; the network does not run on such inputs; or it
            answers with other shapes in evaluation than in training.
    """
    asked = tuple(points)
    training, evaluation = (
        _shapes_in(mode, network, inputs, asked, by_value) for mode in ("training", "evaluation")
    )
    for point, shape in training.items():
        if evaluation[point] != shape:
            raise UserError(
                f"{_where(network, point)} returns {shape_in_words(shape)} in training and "
                f"{shape_in_words(evaluation[point])} in evaluation, expected one shape"
            )
    return training


def layer_shapes(
    network: nn.Module, inputs: Mapping[str, tuple[int, ...]], *, by_value: bool = False
) -> dict[str, tuple[int, ...] | str]:
    """Return path → shape of what each module returns, or why it cannot be masked.

    Args:
        network: as for `output_shapes`.
        inputs: modality → shape of a sample.
        by_value: as for `output_shapes`.

    Raises:
        UserError: the network does not run on such inputs.
    """
    points = [path for path, _ in network.named_modules(remove_duplicate=False) if path]
    seen = {
        mode: _seen_in(mode, network, inputs, points, by_value)
        for mode in ("training", "evaluation")
    }
    found: dict[str, tuple[int, ...] | str] = {}
    for point in points:
        try:
            shapes = [_shape_at(network, point, seen[mode][point], mode) for mode in seen]
            found[point] = shapes[0] if len(set(shapes)) == 1 else "another shape in evaluation"
        except UserError as error:
            words = str(error).removeprefix(f"{_where(network, point)} ")
            found[point] = words.removeprefix("cannot be masked: ")
    return found


def _shapes_in(
    mode: str,
    network: nn.Module,
    inputs: Mapping[str, tuple[int, ...]],
    points: Sequence[str],
    by_value: bool,
) -> dict[str, tuple[int, ...]]:
    outputs = _seen_in(mode, network, inputs, points, by_value)
    return {point: _shape_at(network, point, seen, mode) for point, seen in outputs.items()}


def _seen_in(
    mode: str,
    network: nn.Module,
    inputs: Mapping[str, tuple[int, ...]],
    points: Sequence[str],
    by_value: bool,
) -> dict[str, list[Any]]:
    """Return module → all that it returns in a forward pass; under "" what the network does."""
    outputs: dict[str, list[Any]] = {point: [] for point in points}
    with ExitStack() as stack:
        for point, seen in outputs.items():
            handle = mask_point(network, point).register_forward_hook(
                lambda _module, _inputs, output, seen=seen: seen.append(output)
            )
            stack.callback(handle.remove)
        stack.enter_context(_in_mode(network, training=mode == "training"))
        outputs[""] = [_answer(network, inputs, by_value)]
    return outputs


@contextmanager
def _in_mode(network: nn.Module, training: bool) -> Iterator[None]:
    modes = {module: module.training for module in network.modules()}
    network.train(training)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _answer(network: nn.Module, inputs: Mapping[str, tuple[int, ...]], by_value: bool) -> Any:
    try:
        return (_on_cpu if by_value else _on_meta)(network, inputs)
    except (Exception, SystemExit) as error:
        given = ", ".join(f"'{name}' {shape}" for name, shape in inputs.items())
        raise UserError(
            f"{type(network).__name__} does not run on samples of {given}: "
            f"{layer_of(error, network)}{in_words(error)}"
        ) from error


def _on_meta(network: nn.Module, inputs: Mapping[str, tuple[int, ...]]) -> Any:
    """Run the network with its parameters and buffers replaced by meta tensors."""
    samples = [
        torch.empty(PROBE_BATCH, *shape, dtype=dtype_of(shape), device="meta")
        for shape in inputs.values()
    ]
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    meta = {name: value.detach().to("meta") for name, value in state.items()}
    with torch.no_grad(), OnlyShapes():
        return functional_call(network, meta, tuple(samples))


def _on_cpu(network: nn.Module, inputs: Mapping[str, tuple[int, ...]]) -> Any:
    with torch.random.fork_rng(devices=[]), python_seeded(0), torch.no_grad():
        torch.default_generator.manual_seed(0)
        samples = [drawn(PROBE_BATCH, shape) for shape in inputs.values()]
        return network(*samples)


def layer_of(error: BaseException, network: nn.Module) -> str:
    """Return "layer 'encoder.stage5': " of the innermost layer that an exception went through."""
    names = {module: name for name, module in network.named_modules()}
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        own = frame.f_locals.get("self")
        if isinstance(own, nn.Module) and names.get(own):
            return f"layer '{names[own]}': "
    return ""


def looks_at_values(error: BaseException | None) -> bool:
    """Say whether an exception is the meta device's, which has no values to look at."""
    while error is not None:
        if "meta" in re.findall(r"[a-z]+", str(error).lower()):
            return True
        error = error.__cause__ or error.__context__
    return False


def refuse_lazy(module: nn.Module) -> None:
    """Refuse layers that learn their shapes from the first batch, such as `nn.LazyLinear`.

    Nobody could say before that batch how many weights there are, or name their initial values by
    the seed alone.

    Raises:
        UserError: names the layer.
    """
    for name, value in chain(module.named_parameters(), module.named_buffers()):
        if is_lazy(value):
            layer = name.rpartition(".")[0]
            kind = type(module.get_submodule(layer)).__name__
            raise UserError(
                f"layer '{layer}' is a {kind}, which learns its shape from the first batch; "
                f"expected a layer of a given size, such as {kind.removeprefix('Lazy')}"
            )


def unstorable(module: nn.Module) -> str:
    """Return why a module's state cannot be written to a file and read again; empty if it can."""
    for name, value in module.state_dict().items():
        if not isinstance(value, Tensor):
            return (
                f"its state '{name}' is a {type(value).__name__}, which weights on disk cannot "
                "hold; expected tensors alone, as buffers"
            )
        if value.layout != torch.strided or value.is_quantized or value.is_complex():
            return f"its state '{name}' is no plain real tensor, expected one"
    try:
        with OnlyShapes():
            module.load_state_dict(module.state_dict())
    except (Exception, SystemExit) as error:
        return f"it does not take its own state_dict back: {in_words(error)}"
    return ""


def _where(network: nn.Module, point: str) -> str:
    return f"layer '{point}' of {type(network).__name__}" if point else type(network).__name__


def _shape_at(network: nn.Module, point: str, seen: list[Any], mode: str) -> tuple[int, ...]:
    """Return the shape, without the batch, of a layer's only output."""
    where = _where(network, point)
    if len(seen) != 1:
        times = "never" if not seen else f"{len(seen)} times"
        raise UserError(
            f"{where} cannot be masked: a forward pass calls it {times}, not once (in {mode})"
        )
    (output,) = seen
    if not isinstance(output, Tensor):
        raise UserError(
            f"{where} returns a {type(output).__name__}, expected one float tensor (in {mode})"
        )
    if not output.is_floating_point():
        raise UserError(f"{where} returns a tensor of {output.dtype}, expected a float one")
    if output.dim() < 2 or output.shape[0] != PROBE_BATCH:
        raise UserError(
            f"{where} returns a tensor of shape {tuple(output.shape)} for a batch of "
            f"{PROBE_BATCH}, expected the batch first"
        )
    return tuple(output.shape[1:])
