"""Draw features before and after each MaskNet; the same as `mstgraph draw features`.

python tools/draw_features.py runs/nyudepth_rgb-seed0 [--out FILE_STEM] [--format svg|png|pdf]…
"""

from __future__ import annotations

import sys

from mstgraph.cli import main

if __name__ == "__main__":
    main(["draw", "features", *sys.argv[1:]])
