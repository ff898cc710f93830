"""What several commands have in common: options, the console, notices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mstgraph.support.errors import UserError
from mstgraph.support.processes.launch import rank
from mstgraph.support.text import printable

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130
DEBUG = "mstgraph.debug"

files = click.argument("files", nargs=-1, required=True, metavar="GIN…")
bindings = click.option(
    "-p", "bindings", multiple=True, metavar="BINDING", help="Binding that wins: 'CI.epochs = 2'."
)
seed = click.option("--seed", type=int, help="Same as -p 'graph.seed = N'.")
precision = click.option(
    "--precision",
    type=click.Choice(["fp32", "tf32", "bf16"]),
    help="Same as -p \"engine.precision = 'NAME'\"  [fp32].",
)
no_cache = click.option(
    "--no-cache",
    is_flag=True,
    help="Same as -p 'engine.cache = False': keep nothing that could be kept. Slower, as exact.",
)
device = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …"
)
member = click.option("--member", help="Which student, where the run has several.")
method = click.option(
    "--method",
    default="pca",
    show_default=True,
    help="How features are laid out: pca; tsne or umap with mstgraph[embeddings].",
)
no_code = click.option(
    "--no-code", is_flag=True, help="Refuse a run that brings modules of its own."
)
jobs = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Stages trained at a time on this machine, each in a process.",
)
recipe_option = click.option(
    "-o", "--option", "options", multiple=True, metavar="NAME=VALUE", help="size=96x128, …"
)
reading_jobs = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Processes that read samples [the cores there are, where that saves time].",
)
threads = click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Threads of each; numbers depend on them in their last digits, and on --jobs not at all.",
)


def recipe_options(given: tuple[str, ...]) -> dict[str, str]:
    """Return what ``-o NAME=VALUE`` says.

    Raises:
        UserError: one has no value.
    """
    chosen = {}
    for option in given:
        name, separator, value = option.partition("=")
        if not separator:
            raise UserError(f"option '{option}' has no value; expected NAME=VALUE")
        chosen[name.strip()] = value.strip()
    return chosen


def _not_empty(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """An empty text is a variable that nobody set, and would train here, unsaid."""
    if value == "":
        raise UserError("--ray is an empty text; expected host:port, auto or local")
    return value


ray = click.option(
    "--ray",
    "address",
    metavar="ADDRESS",
    callback=_not_empty,
    help="Hand the stages to a Ray cluster: host:port, auto, or local for --jobs workers here.",
)
log_every = click.option(
    "--log-every",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="A line on how far it is, where standard output is no terminal; 0 for none.",
)


class GivenPath(click.Path):
    """A path that somebody wrote, in letters; an empty one would be the working directory."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if not str(value):
            name = param.human_readable_name if param else "the path"
            raise UserError(f"{name} is an empty text; expected a path")
        try:
            str(value).encode()
        except UnicodeEncodeError as error:
            raise UserError(f"the path '{value}' is not in UTF-8; expected one that is") from error
        return super().convert(value, param, ctx)


def _remember_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.find_root().meta[DEBUG] = value


debug = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_remember_debug,
    help="Show tracebacks.",
)


def console() -> Console:
    """Return the console of standard output."""
    from mstgraph.report.console import standard_console

    return standard_console()


def notice(sentence: str) -> None:
    """Print a sentence on standard error; of several processes the main one does."""
    if rank() == 0:
        click.echo(f"mstgraph: {printable(sentence)}", err=True)


def all_bindings(
    given: tuple[str, ...], seed: int | None, precision: str | None, no_cache: bool
) -> list[str]:
    """Return the bindings of a command line, those that have an option of their own last."""
    short = {
        "graph.seed": seed,
        "engine.precision": precision,
        "engine.cache": False if no_cache else None,
    }
    return [*given, *(f"{name} = {value!r}" for name, value in short.items() if value is not None)]
