"""Who sees what, who teaches whom and how; of a run with its routing (paper, Fig. 2)."""

from __future__ import annotations

from mstgraph.look.records import Records
from mstgraph.support.errors import UserError
from mstgraph.viz.canvas import Figure
from mstgraph.viz.paths.paths import draw_paths
from mstgraph.viz.wanted import Wanted


def draw(wanted: Wanted) -> Figure:
    """Draw modalities → members → specialised teachers → gate → student.

    Raises:
        UserError: the run is not finished.
    """
    if wanted.plan is not None:
        return draw_paths(wanted.plan)
    run: Records = wanted.run()
    if not run.finished:
        raise UserError(
            f"'{run.path}' has no summary.json; expected the folder of a finished run, or a gin "
            "file"
        )
    return draw_paths(run.plan, run.routing)
