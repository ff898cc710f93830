"""What seeds say: mean and spread, ranks, and which differences between rows are real.

Each metric says whether it is better when it is higher or lower.

A row is compared with its **control**: the student alone, trained for as many epochs as the row's
method gives it. The test is the **paired t-test** over seeds. A seed decides the split, so two
networks under one seed saw the same samples, and their difference varies less than either value.
Benches have three to five seeds: the Wilcoxon signed-rank test can then reach no p-value below 2/2ⁿ
(1/4 for 3 seeds, 1/16 for 5), so it never comes out significant with less than six, however large
the difference. The t-test can, at the price of assuming that differences are about normal.

Random splits of one data set share most of their samples, so differences vary less from seed to
seed than from one data set to another; the test's variance is corrected for that (Nadeau and Bengio
2003, see `mstgraph.certainty.hypotheses`). Many rows are compared, so p-values are corrected by
Holm's method (Holm 1979, "A simple sequentially rejective multiple test procedure") over all
comparisons of one kind in one table. One thing still makes p smaller than it should be: the best
row was found with the same seeds that it is tested with.

Splits differ more than methods do, so means over different seeds say nothing of two rows. Who is
best, second or of which rank is decided among the rows that finished the same seeds (`comparable`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mstgraph.benchmark.results.results import Column, Results
from mstgraph.certainty.hypotheses import corrected_t_test

SIGNIFICANT = 0.05
FEWEST = 2  # seeds that a test needs
_ROUNDING = 1e-12  # relative; differences that vary less are equal but for floating point


@dataclass(frozen=True)
class Spread:
    """Values over seeds.

    Attributes:
        mean: of the values.
        std: unbiased (n - 1) estimate, None for a single value.
        count: number of values n.
    """

    mean: float
    std: float | None
    count: int


@dataclass(frozen=True)
class Comparison:
    """One row against another in one column, over the seeds that both finished.

    Attributes:
        count: number of those seeds n.
        difference: mean of row − other.
        p: two-sided p-value; None if n is too small, or if all differences are the same and so
            give the test no scale.
        corrected: p by Holm's method within its family; None without ``p``.
    """

    count: int
    difference: float
    p: float | None
    corrected: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the difference is real at the 5 % level, over the whole family."""
        return self.corrected is not None and self.corrected < SIGNIFICANT


Comparisons = Mapping[tuple[int, Column], Comparison]


def spread(values: Sequence[float]) -> Spread | None:
    """Return mean and unbiased standard deviation; None without a value."""
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Spread(mean, None, 1)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return Spread(mean, math.sqrt(squares / (len(values) - 1)), len(values))


def ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each merit: 1 for the highest, the mean of their places for ties."""
    from scipy import stats  # type: ignore[import-untyped, unused-ignore]

    found: list[float] = stats.rankdata([-value for value in values]).tolist()
    return found


def means(results: Results, column: Column) -> dict[int, float]:
    """Return row → mean over seeds, for the rows that have a value."""
    found = {row: spread([*results.values(row, column).values()]) for row in _rows(results)}
    return {row: one.mean for row, one in found.items() if one is not None}


def comparable(results: Results, column: Column) -> dict[int, float]:
    """Return row → mean, for the rows that have every seed that the most complete one has.

    Where rows lack as few seeds but not the same, those seeds count that most rows have, or else
    the first of them.
    """
    found = means(results, column)
    seeds = {row: tuple(results.values(row, column)) for row in found}
    shared = Counter(seeds.values())
    most = max(shared, key=lambda some: (len(some), shared[some]), default=())
    return {row: mean for row, mean in found.items() if seeds[row] == most}


def merits(results: Results, column: Column) -> dict[int, float]:
    """Return row → mean of the `comparable` rows, signed so that higher is better."""
    metric = results.metric(column)
    return {row: metric.merit(mean) for row, mean in comparable(results, column).items()}


def average_ranks(results: Results, columns: Sequence[Column]) -> dict[int, float]:
    """Return row → its rank, averaged over columns and seeds.

    Only rows that are `comparable` wherever any row has a value are ranked, and among themselves:
    otherwise a row would gain by failing where it is weak.
    """
    rows, blocks = ranked_blocks(results, columns)
    return {row: math.fsum(line[i] for line in blocks) / len(blocks) for i, row in enumerate(rows)}


def ranked_blocks(
    results: Results, columns: Sequence[Column]
) -> tuple[list[int], list[list[float]]]:
    """Return the rows that can be ranked, and their ranks for each column and seed."""
    by_column = {column: found for column in columns if (found := comparable(results, column))}
    rows = [row for row in _rows(results) if all(row in found for found in by_column.values())]
    blocks = []
    for column in by_column if rows else ():
        metric, values = results.metric(column), [results.values(row, column) for row in rows]
        blocks += [ranks([metric.merit(own[seed]) for own in values]) for seed in values[0]]
    return (rows, blocks) if blocks else ([], [])


def podium(results: Results, column: Column) -> tuple[set[int], set[int]]:
    """Return the best and the second best of the `comparable` rows, by means that are not rounded.

    Rows that tie are best together, and then none is second. A lone row is not called best.
    """
    found = merits(results, column)
    if len(found) < 2:
        return set(), set()
    highest = max(found.values())
    best = {row for row, merit in found.items() if merit == highest}
    rest = {row: merit for row, merit in found.items() if row not in best}
    if len(best) > 1 or not rest:
        return best, set()
    return best, {row for row, merit in rest.items() if merit == max(rest.values())}


def compare(
    one: Mapping[int, float], other: Mapping[int, float], test_share: float = 0.0
) -> Comparison | None:
    """Compare two rows over the seeds that both have.

    Args:
        one: seed → value.
        other: seed → value.
        test_share: test samples for each training sample, by which splits share samples.

    Returns:
        The comparison, not corrected for others; None if they share no seed.
    """
    seeds = [seed for seed in one if seed in other]
    if not seeds:
        return None
    differences = [one[seed] - other[seed] for seed in seeds]
    size = max(abs(value) for seed in seeds for value in (one[seed], other[seed]))
    found = spread(differences)
    assert found is not None
    same = found.std is None or found.std <= _ROUNDING * size
    untested = same or len(seeds) < FEWEST
    p = None if untested else corrected_t_test(differences, test_share)
    return Comparison(len(seeds), found.mean, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected by Holm's method, in the same order, none above 1."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, highest = [0.0] * len(p_values), 0.0
    for place, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[i]))
        corrected[i] = highest
    return corrected


def against_alone(results: Results, columns: Sequence[Column]) -> Comparisons:
    """Compare every row with the student alone, trained as long; one family for Holm's method.

    Returns:
        (row, column) → comparison, without rows that have no such control.
    """
    return _family(
        {
            (row, column): compare(
                results.values(row, column),
                results.controls(row, column),
                results.test_share(column),
            )
            for column in columns
            for row in _rows(results)
        }
    )


def against_best(results: Results, columns: Sequence[Column]) -> Comparisons:
    """Compare every `comparable` row with the best of each column; one family for Holm's method.

    Returns:
        (row, column) → comparison; the best rows themselves are left out, the first one of those
        that tie stands for them.
    """
    best = {column: podium(results, column)[0] for column in columns}
    return _family(
        {
            (row, column): compare(
                results.values(row, column),
                results.values(min(found), column),
                results.test_share(column),
            )
            for column, found in best.items()
            for row in comparable(results, column)
            if found and row not in found
        }
    )


def _family(compared: Mapping[tuple[int, Column], Comparison | None]) -> Comparisons:
    """Correct the p-values of comparisons that are made together."""
    found = {place: c for place, c in compared.items() if c is not None}
    tested = [(place, c.p) for place, c in found.items() if c.p is not None]
    corrected = holm([p for _, p in tested])
    for (place, _), value in zip(tested, corrected, strict=True):
        found[place] = replace(found[place], corrected=value)
    return found


def _rows(results: Results) -> range:
    return range(len(results.rows))
