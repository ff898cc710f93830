"""Windows of maps, and transforms of torchvision (by a stand-in, where it is not installed)."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mstgraph.data.augmentation import Augmentations, HorizontalFlip
from mstgraph.data.pictures import Crop, Transforms
from mstgraph.store.recipe import Modality
from mstgraph.support.errors import UserError


def seeded(seed: int = 0) -> torch.Generator:
    """Return a generator."""
    return torch.Generator().manual_seed(seed)


def test_a_window_is_cut_where_the_draw_says() -> None:
    """A ramp stays a ramp: its slope is the window's side, its middle the window's middle."""
    ramp = torch.linspace(-1, 1, 65)[:-1] + 1 / 64  # values are coordinates of pixels' centres
    maps = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64)])[None].repeat(
        50, 1, 1, 1
    )
    labels = torch.arange(64).repeat(50, 64, 1)
    found, cropped = Crop(least=0.5)({"rgb": maps, "v": maps[:, 0, 0]}, labels, seeded(2))
    assert torch.equal(found["v"], maps[:, 0, 0])
    inside = found["rgb"][:, 0, 20, 1:-1]
    side = (inside[:, -1] - inside[:, 0]) / (ramp[-2] - ramp[1])
    assert 0.5 <= side.min() < 0.55
    assert 0.95 < side.max() <= 1.0001
    straight = inside[:, :1] + side[:, None] * (ramp[1:-1] - ramp[1])
    torch.testing.assert_close(inside, straight, atol=1e-5, rtol=0)
    expected = ((found["rgb"][:, 0] + 1) * 32 - 0.5).numpy()  # the pixel that is seen there
    assert (np.abs(cropped.numpy() - expected) <= 0.51)[:, :, 1:-1].all()


def test_values_that_may_not_be_mixed_are_not() -> None:
    """Depth, where 0 is missing, keeps its values; a whole window changes nothing."""
    depth = torch.randint(0, 2, (8, 1, 9, 9), generator=seeded()).float() * 1000
    found, _ = Crop()({"depth": depth}, torch.zeros(8), seeded())
    assert set(found["depth"].unique().tolist()) == {0.0, 1000.0}
    whole, _ = Crop(least=1.0)({"depth": depth}, torch.zeros(8), seeded())
    assert torch.equal(whole["depth"], depth)


def test_several_follow_one_another() -> None:
    """Each with randomness of its own; what any touches is touched."""
    both = Augmentations((Crop(), HorizontalFlip(1.0)))
    maps = torch.rand(4, 3, 8, 8, generator=seeded())
    found, _ = both({"rgb": maps}, torch.zeros(4), seeded())
    assert not torch.equal(found["rgb"], maps)
    assert both.touches("rgb", (3, 8, 8))
    assert not both.touches("words", (7,))
    for wrong, words in {
        Augmentations(): "is empty",
        Augmentations((Crop(),), views=0): "is 0, expected at least 1",
        Augmentations((Augmentations((Crop(),), 2),)): "views once",
        Augmentations((Crop(least=2.0),)): "holds Crop, whose least is 2.0",
    }.items():
        problem = wrong.problem({"rgb": Modality("rgb", "uint8", (3, 8, 8))})
        assert problem is not None
        assert words in problem[1]


class Darken:
    """A stand-in for a transform: less light by a random share, the same for all it is given."""

    def __init__(self, most: float = 0.5):
        self.most = most

    def __call__(self, *given: Tensor) -> Any:
        """Return one value for one."""
        share = 1 - self.most * torch.rand(())
        found = [values * share if values.is_floating_point() else values for values in given]
        return found if len(found) > 1 else found[0]


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a stand-in in the place of torchvision."""
    kinds = SimpleNamespace(Image=lambda values: values, Mask=lambda values: values)
    monkeypatch.setitem(sys.modules, "torchvision.transforms.v2", SimpleNamespace(Darken=Darken))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "torchvision.tv_tensors", kinds)  # type: ignore[arg-type]


@pytest.mark.usefixtures("torchvision")
def test_a_transform_sees_the_maps_of_a_sample_together() -> None:
    """Values from 0 to 1; one draw for all maps of a sample, another for each sample."""
    dark = Transforms(("rgb", "other"), (("Darken", {"most": 0.9}),), labels=True)
    maps = torch.full((5, 3, 2, 2), 255.0)
    labels = torch.arange(20).reshape(5, 2, 2)
    state = torch.get_rng_state()
    found, same = dark({"rgb": maps, "other": maps, "third": maps}, labels, seeded())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(found["rgb"], found["other"])
    assert len(found["rgb"].unique()) == 5
    assert torch.equal(found["third"], maps)
    assert torch.equal(same, labels)
    again, _ = dark({"rgb": maps, "other": maps}, labels, seeded())
    assert torch.equal(again["rgb"], found["rgb"])
    assert dark.together == ("rgb", "other")


@pytest.mark.usefixtures("torchvision")
def test_transforms_are_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many batches go through them, and whatever was checked before."""
    dark = Transforms(("rgb",), (("Darken", {"most": 0.9}),))
    assert dark.problem({"rgb": Modality("rgb", "uint8", (3, 8, 8))}) is None
    monkeypatch.setitem(sys.modules, "torchvision.transforms.v2", None)
    found, _ = dark({"rgb": torch.ones(2, 3, 2, 2)}, torch.zeros(2), seeded())
    assert found["rgb"].shape == (2, 3, 2, 2)


@pytest.mark.usefixtures("torchvision")
def test_what_torchvision_does_not_know_is_refused() -> None:
    """The nearest name; an option that a transform does not take."""
    with pytest.raises(UserError, match=r"names 'Darkn', which .* did you mean 'Darken'"):
        Transforms(("rgb",), (("Darkn", {}),)).problem({"rgb": Modality("rgb", "uint8", (3, 8, 8))})
    with pytest.raises(UserError, match=r"Darken refuses its options: .*unexpected keyword"):
        Transforms(("rgb",), (("Darken", {"size": 3}),)).problem(
            {"rgb": Modality("rgb", "uint8", (3, 8, 8))}
        )
    assert Transforms(("rgb",)).problem({"rgb": Modality("rgb", "uint8", (3, 8, 8))}) == (
        "of",
        "is empty, expected some",
    )


def test_without_torchvision_one_sentence_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install."""
    monkeypatch.setitem(sys.modules, "torchvision.transforms.v2", None)
    with pytest.raises(UserError, match="needs torchvision: pip install torchvision"):
        Transforms(("rgb",), (("RandomCrop", {"size": 3}),)).problem(
            {"rgb": Modality("rgb", "uint8", (3, 8, 8))}
        )
