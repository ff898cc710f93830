"""Text and marks of the page against what lies behind them, in both themes (WCAG 2.2)."""

from __future__ import annotations

import re
from itertools import pairwise, product

import numpy as np
import pytest

pytest.importorskip("jinja2")

from mstgraph.page import charts
from mstgraph.page.page import TEMPLATE

STYLE = (TEMPLATE / "page.css").read_text(encoding="utf-8")
LIGHT, DARK = (
    dict(re.findall(r"--(\w+):(#\w+)", block)) for block in re.findall(r"{color-scheme:.*?}", STYLE)
)


def luminance(colour: str) -> float:
    """Return the relative luminance of ``#rgb`` or ``#rrggbb``."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    values = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    """Return the ratio of two colours, 1…21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_is_read_on_either_ground(theme: dict[str, str]) -> None:
    """By 4.5:1 at least."""
    inks = ("ink", "muted", "link", "good", "bad", "amber")
    for ink, ground in product(inks, ("paper", "ground")):
        assert contrast(theme[ink], theme[ground]) >= 4.5, (ink, ground)


@pytest.mark.parametrize("most", [None, 0.5])
def test_numbers_are_read_on_every_colour_of_a_heat_map(most: float | None) -> None:
    """By 4.5:1 at least, whatever the share or the difference."""
    spec = charts.heat("row", "column", "share", 3, "abc", most=most)
    scale = spec["layer"][0]["encoding"]["color"]["scale"]
    ink = spec["layer"][1]["encoding"]["color"]
    low, high = map(float, re.findall(r"[<>] (-?[\d.]+)", ink["condition"]["test"]))
    for (start, one), (end, other) in pairwise(zip(scale["domain"], scale["range"], strict=True)):
        for part in np.linspace(0, 1, 33):
            value = start + (end - start) * part
            mixed = [
                round((1 - part) * int(one[i : i + 2], 16) + part * int(other[i : i + 2], 16))
                for i in (1, 3, 5)
            ]
            behind = "#" + "".join(f"{channel:02x}" for channel in mixed)
            text = "#ffffff" if value < low or value > high else "#000000"
            assert contrast(text, behind) >= 4.5, (value, behind)
