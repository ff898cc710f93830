"""``mstgraph export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import mstgraph
from mstgraph.cli.options import (
    GivenPath,
    console,
    debug,
    member,
    no_code,
    notice,
)


@click.command()
@click.argument("run_folder", type=GivenPath(), metavar="RUN")
@click.option(
    "--format",
    required=True,
    metavar="NAME",
    help="onnx, torch (torch.export), executorch, openvino.",
)
@click.option("--out", type=GivenPath(), help="Folder [exports/RUN-MEMBER-FORMAT].")
@member
@click.option("--output", default="logits", show_default=True, help="logits or probabilities.")
@click.option("--int8", is_flag=True, help="Eight bits, by the runtime's static quantisation.")
@click.option(
    "--max-loss",
    type=float,
    default=0.02,
    show_default=True,
    help="Of the primary metric on the test split, beyond which int8 is refused.",
)
@click.option(
    "--calibration",
    type=int,
    default=256,
    show_default=True,
    help="Training samples that int8 is calibrated on.",
)
@click.option(
    "--batch", type=int, default=32, show_default=True, help="The larger batch that is timed."
)
@click.option("--threads", type=int, default=1, show_default=True)
@no_code
@debug
def export(run_folder: Path, no_code: bool, **wanted: Any) -> None:
    """Write a student as a file for devices: raw values in, logits or probabilities out.

    The file is then run by its own runtime over the test split, and compared with torch: metrics,
    largest difference, size, time. A model card, and for ONNX a page of code that needs neither
    mstgraph nor torch, lie beside it.

    A run's folder is code, see `mstgraph eval --help`.
    """
    run = mstgraph.open_run(run_folder)
    exported = run.export(**wanted, code=False if no_code else None, notice=notice)
    exported.show(console())
    click.echo(f"everything is in {exported.path}")
