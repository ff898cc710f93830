"""What networks ask of their inputs, checked in one place and refused in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mstgraph.store.recipe import Modality
from mstgraph.support.errors import UserError
from mstgraph.support.text import shape_in_words

Shapes = Mapping[str, tuple[int, ...]]


class Integers(tuple[int, ...]):
    """The shape of a sample of integers, such as token ids, which reach a network as int64."""


def shapes_of(
    modalities: Mapping[str, Modality], names: Iterable[str]
) -> dict[str, tuple[int, ...]]:
    """Return modality → shape of a sample, `Integers` where the recipe says that it holds some."""
    found = {name: modalities[name] for name in names}
    return {n: Integers(m.shape) if m.integers else m.shape for n, m in found.items()}


def dtype_of(shape: tuple[int, ...]) -> torch.dtype:
    """Return the type in which samples of a shape reach a network."""
    return torch.int64 if isinstance(shape, Integers) else torch.get_default_dtype()


def drawn(batch: int, shape: tuple[int, ...]) -> Tensor:
    """Return random samples to try a network on, [batch, *shape]: from 0 to 1, or 0 and 1."""
    whole = isinstance(shape, Integers)
    return torch.randint(2, (batch, *shape)) if whole else torch.rand(batch, *shape)


def check_count(network: str, inputs: Shapes, minimum: int, maximum: int | None = None) -> None:
    """Raise UserError unless the number of modalities lies within the bounds."""
    if len(inputs) < minimum or (maximum is not None and len(inputs) > maximum):
        wanted = "exactly one modality" if maximum == 1 else f"at least {minimum} modalities"
        given = ", ".join(map(repr, inputs)) or "none"
        raise UserError(f"{network} takes {wanted}, but its inputs are {given}")


def check_vectors(network: str, inputs: Shapes) -> None:
    """Raise UserError unless every modality is a vector, [features]."""
    for modality, shape in inputs.items():
        if len(shape) != 1:
            raise UserError(
                f"{network} takes vectors, but a sample of modality '{modality}' is "
                f"{shape_in_words(shape)}"
            )


def check_maps(network: str, inputs: Shapes, divisor: int) -> None:
    """Raise UserError unless all are maps of one size whose sides are multiples of ``divisor``."""
    first, size = "", None
    for modality, shape in inputs.items():
        given = f"a sample of modality '{modality}' is {shape_in_words(shape)}"
        if len(shape) != 3:
            raise UserError(f"{network} takes maps, channels×height×width, but {given}")
        if any(side < divisor or side % divisor for side in shape[1:]):
            raise UserError(f"{network} needs height and width divisible by {divisor}, but {given}")
        if size is None:
            first, size = modality, shape[1:]
        elif shape[1:] != size:
            raise UserError(
                f"{network} needs maps of one size, but {given} and '{first}' is "
                f"{shape_in_words(size)}"
            )


def check_widths(network: str, option: str, widths: Sequence[int]) -> None:
    """Raise UserError unless every layer width given in an option is a positive integer."""
    for width in widths:
        if not isinstance(width, int) or isinstance(width, bool) or width < 1:
            raise UserError(f"{network}.{option} holds {width!r}, expected integers of at least 1")


def by_modality(network: str, modules: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """Return modules named by modality; UserError for a name that cannot name a submodule."""
    named = nn.ModuleDict()
    for modality, module in modules.items():
        try:
            named[modality] = module
        except KeyError as error:
            raise UserError(
                f"modality '{modality}' cannot name a part of {network}: rename it, without dots "
                "and unlike a method of torch's modules"
            ) from error
    return named
