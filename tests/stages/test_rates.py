"""The rate of each step, against sums by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mstgraph.stages.rates import ConstantRate, CosineDecay, LinearDecay, PolynomialDecay, Schedule

DECAYS = (LinearDecay, CosineDecay, PolynomialDecay)


def test_each_schedule_by_hand() -> None:
    """Shares of the rate of four steps."""

    def shares(schedule: Schedule) -> list[float]:
        return [schedule.share(step, 4) for step in range(4)]

    assert shares(ConstantRate()) == [1, 1, 1, 1]
    assert shares(LinearDecay()) == [1, 0.75, 0.5, 0.25]
    half = math.sqrt(0.5)
    assert shares(CosineDecay()) == pytest.approx([1, (1 + half) / 2, 0.5, (1 - half) / 2])
    assert shares(PolynomialDecay(power=2.0, least=0.2)) == [1, 0.5625, 0.25, 0.2]
    assert shares(LinearDecay(warmup=0.5)) == pytest.approx([1 / 3, 2 / 3, 1, 0.5])


@given(
    kind=st.sampled_from(DECAYS),
    warmup=st.sampled_from([0.0, 0.1, 0.5]),
    steps=st.integers(1, 60),
)
def test_every_share_is_one(kind: type[Schedule], warmup: float, steps: int) -> None:
    """Above zero, at most one; it climbs, and then falls; the last step is the smallest."""
    shares = [kind(warmup=warmup).share(step, steps) for step in range(steps)]
    assert all(0 < share <= 1 for share in shares)
    top = shares.index(max(shares))
    assert shares[: top + 1] == sorted(shares[: top + 1])
    assert shares[top:] == sorted(shares[top:], reverse=True)
