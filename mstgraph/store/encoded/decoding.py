"""What the bytes of a picture's or a recording's file stand for, as an array.

The same for whoever decodes: a recipe that stores arrays, `mstgraph prepare` that checks a file,
and a run that reads one. Pictures are as a person sees them, upright.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mstgraph.store.recipe import Modality
from mstgraph.support.errors import UserError
from mstgraph.support.machine.libraries import extra

FORMATS = {"jpeg": ("JPEG",), "png": ("PNG",)}  # Pillow's names; a photo of several is a JPEG, too
DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
"""Pillow's names of grey with more than eight bits; a 16-bit PNG is of the first or the last."""
SEEN_AS_IT_IS = ("1", "L", "RGB", "CMYK", "YCbCr")
WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")


def decoded(item: Modality, where: str, content: bytes | memoryview) -> np.ndarray:
    """Return a sample of a modality, of its type and of no other shape than its files have.

    Pictures of eight bits are upright, in the modality's number of channels, three (RGB) or one
    (grey), and resized to its height and width; 16-bit PNGs and FLAC are as they are.

    Args:
        item: how the modality is declared.
        where: names the file in messages.
        content: of the file.

    Raises:
        UserError: it is no such file, or the library that reads it is missing.
    """
    return _DECODERS[item.encoding](item, where, bytes(content))


def _picture(item: Modality, where: str, content: bytes) -> np.ndarray:
    channels, height, width = item.shape
    formats = FORMATS[item.encoding]
    if item.dtype == "uint16":
        with opened(where, content, formats) as image:
            if image.mode not in DEEP:
                raise UserError(f"{where} is of mode '{image.mode}'; expected a 16-bit grey PNG")
            return np.asarray(image).astype(np.uint16)[None]
    picture = colour(where, content, formats)
    return resized(picture if channels == 3 else picture.convert("L"), height, width)


def _recording(item: Modality, where: str, content: bytes) -> np.ndarray:
    soundfile = extra("soundfile", "mstgraph[audio]")
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            if file.format != "FLAC":
                raise UserError(f"{where} is of the format {file.format}; expected FLAC")
            values: np.ndarray = file.read(dtype=item.dtype, always_2d=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{where} cannot be read as FLAC: {reason}") from error
    return np.ascontiguousarray(values.T)


_DECODERS: Mapping[str, Callable[[Modality, str, bytes], np.ndarray]] = {
    "jpeg": _picture,
    "png": _picture,
    "flac": _recording,
}


def colour(
    path: Path | str, content: bytes | None = None, formats: Sequence[str] | None = None
) -> Any:
    """Return a picture as RGB, a PIL image, upright as its orientation tag says.

    Grey of 16 bits keeps its range; what is transparent shows white, as on a page.

    Args:
        path: the file; names it in messages where ``content`` is given.
        content: the bytes of a picture that lies in a table or a store.
        formats: see `opened`.

    Raises:
        UserError: Pillow is missing; the file is no image, is damaged, is larger than Pillow takes
            for safe, holds several pictures, or is of a kind whose colours nobody can tell.
    """
    with opened(path, content, formats) as image:
        if image.mode in DEEP:
            return _of_sixteen_bits(path, image)
        if image.mode in WITH_ALPHA or "transparency" in image.info:
            return _on_white(image)
        if image.mode not in (*SEEN_AS_IT_IS, "P"):
            raise UserError(f"{path} is of mode '{image.mode}'; expected a picture in colour")
        return image.convert("RGB")


def resized(picture: Any, height: int, width: int) -> np.ndarray:
    """Return a PIL image of one or three channels as it is stored: [channels, height, width]."""
    resampling = extra("PIL.Image", "mstgraph[raw]").Resampling.BILINEAR
    values = np.asarray(picture.resize((width, height), resampling))
    return (values[None] if values.ndim == 2 else values.transpose(2, 0, 1)).copy()


@contextmanager
def opened(
    path: Path | str, content: bytes | None = None, formats: Sequence[str] | None = None
) -> Iterator[Any]:
    """Open an image that holds one picture, upright, a PIL image.

    Args:
        path: see `colour`.
        content: see `colour`.
        formats: Pillow's names of what it may be; None for all that Pillow reads.

    Raises:
        UserError: see `colour`.
    """
    pillow = extra("PIL.Image", "mstgraph[raw]")
    try:
        given = path if content is None else io.BytesIO(content)
        with pillow.open(given, formats=formats) as image:
            count = getattr(image, "n_frames", 1)
            if count > 1 and image.format != "MPO":  # a photo with a preview beside it
                raise UserError(f"the image {path} holds {count} pictures; expected one")
            pixels, most = image.width * image.height, pillow.MAX_IMAGE_PIXELS
            if most and pixels > most:
                raise UserError(f"the image {path} has {pixels} pixels; expected at most {most}")
            yield extra("PIL.ImageOps", "mstgraph[raw]").exif_transpose(image)
    except UserError:
        raise
    except pillow.UnidentifiedImageError as error:  # its words are those of memory addresses
        kind = f"{formats[0]} file" if formats else "picture"
        raise UserError(f"the image {path} cannot be read: it is no {kind}") from error
    except Exception as error:  # Pillow raises almost anything on a broken or huge file
        reason = str(error).partition("\n")[0]
        raise UserError(f"the image {path} cannot be read: {reason}") from error


def _of_sixteen_bits(path: Path | str, image: Any) -> Any:
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
