"""The command line. Torch is imported by the commands that need it, so that help comes at once."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mstgraph import __version__
from mstgraph.support.errors import RunError, UserError
from mstgraph.viz.command import draw

if TYPE_CHECKING:
    from rich.console import Console

    from mstgraph.declare.settings import Data
    from mstgraph.derive.experiment import Experiment
    from mstgraph.store import Store

INTERRUPTED = 130
_DEBUG = "mstgraph.debug"

gin_files = click.argument("gin_files", nargs=-1, required=True, metavar="GIN…")
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


def _remember_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.find_root().meta[_DEBUG] = value


debug = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_remember_debug,
    help="Show tracebacks.",
)


class Commands(click.Group):
    """Turns errors into one sentence and an exit code: 1 a run failed, 2 the input is at fault."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (UserError, RunError) as error:
            if ctx.meta.get(_DEBUG):
                traceback.print_exc()
            click.echo(f"mstgraph: {str(error).splitlines()[0]}", err=True)
            sys.exit(2 if isinstance(error, UserError) else 1)
        except KeyboardInterrupt:
            click.echo("mstgraph: stopped", err=True)
            sys.exit(INTERRUPTED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Cross-modal knowledge distillation, declared as a graph in gin.

    \b
    mstgraph show gin/mfeat_zer.gin       what a graph implies: teachers, δ, schedule
    mstgraph run gin/mfeat_zer.gin        train it; again: continues or reuses
    mstgraph prepare datasets/mfeat.py    build a feature store
    mstgraph eval runs/mfeat_zer-seed0    evaluate a finished run
    mstgraph bench gin/bench/quick.gin    compare methods: a table over students and seeds
    """  # noqa: D301 (click wants the backspace itself)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)


def _console() -> Console:
    from rich.console import Console

    # A pipe has no width of its own: do not fold what somebody will grep.
    return Console(width=None if sys.stdout.isatty() else 160)


def _all_bindings(
    given: tuple[str, ...], seed: int | None, precision: str | None, no_cache: bool
) -> list[str]:
    """Return the bindings of a command line, those that have an option of their own last."""
    short = {
        "graph.seed": seed,
        "engine.precision": precision,
        "engine.cache": False if no_cache else None,
    }
    return [*given, *(f"{name} = {value!r}" for name, value in short.items() if value is not None)]


@main.command()
@gin_files
@bindings
@seed
@precision
@no_cache
@click.option("--json", "form", flag_value="json", help="Print the plan as JSON.")
@click.option("--dot", "form", flag_value="dot", help="Print the graph for Graphviz.")
@click.option("--mermaid", "form", flag_value="mermaid", help="Print the graph for Mermaid.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder to compare with.")
@debug
def show(
    gin_files: tuple[str, ...],
    bindings: tuple[str, ...],
    seed: int | None,
    precision: str | None,
    no_cache: bool,
    form: str | None,
    out: Path | None,
) -> None:
    """Show what a graph implies: members, teachers, δ(j), the schedule, what is done already.

    Networks are built without memory and no data is read, so this is quick for any size.
    """
    import gc
    import json

    # Torch's modules come to stay; looking through them for garbage would take half a second.
    gc.disable()
    click.get_current_context().call_on_close(gc.enable)
    from mstgraph.derive.document import plan_document
    from mstgraph.derive.experiment import open_experiment
    from mstgraph.report.show import dot, mermaid, print_plan
    from mstgraph.run.run_folder import RunFolder, default_folder

    experiment = open_experiment(
        gin_files, _all_bindings(bindings, seed, precision, no_cache), notice=_notice
    )
    _notice_unread(experiment)
    folder = RunFolder(out or default_folder(experiment.name, experiment.plan.graph.seed))
    document = plan_document(experiment, folder.state, folder.path)
    if form is None:
        print_plan(document, _console())
        return
    printers: dict[str, Callable[[Any], str]] = {
        "json": lambda d: json.dumps(d, indent=2, ensure_ascii=False),
        "dot": dot,
        "mermaid": mermaid,
    }
    click.echo(printers[form](document))


def _notice(sentence: str) -> None:
    click.echo(f"mstgraph: {sentence}", err=True)


def _notice_unread(experiment: Experiment) -> None:
    from mstgraph.declare.config_checks import unread_on_command_line

    for sentence in unread_on_command_line(experiment.configuration):
        _notice(sentence)


@main.command()
@gin_files
@bindings
@seed
@precision
@no_cache
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder [runs/NAME-seedN].")
@debug
def run(
    gin_files: tuple[str, ...],
    bindings: tuple[str, ...],
    seed: int | None,
    precision: str | None,
    no_cache: bool,
    device: str,
    out: Path | None,
) -> None:
    """Run a graph: prepare the store if it is missing, train every stage, print the table.

    Finished stages are reused as long as nothing changed that can change them. After Ctrl-C, a
    kill or a full disk, the same command continues.
    """
    from mstgraph.derive.experiment import open_experiment
    from mstgraph.report.progress import ConsoleReporter
    from mstgraph.report.summary import print_summary
    from mstgraph.run.execute import Execution, choose_device
    from mstgraph.run.run_folder import RunFolder, default_folder
    from mstgraph.support.interrupt import Interrupted

    where = choose_device(device)
    experiment = open_experiment(
        gin_files,
        _all_bindings(bindings, seed, precision, no_cache),
        prepare=_prepare_store,
        notice=_notice,
    )
    _notice_unread(experiment)
    console = _console()
    folder = RunFolder(out or default_folder(experiment.name, experiment.plan.graph.seed))
    reporter = ConsoleReporter(console, experiment.task, experiment.source.synthetic)
    try:
        summary = Execution(experiment, folder, where, reporter).run()
    except Interrupted as stopped:
        _notice(f"stopped in stage {stopped}; the same command continues there")
        sys.exit(INTERRUPTED)
    print_summary(summary, console)
    console.print(f"everything is in {folder.path}", highlight=False)


def _prepare_store(data: Data, recipe: Path) -> Store:
    raw = Path(data.raw) if data.raw else None
    return _build(recipe, raw, dict(data.options), Path(data.store))


def _build(recipe: Path, raw: Path | None, options: dict[str, Any], out: Path) -> Store:
    from rich.progress import Progress

    from mstgraph.store import load_recipe
    from mstgraph.store.build.builder import build

    loaded = load_recipe(recipe, raw, options)
    console = _console()
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(f"preparing {loaded.title}", total=len(loaded))
        store = build(
            loaded,
            out,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    label = f" [{loaded.synthetic}]" if loaded.synthetic else ""
    console.print(
        f"store {out}: {loaded.title}{label}, {store.length} samples", markup=False, highlight=False
    )
    return store


@main.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--raw", type=click.Path(path_type=Path), help="Raw data that the recipe reads.")
@click.option("--out", type=click.Path(path_type=Path), help="Store [stores/RECIPE].")
@click.option(
    "-o", "--option", "options", multiple=True, metavar="NAME=VALUE", help="size=96x128, …"
)
@debug
def prepare(recipe: Path, raw: Path | None, out: Path | None, options: tuple[str, ...]) -> None:
    """Build a feature store from a recipe, or continue an interrupted build."""
    chosen = {}
    for option in options:
        name, separator, value = option.partition("=")
        if not separator:
            raise UserError(f"option '{option}' has no value; expected NAME=VALUE")
        chosen[name.strip()] = value.strip()
    _build(recipe, raw, chosen, out or Path("stores") / recipe.stem)


@main.group()
def store() -> None:
    """Look at feature stores."""


@store.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@debug
def info(path: Path, as_json: bool) -> None:
    """Say what a store holds and where it comes from."""
    import json

    from mstgraph.report.store_info import print_store
    from mstgraph.store import Store

    described = Store(path).describe()
    if as_json:
        click.echo(json.dumps(described, indent=2, ensure_ascii=False))
    else:
        print_store(described, _console())


@store.command()
@click.argument("path", type=click.Path(path_type=Path))
@debug
def verify(path: Path) -> None:
    """Compare every record with its checksum; exit code 1 if something is damaged."""
    from rich.progress import Progress

    from mstgraph.store import Store
    from mstgraph.store import verify as verify_store

    opened = Store(path)
    console = _console()
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("verifying")
        problems = verify_store(
            opened, lambda done, total: progress.update(task, completed=done, total=total)
        )
    for problem in problems:
        click.echo(problem)
    if problems:
        raise RunError(f"store {path} is damaged in {len(problems)} places; prepare it again")
    click.echo(f"store {path}: {opened.length} samples, every record is as it was written")


@main.command("eval")
@click.argument("run_folder", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--split", help="Another split of the store (0 to 4, official) [the run's own].")
@click.option(
    "--part",
    type=click.Choice(["train", "validation", "test"]),
    default="test",
    show_default=True,
)
@click.option("--device", default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print metrics as JSON.")
@debug
def evaluate(run_folder: Path, split: str | None, part: str, device: str, as_json: bool) -> None:
    """Evaluate a finished run: every student, alone and distilled, and every teacher."""
    import json

    from mstgraph.report.evaluate_run import evaluate_run, print_evaluation
    from mstgraph.run.execute import choose_device
    from mstgraph.support.files import json_ready

    result = evaluate_run(run_folder, split, part, choose_device(device))
    if as_json:
        click.echo(json.dumps(json_ready(result), indent=2, ensure_ascii=False))
    else:
        print_evaluation(result, _console())


@main.command()
@click.argument("gin_file", type=click.Path(path_type=Path), metavar="GIN")
@click.option(
    "-p",
    "bindings",
    multiple=True,
    metavar="BINDING",
    help="Binding for every cell, 'CI.epochs = 2'; one of the benchmark's own begins with bench.",
)
@click.option("--seeds", help="0-4 or 0,2,5, in place of bench.seeds.")
@precision
@no_cache
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Stages trained at a time on this machine, each in a process.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Threads of each; numbers depend on them in their last digits, and on --jobs not at all.",
)
@click.option(
    "--ray",
    "address",
    metavar="ADDRESS",
    help="Hand the stages to a Ray cluster: host:port, auto, or local for --jobs workers here.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
@click.option("--out", type=click.Path(path_type=Path), help="Folder [runs/bench-NAME].")
@click.option(
    "--artefacts",
    type=click.Path(path_type=Path),
    help="What stages leave, shared by benchmarks that name the same folder [OUT/artefacts].",
)
@debug
def bench(
    gin_file: Path,
    bindings: tuple[str, ...],
    seeds: str | None,
    precision: str | None,
    no_cache: bool,
    jobs: int,
    threads: int,
    address: str | None,
    device: str,
    out: Path | None,
    artefacts: Path | None,
) -> None:
    """Compare methods: every row × student × seed of a benchmark's gin file, and a table.

    A stage that several cells need is trained once: a teacher serves every method under its seed.
    After Ctrl-C the same command continues; finished stages are reused as long as nothing changed
    that can change them. A cell that fails is reported and does not stop the others (exit code 1).

    \b
    mstgraph bench gin/bench/quick.gin                          all methods, minutes on a laptop
    mstgraph bench gin/bench/table1.gin --seeds 0 --jobs 4      one seed, four stages at a time
    mstgraph bench gin/bench/quick.gin -p 'DKD.k = 2'           a setting for every cell
    mstgraph bench gin/bench/fig6.gin \\
        -p "bench.students = (('audio', 'gin/ravdess_audio.gin'),)"   another student
    mstgraph bench gin/bench/table1.gin --ray auto              on a Ray cluster

    The folder holds results.json, table.txt, .md, .tex and .csv, cells.json (which stages are a
    cell's) and artefacts/ (weights and records of every stage).
    """  # noqa: D301 (click wants the backspace itself)
    from mstgraph.bench.plan.benchmark import declare, parse_seeds
    from mstgraph.bench.report.outputs import print_results, write_figures
    from mstgraph.bench.run import Options, run_bench
    from mstgraph.run.execute import choose_device
    from mstgraph.support.interrupt import Interrupted

    if not address:
        device = str(choose_device(device))
    given = _all_bindings(bindings, None, precision, no_cache)
    benchmark = declare(gin_file, given, parse_seeds(seeds) if seeds else None)
    folder = out or Path("runs") / f"bench-{benchmark.name}"
    options = Options(
        folder, artefacts or folder / "artefacts", jobs, threads, address or "", device
    )
    console = _console()
    try:
        results = run_bench(benchmark, options, console, _prepare_store, _notice)
    except Interrupted as stopped:
        _notice(f"stopped after {stopped}; the same command continues")
        sys.exit(INTERRUPTED)
    print_results(results, benchmark, console)
    try:
        write_figures(results, benchmark, folder)
    except UserError as error:  # the table stands all the same
        _notice(str(error))
    console.print(f"everything is in {folder}", highlight=False)
    failed = sum(cell.metrics is None for cell in results.cells)
    if failed:
        raise RunError(f"{failed} of {len(results.cells)} cells failed; the table says why")


main.add_command(debug(draw))
