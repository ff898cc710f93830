"""Run the gin file of every student of the paper on random values in the data sets' true shapes.

    python tools/check_students.py --only crisismmd
    python tools/check_students.py --only avmnist_image --method gin/methods/fitnets.gin

Says whether the files read, the networks fit and the stages train; nothing about accuracy.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import click
from rich.console import Console
from rich.table import Table

from mstgraph.support.errors import UserError
from tools.student_check.random_data import SYNTHETIC
from tools.student_check.runs import Outcome, Setting, check, chosen

COLUMNS = (
    "student",
    "parameters",
    "N",
    "δ(j)",
    "MaskNets",
    "adapters",
    "seconds",
    "peak MB",
    "OA",
    "outcome",
)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="A student (avmnist_image) or a data set (avmnist); again for more.  [default: all ten]",
)
@click.option("--epochs", default=2, show_default=True, help="Of every stage.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    metavar="GIN",
    help="A method's file on top of each student's: gin/methods/fitnets.gin.",
)
@click.option(
    "-p",
    "bindings",
    multiple=True,
    metavar="BINDING",
    help="Binding that wins: 'FuseNet.width = 0.25'.",
)
@click.option("--device", default="cpu", show_default=True, help="As for 'mstgraph run'.")
@click.option("--threads", default=1, show_default=True, help="Of torch, on a CPU.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Where raw files, stores and logs stay, to be used again.  [default: a temporary one]",
)
@click.option("--json", "file", type=click.Path(path_type=Path), help="File for the figures.")
def main(
    only: tuple[str, ...],
    epochs: int,
    methods: tuple[str, ...],
    bindings: tuple[str, ...],
    device: str,
    threads: int,
    folder: Path | None,
    file: Path | None,
) -> None:
    """Run each student's gin file on random values in the true formats of its data set.

    For each data set a few samples are drawn at random and written as its preprocessed arrays are
    handed around; its recipe makes a store of them, and 'mstgraph run' goes through all stages
    with the networks as the gin files have them. What this shows: the recipe reads the format, the
    layers that losses and masks name are there and of the shapes they need, every stage trains,
    and what it takes in parameters, seconds and memory. What it does not show: any accuracy. The
    values are random, so the test OA is that of a guess (high where one class is frequent) and
    stands there only because a run ends with one.

    \b
    check_students.py                                   all ten, at full width: an hour or more
    check_students.py --only vggsound                   both students of one data set
    check_students.py --only crisismmd_image --method gin/methods/crd.gin
    check_students.py --only nyudepth -p 'FuseNet.width = 0.1' -p 'FuseNetBranch.width = 0.1'

    CrisisMMD's two train a MaskNet of 536 million parameters: 15 GB. NYU's
    two take 9 GB at full width, and half an hour each.
    Exit code 1 if one of them fails; its log is in FOLDER/logs.
    """  # noqa: D301 (click wants the backspace itself)
    logging.getLogger("mstgraph.store").setLevel(logging.ERROR)  # few samples lack classes
    console = Console(width=None if sys.stdout.isatty() else 200)
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        setting = Setting(folder, epochs, methods, bindings, device, threads)
        outcomes = []
        try:
            for student in chosen(only):
                outcomes.append(check(student, setting))
                console.print(_line(outcomes[-1]), markup=False, highlight=False)
        except UserError as error:
            raise click.UsageError(str(error)) from error
    console.print(table(outcomes, methods))
    if file is not None:
        content = {"values": SYNTHETIC, "epochs": epochs, "methods": methods, "device": device}
        students = [asdict(outcome) for outcome in outcomes]
        file.write_text(json.dumps({**content, "students": students}, indent=1))
    sys.exit(1 if any(outcome.error for outcome in outcomes) else 0)


def table(outcomes: Iterable[Outcome], methods: Iterable[str]) -> Table:
    """Return the outcomes as a table whose title says what the values are."""
    on_top = "".join(f" + {Path(method).stem}" for method in methods)
    title = f"Students{on_top} on random values in true formats; their OA means nothing"
    result = Table(*COLUMNS, title=title, title_justify="left", show_edge=False)
    for outcome in outcomes:
        deltas = ", ".join(str(delta) for _, delta, _, _ in outcome.teachers)
        result.add_row(
            outcome.student,
            _counts(outcome.networks),
            str(len(outcome.teachers)),
            f"({deltas})",
            _counts(outcome.masknets),
            _counts(outcome.adapters),
            f"{outcome.seconds:.0f}",
            f"{outcome.memory / 1e6:.0f}",
            "" if outcome.accuracy is None else f"{outcome.accuracy:.4f}",
            outcome.error or "ok",
        )
    return result


def _counts(parameters: Mapping[str, int]) -> str:
    return "\n".join(f"{name} {count:,}" for name, count in parameters.items())


def _line(outcome: Outcome) -> str:
    return f"{outcome.student}: {outcome.error or 'ok'} ({outcome.seconds:.0f} s)"


if __name__ == "__main__":
    main()
