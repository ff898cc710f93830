"""Seconds of the stages of a shape, in every way, in turns; and what whole runs come to."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.run.train import Training, train_epoch
from tools.engine_bench.shapes import Shape
from tools.engine_bench.ways import (
    OFF,
    ON,
    WAYS,
    Place,
    as_it_is,
    execution,
    finished,
    opened,
    ready,
    step_seconds,
)

MANY = 100
BUDGETS = ((1, 1, MANY), (MANY, MANY, MANY))
ALONE = "alone"
PLAIN_EPOCH = "student's plain epoch"
LEAST_EPOCHS = 15

Seconds = dict[str, float]


def in_turns(measured: Mapping[str, Callable[[], float]], repeats: int) -> Seconds:
    """Return the median of each, measured in turns; a first round warms up."""
    found: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(repeats + 1):
        for name, measure in measured.items():
            found[name].append(measure())
    return {name: statistics.median(values[1:]) for name, values in found.items()}


def steps(
    shape: Shape, kind: str, place: Place, repeats: int, ways: Sequence[str] = WAYS, epochs: int = 1
) -> Seconds:
    """Return the seconds of one step, by way; with many epochs, of one that reads what is kept."""
    made = {way: ready(shape, way, kind, place, (epochs, epochs, epochs)) for way in ways}
    return _steps(made, repeats)


def _steps(made: Mapping[str, Sequence[Training]], repeats: int) -> Seconds:
    passes = {way: step_seconds(trainings) for way, trainings in made.items()}
    return in_turns({way: passed.__next__ for way, passed in passes.items()}, repeats)


def dkd(shape: Shape, place: Place, repeats: int) -> dict[str, Seconds]:
    """Return what DKD takes: filling, steps, epochs, and the student's epochs alone."""
    made = {way: ready(shape, way, "dkd", place, (1, 1, MANY)) for way in WAYS}
    filled = filling(made[ON])
    found = {"filling, DKD": {ON: filled}, "DKD step": _steps(made, repeats)}
    return found | epochs(shape, place, repeats, made[ON])


def epochs(
    shape: Shape, place: Place, repeats: int, made: Sequence[Training] = ()
) -> dict[str, Seconds]:
    """Return what an epoch of DKD takes, and one of the student alone; ``made``: DKD, if ready."""
    made = made or ready(shape, ON, "dkd", place, (1, 1, MANY))
    alone = ready(shape, ON, ALONE, place, (1, 1, MANY))
    for part in ("train", "validation"):
        made[0].setting.keeper.kept(part)
    if not shape.extent:  # of kept values none costs more than another
        as_it_is(made)
    for training in (*made, *alone):
        training.state.batch = 0
    seconds = in_turns({ON: _epoch(made), ALONE: _epoch(alone)}, max(LEAST_EPOCHS, repeats))
    return {"DKD epoch, validated": {ON: seconds[ON]}, PLAIN_EPOCH: {ON: seconds[ALONE]}}


def _epoch(trainings: Sequence[Training]) -> Callable[[], float]:
    device = trainings[0].setting.training.device

    def measure() -> float:
        started = finished(device)
        train_epoch(trainings)
        return finished(device) - started

    return measure


def filling(trainings: Sequence[Training]) -> float:
    """Return the seconds of keeping a stage's constants of the training split."""
    keeper, device = trainings[0].setting.keeper, trainings[0].setting.training.device
    started = finished(device)
    keeper.kept("train")
    return finished(device) - started


def measure(shape: Shape, place: Place, repeats: int) -> dict[str, Seconds]:
    """Return quantity → way → seconds; epochs and runs are of the store's training samples."""
    batches = -(-shape.samples // shape.batch)
    found = {
        "CI step": steps(shape, "ci", place, repeats, (OFF, ON)),
        "STA step": steps(shape, "sta", place, repeats),
    }
    kept = ready(shape, ON, "sta", place, (MANY, MANY, MANY))
    found["filling, STA 100 epochs"] = {ON: filling(kept)}
    found["STA step, 100 epochs"] = _steps({ON: kept}, repeats)
    del kept
    found |= dkd(shape, place, repeats)
    for budget in BUDGETS:
        found[f"run, {_shown(budget)}"] = composed(found, batches, budget)
    return found


def composed(found: Mapping[str, Seconds], batches: int, budget: tuple[int, int, int]) -> Seconds:
    """Return the seconds of a whole run, validation left out, from those of its parts."""
    epochs = dict(zip(("CI step", "STA step", "DKD step"), budget, strict=True))
    seconds = {
        way: batches * sum(count * found[step][way] for step, count in epochs.items())
        for way in (OFF, ON)
    }
    seconds[ON] += found["filling, DKD"][ON]
    if budget[1] > 1:
        kept = found["STA step, 100 epochs"][ON] - found["STA step"][ON]
        seconds[ON] += found["filling, STA 100 epochs"][ON] + batches * budget[1] * kept
    return seconds


def really_run(shape: Shape, place: Place, budget: tuple[int, int, int]) -> Seconds:
    """Return the seconds of whole runs, from the experiment to the summary."""
    found = {}
    for way in (OFF, ON):
        folder = place.folder / f"run-{_shown(budget).replace('/', '-')}-{way}"
        experiment = opened(shape, way, place, budget, alone=False)
        run = execution(experiment, way, RunFolder(folder), place.device)
        started = finished(place.device)
        run.run()
        found[way] = finished(place.device) - started
    return found


def _shown(budget: tuple[int, int, int]) -> str:
    return "/".join(map(str, budget))


def warm(steps_of: Sequence[Training], count: int) -> None:
    """Take some steps."""
    for _ in islice(step_seconds(steps_of), count):
        pass
