"""The colours of series in pictures and on pages, and the dashes and shapes that go on from them.

All twenty are told apart by who sees every colour, the first `TOLD` also by who lacks a kind of
cone; after so many, dashes and shapes change as well. Each stands out from its ground by 3:1 at
least (WCAG 2.2, 1.4.11).
"""

from __future__ import annotations

TOLD = 8
_ON_WHITE = (
    "#2f74d0 #d2690f #17a25d #5d17b9 #b91700 #00745d #b974a2 #742e5d "
    "#745d2e #d1005d #745da2 #8b74ff #17468b #8b002e #d100b9 #ff4674 "
    "#465d00 #8b8b2e #178b8b #a27446"
)
_ON_BLACK = (
    "#6ea8f0 #f2a45c #5dffd1 #ff008b #ffe800 #8b5de8 #178b8b #8b7400 "
    "#e8b9e8 #a2b98b #b9745d #5da200 #8b8bb9 #b9e874 #d18ba2 #d100b9 "
    "#4674b9 #ff5dd1 #e8d1a2 #b9b900"
)
LIGHT, DARK = _ON_WHITE.split(), _ON_BLACK.split()
DASHES: tuple[tuple[float, ...], ...] = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3))  # drawn, left out
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross")  # by their names in Vega
MARKERS = "os^DP"  # the same in matplotlib


def colours(count: int) -> list[str]:
    """Return so many colours on white; they begin again after the last one."""
    return [LIGHT[i % len(LIGHT)] for i in range(count)]


def markers(count: int) -> list[str]:
    """Return matplotlib's marker for each of so many series."""
    return [MARKERS[i // TOLD % len(MARKERS)] for i in range(count)]
