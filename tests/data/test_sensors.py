"""Augmentations of sensors and spectrograms: what they change, by how much, and what stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mstgraph.data.sensors import FrequencyMask, Jitter, OfEach, Scale, TimeMask
from mstgraph.store.recipe import Modality


def changed(augmentation: OfEach, values: Tensor, seed: int = 0, **others: Tensor) -> Tensor:
    """Return a modality ``x`` after an augmentation."""
    generator = torch.Generator().manual_seed(seed)
    found, _ = augmentation({**others, "x": values}, torch.zeros(len(values)), generator)
    return found["x"]


VALUES = torch.randn(500, 3, 40, generator=torch.Generator().manual_seed(3)) * torch.tensor(
    [1.0, 10.0, 100.0]
).reshape(3, 1)
ALL = (Jitter(("x",)), Scale(("x",)), TimeMask(("x",)), FrequencyMask(("x",)))


def test_jitter_is_as_large_as_a_channels_own_deviation_says() -> None:
    """A twentieth of it; a channel that does not move stays."""
    noise = (changed(Jitter(("x",), 0.05), VALUES) - VALUES).std((0, 2)).numpy()
    np.testing.assert_allclose(noise, VALUES.std(2).mean(0).numpy() * 0.05, rtol=0.03)
    still = torch.ones(2, 3, 8)
    assert torch.equal(changed(Jitter(("x",)), still), still)


def test_scaling_is_one_number_per_channel() -> None:
    """Around 1, with the deviation that is asked for."""
    ratio = (changed(Scale(("x",), 0.2), VALUES) / VALUES).numpy()
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[..., :1], ratio.shape), rtol=1e-4)
    assert abs(ratio[..., 0].std() - 0.2) < 0.01
    assert abs(ratio[..., 0].mean() - 1) < 0.02


@pytest.mark.parametrize(("kind", "axis"), [(TimeMask, 2), (FrequencyMask, 1)])
def test_a_mask_is_one_run_of_the_mean(kind: type[TimeMask], axis: int) -> None:
    """Of all lengths up to the longest, at every place, over all channels alike."""
    values = torch.rand(2000, 10, 10, generator=torch.Generator().manual_seed(1))
    found = changed(kind(("x",), 0.3), values)
    masked = (found != values).all(3 - axis)
    assert {int(n) for n in masked.sum(1)} == {0, 1, 2, 3}
    assert masked.any(0).all()
    assert (masked.int().diff(dim=1).abs().sum(1) <= 2).all()
    means = values.mean((1, 2))[:, None, None].expand_as(values)
    torch.testing.assert_close(found[found != values], means[found != values])


@pytest.mark.parametrize("augmentation", ALL)
def test_what_is_drawn_depends_on_the_name_alone(augmentation: OfEach) -> None:
    """Not on which other modalities are there, which the engine may have no need of."""
    both = type(augmentation)(("x", "y"))
    alone, beside = changed(both, VALUES), changed(both, VALUES, y=VALUES)
    assert torch.equal(alone, beside)
    assert not torch.equal(alone, changed(both, VALUES, seed=1))
    assert (both.touches("x", (3,)), both.touches("z", (3,))) == (True, False)


def test_names_are_checked() -> None:
    """None, and one that the store does not have."""
    assert Jitter().problem({"x": Modality("x", "float32", (3, 40))}) == (
        "modalities",
        "is empty, expected some of x",
    )
    wrong = Jitter(("gyro",)).problem(
        {n: Modality(n, "float32", (3, 40)) for n in ("gyroscope", "x")}
    )
    assert wrong is not None
    assert "names 'gyro'; did you mean 'gyroscope'?" in wrong[1]
