"""What each MaskNet lets through: mean and spread over test samples, channel by channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from mstgraph.look.masks import every_mask
from mstgraph.viz.canvas import INK, MUTED, PAPER, Figure, mix
from mstgraph.viz.colours import colours
from mstgraph.viz.sheet import TICK, Panels, sheet, style
from mstgraph.viz.wanted import Wanted, nothing_to_show

SAMPLES = 512
NAMED = 5  # channels that are damped most


def draw(wanted: Wanted) -> Figure:
    """Draw a panel per specialised teacher: 1 leaves a channel as it is, 0 takes it away.

    Raises:
        UserError: no teacher has a mask that is kept, or the store is gone.
    """
    run = wanted.run()
    target = wanted.student(run)
    with wanted.opened(run) as opened:
        found = {
            one.teacher: one.mask
            for one in every_mask(opened, run.plan, target, wanted.samples or SAMPLES)
            if one.mask is not None
        }
    if not found:
        raise nothing_to_show(run, f"no teacher of '{target}' has a MaskNet that keeps its mask")
    words = f"line: mean; band: 10 % to 90 % of the samples; numbers: the {NAMED} most damped"
    page = Panels(len(found), 1, 6.4, 1.35)
    figure, panels = sheet(run, f"Masks of the teachers of {target}", words, page)
    hues = colours(len(found))
    for (axes,), (name, mask), colour in zip(panels, found.items(), hues, strict=True):
        _mask(axes, mask, colour)
        spread = mask.std(0).mean()
        style(axes, f"{name}: mean {mask.mean():.3f}, spread over samples {spread:.3f}", "channel")
    return figure


def _mask(axes: Any, mask: np.ndarray, colour: str) -> None:
    channels = np.arange(mask.shape[1])
    mean = mask.mean(0)
    low, high = np.quantile(mask, (0.1, 0.9), axis=0)
    axes.fill_between(channels, low, high, color=mix(colour, PAPER, 0.3), linewidth=0, step="mid")
    axes.step(channels, mean, color=colour, linewidth=1.2, where="mid")
    axes.axhline(1, color=MUTED, linewidth=0.8, dashes=(4, 2.5))
    axes.set_ylim(0, 1.12)
    axes.set_xlim(-0.5, len(channels) - 0.5)
    for channel in np.argsort(mean)[:NAMED]:
        axes.plot(channel, mean[channel], "o", color=colour, markersize=3)
        axes.annotate(
            str(channel),
            (channel, mean[channel]),
            (0, -3),
            textcoords="offset points",
            ha="center",
            va="top",
            color=INK,
            fontsize=TICK.size - 1,
        )
