"""The stage that measures how much a teacher's features matter, against sums in plain numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import training_worlds as small
from torch import Tensor, nn

from mstgraph.methods.loss import ResponseLoss
from mstgraph.methods.mgdfr import FeatureSelection
from mstgraph.stages.salience import Salience
from mstgraph.stages.sta import STA
from mstgraph.support.errors import UserError
from mstgraph.tasks.task import Task

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")

WIDTH = 6
NODE = SimpleNamespace(student="s", teachers=(SimpleNamespace(name="t.last"),), trains=("mask",))


@dataclass
class OneBatch:
    """What the stage asks of a batch: a teacher that is linear in its features, and a student."""

    features: Tensor
    weight: Tensor
    student: Tensor
    labels: Tensor
    task: Task
    selection: nn.Module
    computed: int = 0
    orders: list[Tensor] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels)

    def module(self, name: str) -> nn.Module:
        """The selection."""
        assert name == "mask"
        return self.selection

    def response(self, name: str, anew: bool = False) -> Tensor:
        """The student's logits, or the teacher's in its present mode; counts those anew."""
        assert name == "t.last" or not anew
        self.computed += anew
        return self.student if name == "s" else self._teacher()

    def divergence(self, loss: ResponseLoss, teacher: Tensor, student: Tensor) -> Tensor:
        """Of each sample, over its labelled pixels."""
        return self.task.average(loss.compare(self.task, teacher, student), self.labels)

    def mean(self, values: Tensor, there: Tensor | None = None) -> Tensor:
        """Over the samples."""
        return values.mean(0)

    def there(self, *names: str) -> None:
        """All samples have all modalities."""

    def count(self, there: Tensor | None) -> None:
        """The mean is over all samples."""

    def _teacher(self) -> Tensor:
        return torch.einsum("oc,bc...->bo...", self.weight, self.selection(self.features))


def batch(seed: int, selection: nn.Module, dense: bool = False) -> OneBatch:
    """A random batch; feature i has i times the influence of feature 1, feature 0 has none."""
    generator = torch.Generator().manual_seed(seed)
    extent = small.EXTENT if dense else ()
    labels = torch.randint(1, small.CLASSES, (small.BATCH, *extent), generator=generator)
    if dense:
        labels[:, :2, 1] = small.IGNORED
    weight = torch.randn(small.CLASSES, WIDTH, generator=torch.Generator().manual_seed(7))
    weight = weight / weight.norm(dim=0) * torch.arange(WIDTH)
    features = torch.randn(small.BATCH, WIDTH, *extent, generator=generator)
    student = torch.randn(small.BATCH, small.CLASSES, *extent, generator=generator)
    task = small.class_task(small.CLASSES, extent, small.IGNORED if dense else None)
    return OneBatch(features, weight, student, labels, task, selection)


def selection_of(dense: bool = False) -> FeatureSelection:
    """A selection that has measured nothing."""
    return FeatureSelection((WIDTH, *(small.EXTENT if dense else ()))).train()


def run(stage: Salience, one: OneBatch, node: Any = NODE) -> dict[str, Any]:
    """Measure a batch."""
    return dict(stage.losses(node, one, 1))


def distances(one: OneBatch, features: np.ndarray) -> np.ndarray:
    """The squared difference of student and a teacher with other features, of each sample."""
    teacher = np.einsum("oc,bc...->bo...", one.weight.numpy(), features)
    values = ((teacher - one.student.numpy()) ** 2).mean(1)
    return small.per_sample(values, one.labels.numpy(), one.task.dense)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("repeats", [1, 3])
def test_salience_is_the_disagreement_with_one_feature_permuted(dense: bool, repeats: int) -> None:
    """Each permutation drawn from torch's generator, feature by feature, over two batches."""
    selection = selection_of(dense)
    batches = [batch(seed, selection, dense) for seed in (1, 2)]
    torch.manual_seed(5)
    terms = [run(Salience(repeats=repeats), one) for one in batches]
    torch.manual_seed(5)
    total = np.zeros(WIDTH)
    for one, found in zip(batches, terms, strict=True):
        values = []
        for index in range(WIDTH):
            for _ in range(repeats):
                order = torch.randperm(small.BATCH).numpy()
                features = one.features.numpy().copy()
                features[:, index] = features[order, index]
                values.append(distances(one, features))
                total[index] += values[-1].sum()
        whole = distances(one, one.features.numpy()).mean()
        assert float(found["whole"].value) == pytest.approx(whole)
        assert float(found["permuted"].value) == pytest.approx(np.mean(values))
        assert one.computed == 1 + WIDTH * repeats
    np.testing.assert_allclose(selection.salience().numpy(), total / (2 * small.BATCH * repeats))
    mean = torch.cat([one.features for one in batches]).mean(0)
    torch.testing.assert_close(selection.mean, mean)


