"""What the gin files of a data set imply, and a short run of one, as a person would call them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from click.testing import CliRunner

from mstgraph.cli import main

ROOT = Path(__file__).parents[2]


def call(command: str, gin_file: str, bindings: Sequence[str], *options: str) -> str:
    """Return what a command prints; it must succeed."""
    words = [command, str(ROOT / "gin" / gin_file), *options]
    for binding in bindings:
        words += ["-p", binding]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, f"{done.output}\n{done.exception}"
    return done.stdout


def teachers(gin_file: str, raw: Path, *bindings: str) -> list[tuple[int, str, str]]:
    """Return (δ(j), member, mask point) of each specialised teacher, before a store is built."""
    data = [f"data.raw = '{raw}'", f"data.store = '{raw / 'no-store'}'", *bindings]
    document = json.loads(call("show", gin_file, data, "--json"))
    (found,) = document["teachers"].values()
    return [(item["delta"], item["member"], item["point"]) for item in found]


def run(gin_file: str, raw: Path, folder: Path, *bindings: str) -> dict:
    """Run one epoch of each stage, two batches each, and return the summary."""
    short = [f"{stage}.epochs = 1" for stage in ("CI", "STA", "DKD")]
    data = [f"data.raw = '{raw}'", f"data.store = '{folder / 'store'}'"]
    out = folder / "run"
    call("run", gin_file, [*data, *short, *bindings], "--device", "cpu", "--out", str(out))
    return json.loads((out / "summary.json").read_text())
