"""Stop runs at random moments, give the same command again, and compare with one left alone.

    python tools/check_resume.py gin/mfeat_zer.gin -p 'CI.epochs = 3' -p 'STA.epochs = 2'

A run is stopped and continued until it finishes, then the next one begins, until enough stops have
landed. Prints how many landed where, and whether weights, losses, routing and summary of every
run are, bit by bit, those of the uninterrupted one; exit code 1 if they are not.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

from mstgraph.support.disk.descriptions import DIGEST

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
    """Leave out what depends on the moment: seconds and memory, and digests of these."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in ("seconds", "peak_memory", DIGEST)}
        return {key: _timeless(item) for key, item in kept.items()}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def place(folder: Path) -> str:
    """Say where a run was stopped, from what it left on disk."""
    stages = sorted(folder.glob("stages/*"))
    under_way = [path for path in stages if not (path / "artefact.json").exists()]
    if not under_way:
        return "between stages" if stages else "before the first stage"
    first, others = under_way[0], len(under_way) - 1
    beside = f" and {others} beside it" if others else ""
    return f"{first.name}{beside}, after epoch {_epochs(first)}"


def _epochs(stage: Path) -> int:
    log = stage / "metrics.jsonl"
    return len(log.read_text().splitlines()) if log.exists() else 0


def _be_mstgraph(arguments: Sequence[str], said: Path) -> None:
    """Run a command line, with whatever it says in a file."""
    stream = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for standard in (1, 2):
        os.dup2(stream, standard)
    from mstgraph.cli import main as mstgraph

    sys.argv = ["mstgraph", *arguments]
    mstgraph()


class Command:
    """A run's command line, given again and again.

    Args:
        gin: the gin file.
        bindings: of ``-p``.
    """

    def __init__(self, gin: str, bindings: Sequence[str]):
        self.arguments = ["run", gin]
        for binding in bindings:
            self.arguments += ["-p", binding]
        # Processes of their own, forked from one that has imported torch: a kill every second.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["mstgraph.run.execute", "mstgraph.cli"])

    def stopped(self, out: Path, delay: float, how: signal.Signals) -> bool:
        """Give the command, and stop it after some seconds; say whether it was still running."""
        process = self._start(out)
        process.join(delay)
        landed = process.exitcode is None
        if landed and process.pid is not None:
            os.kill(process.pid, how)
        process.join()
        if not landed:
            self._check(process, out)
        return landed

    def seconds(self, out: Path) -> float:
        """Give the command, and return how long it takes."""
        started = time.monotonic()
        process = self._start(out)
        process.join()
        self._check(process, out)
        return time.monotonic() - started

    def _start(self, out: Path) -> Any:
        arguments = [*self.arguments, "--out", str(out)]
        out.parent.mkdir(parents=True, exist_ok=True)
        process = self._context.Process(target=_be_mstgraph, args=(arguments, _said(out)))
        process.start()
        return process

    def _check(self, process: Any, out: Path) -> None:
        if process.exitcode != 0:
            last = _said(out).read_text().splitlines()[-1:]
            raise click.ClickException(f"the run in {out} failed: {' '.join(last)}")


def _said(out: Path) -> Path:
    return out.with_suffix(".txt")


def check(
    command: Command, out: Path, kills: int, moments: random.Random, how: signal.Signals
) -> tuple[list[str], list[str]]:
    """Stop runs until enough stops have landed, and compare each run that finishes.

    Returns:
        Where each stop landed, and what differs (nothing, if all is well), by run.
    """
    whole = out / "whole"
    command.seconds(whole)  # starts the process that all others are forked from
    shutil.rmtree(whole)
    seconds = command.seconds(whole)
    landed: list[str] = []
    found: list[str] = []
    for run in range(1, sys.maxsize):
        folder = out / f"run-{run}"
        while len(landed) < kills and command.stopped(folder, moments.uniform(0, seconds), how):
            landed.append(place(folder))
        command.seconds(folder)
        sentences = list(differences(whole, folder))
        found += [f"run {run}: {sentence}" for sentence in sentences]
        if not sentences:  # else it stays, to be looked at
            shutil.rmtree(folder)
            _said(folder).unlink()
        if len(landed) >= kills:
            break
    return landed, found


@click.command()
@click.argument("gin")
@click.option("-p", "bindings", multiple=True, help="Binding, as for 'mstgraph run'.")
@click.option("--kills", default=30, show_default=True, help="How many are to land.")
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
@click.option("--signal", "name", type=click.Choice(list(SIGNALS)), default="KILL")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/check-resume"))
def main(gin: str, bindings: tuple[str, ...], kills: int, seed: int, name: str, out: Path) -> None:
    """Check that runs that are stopped again and again come out as if they were left alone."""
    shutil.rmtree(out, ignore_errors=True)
    command = Command(gin, bindings)
    landed, found = check(command, out, kills, random.Random(seed), SIGNALS[name])
    console = Console()
    table = Table(f"SIG{name}", "where")
    for where, count in sorted(Counter(landed).items()):
        table.add_row(str(count), where)
    console.print(table)
    inside = sum("after epoch" in where for where in landed)
    console.print(f"{len(landed)} landed, {inside} of them within a stage")
    for sentence in found:
        console.print(sentence, markup=False)
    console.print("NOT the same" if found else "all the same, bit by bit")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
