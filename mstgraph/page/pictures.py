"""Samples as small pictures in a page: PNG for images and maps, SVG for traces and vectors."""

from __future__ import annotations

import base64
import io

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.image import imsave

from mstgraph.look.items import Kind, kind_of, picture
from mstgraph.page.parts import Picture
from mstgraph.viz.canvas import INK, PAPER, mix
from mstgraph.viz.colours import LIGHT, colours

LARGEST = 224  # pixels of a side; larger images are thinned out
IGNORED = (0.12, 0.14, 0.16)
_HUES = colours(8)


def sample_picture(values: np.ndarray, name: str, shown: np.ndarray | None = None) -> Picture:
    """Return a raw sample as a person sees it, with what a network looks at in it.

    Args:
        values: as the store holds it, [*shape].
        name: below it.
        shown: where a network looks, [*extents without channels] float in 0…1; None for none.
    """
    kind = kind_of(values.shape)
    if kind == Kind.IMAGE:
        return Picture(name, f"{name} as an image", source=_png(_overlaid(picture(values), shown)))
    if kind == Kind.TRACES:
        return Picture(name, f"{name} over time", svg=_traces(values, shown))
    return Picture(name, f"{name}, {values.size} values as bars", svg=_bars(values.ravel()))


def class_colours(count: int) -> list[str]:
    """Return a colour for each class of a map: after twenty lighter ones, then darker ones."""
    variants = [*LIGHT, *(mix(c, PAPER, 0.45) for c in LIGHT), *(mix(c, INK, 0.5) for c in LIGHT)]
    return [variants[i % len(variants)] for i in range(count)]


def map_picture(classes: np.ndarray, name: str, count: int, ignored: np.ndarray) -> Picture:
    """Return a map of classes in colours.

    Args:
        classes: [height, width] int.
        name: below it.
        count: how many classes there are.
        ignored: where no class is counted, [height, width] bool.
    """
    palette = np.array([to_rgb(colour) for colour in class_colours(count)])
    image = palette[np.clip(classes, 0, count - 1)]
    image[ignored] = IGNORED
    return Picture(name, f"{name}: classes as colours", source=_png(image))


def _overlaid(image: np.ndarray, shown: np.ndarray | None) -> np.ndarray:
    coloured = image if image.ndim == 3 else np.repeat(image[..., None], 3, 2)
    if shown is None:
        return coloured
    share = 0.55 * np.clip(shown, 0, 1)[..., None]
    mixed: np.ndarray = (1 - share) * coloured + share * colormaps["inferno"](shown)[..., :3]
    return mixed


def _png(image: np.ndarray) -> str:
    step = -(-max(image.shape[:2]) // LARGEST)
    stream = io.BytesIO()
    imsave(stream, np.clip(image[::step, ::step], 0, 1), format="png")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _traces(values: np.ndarray, shown: np.ndarray | None) -> str:
    """Return lines over time, [channels, times]; darker ground where a network looks."""
    low, high = float(values.min()), float(values.max())
    height = 60 - 56 * (values.astype(float) - low) / max(high - low, 1e-12) - 2
    times = values.shape[1]
    across = 120 * (np.arange(times) + 0.5) / times
    ground = ""
    if shown is not None:
        wide = 120 / len(shown)
        ground = "".join(
            f'<rect x="{i * wide:.1f}" width="{wide + 0.2:.1f}" height="60" class="looked" '
            f'opacity="{0.75 * value:.2f}"/>'
            for i, value in enumerate(shown)
            if value > 0.02
        )
    lines = "".join(
        f'<polyline fill="none" stroke="{_HUES[i % len(_HUES)]}" points="'
        + " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, row, strict=True))
        + '"/>'
        for i, row in enumerate(height)
    )
    return f'<svg viewBox="0 0 120 60" preserveAspectRatio="none">{ground}{lines}</svg>'


def _bars(values: np.ndarray) -> str:
    """Return bars from the middle up or down, as far as the largest value goes."""
    most = max(float(np.abs(values).max()), 1e-12)
    low = min(0.0, float(values.min()))
    base, scale = (30, 28) if low < 0 else (58, 56)
    wide = 120 / len(values)
    sizes = scale * values.astype(float) / most
    path = "".join(
        f"M{(i + 0.5) * wide:.1f},{base}V{base - size:.1f}" for i, size in enumerate(sizes)
    )
    stroke = f'stroke="{_HUES[0]}" stroke-width="{max(0.4, 0.8 * wide):.2f}"'
    return f'<svg viewBox="0 0 120 60" preserveAspectRatio="none"><path {stroke} d="{path}"/></svg>'
