"""Images as a person sees them, and maps of codes and of 16-bit numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mstgraph.store.encoded.decoding import DEEP, colour, opened, resized
from mstgraph.support.errors import UserError

__all__ = ["codes", "colour", "millimetres", "resized"]


def codes(path: Path) -> np.ndarray:
    """Return a map of codes from 0 to 255, [height, width] uint8: grey levels, or palette numbers.

    Raises:
        UserError: see `colour`; or it is no 8-bit image of one channel.
    """
    with opened(path) as image:
        if image.mode not in ("L", "P"):
            raise UserError(f"{path} is of mode '{image.mode}'; expected an 8-bit PNG")
        values = np.asarray(image)
    # Pillow stretches grey of two and four bits to 255.
    bits = _grey_bits(path)
    return values // (255 // (2**bits - 1)) if bits in (2, 4) else values


def millimetres(path: Path) -> np.ndarray:
    """Return a map of 16-bit numbers, [height, width].

    Raises:
        UserError: see `colour`; or it is no 16-bit grey image.
    """
    with opened(path) as image:
        if image.mode not in DEEP:
            raise UserError(f"{path} is of mode '{image.mode}'; expected a 16-bit grey PNG")
        return np.asarray(image)


def _grey_bits(path: Path) -> int:
    """Return the bits of a grey level in a PNG; 8 for all else."""
    with path.open("rb") as file:
        head = file.read(26)
    is_grey_png = head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) == 26 and head[25] == 0
    return head[24] if is_grey_png else 8
