"""Images as a person sees them, upright, in eight bits for each colour; and maps of codes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mstgraph.recipes.raw import extra
from mstgraph.support.errors import UserError

DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
"""Pillow's names of grey with more than eight bits; a 16-bit PNG is of the first or the last."""
SEEN_AS_IT_IS = ("1", "L", "RGB", "CMYK", "YCbCr")
WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")


def colour(path: Path, content: bytes | None = None) -> Any:
    """Return a picture as RGB, a PIL image, upright as its orientation tag says.

    Grey of 16 bits keeps its range; what is transparent shows white, as on a page.

    Args:
        path: the file; names it in messages where ``content`` is given.
        content: the bytes of a picture that lies in a table.

    Raises:
        UserError: Pillow is missing; the file is no image, is damaged, is larger than Pillow takes
            for safe, holds several pictures, or is of a kind whose colours nobody can tell.
    """
    with _opened(path, content) as image:
        if image.mode in DEEP:
            return _of_sixteen_bits(path, image)
        if image.mode in WITH_ALPHA or "transparency" in image.info:
            return _on_white(image)
        if image.mode not in (*SEEN_AS_IT_IS, "P"):
            raise UserError(f"{path} is of mode '{image.mode}'; expected a picture in colour")
        return image.convert("RGB")


def codes(path: Path) -> np.ndarray:
    """Return a map of codes from 0 to 255, [height, width] uint8: grey levels, or palette numbers.

    Raises:
        UserError: see `colour`; or it is no 8-bit image of one channel.
    """
    with _opened(path) as image:
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
    with _opened(path) as image:
        if image.mode not in DEEP:
            raise UserError(f"{path} is of mode '{image.mode}'; expected a 16-bit grey PNG")
        return np.asarray(image)


@contextmanager
def _opened(path: Path, content: bytes | None = None) -> Iterator[Any]:
    """Open an image that holds one picture, upright."""
    pillow = extra("PIL.Image", "mstgraph[raw]")
    try:
        with pillow.open(path if content is None else io.BytesIO(content)) as image:
            count = getattr(image, "n_frames", 1)
            if count > 1 and image.format != "MPO":  # a photo with a preview beside it
                raise UserError(f"the image {path} holds {count} pictures; expected one")
            pixels, most = image.width * image.height, pillow.MAX_IMAGE_PIXELS
            if most and pixels > most:
                raise UserError(f"the image {path} has {pixels} pixels; expected at most {most}")
            yield extra("PIL.ImageOps", "mstgraph[raw]").exif_transpose(image)
    except UserError:
        raise
    except Exception as error:  # Pillow raises almost anything on a broken or huge file
        reason = str(error).partition("\n")[0]
        raise UserError(f"the image {path} cannot be read: {reason}") from error


def _of_sixteen_bits(path: Path, image: Any) -> Any:
    pillow = extra("PIL.Image", "mstgraph[raw]")
    values = np.asarray(image).astype(np.int64)
    if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise UserError(f"{path} has grey of more than 16 bits; expected at most 16")
    return pillow.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")


def _on_white(image: Any) -> Any:
    pillow = extra("PIL.Image", "mstgraph[raw]")
    seen = image.convert("RGBA")
    page = pillow.new("RGBA", seen.size, (255, 255, 255, 255))
    return pillow.alpha_composite(page, seen).convert("RGB")


def _grey_bits(path: Path) -> int:
    """Return the bits of a grey level in a PNG; 8 for all else."""
    with path.open("rb") as file:
        head = file.read(26)
    is_grey_png = head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) == 26 and head[25] == 0
    return head[24] if is_grey_png else 8
