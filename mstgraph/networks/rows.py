"""Some samples of a batch: what networks make of them, back at their places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn


def spread(values: Tensor, places: Tensor, size: int) -> Tensor:
    """Return the values of some samples at their places, and 0 at all others.

    Args:
        values: [n, ...].
        places: [n] int64, each once.
        size: of the batch.

    Returns:
        [size, ...], of the type of ``values``.
    """
    return values.new_zeros(size, *values.shape[1:]).index_copy(0, places, values)


@contextmanager
def at_rest(modules: Sequence[nn.Module], of: type[nn.Module] = nn.Module) -> Iterator[None]:
    """Put modules, or what in them is of a type, into evaluation mode while the context is open.

    One sample alone has no variance that a normalisation over the batch could take.
    """
    modes = {m: m.training for module in modules for m in module.modules() if isinstance(m, of)}
    for module in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
