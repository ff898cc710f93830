"""What a person sees while stages run: a bar with losses and metric, and a line per stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor

from mstgraph.run.reporter import Silent, means
from mstgraph.stages.stage import StageNode
from mstgraph.tasks.task import Task

REFRESH = 0.5  # seconds; reading a loss waits for the device
LOG_EVERY = 60.0  # seconds between two lines where there is no terminal


class Lines(Silent):
    """Says now and then in one line how far a stage is, where no bar can be shown.

    Args:
        say: prints a line.
        every: seconds between two lines; 0 says nothing.
        label: what a line begins with.
    """

    def __init__(self, say: Callable[[str], None], every: float, label: str = ""):
        self.say, self.every, self.label = say, every, label
        self._names: list[str] = []
        self._batches = 0
        self._started = self._said = time.monotonic()

    def group_started(self, group: Sequence[StageNode], batches: int) -> None:
        """Take note of stages that have this many batches per epoch."""
        self._names, self._batches = [node.name for node in group], batches
        self._started = self._said = time.monotonic()

    def batch_done(
        self, node: StageNode, epoch: int, batch: int, sums: Mapping[str, Tensor]
    ) -> None:
        """Say where the first stage of the group is, if it is time; reading a loss waits."""
        if [node.name] != self._names[:1] or not self._due():
            return
        losses = " ".join(f"{name} {value:.4f}" for name, value in means(sums).items())
        seconds = time.monotonic() - self._started
        more = f" and {len(self._names) - 1} more" if len(self._names) > 1 else ""
        place = f"epoch {epoch}/{node.settings.epochs}, batch {batch}/{self._batches}"
        self.say(f"{self.label}{node.name}{more}: {place} · {losses} · {seconds:.0f} s")

    def keeping(self, sentence: str, done: int, total: int) -> None:
        """Say how far the values are that are computed once."""
        if self._due():
            self.say(f"{self.label}{', '.join(self._names)}: {sentence}: {done}/{total}")

    def _due(self) -> bool:
        now = time.monotonic()
        if self.every <= 0 or now - self._said < self.every:
            return False
        self._said = now
        return True


class ConsoleReporter:
    """Shows a bar per stage on a terminal, and one line per stage everywhere.

    Args:
        console: where to.
        task: names the metric.
        synthetic: what every stage's line must say of the data; empty for real data.
        log_every: seconds between two lines off a terminal, see `Lines`.
    """

    def __init__(self, console: Console, task: Task, synthetic: str, log_every: float = LOG_EVERY):
        self.console = console
        self.task = task
        self.synthetic = synthetic
        self._progress: Progress | None = None
        self._bar: TaskID | None = None
        self._names: list[str] = []
        self._batches = 0
        self._metric = ""
        self._shown = 0.0
        self._lines = Lines(self.note, 0 if console.is_terminal else log_every)

    def group_started(self, group: Sequence[StageNode], batches: int) -> None:
        """Open the bar of stages that have this many batches per epoch."""
        self._lines.group_started(group, batches)
        self._batches, self._metric, self._names = batches, "", [node.name for node in group]
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(
            *columns, console=self.console, transient=True, disable=not self.console.is_terminal
        )
        total = group[0].settings.epochs * batches
        more = f" and {len(group) - 1} more" if len(group) > 1 else ""
        self._bar = self._progress.add_task(group[0].name + more, total=total, status="")
        self._progress.start()

    def batch_done(
        self, node: StageNode, epoch: int, batch: int, sums: Mapping[str, Tensor]
    ) -> None:
        """Move the bar; read the losses now and then."""
        self._lines.batch_done(node, epoch, batch, sums)
        now = time.monotonic()
        if self._progress is None or self._bar is None or now - self._shown < REFRESH:
            return
        if self._progress.disable or node.name != self._names[0]:
            return
        self._shown = now
        losses = " ".join(f"{name} {value:.4f}" for name, value in means(sums).items())
        self._progress.update(
            self._bar,
            completed=(epoch - 1) * self._batches + batch,
            status=f"epoch {epoch}/{node.settings.epochs} {losses}{self._metric}",
        )

    def epoch_done(self, node: StageNode, record: Mapping[str, Any]) -> None:
        """Note the validation metric for the bar."""
        primary = self.task.primary
        values = [m[primary.name] for m in record["validation"]["metrics"].values()]
        mean = f"{primary.title} {sum(values) / len(values):.4f}" if values else ""
        self._metric = f" · {mean or 'loss {:.4f}'.format(record['validation']['loss'])}"

    def group_ended(self) -> None:
        """Close the bar."""
        if self._progress is not None:
            self._progress.stop()
        self._progress = None

    def keeping(self, sentence: str, done: int, total: int) -> None:
        """Show how far the values are that are computed once."""
        self._lines.keeping(sentence, done, total)
        if self._progress is not None and self._bar is not None:
            self._progress.update(self._bar, status=f"{sentence}: {done}/{total}")

    def stage_line(self, name: str, artefact: Mapping[str, Any], reused: bool) -> None:
        """Print what a stage came to."""
        primary = self.task.primary
        metrics = " · ".join(
            f"{response} {primary.title} {values[primary.name]:.4f}"
            for response, values in artefact["validation"]["metrics"].items()
        )
        metrics = metrics or f"loss {artefact['validation']['loss']:.4f}"
        best = f"best epoch {artefact['best_epoch']} of {artefact['epochs']}"
        how = "reused" if reused else f"{artefact['seconds']:.1f} s"
        label = f" [{self.synthetic}]" if self.synthetic else ""
        self.console.print(
            f"{name}{label}: {best if artefact['epochs'] else 'as it is'} · "
            f"validation {metrics} · {how}",
            markup=False,
            highlight=False,
        )

    def note(self, sentence: str) -> None:
        """Print a sentence."""
        self.console.print(sentence, markup=False, highlight=False)
