"""Draw which teachers the gate trusts: epochs, classes; the same as `mstgraph draw routing`.

python tools/draw_routing.py runs/nyudepth_rgb-seed0 [--out FILE_STEM] [--format svg|png|pdf]…
"""

from __future__ import annotations

import sys

from mstgraph.cli import main

if __name__ == "__main__":
    main(["draw", "routing", *sys.argv[1:]])
