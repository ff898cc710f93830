"""What all stages have in common."""

from __future__ import annotations

import pytest
import torch
import training_worlds as small

from mstgraph.run.train import total
from mstgraph.stages.pretrain import Pretrain
from mstgraph.stages.rates import CosineDecay, PolynomialDecay
from mstgraph.stages.stage import Term, decayed


@pytest.mark.parametrize(
    ("factor", "every", "expected"),
    [
        (0.5, 30, {1: 1, 30: 1, 31: 0.5, 60: 0.5, 61: 0.25, 90: 0.25, 91: 0.125, 100: 0.125}),
        (0.9, 10, {1: 1, 10: 1, 11: 0.9, 20: 0.9, 21: 0.81, 91: 0.9**9, 100: 0.9**9}),
    ],
)
def test_weights_decay_after_every_so_many_epochs(
    factor: float, every: int, expected: dict[int, float]
) -> None:
    """λ1 halves after epochs 30, 60, 90; λ2 loses a tenth after every tenth (Section 4.1)."""
    for epoch, value in expected.items():
        assert decayed(1.0, factor, every, epoch) == pytest.approx(value, rel=1e-12)
    weight = 1.0
    for epoch in range(1, 101):
        assert decayed(1.0, factor, every, epoch) == pytest.approx(weight, rel=1e-12)
        weight *= factor if epoch % every == 0 else 1.0


def test_the_loss_is_the_weighted_sum_of_the_terms() -> None:
    """Eq. 18: Σ scale × value."""
    terms = {"task": Term(torch.tensor(2.0)), "distill": Term(torch.tensor(3.0), 0.25)}
    assert float(total(terms)) == 2.75


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("epochs", 0, "is 0, expected at least 1"),
        ("learning_rate", 0.0, "is 0.0, expected more than 0"),
        ("learning_rate", float("nan"), "is nan, expected more than 0"),
        (
            "schedule",
            CosineDecay(warmup=1.0),
            "has warmup = 1.0, expected a share of the steps from 0 to below 1",
        ),
        ("schedule", PolynomialDecay(power=0.0), "has power = 0.0, expected more than 0"),
        ("patience", 0, "is 0, expected at least 1, or None"),
        ("batch_size", 0, "is 0, expected at least 1"),
        ("samples", "labeled", "is 'labeled'; did you mean 'labelled'? (valid: all, labelled)"),
    ],
)
def test_settings_without_sense_are_refused(option: str, value: object, words: str) -> None:
    """The option and what was expected are named."""
    settings = Pretrain(**{option: value})
    assert settings.problem(small.world(settings, "pretrain").node) == (option, words)


def test_an_epoch_is_chosen_by_what_the_task_measures() -> None:
    """By its loss, its first metric, any by name, or not at all; the nearest name is told."""
    task = small.class_task(3)
    for select in ("loss", "metric", "last", "F1", f"recall:{task.classes[1]}"):
        assert Pretrain(select=select).unfit(task) is None
    wrong = Pretrain(select="best").unfit(task)
    assert wrong is not None
    assert wrong[0] == "select"
    assert wrong[1].startswith("is 'best'; did you mean 'last'? (valid: AA, F1, OA, kappa, last, ")


def test_settings_that_make_sense_have_no_problem() -> None:
    """The defaults are fine."""
    assert Pretrain().problem(small.world(Pretrain(), "pretrain").node) is None
