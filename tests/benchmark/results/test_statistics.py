"""Means, ranks and tests over seeds, against formulas written out and tables in print."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from bench_samples import bench, drawn, lower_is_better
from hypothesis import given
from hypothesis import strategies as st

from mstgraph.benchmark.results.results import Column
from mstgraph.benchmark.results.statistics import (
    against_alone,
    against_best,
    average_ranks,
    comparable,
    compare,
    holm,
    podium,
    ranks,
    spread,
)

OA = Column("zer", "OA")
FINITE = st.floats(-1, 1)


@given(st.lists(FINITE, min_size=2, max_size=8))
def test_spread_is_mean_and_unbiased_deviation(values: list[float]) -> None:
    """As numpy computes them with ddof = 1."""
    found = spread(values)
    assert found is not None
    assert found.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert found.std == pytest.approx(np.std(values, ddof=1), abs=1e-7)
    assert found.count == len(values)


def test_one_seed_has_no_deviation_and_none_has_no_mean() -> None:
    """Absent, not nan."""
    one = spread([0.5])
    assert one is not None
    assert (one.mean, one.std, one.count) == (0.5, None, 1)
    assert spread([]) is None


def test_the_mean_does_not_depend_on_the_order() -> None:
    """Rows with the same values tie exactly, whatever seed gave which."""
    values = [0.1, 0.2, 0.3, 0.7, 1e-9]
    assert len({spread(order).mean for order in itertools.permutations(values)}) == 1  # type: ignore[union-attr]


def test_ranks_begin_at_the_highest_and_ties_share_their_places() -> None:
    """By hand."""
    assert ranks([0.3, 0.9, 0.5]) == [3, 1, 2]
    assert ranks([0.9, 0.5, 0.9, 0.1]) == [1.5, 3, 1.5, 4]
    assert ranks([0.5, 0.5, 0.5]) == [2, 2, 2]
    assert ranks([]) == []


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3]), max_size=7))
def test_ranks_sum_to_what_places_sum_to(values: list[float]) -> None:
    """Ties neither make nor lose places; a higher value never has a higher rank."""
    found = ranks(values)
    assert sum(found) == len(values) * (len(values) + 1) / 2
    for (a, rank_a), (b, rank_b) in itertools.product(zip(values, found, strict=True), repeat=2):
        assert (a > b) == (rank_a < rank_b)


def test_average_ranks_are_over_columns() -> None:
    """By hand: ranks 3, 1, 2 and 2.5, 2.5, 1."""
    results = bench({"a": [[0.1], [0.9], [0.5]], "b": [[0.2], [0.2], [0.6]]})
    assert average_ranks(results, results.columns()) == {0: 2.75, 1: 1.75, 2: 1.5}


def test_a_row_that_failed_somewhere_has_no_average_rank() -> None:
    """Nor does it move the others; a column where all failed counts for nothing."""
    columns = {"a": [[0.1], [0.9], [0.5]], "b": [[0.2], ["x"], [0.6]], "c": [["x"], ["x"], ["x"]]}
    results = bench(columns)
    assert average_ranks(results, results.columns()) == {0: 2, 2: 1}
    nothing = bench({"a": [["x"], ["x"]]})
    assert average_ranks(nothing, nothing.columns()) == {}


def test_the_metric_says_which_way_is_better() -> None:
    """Of errors the lowest is best and ranks first; differences keep their sign."""
    results = lower_is_better(bench({"zer": [[0.3], [0.1], [0.2], [0.4]]}))
    assert podium(results, OA) == ({1}, {2})
    assert average_ranks(results, [OA]) == {0: 3, 1: 1, 2: 2, 3: 4}
    assert against_alone(results, [OA])[1, OA].difference == pytest.approx(-0.2)
    assert {row for row, _ in against_best(results, [OA])} == {0, 2, 3}


PARTIAL = {"zer": [[0.80, 0.40, 0.42], [0.90, 0.50, 0.53], [0.85, "x", "x"], [0.7, 0.3, 0.3]]}


def test_means_over_other_seeds_are_not_compared() -> None:
    """A row that finished the easiest split alone is neither best nor ranked, nor moves others."""
    results = bench(PARTIAL)
    assert set(comparable(results, OA)) == {0, 1, 3}
    assert podium(results, OA) == ({1}, {0})
    assert average_ranks(results, [OA]) == {1: 1, 0: 2, 3: 3}
    assert {row for row, _ in against_best(results, [OA])} == {0, 3}
    assert {row for row, _ in against_alone(results, [OA])} == {1, 2, 3}


def test_rows_that_lack_other_seeds_are_not_compared_either() -> None:
    """The seeds that most rows have count; all rows may lack a seed, and then it is no matter."""
    results = bench({"zer": [["x", 0.5, 0.5], [0.5, 0.6, "x"], ["x", 0.7, 0.7], [0.9, "x", 0.9]]})
    assert set(comparable(results, OA)) == {0, 2}
    results = bench({"zer": [["x", 0.5], ["x", 0.6]]})
    assert podium(results, OA) == ({1}, {0})
    assert comparable(bench({"zer": [["x"]]}), OA) == {}


def test_best_and_second_best_are_by_values_that_are_not_rounded() -> None:
    """A lead of 1e-9 is a lead; what ties for the best leaves no second."""
    results = bench({"zer": [[0.8], [0.8 + 1e-9], [0.7], [0.6]]})
    assert podium(results, OA) == ({1}, {0})
    assert podium(bench({"zer": [[0.8, 0.6], [0.6, 0.8], [0.5, 0.5]]}), OA) == ({0, 1}, set())
    assert podium(bench({"zer": [[0.9], [0.7], [0.7]]}), OA) == ({0}, {1, 2})
    assert podium(bench({"zer": [[0.9], ["x"]]}), OA) == (set(), set())


def seeds(values: list[float]) -> dict[int, float]:
    """Seed → value."""
    return dict(enumerate(values))


def test_the_paired_t_test_by_hand() -> None:
    """Differences 1, 2, 3: t = 2 / (1 / √3) = 2√3 with two degrees of freedom.

    There the distribution is elementary: p = 1 − t / √(t² + 2).
    """
    found = compare(seeds([2.0, 4.0, 6.0]), seeds([1.0, 2.0, 3.0]))
    assert found is not None
    t = 2 * math.sqrt(3)
    assert found.p == pytest.approx(1 - t / math.sqrt(t**2 + 2))
    assert (found.count, found.difference) == (3, 2)


def test_the_paired_t_test_on_student_s_sleep_data() -> None:
    """Ten patients, two drugs (Student 1908): t = 4.0621, p = 0.00283."""
    one = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    other = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    found = compare(seeds(one), seeds(other))
    assert found is not None
    assert found.p == pytest.approx(0.002833, abs=1e-6)


def test_two_seeds_are_enough_for_t_and_one_is_not() -> None:
    """One degree of freedom: p = 1 − 2 atan(t) / π."""
    found = compare(seeds([0.3, 0.5]), seeds([0.2, 0.2]))
    assert found is not None
    assert found.p == pytest.approx(1 - 2 * math.atan(2) / math.pi)
    lone = compare({0: 0.3}, {0: 0.2})
    assert lone is not None
    assert (lone.count, lone.p, lone.significant) == (1, None, False)


def test_only_seeds_that_both_finished_are_compared() -> None:
    """Seed 1 failed for one row, seed 3 for the other."""
    one, other = {0: 0.5, 2: 0.6, 3: 0.9}, {0: 0.4, 1: 0.1, 2: 0.3}
    found = compare(one, other)
    assert found is not None
    assert found.count == 2
    assert found.difference == pytest.approx(0.2)
    assert compare({0: 0.5}, {1: 0.5}) is None


@pytest.mark.parametrize("gain", [0.0, 0.01, 0.1])
def test_differences_that_do_not_vary_have_no_p(gain: float) -> None:
    """Else rounding errors of 1e-17 would give a p-value of zero."""
    one = seeds([0.8 + gain, 0.7 + gain, 0.61 + gain])
    found = compare(one, seeds([0.8, 0.7, 0.61]))
    assert found is not None
    assert found.p is None


def test_holm_by_hand() -> None:
    """3 · 0.01, 2 · 0.03, and 0.04 raised to the one before; never above 1."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_correction_and_bonferroni(p_values: list[float]) -> None:
    """And keeps the order."""
    corrected = holm(p_values)
    for p, value in zip(p_values, corrected, strict=True):
        assert p <= value <= min(1, len(p_values) * p) + 1e-15
    for (p, a), (q, b) in itertools.product(zip(p_values, corrected, strict=True), repeat=2):
        assert p >= q or a <= b


