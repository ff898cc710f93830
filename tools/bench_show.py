"""CPU seconds of ``mstgraph show`` beyond importing torch, of this checkout and of another.

Four graphs, each in fresh processes: ``gin/mfeat_zer.gin``; ``gin/nyudepth_rgb.gin`` on its
demonstration, and at the size of NYU-Depth-V2 over synthetic rooms of that size (only their shapes
are asked for); and 60 members over UCI Multiple Features with more than 120 specialised teachers
(the graph is made up).

    python tools/bench_show.py
    python tools/bench_show.py --against ../before --rounds 5 --json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
TORCH = "import torch"
SHOW = "from mstgraph.cli import main; main()"
STUDENT, FEATURES = "zer", ("fou", "fac", "kar", "pix", "mor")


def full_size(root: Path) -> list[str]:
    """Return the arguments that put rooms of the size of NYU-Depth-V2 in its place."""
    bindings = (
        "data.demonstration = None",
        f"data.recipe = '{root / 'datasets/rooms.py'}'",
        "data.options = {'size': (480, 640)}",
        "data.store = 'not prepared'",
    )
    return [word for binding in bindings for word in ("-p", binding)]


def many_members(root: Path, count: int) -> str:
    """Return the gin text of a graph of so many members: a student, fused and unimodal teachers."""
    head = [f"include '{root}/gin/base/{name}.gin'" for name in ("mst", "mfeat")]
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


def seconds(root: Path, code: str, *arguments: str) -> float:
    """Return the CPU seconds, user's and system's, of a process that runs a checkout's code."""
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *arguments]
    before = os.times()
    ran = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    after = os.times()
    if ran.returncode:
        sys.exit(f"{root}: {' '.join(arguments)}: {ran.stderr}")
    return (
        after.children_user + after.children_system - before.children_user - before.children_system
    )


def cases(root: Path, folder: Path) -> dict[str, tuple[str, ...]]:
    """Name → code of a checkout to run and its arguments."""
    many = folder / f"{root.name}.gin"
    many.write_text(many_members(root, 60))
    nyu = f"{root}/gin/nyudepth_rgb.gin"
    return {
        "import torch": (TORCH,),
        "mfeat": (SHOW, "show", f"{root}/gin/mfeat_zer.gin"),
        "NYU, demonstration": (SHOW, "show", nyu),
        "NYU, 480×640": (SHOW, "show", nyu, *full_size(root)),
        "60 members": (SHOW, "show", str(many)),
    }


def measure(roots: Sequence[Path], rounds: int) -> list[dict[str, float]]:
    """Return, for each checkout, case → median CPU seconds beyond importing torch.

    The checkouts and cases take turns, so that a slow moment hits all.
    """
    with tempfile.TemporaryDirectory() as folder:
        commands = [cases(root, Path(folder)) for root in roots]
        found: list[dict[str, list[float]]] = [{name: [] for name in c} for c in commands]
        for name in [name for _ in range(rounds) for name in commands[0]]:
            for root, command, values in zip(roots, commands, found, strict=True):
                values[name].append(seconds(root, *command[name]))
    return [_beyond_torch(values) for values in found]


def _beyond_torch(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    median = {name: statistics.median(values) for name, values in found.items()}
    torch = median.pop("import torch")
    return {"import torch": torch, **{name: value - torch for name, value in median.items()}}


def main() -> None:
    """Measure and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", type=Path, help="folder of another checkout to measure, too")
    parser.add_argument("--rounds", type=int, default=3, help="processes a case (default 3)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    roots = [ROOT, *([arguments.against.resolve()] if arguments.against else [])]
    found = measure(roots, arguments.rounds)
    if arguments.json:
        print(json.dumps(dict(zip(map(str, roots), found, strict=True)), indent=2))
        return
    print(f"{'CPU, s, beyond torch':<24}{'here':>8}" + f"{'there':>8}{'÷':>8}" * (len(roots) - 1))
    for name, here in found[0].items():
        there = "".join(f"{other[name]:>8.2f}{other[name] / here:>8.1f}" for other in found[1:])
        print(f"{name:<24}{here:>8.2f}{there}")


if __name__ == "__main__":
    main()
