"""Draw what each MaskNet lets through; the same as `mstgraph draw masks`.

python tools/draw_masks.py runs/nyudepth_rgb-seed0 [--out FILE_STEM] [--format svg|png|pdf]…
"""

from __future__ import annotations

import sys

from mstgraph.cli import main

if __name__ == "__main__":
    main(["draw", "masks", *sys.argv[1:]])