def test_features_without_influence_are_the_least_salient_ones() -> None:
    """And are taken out first: the ranking follows the weights of the teacher's last layer."""
    selection = selection_of()
    torch.manual_seed(0)
    for seed in range(60):
        one = batch(seed, selection)
        one.student = one._teacher()  # they agree but for the permuted feature
        run(Salience(), one)
    assert float(selection.salience()[0]) == 0
    assert selection.salience().argsort().tolist() == list(range(WIDTH))
    assert selection.kept().nonzero().flatten().tolist() == [4, 5]


def test_nothing_gets_a_gradient() -> None:
    """There is nothing to step."""
    one = batch(1, selection_of())
    one.weight.requires_grad_()
    one.student.requires_grad_()
    assert not any(term.value.requires_grad for term in run(Salience(), one).values())


def test_batches_take_turns_over_the_features() -> None:
    """All of them are tested after a round, each on the batches whose turn it was."""
    selection = selection_of()
    tested = []
    for seed in range(3):
        one = batch(seed, selection)
        run(Salience(dimensions_per_batch=4), one)
        assert one.computed == 1 + 4
        tested.append((selection.tested // small.BATCH).tolist())
    assert tested == [[1, 1, 1, 1, 0, 0], [2, 2, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2]]


@pytest.mark.parametrize("dense", [False, True])
def test_validation_compares_the_student_with_the_selected_teacher(dense: bool) -> None:
    """Removed features stand at their mean over the training split."""
    selection = selection_of(dense)
    seen = batch(1, selection, dense)
    run(Salience(), seen)
    selection.eval()
    one = batch(2, selection, dense)
    features = np.broadcast_to(seen.features.numpy().mean(0), one.features.shape).copy()
    kept = selection.kept().numpy()
    features[:, kept] = one.features.numpy()[:, kept]
    found = Salience().validation_loss(NODE, one)  # type: ignore[arg-type]
    assert found.shape == (small.BATCH,)
    np.testing.assert_allclose(found.numpy(), distances(one, features))


def test_refuses_an_epoch_that_leaves_features_untested() -> None:
    """A feature that nobody tested is neither salient nor not."""
    one = batch(1, selection_of())
    stage = Salience(dimensions_per_batch=4)
    run(stage, one)
    sentence = r"dimensions_per_batch is 4, which leaves 2 of 6 features of the teacher 't\.last'"
    with pytest.raises(UserError, match=sentence):
        stage.validation_loss(NODE, one)  # type: ignore[arg-type]


def test_refuses_a_mask_that_cannot_be_measured_for() -> None:
    """The sentence says what Member.mask should be."""
    with pytest.raises(UserError, match=r"'t\.last' is a Identity, expected Member\.mask = @Fea"):
        run(Salience(), batch(1, nn.Identity()))


def test_takes_the_place_of_teacher_adaptation() -> None:
    """One epoch, the last one; the specialised teacher is reported."""
    stage = Salience()
    assert (stage.kind, stage.epochs, stage.select) == (STA.kind, 1, "last")
    assert stage.reported(NODE) == ("t.last",)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "value"), [("repeats", 0), ("dimensions_per_batch", 0), ("epochs", 0)]
)
def test_refuses_to_measure_nothing(option: str, value: int) -> None:
    """The option and what was expected."""
    found = Salience(**{option: value}).problem(NODE)  # type: ignore[arg-type]
    assert found == (option, "is 0, expected at least 1")
    assert Salience(dimensions_per_batch=3).problem(NODE) is None  # type: ignore[arg-type]
