"""Draw where networks look (Grad-CAM); the same as `mstgraph draw saliency`.

python tools/draw_saliency.py runs/nyudepth_rgb-seed0 [--out FILE_STEM] [--format svg|png|pdf]…
"""

from __future__ import annotations

import sys

from mstgraph.cli import main

if __name__ == "__main__":
    main(["draw", "saliency", *sys.argv[1:]])
