"""What a search came to: trials side by side, what sharing saved, the winner as a gin file."""

from __future__ import annotations

import csv
import io
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from mstgraph.benchmark.execute.dispatch import Options
from mstgraph.benchmark.plan.dag import OpenCell
from mstgraph.benchmark.report.outputs import read_artefact
from mstgraph.report.tables import table
from mstgraph.run.artefacts.metrics_log import read_records
from mstgraph.run.artefacts.run_folder import METRICS, WINNER
from mstgraph.support.files import write_text
from mstgraph.support.lookup import SHIPPED
from mstgraph.tasks.task import Metric
from mstgraph.tuning.search import Search
from mstgraph.tuning.study import STAGES, VALUES, WHY, Study, values_of

TABLE = "trials.csv"


@dataclass(frozen=True)
class TrialResult:
    """A trial.

    Attributes:
        number: its number, from 0.
        settings: setting → value, as gin reads it.
        state: ``"done"``, ``"pruned"``, ``"failed"`` or ``"under way"``.
        value: mean over the seeds of the student's metric on validation; None unless done.
        values: that of each seed.
        why: why it was pruned or failed.
        stages: names of the artefacts that it asked for.
    """

    number: int
    settings: Mapping[str, str]
    state: str
    value: float | None
    values: tuple[float, ...]
    why: str
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Tuned:
    """A search as far as it is.

    Attributes:
        search: what was searched.
        target: the student.
        metric: by which trials are compared, on validation.
        synthetic: what must be said of the data; empty for real data.
        trials: all that were begun, by number.
        seconds: what stages took → by artefact; of one that was pruned, up to then.
        folder: where everything is.
    """

    search: Search
    target: str
    metric: Metric
    synthetic: str
    trials: tuple[TrialResult, ...]
    seconds: Mapping[str, float]
    folder: Path

    @property
    def best(self) -> TrialResult | None:
        """The trial with the best value, of several alike the first; None without any."""
        done = [trial for trial in self.trials if trial.value is not None]
        return max(done, key=lambda t: self.metric.merit(t.value or 0.0), default=None)

    @property
    def winner(self) -> Path:
        """The best trial as a gin file."""
        return self.folder / WINNER

    @property
    def asked(self) -> list[str]:
        """Artefacts that trials asked for, each as often as it was asked for, and was trained."""
        return [name for t in self.trials for name in t.stages if name in self.seconds]

    @property
    def separate_seconds(self) -> float:
        """What all trials would have taken, each on its own."""
        return math.fsum(self.seconds[name] for name in self.asked)

    @property
    def shared_seconds(self) -> float:
        """What they took."""
        return math.fsum(self.seconds[name] for name in set(self.asked))


def gather(search: Search, study: Study, base: OpenCell, options: Options) -> Tuned:
    """Return what there is of a search.

    Args:
        search: the search.
        study: where its trials stand.
        base: the experiment as its gin files have it.
        options: where everything is.
    """
    trials = [
        TrialResult(
            number=trial.number,
            settings=values_of(trial, search.settings),
            state=study.state(trial),
            value=study.value(trial),
            values=tuple(trial.user_attrs.get(VALUES, ())),
            why=trial.user_attrs.get(WHY, ""),
            stages=tuple(trial.user_attrs.get(STAGES, ())),
        )
        for trial in study.trials
        if len(trial.params) == len(search.settings)
    ]
    names = {name for trial in trials for name in trial.stages}
    taken = {name: _seconds(options.artefacts, name) for name in sorted(names)}
    seconds = {name: time for name, time in taken.items() if time}
    return Tuned(
        search, base.target, base.primary, base.synthetic, tuple(trials), seconds, options.folder
    )


def _seconds(artefacts: Path, name: str) -> float:
    """Return what a stage took so far; 0 of one that was not begun."""
    if artefact := read_artefact(artefacts, name):
        return float(artefact["seconds"])
    records = read_records(artefacts / name / METRICS)
    return float(records[-1]["seconds"]) if records else 0.0


