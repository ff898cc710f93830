"""Seeds that depend on names alone, so that nothing depends on the order of anything else."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for a purpose named by ``names`` under the run's seed.

    >>> derive_seed(0, "rgb") == derive_seed(0, "rgb")
    True
    """
    text = "\0".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
