"""Damage and stop things at random, and see that nothing goes wrong in silence.

    python tools/check_faults.py --kind flips --count 500
    python tools/check_faults.py --seconds 600

Bits flip in a store, in kept values, weights, checkpoints and descriptions; run, prepare and bench
are killed; the disk is full; gin files and recipes are changed. Each trial has to come to the same
bits as without, or to one sentence. Prints how many were tried and how many failed, with what it
takes to see each again; exit code 1 if one failed. All values are random and stand for nothing.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import click
import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import mstgraph  # noqa: E402
from tools.fault_check import inputs  # noqa: E402
from tools.fault_check.flips import Flips  # noqa: E402
from tools.fault_check.stops import full_disks, kills, works  # noqa: E402
from tools.fault_check.trial import forked  # noqa: E402
from tools.fault_check.world import World  # noqa: E402

KINDS = ("flips", "kills", "disk", "inputs")
SHOWN = 1000  # characters of a fault


def trials(world: World, kind: str, seed: int) -> Iterator[tuple[str, str]]:
    """Return endless trials of a kind: what was done, and what is wrong with it."""
    moments = random.Random(f"{kind} {seed}")
    if kind == "inputs":
        return inputs.trials(moments)
    if kind == "flips":
        outcome = forked(partial(world.run, "whole"), Path("said"), seconds=300)
        if outcome.kind != "done":
            raise click.ClickException(f"without any damage: {outcome.said}")
        return Flips(world, "whole").trials(moments)
    return (kills if kind == "kills" else full_disks)(works(world), moments)


def check(world: World, kind: str, count: int, seconds: float, seed: int) -> tuple[int, int]:
    """Make trials of a kind; print what fails; return how many were made and how many failed."""
    tried = failed = 0
    deadline = time.monotonic() + seconds
    for what, fault in islice(trials(world, kind, seed), count):
        tried += 1
        if fault:
            failed += 1
            click.echo(f"{kind} {tried}: {what}\n    {fault[-SHOWN:]}")
        if time.monotonic() > deadline:
            break
    return tried, failed


@click.command()
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Default: all.")
@click.option("--count", default=100, show_default=True, help="Trials of each kind.")
@click.option("--seconds", default=600.0, show_default=True, help="For each kind, at most.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/check-faults"))
def main(kinds: tuple[str, ...], count: int, seconds: float, seed: int, out: Path) -> None:
    """Check that damage, kills and bad inputs end well or in one sentence."""
    torch.set_num_threads(1)
    for name in dir(mstgraph):  # a forked process has it all, and begins at once
        getattr(mstgraph, name)
    world = World(out.resolve())
    world.make(ROOT)
    prepared = forked(world.prepare, Path("said"), seconds=300)
    if prepared.kind != "done":
        raise click.ClickException(prepared.said)
    total = 0
    for kind in kinds or KINDS:
        started = time.monotonic()
        tried, failed = check(world, kind, count, seconds, seed)
        total += failed
        click.echo(f"{kind}: {tried} tried, {failed} failed, {time.monotonic() - started:.0f} s")
    sys.exit(1 if total else 0)


if __name__ == "__main__":
    main()
