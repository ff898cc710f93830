"""Friedman's test and Nemenyi's critical difference, against Demšar's examples in print."""

from __future__ import annotations

import pytest
from bench_samples import bench, drawn, lower_is_better

from mstgraph.benchmark.results.ranking import Ranking, critical_difference, ranking


@pytest.mark.parametrize(
    ("rows", "quantile"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]
)
def test_the_critical_difference_is_the_one_in_print(rows: int, quantile: float) -> None:
    """Demšar 2006, Table 5 (a): q × √(k (k + 1) / 6 N)."""
    expected = quantile * (rows * (rows + 1) / (6 * 14)) ** 0.5
    assert critical_difference(rows, 14) == pytest.approx(expected, abs=2e-3)


def test_friedman_by_hand() -> None:
    """Ranks 1, 2, 3 in each of four blocks: χ² = 8 with two degrees of freedom, p = e⁻⁴."""
    found = ranking(bench({"zer": [[0.9] * 4, [0.8] * 4, [0.7] * 4]}), ())
    assert found is None
    results = bench({"zer": [[0.9] * 4, [0.8] * 4, [0.7] * 4]})
    found = ranking(results, results.columns())
    assert found is not None
    assert (found.ranks, found.blocks) == ({0: 1, 1: 2, 2: 3}, 4)
    assert found.p == pytest.approx(2.718281828**-4)
    turned = ranking(lower_is_better(results), results.columns())
    assert turned is not None
    assert turned.ranks == {0: 3, 1: 2, 2: 1}


def test_rows_that_are_the_same_are_no_difference() -> None:
    """Where all tie everywhere, p is 1 and not undefined."""
    results = bench({"zer": [[0.9] * 4] * 3})
    found = ranking(results, results.columns())
    assert found is not None
    assert (found.p, found.cliques()) == (1, [(0, 1, 2)])


def test_too_little_to_rank_is_none() -> None:
    """Two rows, or one block."""
    for values in ([[0.9] * 4, [0.8] * 4], [[0.9], [0.8], [0.7]], [["x"] * 4] * 4):
        results = bench({"zer": values})
        assert ranking(results, results.columns()) is None


def test_cliques_are_the_largest_groups_that_do_not_differ() -> None:
    """By hand; none within another one, and a row may be in two."""
    found = Ranking({3: 1.0, 0: 1.6, 2: 2.4, 1: 4.0}, blocks=9, p=0.01, difference=1.0)
    assert found.cliques() == [(3, 0), (0, 2)]
    assert Ranking(found.ranks, 9, 0.01, 5.0).cliques() == [(3, 0, 2, 1)]
    assert Ranking(found.ranks, 9, 0.01, 0.5).cliques() == []


def test_ranks_of_a_drawn_bench_add_up() -> None:
    """To what places add up to."""
    results = drawn()
    found = ranking(results, results.columns())
    assert found is not None
    assert sum(found.ranks.values()) == pytest.approx(10)
    assert found.blocks == 10
