"""Draw the distillation paths of a graph or of a finished run; the same as `mstgraph draw`.

python tools/draw_paths.py gin/nyudepth_rgb.gin [-p BINDING]… [--out FILE_STEM]
python tools/draw_paths.py runs/nyudepth_rgb-seed0 [--out FILE_STEM]
"""

from __future__ import annotations

import sys

from mstgraph.cli import main

if __name__ == "__main__":
    main(["draw", "paths", *sys.argv[1:]])
