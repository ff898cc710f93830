"""The command line: parses options, calls the Python door, prints. Help imports no torch."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any, NoReturn

import click

from mstgraph.cli.advise import advise
from mstgraph.cli.bench import bench
from mstgraph.cli.draw import draw
from mstgraph.cli.evaluate import evaluate
from mstgraph.cli.export import export
from mstgraph.cli.layers import layers
from mstgraph.cli.new import new
from mstgraph.cli.options import DEBUG, INTERRUPTED
from mstgraph.cli.predict import predict
from mstgraph.cli.prepare import prepare
from mstgraph.cli.report import report, runs
from mstgraph.cli.run import run
from mstgraph.cli.show import show
from mstgraph.cli.store import store
from mstgraph.cli.tune import tune
from mstgraph.support.errors import LeftAlone, RunError, UserError, in_words, users_line
from mstgraph.support.processes.launch import give_way, speaks
from mstgraph.support.text import printable

LONGEST_SHOWN = 100  # characters of a path in a sentence


class Commands(click.Group):
    """Turns errors into one sentence and an exit code: 1 a run failed, 2 the input is at fault."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (UserError, RunError) as error:
            code = 2 if isinstance(error, UserError) else 1
            _end(ctx, str(error).splitlines()[0], code, isinstance(error, LeftAlone))
        except KeyboardInterrupt:
            _leave_the_word(INTERRUPTED)
            click.echo("mstgraph: stopped", err=True)
            sys.exit(INTERRUPTED)
        except (click.Abort, click.exceptions.Exit):
            raise
        except click.ClickException as error:
            _leave_the_word(error.exit_code)
            raise
        except (Exception, SystemExit) as error:
            if users_line(error):
                _end(ctx, in_words(error), 2)
            if isinstance(error, OSError) and error.filename is not None:
                name = str(error.filename)
                shown = name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}…"
                _end(ctx, f"'{shown}' cannot be used: {error.strerror}", 2)
            if isinstance(error, MemoryError):
                _end(ctx, "there is not enough memory for this; expected smaller numbers", 1)
            if not isinstance(error, SystemExit):
                _leave_the_word(1)
            raise


def _leave_the_word(code: int, left_alone: bool = False) -> None:
    """Of several processes that end alike, let one speak; the others end without a word."""
    give_way(left_alone)
    if not speaks():
        sys.exit(code)


def _end(ctx: click.Context, sentence: str, code: int, left_alone: bool = False) -> NoReturn:
    _leave_the_word(code, left_alone)
    if ctx.meta.get(DEBUG):
        traceback.print_exc()
    click.echo(f"mstgraph: {printable(sentence)}", err=True)
    sys.exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mstgraph")
def main() -> None:
    """Cross-modal knowledge distillation, declared as a graph in gin.

    \b
    mstgraph show gin/mfeat_zer.gin       what a graph implies: teachers, δ, schedule
    mstgraph layers GIN MEMBER            where a MaskNet can be put into a member
    mstgraph advise gin/mfeat_zer.gin     will distillation help, before the run is paid
    mstgraph run gin/mfeat_zer.gin        train it; again: continues or reuses
    mstgraph prepare datasets/mfeat.py    build a feature store
    mstgraph eval runs/mfeat_zer-seed0    evaluate a finished run
    mstgraph export runs/mfeat_zer-seed0 --format onnx     the student for devices, measured
    mstgraph predict runs/mfeat_zer-seed0 values.csv       what it says of raw items
    mstgraph bench gin/bench/quick.gin    compare methods: a table over students and seeds
    mstgraph tune gin/mfeat_zer.gin -s 'DKD.k = 1..4'      look for better settings
    mstgraph report runs/mfeat_zer-seed0  one page about a run, several, or a benchmark
    mstgraph runs                         a table of the runs in runs/
    mstgraph new mine --from table.csv    begin with data of your own
    """  # noqa: D301 (click wants the backspace itself)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)


for command in (
    *(show, layers, advise, run, prepare, store, new),
    *(evaluate, export, predict, bench, tune, draw, report, runs),
):
    main.add_command(command)