def test_rows_are_compared_with_the_student_alone_as_one_family() -> None:
    """Two students and three rows: six comparisons, corrected together."""
    results = drawn()
    columns = results.columns()
    found = against_alone(results, columns)
    assert set(found) == {(row, column) for row in (1, 2, 3) for column in columns}
    single = {
        (row, column): compare(results.values(row, column), results.values(0, column))
        for row, column in found
    }
    assert {place: c.p for place, c in found.items()} == {
        place: c.p for place, c in single.items() if c
    }
    corrected = holm([c.p for c in found.values() if c.p is not None])
    assert [c.corrected for c in found.values()] == corrected
    assert found[3, columns[0]].significant
    assert not found[1, columns[0]].significant


def test_rows_are_compared_with_the_best_but_not_the_best_with_itself() -> None:
    """The best of each column by its mean; of those that tie none is compared."""
    results = drawn()
    columns = results.columns()
    found = against_best(results, columns)
    assert set(found) == {(row, column) for row in (0, 1, 2) for column in columns}
    assert all(comparison.difference < 0 for comparison in found.values())
    tied = bench({"zer": [[0.8, 0.6], [0.6, 0.8], [0.5, 0.4]]})
    assert set(against_best(tied, [OA])) == {(2, OA)}
    lone = found[0, columns[0]]
    assert lone.p is not None
    assert lone.corrected is not None
    assert lone.corrected >= lone.p


