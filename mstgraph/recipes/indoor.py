"""What recipes of indoor scenes share: classes, modalities, intrinsics, surface normals.

The 40 classes are those of Gupta, Arbeláez and Malik, "Perceptual Organization and Recognition of
Indoor Scenes from RGB-D Images" (CVPR 2013); index 0 is what nobody labelled. Camera coordinates:
x to the right, y down, z forward, in metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mstgraph.recipes import images
from mstgraph.store.recipe import Labels, Modality, numbers
from mstgraph.support.errors import UserError
from mstgraph.support.machine.libraries import extra

# Spelt as the community's mapping spells them ("refridgerator").
CLASSES = [
    "unlabelled",
    "wall",
    "floor",
    "cabinet",
    "bed",
    "chair",
    "sofa",
    "table",
    "door",
    "window",
    "bookshelf",
    "picture",
    "counter",
    "blinds",
    "desk",
    "shelves",
    "curtain",
    "dresser",
    "pillow",
    "mirror",
    "floor mat",
    "clothes",
    "ceiling",
    "books",
    "refridgerator",
    "television",
    "paper",
    "towel",
    "shower curtain",
    "box",
    "whiteboard",
    "person",
    "night stand",
    "toilet",
    "sink",
    "lamp",
    "bathtub",
    "bag",
    "otherstructure",
    "otherfurniture",
    "otherprop",
]
UNLABELLED = 0
MILLIMETRES = 1000.0
NORMAL_STEPS = 127


def modalities(height: int, width: int) -> tuple[Modality, ...]:
    """Return ``rgb``, ``depth`` (millimetres, 0 = missing) and ``normals`` as they are stored."""
    return (
        Modality("rgb", "uint8", (3, height, width)),
        Modality("depth", "uint16", (1, height, width), 1 / MILLIMETRES, "m"),
        Modality("normals", "int8", (3, height, width), 1 / NORMAL_STEPS),
    )


def labels(height: int, width: int) -> Labels:
    """Return one of 41 classes per pixel, where index 0 (unlabelled) is ignored."""
    return Labels("segmentation", tuple(CLASSES), UNLABELLED, (height, width))


def stored(
    rgb: np.ndarray, depth: np.ndarray, normals: np.ndarray, label: np.ndarray
) -> dict[str, np.ndarray]:
    """Return a sample as the store keeps it.

    Args:
        rgb: [3, height, width] uint8.
        depth: [height, width] in metres, at most 65.535, 0 where missing.
        normals: [3, height, width] unit vectors, zero where depth is missing.
        label: [height, width], 0…40.
    """
    return {
        "rgb": np.ascontiguousarray(rgb, np.uint8),
        "depth": stored_depth(depth),
        "normals": stored_normals(normals),
        "label": np.ascontiguousarray(label, np.uint8),
    }


def item(modality: Modality, given: Path | str) -> np.ndarray:
    """Return a picture as the store keeps it: one in colour, or a depth map for the other two.

    Args:
        modality: ``rgb``, ``depth`` or ``normals``, as they are stored.
        given: a picture in colour; a 16-bit PNG in millimetres, 0 = missing; or a ``.npy`` file of
            what is stored.

    Raises:
        UserError: it cannot be read.
    """
    path = Path(given)
    if path.suffix == ".npy":
        return numbers(modality, path)
    height, width = modality.shape[1:]
    if modality.name == "rgb":
        colour = resized_colour(np.asarray(images.colour(path)), height, width)
        return np.ascontiguousarray(colour.transpose(2, 0, 1))
    depth = nearest_pixels(images.millimetres(path) / MILLIMETRES, height, width)
    check_depth(depth, str(path))
    depth = depth.astype(np.float32)
    if modality.name == "depth":
        return stored_depth(depth)
    return stored_normals(normals_from_depth(depth, Intrinsics.kinect(height, width)))


def check_depth(depth: np.ndarray, where: str) -> None:
    """Raise UserError unless depths are metres that can be stored, 0 where missing."""
    if not np.isfinite(depth).all():
        raise UserError(f"the depth of {where} is not finite everywhere; 0 stands for missing")
    if depth.min() < 0 or depth.max() > 65.535:
        raise UserError(
            f"the depth of {where} goes from {depth.min():g} to {depth.max():g}; "
            "expected metres between 0 (missing) and 65.535"
        )


def resized_colour(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return colours averaged over areas, [height, width, 3] uint8; of this size as they are."""
    if rgb.shape[:2] == (height, width):
        return rgb
    image = extra("PIL.Image", "mstgraph[raw]")
    return np.asarray(image.fromarray(rgb).resize((width, height), image.Resampling.BOX))


