"""Draw what networks could tell each other; the same as `mstgraph draw transfer`.

python tools/draw_transfer.py runs/nyudepth_rgb-seed0 [--out FILE_STEM] [--format svg|png|pdf]…
"""

from __future__ import annotations

import sys

from mstgraph.cli import main

if __name__ == "__main__":
    main(["draw", "transfer", *sys.argv[1:]])
