"""Results of small benches, written by hand or drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mstgraph.benchmark.results.results import CellResult, Results, Row, StudentMetrics
from mstgraph.tasks.confusion import OA
from mstgraph.tasks.task import Metric

ROWS = (
    Row("w/o KD", ""),
    Row("KD", "MM", "Response-Based"),
    Row("KD", "CM", "Response-Based"),
    Row("MST-Distill", "MM+CM", "Cross-Modal"),
)


def bench(
    values: Mapping[str, Sequence[Sequence[float | str | None]]],
    *,
    rows: Sequence[Row] = ROWS,
    synthetic: str = "",
    baseline: int | None = 0,
) -> Results:
    """Results with the metric OA.

    Args:
        values: student → for each row, for each seed from 0: OA, the error of a cell that failed,
            or None for one that did not run.
        rows: of the table.
        synthetic: label.
        baseline: index of the row of the student alone; its values are the other rows' controls.
    """
    seeds = max(len(line) for table in values.values() for line in table)
    cells = tuple(
        _cell(row, student, seed, value, _control(table, row, seed, baseline))
        for student, table in values.items()
        for row, line in enumerate(table)
        for seed, value in enumerate(line)
        if value is not None
    )
    return Results(
        title="tiny",
        synthetic=synthetic,
        metrics=(OA,),
        students=tuple(StudentMetrics(name, "OA", ("OA",)) for name in values),
        rows=tuple(rows[: max(map(len, values.values()))]),
        seeds=tuple(range(seeds)),
        cells=cells,
        baseline=baseline,
        shared_seconds=100.0,
        separate_seconds=250.0,
    )


def lower_is_better(results: Results, title: str = "error") -> Results:
    """The same numbers, taken for errors."""
    return replace(results, metrics=(Metric("OA", title, higher_is_better=False),))


def _control(
    table: Sequence[Sequence[float | str | None]], row: int, seed: int, baseline: int | None
) -> float | None:
    """What the student alone came to under a seed, for the rows that are another method's."""
    if baseline is None or row == baseline or seed >= len(table[baseline]):
        return None
    value = table[baseline][seed]
    return value if isinstance(value, float) else None


def _cell(
    row: int, student: str, seed: int, value: float | str, control: float | None
) -> CellResult:
    seconds, memory = 10.0 * (row + 1) + seed, 10**9 * (row + 1) + seed
    if isinstance(value, str):
        return CellResult(row, student, seed, None, seconds, memory, value)
    return CellResult(
        row,
        student,
        seed,
        {"OA": value},
        seconds,
        memory,
        epochs=60,
        control=None if control is None else {"OA": control},
    )


def drawn(students: int = 2, seeds: int = 5, **others: str) -> Results:
    """A bench of random values: splits differ much, methods little but steadily."""
    random = np.random.default_rng(0)
    gains = np.array([0, 0.004, -0.006, 0.02])[:, None]
    return bench(
        {
            f"student {i}": (
                0.8
                - 0.1 * i
                + random.normal(0, 0.02, seeds)
                + gains
                + random.normal(0, 0.003, (4, seeds))
            ).tolist()
            for i in range(students)
        },
        **others,
    )
