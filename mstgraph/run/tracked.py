"""A run's reporter and its tracker as one: who watches elsewhere is told the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from mstgraph.run.artefacts.metrics_log import named_scalars
from mstgraph.run.reporter import Reporter
from mstgraph.stages.stage import StageNode
from mstgraph.support.errors import UserError
from mstgraph.trackers.tracker import Tracker


class Tracked:
    """Passes everything on to a reporter, and numbers to a tracker as well.

    A tracker that fails is told nothing more and the run goes on: its place may be a server that
    is not there tonight. One whose library is missing is the user's mistake.

    Args:
        reporter: who is told all.
        tracker: who is told numbers.
    """

    def __init__(self, reporter: Reporter, tracker: Tracker):
        self.reporter = reporter
        self.tracker: Tracker | None = tracker

    def started(self, name: str, settings: str) -> None:
        """Tell that a run begins."""
        self._tell(lambda tracker: tracker.started(name, settings))

    def ended(self, summary: Mapping[str, Any]) -> None:
        """Tell what students came to."""
        values = {
            f"{target}/{how}/{metric}": value
            for target, student in summary["students"].items()
            for how in ("alone", "distilled", "gain")
            for metric, value in student.get(how, {}).items()
            if value is not None
        }
        self._tell(lambda tracker: tracker.ended(values))

    def epoch_done(self, node: StageNode, record: Mapping[str, Any]) -> None:
        """Tell both."""
        values = {name: v for name, v in named_scalars(node, record) if v is not None}
        self._tell(lambda tracker: tracker.epoch(node.name, record["epoch"], values))
        self.reporter.epoch_done(node, record)

    def batch_done(
        self, node: StageNode, epoch: int, batch: int, sums: Mapping[str, Tensor]
    ) -> None:
        """Pass it on."""
        self.reporter.batch_done(node, epoch, batch, sums)

    def note(self, sentence: str) -> None:
        """Pass it on."""
        self.reporter.note(sentence)

    def group_started(self, group: Sequence[StageNode], batches: int) -> None:
        """Pass it on."""
        self.reporter.group_started(group, batches)

    def keeping(self, sentence: str, done: int, total: int) -> None:
        """Pass it on."""
        self.reporter.keeping(sentence, done, total)

    def group_ended(self) -> None:
        """Pass it on."""
        self.reporter.group_ended()

    def stage_line(self, name: str, artefact: Mapping[str, Any], reused: bool) -> None:
        """Pass it on."""
        self.reporter.stage_line(name, artefact, reused)

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        if self.tracker is None:
            return
        try:
            what(self.tracker)
        except UserError:
            raise
        except Exception as error:
            name, self.tracker = type(self.tracker).__name__, None
            self.reporter.note(f"the tracker {name} failed and is told nothing more: {error}")
