"""Seeds that depend on names alone, so that nothing depends on the order of anything else."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def derive_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for a purpose named by ``names`` under the run's seed.

    >>> derive_seed(0, "rgb") == derive_seed(0, "rgb")
    True
    """
    text = "\0".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def seed_python(seed: int) -> None:
    """Seed the global generators of Python and of numpy, as code of the user's may draw from them.

    Far cheaper than to save and restore them: who needs them in a known state seeds them there.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)


def seed_torch(seed: int) -> None:
    """Seed torch's generators, those of accelerators too where there are any.

    As `torch.manual_seed`, which without an accelerator notes the call stack for each kind that may
    yet begin: milliseconds a call.
    """
    import torch

    if torch.cuda.is_available() or torch.xpu.is_available() or torch.backends.mps.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


@contextmanager
def python_seeded(seed: int) -> Iterator[None]:
    """Seed Python's and numpy's generators while the context is open; then they are as before."""
    python, numpy = random.getstate(), np.random.get_state()
    seed_python(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
