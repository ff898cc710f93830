"""A run in Python: what its folder holds.

What evaluates, exports or predicts is imported when it is asked for: a run waits for none of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from torch import nn

from mstgraph.derive.opening import open_finished
from mstgraph.look.records import REWRITTEN, Records
from mstgraph.report.console import as_text
from mstgraph.report.summary import print_summary
from mstgraph.run.artefacts.forms import PlanDocument, Summary
from mstgraph.run.artefacts.run_folder import CONFIG, PLAN, SUMMARY, RunFolder, no_run
from mstgraph.run.artefacts.student import NetworkOf, Student, load_student
from mstgraph.run.execute import Execution
from mstgraph.run.reporter import Silent
from mstgraph.support.disk.descriptions import read_description
from mstgraph.support.disk.own_folder import named_folder
from mstgraph.support.errors import UserError
from mstgraph.support.numerics import choose_device

if TYPE_CHECKING:
    from mstgraph.api.advice import Advice
    from mstgraph.api.exported import Exported
    from mstgraph.export.format import Output
    from mstgraph.predict.predict import Predictions


def open_run(folder: Path | str) -> Run:
    """Open the folder of a run, be it finished or not.

    A run's folder is code: its configuration names modules that it brings, and a student is made
    by importing them.

    Raises:
        UserError: it is no run's folder.
    """
    path = Path(folder)
    if not (path / CONFIG).is_file():
        raise no_run(path, f"is no run: it has no {CONFIG}")
    return Run(path)


class Run:
    """What a run has left; ``print(run)`` shows the table of a finished one.

    Attributes:
        path: its folder.
    """

    def __init__(self, path: Path):
        self.path = path

    @property
    def finished(self) -> bool:
        """Whether it came to its end."""
        return (self.path / SUMMARY).is_file()

    @property
    def plan(self) -> dict[str, Any]:
        """The plan that it follows, as plain data: ``plan.json``."""
        found: dict[str, Any] = read_description(self.path / PLAN, PlanDocument, REWRITTEN)
        return found

    @property
    def summary(self) -> dict[str, Any]:
        """What it came to, as plain data: ``summary.json``.

        Metrics of the test split (fractions of 1) per student and teacher, routing per teacher;
        per stage its best epoch, time in seconds and peak memory in bytes; versions.

        Raises:
            UserError: the run is not finished.
        """
        if not self.finished:
            raise UserError(f"the run '{self.path}' is not finished; run it to its end first")
        found: dict[str, Any] = read_description(self.path / SUMMARY, Summary, REWRITTEN)
        return found

    def history(self) -> list[dict[str, Any]]:
        """Return a row per stage and epoch, as far as the run came; a data frame takes it as is.

        Each holds ``stage``, ``epoch`` (from 1), ``best`` (whether its weights were the best so
        far), ``seconds`` (since the stage began) and what ``metrics.jsonl`` says under names like
        ``training/task/value`` or ``validation/loss``; nan where a metric is undefined.
        """
        records = Records(self.path)
        return [row for stage in records.stages for row in records.history(stage)]

    def student(
        self,
        target: str | None = None,
        *,
        code: bool | None = None,
        network: nn.Module | NetworkOf | None = None,
    ) -> Student:
        """Return a student in eval mode, its normalisation included: raw values in, logits out.

        A run's folder is code, see `load_student`.

        Args:
            target: which one, where the run has several.
            code: whether modules of the run's folder may be imported.
            network: your own, in place of the run's.

        Returns:
            A module from its modalities, [batch, *shape] of any numeric type each, to logits,
            [batch, num_outputs] or [batch, num_outputs, height, width] float; ``classes`` names
            them.

        Raises:
            UserError: the run is not finished, is damaged, or has no such student; or it needs
                code that may not be run.
        """
        return load_student(self.path, target, code=code, network=network)

    def evaluate(
        self,
        split: str | None = None,
        part: str = "test",
        device: str = "auto",
        *,
        code: bool | None = None,
        notice: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Evaluate every student, alone and distilled, and every teacher.

        A run's folder is code: unless told otherwise, this imports the modules that lie in it.

        Args:
            split: name of a split of the store; default: the one the run was trained on.
            part: ``"train"``, ``"validation"`` or ``"test"``.
            device: see `Experiment.run`.
            code: whether modules of the run's folder may be imported; False refuses a run that
                needs them, None says which they are.
            notice: is told of them; default: a Python warning.

        Returns:
            Plain data; ``["metrics"][stage][response][metric]`` are fractions of 1.

        Raises:
            UserError: the run is not finished, its store is gone, or there is no such split.
        """
        from mstgraph.report.evaluate_run import evaluate_run

        told = notice or partial(warnings.warn, stacklevel=2)
        return evaluate_run(self.path, split, part, choose_device(device), code, told)

    def advise(
        self,
        device: str = "auto",
        *,
        code: bool | None = None,
        notice: Callable[[str], None] | None = None,
    ) -> Advice:
        """Measure what each teacher could tell its student, and predict what that gains.

        Each member is taken as it is without distillation; see `Experiment.advise`.

        Args:
            device: see `Experiment.run`.
            code: see `evaluate`.
            notice: see `evaluate`.

        Raises:
            UserError: a stage that is asked for is not finished, the store is gone, or the graph
                has nothing to advise on.
        """
        from mstgraph.advice.advise import advise
        from mstgraph.api.advice import Advice

        told = notice or partial(warnings.warn, stacklevel=2)
        opened = open_finished(self.path / CONFIG, code, told)
        folder = RunFolder(self.path)
        folder.refuse_replaced(list(opened.plan.stages))
        with opened.entered():
            pool = Execution(opened, folder, choose_device(device), Silent()).pool
            return Advice(advise(opened, opened, folder, pool))

    def export(
        self,
        format: str,
        out: Path | str | None = None,
        *,
        member: str | None = None,
        output: Output = "logits",
        int8: bool = False,
        batch: int = 32,
        threads: int = 1,
        calibration: int = 256,
        max_loss: float = 0.02,
        code: bool | None = None,
        notice: Callable[[str], None] | None = None,
    ) -> Exported:
        """Write a student as a file for devices, its normalisation included, and measure that file.

        Its own runtime runs it over the test split, beside torch; a model card and all numbers
        lie beside it, and for ONNX a page of code that runs it with numpy and onnxruntime alone.

        Args:
            format: ``"onnx"``, ``"torch"`` (torch.export), ``"executorch"`` or ``"openvino"``.
            out: the folder; default: ``exports/RUN-MEMBER-FORMAT``, with ``-int8``.
            member: which student, where the run has several.
            output: ``"logits"``, or ``"probabilities"`` of exclusive classes.
            int8: eight bits, by the runtime's own static quantisation.
            batch: the larger batch that is timed, and for ExecuTorch the largest possible.
            threads: that each runtime computes on, as far as it can be told.
            calibration: training samples to calibrate eight bits on.
            max_loss: of the primary metric on the test split, beyond which int8 is refused.
            code: see `evaluate`.
            notice: see `evaluate`.

        Raises:
            UserError: a library is missing (names the extra), the network cannot be exported, or
                eight bits lose too much.
            RunError: the file does not answer as torch does.
        """
        from mstgraph.api.exported import Exported
        from mstgraph.export.export import Wanted, export

        wanted = Wanted(format, int8, output, batch, threads, calibration, max_loss)
        summary = self.summary
        opened = open_finished(
            self.path / CONFIG, code, notice or partial(warnings.warn, stacklevel=2)
        )
        with opened.entered():
            wanted.check(opened.task)
            student = load_student(self.path, member, code=code is not False)
            name = "-".join((self.path.resolve().name, student.member, format, *["int8"] * int8))
            folder = named_folder(out, Path("exports", name))
            return Exported(folder, export(opened, student, self.path, summary, folder, wanted))

    def predict(
        self,
        inputs: Iterable[Path | str],
        *,
        member: str | None = None,
        batch: int = 64,
        device: str = "auto",
        code: bool | None = None,
        notice: Callable[[str], None] | None = None,
    ) -> Predictions:
        """Let a student answer to raw items, read as the recipe of its data reads them.

        Args:
            inputs: files, folders of files, tables whose rows are items (.csv, .tsv), and ``"-"``
                for lines of standard input.
            member: which student, where the run has several.
            batch: items at a time.
            device: see `Experiment.run`.
            code: whether modules of the run's folder may be imported, and a recipe be run that is
                not mstgraph's own; False refuses what needs them, None says which they are.
            notice: is told of them, and of every item that is skipped; default: a Python warning.

        Returns:
            An iterator: ``name``, ``outputs`` (probabilities, [classes, *extent] float) and
            ``document()`` of each; ``skipped`` names those that could not be read, and why.

        Raises:
            UserError: the run is not finished, its store or its recipe is gone, or code would be
                run that may not be.
        """
        from mstgraph.predict.predict import Predictions, open_recipe

        if batch < 1:
            raise UserError(f"batch is {batch}, expected at least 1")
        where, told = choose_device(device), notice or partial(warnings.warn, stacklevel=2)
        opened = open_finished(self.path / CONFIG, code, told)
        with opened.entered():
            student = load_student(self.path, member, code=code is not False)
        recipe = open_recipe(opened, code, told)
        return Predictions(opened, student, recipe, inputs, batch, where, told)

    def show(self, console: Console) -> None:
        """Print the table of a finished run to a console."""
        print_summary(self.summary, console)

    def __str__(self) -> str:
        return as_text(self.show) if self.finished else repr(self)

    def __repr__(self) -> str:
        return f"<mstgraph.Run '{self.path}'{'' if self.finished else ', not finished'}>"
