"""Intervals from resampled samples and seeds, against loops, formulas and their own promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import training_worlds as small

from mstgraph.certainty.bootstrap import (
    draws,
    over_seeds,
    paired_differences,
    percentile_interval,
    resampled,
)

TASK = small.class_task(3)
MAPS = small.class_task(3, (2, 4), 0)


def answers(task, samples: int, seed: int, skill: float = 1.0):
    """Logits and labels, right more often the more skilled."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(
        0, 3, (samples, *task.extent), generator=torch.Generator().manual_seed(9)
    )
    logits = torch.randn(samples, 3, *task.extent, generator=generator)
    logits.scatter_add_(1, labels[:, None], torch.full((samples, 1, *task.extent), skill))
    return logits, labels


@pytest.mark.parametrize("task", [TASK, MAPS])
def test_metrics_of_a_draw_are_those_of_the_drawn_samples(task) -> None:
    """As if the outputs had been measured again, each as often as it was drawn."""
    logits, labels = answers(task, 12, 0)
    contributions = task.contributions(logits, labels).numpy()
    drawn = draws(12, 5, seed=3)
    assert (drawn.sum(1) == 12).all()
    found = resampled(drawn, contributions, task.metrics_of)
    for i, counts in enumerate(drawn.astype(int)):
        rows = torch.from_numpy(np.repeat(np.arange(12), counts))
        measured = task.accumulator()
        measured.update(logits[rows], labels[rows])
        assert {n: float(v[i]) for n, v in found.items()} == pytest.approx(measured.metrics())


def test_a_network_against_itself_differs_by_nothing() -> None:
    """The interval is [0, 0]; against another one, changing sides changes the sign."""
    one, other = (TASK.contributions(*answers(TASK, 50, seed)).numpy() for seed in (1, 2))
    same = paired_differences(one, one, TASK.metrics_of)
    assert {percentile_interval(values) for values in same.values()} == {(0.0, 0.0)}
    there, back = (
        paired_differences(*pair, TASK.metrics_of) for pair in ((one, other), (other, one))
    )
    low, high = percentile_interval(there["OA"])
    assert low < high
    assert percentile_interval(back["OA"]) == pytest.approx((-high, -low))


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Of 150 drawn test splits; two networks of known accuracy whose errors go together."""
    random, covered = np.random.default_rng(0), 0
    for seed in range(150):
        hard = random.random(150)
        rights = np.stack([hard + random.normal(0, 0.1, 150) < skill for skill in (0.8, 0.7)])
        one, other = (np.stack([right, np.ones(150)], axis=1) for right in rights)
        differences = paired_differences(
            one, other, lambda totals: {"OA": totals[:, 0] / totals[:, 1]}, seed
        )
        low, high = percentile_interval(differences["OA"])
        covered += low <= TRUTH <= high
    assert 0.90 <= covered / 150 <= 0.98


def _truth() -> float:
    random = np.random.default_rng(1)
    hard, noise = random.random(10**6), random.normal(0, 0.1, (2, 10**6))
    return float((hard + noise[0] < 0.8).mean() - (hard + noise[1] < 0.7).mean())


TRUTH = _truth()


def test_draws_without_a_value_are_left_out() -> None:
    """A metric may be undefined under some draws; under all of them there is no interval."""
    assert percentile_interval(np.array([np.nan, 2.0, 2.0])) == (2.0, 2.0)
    assert percentile_interval(np.array([np.nan])) is None


def test_seeds_and_samples_vary_both() -> None:
    """The variance of the mean over n seeds: (between + within) / n, as nested draws have it."""
    random = np.random.default_rng(0)
    centres = np.array([0.0, 0.1, 0.3, 0.2])
    tables = [centre + random.normal(0, 0.05, 20_000) for centre in centres]
    found = over_seeds(tables)
    assert found.mean() == pytest.approx(centres.mean(), abs=0.003)
    assert found.var() == pytest.approx((centres.var() + 0.05**2) / 4, rel=0.05)


def test_the_same_seed_draws_the_same() -> None:
    """A summary that is made again says the same."""
    assert np.array_equal(draws(9, 4, 2), draws(9, 4, 2))
    assert not np.array_equal(draws(9, 4, 2), draws(9, 4, 3))
