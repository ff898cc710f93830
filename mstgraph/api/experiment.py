"""An experiment in Python: loaded from gin files, looked at, run.

`Experiment` is what a user holds. Behind it stands `mstgraph.derive.experiment.Experiment`, the
checked plan with all that belongs to it, which the other rooms work on. What trains, gives advice
or writes stores is imported when it is asked for: a plan is shown without it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from mstgraph.declare.config_checks import unread_on_command_line
from mstgraph.derive import experiment as derived
from mstgraph.derive.document import plan_document
from mstgraph.derive.opening import open_experiment
from mstgraph.derive.plan import Plan
from mstgraph.report.console import as_text, standard_console
from mstgraph.report.layers import layers_of
from mstgraph.report.progress import LOG_EVERY, ConsoleReporter
from mstgraph.report.show import print_plan
from mstgraph.run.artefacts.run_folder import STAGES, RunFolder, default_folder
from mstgraph.run.reporter import Reporter, Silent
from mstgraph.support.disk.own_folder import named_folder
from mstgraph.support.errors import UserError
from mstgraph.support.interrupt import Interrupt, Interrupted
from mstgraph.support.numerics import choose_device
from mstgraph.support.processes.group import joined

if TYPE_CHECKING:
    from mstgraph.api.advice import Advice
    from mstgraph.api.run import Run


def load(
    files: Path | str | Sequence[Path | str],
    *bindings: str,
    notice: Callable[[str], None] | None = None,
) -> Experiment:
    """Load gin files and derive the plan that they imply; quick for any size, nothing is trained.

    Modules that the gin files import are read from their files anew, and belong to this experiment
    alone. Gin's own state, and what Python has imported, are afterwards as they were.

    Args:
        files: a gin file, or several, of which later ones win.
        bindings: bindings that win over the files, ``"DKD.k = 2"``; later ones win.
        notice: is told what the user should know, such as a stand-in for missing data; default: a
            Python warning.

    Raises:
        UserError: the files, the bindings or the graph are at fault; one sentence says where.
    """
    chosen = [files] if isinstance(files, (str, Path)) else list(files)
    told: list[str] = []
    opened = open_experiment(chosen, bindings, notice=told.append)
    for sentence in (*told, *unread_on_command_line(opened.configuration)):
        if notice:
            notice(sentence)
        else:
            warnings.warn(sentence, stacklevel=2)
    return Experiment(opened, chosen, bindings)


class Experiment:
    """A checked experiment; ``print(experiment)`` shows what ``mstgraph show`` does.

    Made by `load`. Several can be open at once, also with modules of the user's that share names.
    """

    def __init__(
        self, opened: derived.Experiment, files: Sequence[Path | str], bindings: Sequence[str]
    ):
        self._opened = opened
        self._files = files
        self._bindings = bindings

    @property
    def name(self) -> str:
        """From the gin files' names, for the run's folder."""
        return self._opened.name

    @property
    def plan(self) -> Plan:
        """The derived plan: stages in order, teachers of each student, δ(j), the graph."""
        return self._opened.plan

    @property
    def gin_text(self) -> str:
        """The operative configuration; as a gin file it gives the same experiment."""
        return self._opened.gin_text

    @property
    def folder(self) -> Path:
        """Where a run goes unless told otherwise: ``runs/NAME-seedN``."""
        return default_folder(self.name, self.plan.graph.seed)

    def entered(self) -> AbstractContextManager[None]:
        """Put this experiment's gin state in the place of gin's, and that back on leaving.

        For code of one's own that calls what the gin files configure; everything here enters it
        by itself.
        """
        return self._opened.entered()

    def document(self, out: Path | str | None = None) -> dict[str, Any]:
        """Return the plan as plain data, with what is done already in a run's folder.

        Args:
            out: the folder; default: `folder`.
        """
        folder = RunFolder(named_folder(out, self.folder))
        return plan_document(self._opened, folder.state, folder.path)

    def layers(self, member: str) -> list[dict[str, Any]]:
        """Return the layers of a member's network, from the outermost inwards, as plain data.

        Each has its dotted ``path``, its ``layer`` (name of the class), ``parameters``, the
        ``roles`` that the gin files give it, the ``shape`` of its output without the batch, and
        ``problem``: why it is no mask point; empty for those that are.

        Raises:
            UserError: there is no such member; the nearest name.
        """
        with self.entered():
            return layers_of(self._opened, member)

    def show(self, console: Console, out: Path | str | None = None) -> None:
        """Print members, teachers and schedule to a console."""
        print_plan(self.document(out), console)

    def __str__(self) -> str:
        return as_text(self.show)

    def __repr__(self) -> str:
        return f"<mstgraph.Experiment {self.name}: {', '.join(self.plan.stages)}>"

    def run(
        self,
        out: Path | str | None = None,
        *,
        device: str = "auto",
        progress: bool | Reporter = True,
        log_every: float = LOG_EVERY,
        jobs: int = 1,
        threads: int | None = None,
        ray: str = "",
    ) -> Run:
        """Train every stage that is not finished yet, after preparing a store that is missing.

        In a program that torch's launcher starts (``torchrun``), its processes run it together,
        each with its share of every batch.

        Ctrl-C stops it after the batch under way and saves its state; the same call continues,
        and gives bit for bit what it would have given without.

        Args:
            out: the run's folder; default: `folder`.
            device: ``"auto"`` takes a GPU where there is one; ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
            progress: bars and a line per stage on standard output, nothing, or who is told.
            log_every: seconds between two lines where standard output is no terminal; 0 for none.
            jobs: stages trained at a time, each in a process, where more than one; those that do
                not wait for each other.
            threads: torch's threads of each of several processes, or of Ray's tasks; default: 1.
            ray: address of a Ray cluster in place of processes; empty for none. What a stage takes
                there is its ``resources``.

        Raises:
            Interrupted: a KeyboardInterrupt that names the stage; its state is saved.
            UserError: there is no such device, the folder holds something else or cannot be
                written, or a module of the user's was edited after it was loaded.
            RunError: a stage failed, with a loss that is no number for example.
        """
        from mstgraph.api.run import Run
        from mstgraph.run.execute import Execution

        if threads is not None and jobs == 1 and not ray:
            raise UserError(
                f"threads is {threads}, but there is one process, which has as many as torch takes "
                "(OMP_NUM_THREADS); expected --jobs or --ray beside it"
            )
        with joined("cpu" if ray else device) as (processes, where):
            if processes.count > 1 and (jobs != 1 or ray):
                raise UserError(
                    f"{processes.count} processes share every batch of a stage, and stages side by "
                    "side have a process each; expected --processes alone, or --jobs or --ray"
                )
            folder = RunFolder(named_folder(out, self.folder))
            folder.own.refuse_foreign()  # before the store is prepared, which may take hours
            with processes.main_first():
                self._prepare(bool(progress) and processes.main)
            elsewhere = None
            if jobs != 1 or ray:
                from mstgraph.benchmark.execute.dispatch import Options
                from mstgraph.benchmark.execute.one_run import SideBySide
                from mstgraph.benchmark.execute.work import do

                there, stages = device if ray else str(where), folder.path / STAGES
                lines = log_every if progress is True else 0.0
                own = 1 if threads is None else threads
                options = Options(folder.path, stages, jobs, own, ray, there, lines)
                elsewhere = SideBySide(self._files, self._bindings, options, do)
            reporter = self._reporter(progress, log_every)
            execution = Execution(self._opened, folder, where, reporter, processes=processes)
            execution.run(elsewhere)
        return Run(folder.path)

    def advise(
        self,
        epochs: int | None = None,
        out: Path | str | None = None,
        *,
        device: str = "auto",
        progress: bool | Reporter = True,
    ) -> Advice:
        """Say whether distillation will help: train each member alone, and measure on validation.

        A teacher has something to give where it is right and the student is wrong, as far as the
        student's modality can see it. Stages that are finished are used again.

        Args:
            epochs: of each member; default: as ``Pretrain.epochs`` says.
            out: where the members go; default: ``runs/NAME-advise-seedN``.
            device: see `run`.
            progress: see `run`.

        Returns:
            The edges, ranked, with what was measured and the gain that it lets expect.

        Raises:
            Interrupted: a KeyboardInterrupt that names the stage; its state is saved.
            UserError: the graph has nothing to advise on; else see `run`.
            RunError: a stage failed.
        """
        from mstgraph.advice.advise import advise, members_alone, without_distillation
        from mstgraph.api.advice import Advice
        from mstgraph.run.execute import Execution

        where = choose_device(device)
        usual = default_folder(f"{self.name}-advise", self.plan.graph.seed)
        folder = RunFolder(named_folder(out, usual))
        folder.own.refuse_foreign()  # before the work, which may take hours
        self._prepare(bool(progress))
        asked = self._opened
        alone = members_alone(asked, epochs)
        opened = open_experiment(self._files, [*self._bindings, *alone])
        interrupt = Interrupt()
        execution = Execution(opened, folder, where, self._reporter(progress), interrupt)
        for stage in without_distillation(opened.plan).values():
            execution.run_group([stage])
            if interrupt.requested:
                raise Interrupted(stage)
        with opened.entered():
            return Advice(advise(asked, opened, folder, execution.pool))

    def _prepare(self, progress: bool) -> None:
        """Build the store if it is missing; identities depend on what it holds."""
        if self._opened.source.store is None:
            from mstgraph.report.preparation import prepare_declared

            self._opened = open_experiment(
                self._files, self._bindings, prepare=prepare_declared(progress)
            )

    def _reporter(self, progress: bool | Reporter, log_every: float = LOG_EVERY) -> Reporter:
        if progress is True:
            task, synthetic = self._opened.task, self._opened.source.synthetic
            return ConsoleReporter(standard_console(), task, synthetic, log_every)
        return progress or Silent()
