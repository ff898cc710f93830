"""Check a GPU against the CPU in a few minutes, and measure what the engine is worth on it.

    python tools/check_gpu.py [--device cuda] [--seconds 360] [--state FILE] [--only PART …]

Parts, in their order:

- results: the losses of every stage, MST-Distill's and FitNets', in fp32, tf32 and bf16, are those
  of the CPU within a tolerance; fp32 twice gives the same bits (deterministic algorithms are on).
- resume: a run that is stopped twice ends with the bits of one that is not.
- waits: no stage waits for the device within a batch.
- table 6: seconds and memory of CI, STA and DKD on AV-MNIST's shapes at batch 512, the paper's
  Table 6, with the cache, without it, and in plain loops that follow the released code's schedule.
- launches: kernels of a step, how much of the time they run, and what a CUDA graph would gain.

Values are random, so that no accuracy is told. A part that fails is told and the next one begins;
one that has no time left is not begun. With --state the parts that ended are not done again by the
same command. Exit code 0 if every part ended and every check held, else 1. On a CPU all of it is
smaller, checks the tool more than the machine, and its times mean nothing.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import click
import torch
from rich.console import Console
from rich.table import Table

from mstgraph.report.tables import table
from mstgraph.support.errors import UserError
from mstgraph.support.files import write_text
from mstgraph.support.numerics import choose_device, numerics
from tools.gpu_check.finding import Bench, Finding
from tools.gpu_check.launches import launches
from tools.gpu_check.results import results, resume
from tools.gpu_check.table6 import table6
from tools.gpu_check.waits import waits

Part = Callable[[Bench], Iterator[Finding]]
PARTS: Mapping[str, Part] = {
    "results": results,
    "resume": resume,
    "waits": waits,
    "table 6": table6,
    "launches": launches,
}
VERDICTS = {True: "holds", False: "FAILS", None: ""}


@click.command(help=__doc__.replace("\n\n", "\n\n\b\n"))
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--seconds", default=360.0, show_default=True, help="after which no part begins")
@click.option("--state", type=click.Path(path_type=Path), help="file of the parts that ended")
@click.option("--only", multiple=True, type=click.Choice(list(PARTS)), help="parts to check")
def main(device: str, seconds: float, state: Path | None, only: tuple[str, ...]) -> None:
    """Check the parts that are asked for, print what was found, and exit."""
    started = time.monotonic()
    logging.getLogger("mstgraph.store").setLevel(logging.ERROR)  # few samples lack classes
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        chosen = choose_device(device)
    except UserError as error:
        raise click.UsageError(str(error)) from error
    machine = named(chosen)
    done = _read(state, machine)
    with tempfile.TemporaryDirectory() as directory:
        for name in only or PARTS:
            if name in done:
                continue
            if time.monotonic() - started >= seconds:
                console.print(f"no time is left for {name}")
                continue
            bench = Bench(chosen, Path(directory) / name, small=chosen.type == "cpu")
            found, ended = checked(PARTS[name], bench, console)
            console.print(f"[bold]{name}[/]: {machine}; synthetic data", highlight=False)
            console.print(shown(found), "")
            if ended:
                done[name] = found
                _write(state, machine, done)
    lacking = [name for name in only or PARTS if name not in done]
    failed = [f.what for name in only or PARTS for f in done.get(name, ()) if f.holds is False]
    console.print(f"failed: {'; '.join(failed) or 'nothing'}; not ended: {lacking or 'nothing'}")
    sys.exit(1 if failed or lacking else 0)


def named(device: torch.device) -> str:
    """Return what a figure was measured on."""
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else f"{torch.get_num_threads()} thread(s)"
    return f"{device}, {name}, torch {torch.__version__}"


def checked(part: Part, bench: Bench, console: Console) -> tuple[list[Finding], bool]:
    """Return what a part found, and whether it came to its end; what stopped it is told."""
    found: list[Finding] = []
    try:
        with numerics("fp32", bench.device):
            for finding in part(bench):
                found.append(finding)
    except Exception:  # the next part may still tell something
        console.print(traceback.format_exc(), markup=False, highlight=False)
        return found, False
    finally:
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()
    return found, True


def shown(findings: Sequence[Finding]) -> Table:
    """Return a part's table."""
    result = table("", ("what", "found", "verdict"))
    for finding in findings:
        result.add_row(finding.what, finding.figure, VERDICTS[finding.holds])
    return result


def _read(path: Path | None, machine: str) -> dict[str, list[Finding]]:
    """Return the parts that ended on this machine."""
    if path is None or not path.is_file():
        return {}
    content = json.loads(path.read_text())
    parts = content["parts"] if content["machine"] == machine else {}
    return {name: [Finding(**finding) for finding in found] for name, found in parts.items()}


def _write(path: Path | None, machine: str, done: Mapping[str, Sequence[Finding]]) -> None:
    if path is not None:
        parts = {name: [asdict(finding) for finding in found] for name, found in done.items()}
        write_text(path, json.dumps({"machine": machine, "parts": parts}, indent=1))


if __name__ == "__main__":
    main()
