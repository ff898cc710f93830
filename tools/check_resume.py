"""Kill a run at random moments, give the same command again, and compare with one left alone.

    python tools/check_resume.py gin/mfeat_zer.gin --kills 10 --seed 1

Prints one line per kill (where it landed) and says whether weights, losses, routing and the
summary are, bit by bit, those of the uninterrupted run; exit code 1 if they are not.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

SIGNALS = {"KILL": signal.SIGKILL, "INT": signal.SIGINT, "TERM": signal.SIGTERM}


def differences(one: Path, other: Path) -> Iterator[str]:
    """Yield what two finished runs do not have in common, bit by bit; times are left out."""
    for pattern, read in (("*.safetensors", load_file), ("metrics.jsonl", _records)):
        names = [_relative(folder, pattern) for folder in (one, other)]
        yield from (f"{name} is in one run only" for name in sorted(names[0] ^ names[1]))
        for name in sorted(names[0] & names[1]):
            if not _same(read(one / name), read(other / name)):
                yield f"{name} differs"
    if _summary(one) != _summary(other):
        yield "summary.json differs"


def _relative(folder: Path, pattern: str) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob(pattern)}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and all(torch.is_tensor(value) for value in one.values()):
        return one.keys() == other.keys() and all(
            torch.equal(value, other[name]) for name, value in one.items()
        )
    return bool(one == other)


def _records(path: Path) -> list[Any]:
    return [_timeless(json.loads(line)) for line in path.read_text().splitlines()]


def _summary(folder: Path) -> Any:
    return _timeless(json.loads((folder / "summary.json").read_text()))


def _timeless(value: Any) -> Any:
    """Leave out what depends on the moment: seconds and memory."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in ("seconds", "peak_memory")}
        return {key: _timeless(item) for key, item in kept.items()}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def place(folder: Path) -> str:
    """Say where a run was stopped, from what it left on disk."""
    under_way = []
    for path in sorted(folder.glob("stages/*/metrics.jsonl")):
        if not (path.parent / "artefact.json").exists():
            under_way.append(f"{path.parent.name} after epoch {len(path.read_text().splitlines())}")
    return ", ".join(under_way) or "between stages"


def _start(gin: str, bindings: Sequence[str], out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from mstgraph.cli import main; main()", "run", gin]
    for binding in bindings:
        command += ["-p", binding]
    return subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL)


def _finish(gin: str, bindings: Sequence[str], out: Path) -> float:
    started = time.monotonic()
    if _start(gin, bindings, out).wait() != 0:
        raise click.ClickException(f"the run in {out} failed")
    return time.monotonic() - started


@click.command()
@click.argument("gin")
@click.option("-p", "bindings", multiple=True, help="Binding, as for 'mstgraph run'.")
@click.option("--kills", default=5, show_default=True, help="How often.")
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
@click.option("--signal", "name", type=click.Choice(list(SIGNALS)), default="KILL")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/check-resume"))
def main(gin: str, bindings: tuple[str, ...], kills: int, seed: int, name: str, out: Path) -> None:
    """Check that a run that is stopped again and again comes out as if it had been left alone."""
    shutil.rmtree(out, ignore_errors=True)
    console = Console()
    whole, stopped = out / "whole", out / "stopped"
    seconds = _finish(gin, bindings, whole)
    console.print(f"uninterrupted: {seconds:.1f} s")
    table = Table("kill", "after", "where")
    moments = random.Random(seed)
    for number in range(1, kills + 1):
        delay = moments.uniform(0, seconds)
        process = _start(gin, bindings, stopped)
        try:
            process.wait(timeout=delay)
            table.add_row(str(number), f"{delay:.2f} s", "the run was finished")
            break
        except subprocess.TimeoutExpired:
            process.send_signal(SIGNALS[name])
            process.wait()
        table.add_row(str(number), f"{delay:.2f} s", place(stopped))
    _finish(gin, bindings, stopped)
    console.print(table)
    found = list(differences(whole, stopped))
    for sentence in found:
        console.print(sentence, markup=False)
    console.print("NOT the same" if found else "the same, bit by bit")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
