"""Synthetic pictures, in a file of their own: processes that read them import no torch."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mstgraph.store.recipe import Labels, Modality, Recipe


def file(index: int, kind: str, mode: str, size: tuple[int, int] = (9, 7)) -> bytes:
    """A picture of random pixels, synthetic."""
    draw, shape = np.random.default_rng(index), (size[1], size[0])
    if mode == "I;16":
        pixels = draw.integers(0, 9000, shape).astype(np.uint16)
    else:
        pixels = draw.integers(0, 256, (*shape, 3), np.uint8)
    picture, out = Image.fromarray(pixels), io.BytesIO()
    (picture if mode == "I;16" else picture.convert(mode)).save(out, kind)
    return out.getvalue()


@dataclass
class Pictures(Recipe):
    """Colour, depth, and grey that some samples lack; as files or as the arrays they stand for."""

    encoded: bool = True
    wrong: str = ""

    title, source, licence, synthetic = "pictures", "drawn at random", "none", "random pixels"

    def modalities(self) -> tuple[Modality, ...]:
        """Stored as 6×8, but for depth."""
        jpeg, png = ("jpeg", "png") if self.encoded else ("raw", "raw")
        return (
            Modality("photo", "uint8", (3, 6, 8), encoding=jpeg),
            Modality("depth", "uint16", (1, 7, 9), 0.001, "m", encoding=png),
            Modality("grey", "uint8", (1, 6, 8), optional=True, encoding=png),
            Modality("vector", "float32", (3,)),
        )

    def labels(self) -> Labels:
        """Two classes."""
        return Labels("classification", ("a", "b"))

    def __len__(self) -> int:
        return 22

    def identifier(self, index: int) -> str:
        """A file's name."""
        return f"{index}.jpg"

    def sample(self, index: int) -> Mapping[str, np.ndarray | bytes | None]:
        """Return files, or what Pillow makes of them."""
        files: dict[str, bytes | None] = {
            "photo": file(index, "JPEG", "RGB"),
            "depth": file(index, "PNG", "I;16"),
            "grey": None if index % 3 == 0 else file(index, "PNG", "L"),
        }
        if self.wrong and index == 5:
            files |= {
                "kind": {"photo": file(index, "PNG", "RGB")},
                "cut": {"photo": file(index, "JPEG", "RGB")[:300]},
                "size": {"depth": file(index, "PNG", "I;16", (8, 7))},
                "deep": {"depth": file(index, "PNG", "L")},
                "array": {"photo": np.zeros((3, 6, 8), np.uint8)},
                "empty": {"photo": b""},
            }[self.wrong]
        values = files if self.encoded else {n: self._array(n, f) for n, f in files.items()}
        return {
            **values,
            "vector": np.full(3, index, np.float32),
            "label": np.array(index % 2),
        }

    @staticmethod
    def _array(name: str, file: bytes | None) -> np.ndarray | None:
        if file is None:
            return None
        picture = Image.open(io.BytesIO(file))
        if name == "depth":
            return np.asarray(picture).astype(np.uint16)[None]
        small = np.asarray(picture.resize((8, 6), Image.Resampling.BILINEAR))
        return small[None] if name == "grey" else small.transpose(2, 0, 1)