def write_results(tuned: Tuned) -> None:
    """Write ``trials.csv``, and ``winner.gin`` if there is one."""
    names = [setting.name for setting in tuned.search.settings]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    seeds = [f"seed {seed}" for seed in tuned.search.seeds]
    writer.writerow(["trial", "state", f"validation {tuned.metric.name}", *seeds, *names, "why"])
    for trial in tuned.trials:
        value = "" if trial.value is None else trial.value
        values = [*trial.values, *[""] * (len(seeds) - len(trial.values))]
        chosen = [trial.settings[name] for name in names]
        writer.writerow([trial.number, trial.state, value, *values, *chosen, trial.why])
    write_text(tuned.folder / TABLE, text.getvalue())
    if tuned.best:
        write_text(tuned.winner, _winner(tuned, tuned.best))


def _winner(tuned: Tuned, best: TrialResult) -> str:
    search = tuned.search
    command = ["mstgraph", "tune", *search.files]
    command += [word for binding in search.given for word in ("-p", binding)]
    command += [word for setting in search.settings for word in ("-s", setting.written)]
    lines = [
        f"# Trial {best.number}, the best of {len(tuned.trials)} by {tuned.metric.title} on "
        f"validation: {best.value:.4f} (seeds {', '.join(map(str, search.seeds))}).",
        "# The test split was not looked at: run this file to learn what it is worth.",
        f"#   {shlex.join(command)}",
        *(f"include '{_included(file, tuned.folder)}'" for file in search.files),
        "",
        *search.given,
        *(f"{name} = {value}" for name, value in best.settings.items()),
    ]
    return "\n".join(lines) + "\n"


def _included(file: str, folder: Path) -> str:
    """Return a gin file's name such that it is found from the folder, wherever one stands."""
    path = Path(file)
    if path.is_relative_to(SHIPPED):
        return path.relative_to(SHIPPED).as_posix()
    above = not path.is_absolute() and folder.resolve().is_relative_to(Path.cwd())
    return str(path if above else path.resolve())


def print_results(tuned: Tuned, console: Console) -> None:
    """Print a table of the trials, the best first, and what sharing saved."""
    names = [setting.name for setting in tuned.search.settings]
    heading = f"{tuned.metric.title} (validation)"
    parts = (f"{tuned.search.name}: {tuned.target} on validation", tuned.synthetic)
    grid = table(
        escape(" · ".join(filter(None, parts))), ("trial", heading, *names, ""), right=(heading,)
    )
    for trial in _ranked(tuned):
        value = "" if trial.value is None else f"{trial.value:.4f}"
        mark = "the best" if trial is tuned.best else trial.why or trial.state.replace("done", "")
        chosen = (trial.settings[name] for name in names)
        grid.add_row(str(trial.number), value, *map(escape, (*chosen, mark)))
    console.print(grid)
    console.print(sharing(tuned), markup=False, highlight=False)


def _ranked(tuned: Tuned) -> Sequence[TrialResult]:
    """Finished trials from the best on, then the others."""

    def place(trial: TrialResult) -> tuple[bool, float, int]:
        merit = -math.inf if trial.value is None else tuned.metric.merit(trial.value)
        return trial.value is None, -merit, trial.number

    return sorted(tuned.trials, key=place)


def sharing(tuned: Tuned) -> str:
    """Return what trials had in common in one sentence."""
    asked, trained = len(tuned.asked), len(set(tuned.asked))
    shared, separate = tuned.shared_seconds, tuned.separate_seconds
    ratio = f", {separate / shared:.2f}× less" if round(shared, 1) > 0 else ""
    return (
        f"{len(tuned.trials)} trials asked for {asked} stages; {trained} were trained: "
        f"{shared:,.1f} s instead of {separate:,.1f} s{ratio}."
    )
