"""What networks could tell each other: who is right where another errs (paper, Fig. 1, 7, 8)."""

from __future__ import annotations

from mstgraph.look.outcomes import transfer
from mstgraph.viz.canvas import MUTED, NEUTRAL, Figure, blend
from mstgraph.viz.colours import colours
from mstgraph.viz.sheet import Panels, heat, sheet, style
from mstgraph.viz.wanted import Wanted, nothing_to_show

WORDS = (
    "right side: on how many of a column's errors a row is right, %; a student can gain from those"
)


def draw(wanted: Wanted) -> Figure:
    """Draw each network's share of right test samples, and what each could tell each.

    Raises:
        UserError: the run left nothing of single test samples.
    """
    run = wanted.run()
    found = transfer(run)
    if found is None:
        raise nothing_to_show(run, "its stages left nothing of single test samples")
    modalities = [m["name"] for m in run.plan["modalities"]]
    hues = dict(zip(modalities, colours(len(modalities)), strict=True))
    inputs = {m["name"]: m["inputs"] for m in run.plan["members"]}
    count = len(found.names)
    longest = 0.085 * max(map(len, found.names)) + 0.3
    size = max(2.2, 0.42 * count)
    page = Panels(1, 2, size, size, left=longest, right=0.4, below=longest * 0.75)
    figure, ((bars, table),) = sheet(run, "Transfer between networks", WORDS, page)
    # A specialised teacher is named MEMBER.POINT; a student "NAME alone" or "NAME distilled".
    owners = [name if name in inputs else name.split(" ")[0].split(".")[0] for name in found.names]
    tints = [blend([hues[m] for m in inputs[o]]) if o in inputs else NEUTRAL for o in owners]
    bars.barh(range(count), 100 * found.accuracy, color=tints, height=0.65)
    bars.set_yticks(range(count), found.names)
    bars.invert_yaxis()
    for i, value in enumerate(found.accuracy):
        bars.text(100 * value - 1, i, f"{100 * value:.1f}", ha="right", va="center", color="white")
    style(bars, "right on test samples, %")
    bars.grid(visible=False)
    bars.set_xticks([])
    bars.spines["bottom"].set_visible(False)
    heat(table, found.told, found.names, found.names, "told, %")
    table.tick_params(colors=MUTED)
    return figure
