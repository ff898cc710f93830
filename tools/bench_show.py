"""CPU seconds of ``mstgraph show``, and of importing torch alone.

Three graphs, each in fresh processes: ``gin/mfeat_zer.gin``; ``gin/nyudepth_rgb.gin`` at the size
and widths of NYU-Depth-V2, over synthetic rooms of that size (only their shapes are asked for); and
60 members over UCI Multiple Features with more than 120 specialised teachers (the graph is made
up). Another checkout is measured with PYTHONPATH.

    python tools/bench_show.py
    PYTHONPATH=../before python tools/bench_show.py --rounds 5 --json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TORCH = "import torch"
SHOW = "from mstgraph.cli import main; main()"
STUDENT, FEATURES = "zer", ("fou", "fac", "kar", "pix", "mor")
FULL_SIZE = (
    "data.demonstration = None",
    f"data.recipe = '{ROOT / 'datasets/rooms.py'}'",
    "data.options = {'size': (480, 640)}",
    "data.store = 'not prepared'",
)


def many_members(count: int) -> str:
    """Return the gin text of a graph of so many members: a student, fused and unimodal teachers."""
    head = [f"include '{ROOT}/gin/base/{name}.gin'" for name in ("mst", "mfeat")]
    student = [f"graph.target = '{STUDENT}'", f"graph.{STUDENT} = @{STUDENT}/Member()"]
    return "\n".join([*head, *student, *(_teacher(i) for i in range(count - 1))])


def _teacher(index: int) -> str:
    name, feature = f"teacher{index:02}", FEATURES[index % len(FEATURES)]
    lines = [f"graph.{name} = @{name}/Member()"]
    if index % 2:
        lines += [
            f"{name}/Member.network = @FusedMLP",
            f"{name}/Member.inputs = ('{feature}', '{STUDENT}')",
            f"{name}/Member.masks = ('fusion', 'hidden1', 'hidden2')",
        ]
    else:
        lines += [
            f"{name}/Member.inputs = ('{feature}',)",
            f"{name}/Member.masks = ('hidden1', 'hidden2')",
        ]
    return "\n".join(lines)


def seconds(code: str, *arguments: str, folder: str) -> float:
    """Return the CPU seconds of a fresh process that runs code, user's and system's."""
    environment = {"PYTHONPATH": str(ROOT), **os.environ, "OMP_NUM_THREADS": "1"}
    before = os.times()
    subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
    )
    after = os.times()
    return (
        after.children_user + after.children_system - before.children_user - before.children_system
    )


def cases(folder: Path) -> dict[str, tuple[str, ...]]:
    """Name → code to run and its arguments."""
    many = folder / "many.gin"
    many.write_text(many_members(60))
    full = [word for binding in FULL_SIZE for word in ("-p", binding)]
    return {
        "import torch": (TORCH,),
        "mfeat": (SHOW, "show", f"{ROOT}/gin/mfeat_zer.gin"),
        "NYU-Depth-V2, 480×640": (SHOW, "show", f"{ROOT}/gin/nyudepth_rgb.gin", *full),
        "60 members": (SHOW, "show", str(many)),
    }


def measure(rounds: int) -> dict[str, float]:
    """Return case → median CPU seconds; the cases take turns, so that a slow moment hits all."""
    with tempfile.TemporaryDirectory() as folder:
        commands = cases(Path(folder))
        found: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                found[name].append(seconds(*command, folder=folder))
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> None:
    """Measure and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="processes a case (default 3)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    found = measure(arguments.rounds)
    if arguments.json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    print(f"{'':<24}{'CPU, s':>8}{'beyond torch':>14}")
    for name, value in found.items():
        print(f"{name:<24}{value:>8.1f}{value - found['import torch']:>14.1f}")


if __name__ == "__main__":
    main()
