"""Colours of series, as people see them: against sRGB, OKLab and models of lacking cones."""

from __future__ import annotations

import numpy as np
import pytest

from mstgraph.viz.colours import DARK, LIGHT, SHAPES, TOLD, colours, markers

# OKLab, https://bottosson.github.io/posts/oklab
LMS = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
]
LAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]
# What is left without one kind of cone, of linear RGB: Machado et al. 2009, severity 1.
LACKING = {
    "none": np.eye(3),
    "long": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "middle": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "short": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
GROUNDS = [(LIGHT, "#ffffff"), (DARK, "#1b2128")]  # of cards on a page, see its style


def linear(palette: list[str]) -> np.ndarray:
    """Return linear RGB, [colours, 3]."""
    bytes_of = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in palette]
    values = np.array(bytes_of) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def nearest(palette: list[str], lacking: str) -> float:
    """Return the least distance of two colours, a hundredth of OKLab's lightness as one."""
    seen = np.clip(linear(palette) @ np.array(LACKING[lacking]).T, 0, 1)
    lab = 100 * np.cbrt(seen @ np.array(LMS).T) @ np.array(LAB).T
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    return float(distance[~np.eye(len(lab), dtype=bool)].min())


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_twenty_are_told_apart(palette: list[str]) -> None:
    """Side by side a distance of 2 is just seen; the first few are far apart whoever looks."""
    assert len(palette) == len(set(palette)) == 20
    assert nearest(palette, "none") > 8
    for lacking in LACKING:
        assert nearest(palette, lacking) > 3, lacking
        assert nearest(palette[:TOLD], lacking) > 7, lacking


@pytest.mark.parametrize(("palette", "ground"), GROUNDS, ids=["light", "dark"])
def test_marks_stand_out(palette: list[str], ground: str) -> None:
    """By 3:1 at least, WCAG 2.2, 1.4.11."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    own, behind = linear(palette) @ weights, float(linear([ground])[0] @ weights)
    contrast = (np.maximum(own, behind) + 0.05) / (np.minimum(own, behind) + 0.05)
    assert contrast.min() >= 3, palette[contrast.argmin()]


def test_what_begins_again_has_another_marker() -> None:
    """No two of forty series look alike, nor two of them that a colour-blind reader mistakes."""
    looks = [*zip(colours(40), markers(40), strict=True)]
    assert len(set(looks)) == 40
    assert [*map(markers(40).index, dict.fromkeys(markers(40)))] == [*range(0, 40, TOLD)]
    assert len(SHAPES) == len(set(markers(40)))