def test_without_a_row_of_the_student_alone_there_is_no_such_comparison() -> None:
    """Nor where everything failed."""
    results = bench({"zer": [[0.5, 0.6], [0.6, 0.8]]}, baseline=None)
    assert against_alone(results, [OA]) == {}
    failed = bench({"zer": [["x", "x"], ["x", "x"]]})
    assert against_alone(failed, [OA]) == {}
    assert against_best(failed, [OA]) == {}


def test_a_row_is_compared_with_its_own_control() -> None:
    """Not with the row of the student alone, which may have been trained for fewer epochs."""
    results = bench({"zer": [[0.5, 0.4], [0.8, 0.9]]})
    longer = {0: 0.7, 1: 0.6}
    cells = tuple(
        replace(cell, control={"OA": longer[cell.seed]} if cell.row else None)
        for cell in results.cells
    )
    results = replace(results, cells=cells)
    found = against_alone(results, [OA])
    assert set(found) == {(1, OA)}
    assert found[1, OA].difference == pytest.approx(0.2)


def test_p_knows_that_splits_share_samples() -> None:
    """With a test split of a third of the training split, as with 60/20/20, p is larger."""
    results = drawn(1)
    (student,) = results.students
    shared = replace(results, students=(replace(student, test_share=1 / 3),))
    columns = results.columns()
    plain, corrected = against_alone(results, columns), against_alone(shared, columns)
    for place, comparison in plain.items():
        assert corrected[place].p > comparison.p
        assert corrected[place].difference == comparison.difference
    assert {c.p for c in against_best(shared, columns).values()} != {
        c.p for c in against_best(results, columns).values()
    }


def test_ranks_are_averaged_over_seeds_too() -> None:
    """By hand: the second row is first under one seed and second under the other."""
    results = bench({"zer": [[0.5, 0.9], [0.6, 0.8], [0.1, 0.1]]})
    assert average_ranks(results, [OA]) == {0: 1.5, 1: 1.5, 2: 3}
