"""Draw several runs side by side; the same as `mstgraph draw compare`.

python tools/compare_runs.py runs/ONE runs/OTHER… [--out FILE_STEM] [--format svg|png|pdf]…
"""

from __future__ import annotations

import sys

from mstgraph.cli import main

if __name__ == "__main__":
    main(["draw", "compare", *sys.argv[1:]])