def nearest_pixels(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the nearest pixel of a map, [height, width]; of this size as they are."""
    raw_height, raw_width = values.shape
    rows = (2 * np.arange(height) + 1) * raw_height // (2 * height)
    columns = (2 * np.arange(width) + 1) * raw_width // (2 * width)
    return values[np.ix_(rows, columns)]


def stored_depth(depth: np.ndarray) -> np.ndarray:
    """Return [1, height, width] uint16 in millimetres of [height, width] in metres."""
    return np.rint(depth * MILLIMETRES).astype(np.uint16)[None]


def stored_normals(normals: np.ndarray) -> np.ndarray:
    """Return [3, height, width] int8 of unit vectors."""
    return np.rint(normals * NORMAL_STEPS).astype(np.int8)


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera: focal lengths and principal point in pixels (first pixel's centre = 0)."""

    focal_x: float
    focal_y: float
    centre_x: float
    centre_y: float

    @classmethod
    def kinect(cls, height: int, width: int) -> Intrinsics:
        """Return the Kinect's colour camera as NYU-Depth-V2 calibrated it, at any image size.

        Calibrated at 640×480 with the first pixel's centre at 1 (focal lengths 518.86 and 519.47,
        principal point 325.58, 253.74).
        """
        scale_x, scale_y = width / 640, height / 480
        return cls(
            518.857901 * scale_x,
            519.469611 * scale_y,
            (325.582449 - 0.5) * scale_x - 0.5,
            (253.736166 - 0.5) * scale_y - 0.5,
        )

    def rays(self, height: int, width: int) -> np.ndarray:
        """Return the point of depth 1 behind each pixel, [3, height, width] float32."""
        rows, columns = np.indices((height, width), dtype=np.float32)
        x = (columns - np.float32(self.centre_x)) / np.float32(self.focal_x)
        y = (rows - np.float32(self.centre_y)) / np.float32(self.focal_y)
        return np.stack([x, y, np.ones_like(x)])


def normals_from_depth(
    depth: np.ndarray, intrinsics: Intrinsics, step: int | None = None
) -> np.ndarray:
    """Return the unit surface normals that face the camera.

    Inverse depth is affine in the pixel's coordinates on a plane. It is fitted by least squares
    to 7×7 pixels around each, of which those of another depth weigh little, so that normals are
    exact on planes and edges between objects stay sharp.

    Args:
        depth: [height, width] in metres, 0 where missing.
        intrinsics: the camera at this size.
        step: distance between the pixels of a fit; by default 3 at a width of 640, at least 1.

    Returns:
        [3, height, width] float32 in camera coordinates; zero where depth is missing or too few
        neighbours have one.
    """
    height, width = depth.shape
    step = step or max(1, round(3 * width / 640))
    level, slope_x, slope_y, known = _fit_inverse_depth(depth.astype(np.float32), step)
    ray_x, ray_y, _ = intrinsics.rays(height, width)
    x = slope_x * np.float32(intrinsics.focal_x)
    y = slope_y * np.float32(intrinsics.focal_y)
    normals = -np.stack([x, y, level - x * ray_x - y * ray_y])
    length = np.sqrt((normals**2).sum(0))
    known &= length > 0
    return np.where(known, normals / np.where(known, length, 1), 0).astype(np.float32)


_REACH = 3  # steps from the middle of a fit to its edge
_SAME_SURFACE = 0.05  # relative difference in inverse depth at which a neighbour weighs a quarter


def _fit_inverse_depth(
    depth: np.ndarray, step: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return level and slopes along x and y, relative to the pixel's own, and where they hold."""
    height, width = depth.shape
    margin = _REACH * step
    padded = np.pad(depth, margin)
    offsets = range(-margin, margin + 1, step)
    sums = np.zeros((9, height, width), np.float32)
    for down in offsets:
        rows = slice(margin + down, margin + down + height)
        for right in offsets:
            near = padded[rows, margin + right : margin + right + width]
            present = near > 0
            change = depth / np.where(present, near, 1) - 1
            weight = present / (1 + (change / _SAME_SURFACE) ** 2) ** 2
            terms = (1, right, down, right * right, right * down, down * down)
            for total, factor in zip(sums, terms, strict=False):
                if factor:
                    total += factor * weight
            weight *= change
            for total, factor in zip(sums[6:], (1, right, down), strict=True):
                if factor:
                    total += factor * weight
    return _solve(sums, depth > 0)


def _solve(
    sums: np.ndarray, present: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Solve the 3×3 normal equations of each pixel by centring them."""
    total = np.where(sums[0] > 0, sums[0], 1)
    x, y, xx, xy, yy, value, x_value, y_value = sums[1:] / total
    xx, xy, yy = xx - x * x, xy - x * y, yy - y * y
    x_value, y_value = x_value - x * value, y_value - y * value
    determinant = xx * yy - xy * xy
    known = present & (determinant > 1e-6)
    safe = np.where(known, determinant, 1)
    slope_x = (yy * x_value - xy * y_value) / safe
    slope_y = (xx * y_value - xy * x_value) / safe
    return 1 + value - slope_x * x - slope_y * y, slope_x, slope_y, known
