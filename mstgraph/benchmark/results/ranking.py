"""Whether rows differ at all over columns and seeds, and how far two ranks must lie apart.

Demšar 2006, "Statistical comparisons of classifiers over multiple data sets": Friedman's test of
the ranks, and Nemenyi's critical difference of two average ranks. Its blocks are columns and seeds;
seeds of one student share samples, so that the difference is rather too small than too large.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mstgraph.benchmark.results.results import Column, Results
from mstgraph.benchmark.results.statistics import SIGNIFICANT, average_ranks, ranked_blocks

FEWEST_ROWS, FEWEST_BLOCKS = 3, 2


@dataclass(frozen=True)
class Ranking:
    """Average ranks and what they say.

    Attributes:
        ranks: row → average rank, 1 for the best.
        blocks: columns and seeds that it is averaged over.
        p: of Friedman's test that all rows are alike.
        difference: by which two average ranks must differ at the 5 % level (Nemenyi).
    """

    ranks: Mapping[int, float]
    blocks: int
    p: float
    difference: float

    def cliques(self) -> list[tuple[int, ...]]:
        """Return the largest groups of rows that do not differ, best first, of two rows or more."""
        order = sorted(self.ranks, key=lambda row: (self.ranks[row], row))
        groups: list[tuple[int, ...]] = []
        for i, first in enumerate(order):
            near = [r for r in order[i:] if self.ranks[r] - self.ranks[first] < self.difference]
            if len(near) > 1 and not (groups and set(near) <= set(groups[-1])):
                groups.append(tuple(near))
        return groups


def ranking(results: Results, columns: Sequence[Column]) -> Ranking | None:
    """Return how rows rank over columns and seeds.

    None with fewer than three rows or two blocks: then there is nothing to test.
    """
    from scipy import stats  # type: ignore[import-untyped, unused-ignore]

    rows, blocks = ranked_blocks(results, columns)
    if len(rows) < FEWEST_ROWS or len(blocks) < FEWEST_BLOCKS:
        return None
    alike = all(len({*line}) == 1 for line in blocks)
    p = 1.0 if alike else float(stats.friedmanchisquare(*zip(*blocks, strict=True)).pvalue)
    return Ranking(
        ranks=average_ranks(results, columns),
        blocks=len(blocks),
        p=p,
        difference=critical_difference(len(rows), len(blocks)),
    )


def critical_difference(rows: int, blocks: int, level: float = SIGNIFICANT) -> float:
    """Return Nemenyi's critical difference q √(k (k + 1) / 6 N) of average ranks.

    Args:
        rows: k, how many are compared.
        blocks: N, over how many columns and seeds ranks are averaged.
        level: of significance; q is the quantile of the studentised range, over √2.
    """
    from scipy import stats  # type: ignore[import-untyped, unused-ignore]

    quantile = float(stats.studentized_range.ppf(1 - level, rows, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(rows * (rows + 1) / (6 * blocks))
