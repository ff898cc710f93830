"""A search as one call: gin files and ranges in, the best settings out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from mstgraph.benchmark.execute.dispatch import (
    Options,
    remember_workers,
    work_off,
    workers_for,
    workplace,
)
from mstgraph.benchmark.execute.schedule import Schedule
from mstgraph.benchmark.execute.work import do
from mstgraph.benchmark.plan.benchmark import parse_seeds
from mstgraph.declare.config_checks import nothing_calls_itself
from mstgraph.declare.graph import Declaration
from mstgraph.declare.load import load
from mstgraph.derive.source import Prepare
from mstgraph.report.console import standard_console
from mstgraph.report.preparation import prepare_declared
from mstgraph.report.progress import LOG_EVERY
from mstgraph.run.artefacts.run_folder import WINNER, locked
from mstgraph.support.disk.own_folder import OwnFolder, make_folder, named_folder
from mstgraph.support.errors import RunError
from mstgraph.support.interrupt import Interrupt, Interrupted
from mstgraph.support.numerics import choose_device
from mstgraph.tuning.board import Board
from mstgraph.tuning.checks import check_names, check_values, found_files, open_base
from mstgraph.tuning.remembered import SEARCH, remember
from mstgraph.tuning.results import TABLE, Tuned, gather, print_results, write_results
from mstgraph.tuning.search import Search
from mstgraph.tuning.space import parse_settings
from mstgraph.tuning.study import Study, library
from mstgraph.tuning.trials import Trials
from mstgraph.tuning.watching import DoTrial

JOURNAL = "journal.log"
TRIALS = 20


def tune(
    files: Path | str | Sequence[Path | str],
    *bindings: str,
    settings: Sequence[str],
    trials: int = TRIALS,
    seeds: Iterable[int] | str | None = None,
    prune: bool = True,
    jobs: int | None = None,
    threads: int = 1,
    ray: str = "",
    device: str = "auto",
    out: Path | str | None = None,
    progress: bool = True,
    log_every: float = LOG_EVERY,
    notice: Callable[[str], None] | None = None,
) -> Tuned:
    """Look for settings under which a student does best on the validation split.

    Trials are cells of one plan: a stage that a setting does not touch is trained once and serves
    them all. The test split is never read. After Ctrl-C the same call continues.

    Args:
        files: a gin file, or several, of which later ones win.
        bindings: bindings that win over the files, the same in every trial.
        settings: what is tuned: ``"DKD.k = 1..4"``, ``"KL.temperature = log(1, 10)"``,
            ``"CI.alignment_weight = uniform(0, 2)"``, ``"DKD.balance = choice('kl', 'cv')"``.
        trials: how many in all, those of earlier calls included; of fewer combinations each is
            tried once.
        seeds: each trial's; as text, ``"0-4"`` or ``"0,2,5"``; default: ``graph.seed``. Its value
            is the mean over them.
        prune: whether a trial is given up whose student's best metric so far is worse than the
            median of the others after as many epochs.
        jobs: trials under way at a time, each stage in a process of this machine; default: 1, or
            with Ray as many as the cluster has cores when the search begins.
        threads: torch's threads of each; numbers depend on them in their last digits.
        ray: address of a Ray cluster in place of processes; empty for none.
        device: see `mstgraph.Experiment.run`.
        out: folder of everything; default: ``runs/tune-NAME``.
        progress: whether to show on standard output what is going on, and the table at the end.
        log_every: seconds between two lines on how far it is, where standard output is no
            terminal; 0 for none.
        notice: is told what the user should know; default: printed as the rest.

    Returns:
        The trials, the best among them, and where ``winner.gin`` is, which includes the given
        files and binds what won.

    Raises:
        Interrupted: a KeyboardInterrupt; what was finished is there.
        RunError: no trial came to a value.
        UserError: the files or the settings are at fault, Optuna is not installed, or the folder
            holds something else.
    """
    library()  # before anything is opened
    tuned = parse_settings(settings)
    check_names(tuned, bindings)
    given = [files] if isinstance(files, (str, Path)) else list(files)
    where = device if ray else str(choose_device(device))
    chosen = parse_seeds(seeds) if isinstance(seeds, str) else seeds
    search = Search(
        files=found_files(given),
        given=bindings,
        settings=tuned,
        seeds=_own_seed(given, bindings) if chosen is None else tuple(chosen),
        trials=trials,
        prune=prune,
    )
    folder = named_folder(out, Path("runs") / f"tune-{search.name}")
    console = standard_console(progress)
    lines = log_every if progress and not console.is_terminal else 0.0
    own = 1 if jobs is None else jobs
    options = Options(folder, folder / "artefacts", own, threads, ray, where, lines)
    told = notice or (lambda sentence: console.print(sentence, markup=False, highlight=False))
    result = _run(search, options, jobs, console, prepare_declared(progress), told)
    print_results(result, console)
    if result.best is None:
        raise RunError(f"none of {len(result.trials)} trials came to a value: {_first(result)}")
    console.print(f"mstgraph run {result.winner}", markup=False, highlight=False)
    return result


def _own_seed(files: Sequence[Path | str], bindings: Sequence[str]) -> tuple[int, ...]:
    with load(files, bindings).entered(), nothing_calls_itself():
        return (Declaration().seed,)


def _first(result: Tuned) -> str:
    return next((trial.why for trial in result.trials if trial.why), "there is none")


def _run(
    search: Search,
    options: Options,
    count: int | None,
    console: Console,
    prepare: Prepare | None,
    notice: Callable[[str], None],
) -> Tuned:
    """Run the trials that are left, and leave a table and the winner."""
    interrupt = Interrupt()
    with ExitStack() as stack:
        own = OwnFolder(options.folder, "search")
        stack.enter_context(locked(options.folder, own))
        base = open_base(search, prepare, notice)
        changed = check_values(search)
        own.make(SEARCH, JOURNAL, TABLE, WINNER)
        make_folder(options.folder, options.artefacts)
        remember_workers(options)
        remember(search, base, options.folder)
        stack.enter_context(interrupt)
        study = Study(options.folder / JOURNAL, base.primary.higher_is_better)
        place, schedule = workplace(options, tests=False), Schedule([], ())
        board = Board(console, search, study, base)
        journal = (options.folder / JOURNAL).resolve()
        watching = DoTrial(do, journal if search.prune else None, search.seeds[0])
        workers = workers_for(options, watching, place, interrupt)
        stack.callback(workers.close)
        trials = Trials(
            search,
            study,
            schedule,
            place.artefacts,
            base.primary,
            count or workers.slots,
            interrupt,
            board.ended,
        )
        board.begin(trials.total, changed, notice)
        try:
            trials.begin()
            work_off(schedule, workers, place, interrupt, trials.update)
        finally:
            found = gather(search, study, base, options)
            write_results(found)
        if interrupt.requested:
            raise Interrupted(f"{study.ended} of {trials.total} trials")
        shutil.rmtree(place.scratch, ignore_errors=True)
    return found
