"""Rare classes: weights, focal loss, smoothed labels, a class's recall; by NumPy and in a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import training_worlds as small
from tiny_graphs import TWO, Make, changed, hashes

from mstgraph.run.artefacts.checkpoint import Checkpoints
from mstgraph.run.train import Training, train
from mstgraph.store.recipe import Labels
from mstgraph.support.errors import RunError, UserError
from mstgraph.tasks.choice import task_for
from mstgraph.tasks.imbalance import balanced_weights, count_classes, focal_factor

NAMES = ("cat", "dog", "owl")
TASK = task_for(Labels("classification", NAMES))
MAPS = task_for(Labels("segmentation", NAMES, 0, (2, 3)))
ALONE = "graph.teachers = 'none'\n"


def sample(count: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, generator=generator), torch.arange(count) % 3


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """−log p of the label."""
    return -np.take_along_axis(small.log_softmax(logits), labels[:, None], 1)[:, 0]


def test_balanced_weights_make_classes_weigh_alike() -> None:
    """N / (K n_c): the mean over samples is one; a class that never occurs keeps one."""
    counts = torch.tensor([6, 3, 0, 1])
    weights = balanced_weights(counts)
    np.testing.assert_allclose(weights, [10 / 18, 10 / 9, 1, 10 / 3])
    assert np.ptp((weights * counts)[counts > 0].numpy()) == pytest.approx(0)
    assert float((weights * counts).sum() / counts.sum()) == pytest.approx(1)
    assert balanced_weights(torch.tensor([4, 4])).tolist() == [1.0, 1.0]


def test_counts_leave_out_what_does_not_count() -> None:
    """Unknown and ignored labels, of samples and of pixels, over several batches."""
    batches = [torch.tensor([[0, 1], [-1, 2]]), torch.tensor([[2, 255]])]
    assert count_classes(batches, 3, 0).tolist() == [0, 1, 2]
    assert count_classes(batches, 3, None).tolist() == [1, 1, 2]


def test_weights_by_name_multiply_the_loss() -> None:
    """Of samples and of pixels; a class that is not named counts one."""
    logits, labels = sample()
    task = replace(TASK, class_weights={"owl": 5.0})
    expected = cross_entropy(logits.numpy(), labels.numpy()) * np.array([1, 1, 5])[labels]
    np.testing.assert_allclose(task.loss(logits, labels), expected, rtol=1e-5)
    maps, own = torch.randn(4, 3, 2, 3), torch.randint(0, 3, (4, 2, 3))
    heavy = replace(MAPS, class_weights={"dog": 2.0, "owl": 2.0})
    torch.testing.assert_close(heavy.loss(maps, own), 2 * MAPS.loss(maps, own))


def test_balance_comes_from_the_labels_of_training() -> None:
    """As weights given by hand, and read for nobody who does not ask."""
    logits, labels = sample()
    batches = [torch.tensor([0, 0, 0, 1]), torch.tensor([2, 2, -1])]
    fitted = replace(TASK, class_weights="balanced").fitted(batches)
    by_hand = replace(TASK, class_weights={"cat": 6 / 9, "dog": 6 / 3, "owl": 6 / 6})
    torch.testing.assert_close(fitted.loss(logits, labels), by_hand.loss(logits, labels))
    unread = iter(batches)
    assert TASK.fitted(unread) is TASK
    assert len(list(unread)) == 2


def test_the_focal_loss_makes_less_of_what_is_easy() -> None:
    """(1 − p)^γ × cross-entropy; the cross-entropy at γ = 0; ignored pixels stay without."""
    logits, labels = sample()
    p = np.exp(-cross_entropy(logits.numpy(), labels.numpy()))
    found = replace(TASK, focal=2.0).loss(logits, labels)
    np.testing.assert_allclose(found, -((1 - p) ** 2) * np.log(p), rtol=1e-4)
    assert (focal_factor(logits, labels, 0.0) == 1).all()
    maps, own = torch.randn(4, 3, 2, 3), torch.randint(0, 3, (4, 2, 3))
    own[0] = 0
    assert replace(MAPS, focal=2.0).loss(maps, own)[0] == 0


def test_the_focal_loss_has_a_gradient_where_p_rounds_to_one() -> None:
    """Also for a γ below one: the power of zero has none."""
    logits = torch.tensor([[90.0, 0.0, 0.0]], requires_grad=True)
    replace(TASK, focal=0.5).loss(logits, torch.tensor([0])).sum().backward()
    assert logits.grad.isfinite().all()


def test_smoothed_labels_say_a_little_of_every_class() -> None:
    """(1 − ε) of the label and ε / K of each: the cross-entropy to that distribution."""
    logits, labels = sample()
    target = np.eye(3)[labels] * 0.9 + 0.1 / 3
    expected = -(target * small.log_softmax(logits.numpy())).sum(1)
    found = replace(TASK, label_smoothing=0.1).loss(logits, labels)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


WRONG = {
    "Classification.class_weights = {'oul': 2.0}": "names 'oul'; did you mean 'owl'?",
    "Classification.class_weights = {'owl': -1.0}": "is -1.0 for 'owl', expected at least 0",
    "Classification.class_weights = 'balance'": "is 'balance', expected 'balanced'",
    "Classification.focal = -1.0": "is -1.0, expected at least 0",
    "Classification.label_smoothing = 1.0": "is 1.0, expected a share such as 0.1",
    "Classification.measure = ('recall:oul',)": "names 'recall:oul'; did you mean 'recall:owl'?",
    "DKD.select = 'recall:oul'": "is 'recall:oul'; did you mean 'recall:owl'?",
    "DKD.select = 'AAA'": "is 'AAA'; did you mean 'AA'?",
    "data.sampler = 'balance'": "is 'balance', expected 'balanced'",
}


@pytest.mark.parametrize("binding", WRONG)
def test_options_that_make_no_sense_are_refused(binding: str, experiment: Make) -> None:
    """In one sentence with the place and the nearest name."""
    with pytest.raises(UserError) as caught:
        experiment(TWO, binding)
    name = binding.split(" =")[0]
    assert f"{name} {WRONG[binding]}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_count_in_every_hash_and_their_defaults_in_none(experiment: Make) -> None:
    """Also without data.task; a selection counts in its stage, and what it measures in all."""
    plain = experiment(TWO)
    everything = set(hashes(plain))
    for binding in (
        "Classification.class_weights = 'balanced'",
        "Classification.class_weights = {'owl': 2.0}",
        "Classification.focal = 2.0",
        "Classification.label_smoothing = 0.1",
        "Classification.measure = ('recall:owl',)",
        "data.sampler = 'balanced'",
        "DKD.select = 'recall:owl'",
    ):
        assert changed(plain, experiment(TWO, binding)) == everything, binding
    assert changed(plain, experiment(TWO, "DKD.select = 'AA'")) == {"dkd-rgb", "alone-rgb"}
    usual = "Classification.class_weights = None", "Classification.focal = 0.0"
    assert not changed(plain, experiment(TWO, *usual, "data.sampler = None"))
    for node in plain.plan.stages.values():
        assert not {"task_options", "measured", "sampler"} & set(node.identity)


def test_a_single_classs_recall_chooses_the_epoch_and_is_shown(
    experiment: Make, tmp_path: Path
) -> None:
    """With all the options together, and the balanced sampler; what was chosen is the best."""
    options = (
        "Classification.class_weights = 'balanced'",
        "Classification.focal = 1.0",
        "Classification.label_smoothing = 0.1",
        "data.sampler = 'balanced'",
        "Pretrain.select = 'recall:owl'",
        "Pretrain.epochs = 8",
        "Pretrain.learning_rate = 0.05",
    )
    summary = small.run(experiment(TWO + ALONE, *options), tmp_path / "run")
    (stage,) = summary["stages"]
    lines = (tmp_path / f"run/stages/{stage['name']}/metrics.jsonl").read_text().splitlines()
    recalls = [json.loads(line)["validation"]["metrics"]["rgb"]["recall:owl"] for line in lines]
    assert recalls[stage["best_epoch"] - 1] == max(recalls) > min(recalls)
    assert summary["metrics"][-1]["title"] == "recall of owl"
    assert "recall:owl" in summary["students"]["rgb"]["alone"]


def test_a_recall_that_is_undefined_chooses_no_epoch(experiment: Make, tmp_path: Path) -> None:
    """Of a class that validation lacks; the sentence says so and not that rates are too large."""
    opened = experiment(TWO + ALONE, "Pretrain.select = 'recall:owl'")
    execution = small.quiet(opened, tmp_path / "run")
    (node,) = opened.plan.stages.values()
    setting = execution.setting([node])
    labels = setting.validation._columns["label"]
    labels[labels == 2] = 0
    training = Training(node, setting, Checkpoints(tmp_path / "c"), execution.reporter)
    with pytest.raises(RunError, match="recall of owl is undefined on validation"):
        train([training])
