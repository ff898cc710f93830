"""Augmentation by the transforms of torchvision itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from by_name_worlds import captions
from training_worlds import assert_weights, run

from mstgraph.data.augmentation import Augmentations
from mstgraph.data.pictures import Transforms
from mstgraph.derive.opening import open_experiment
from mstgraph.store.recipe import Modality
from mstgraph.support.errors import UserError

pytest.importorskip("torchvision", reason="torchvision is not installed: tests/extras/run has it")
pytest_plugins = ("training_fixtures",)

MAPS = torch.arange(2 * 3 * 8 * 8).reshape(2, 3, 8, 8).float().remainder(256)
STORE = {"rgb": Modality("rgb", "uint8", (3, 8, 8)), "depth": Modality("depth", "uint8", (3, 8, 8))}


def changed(given: torch.Tensor, seed: int = 0, **options: Any) -> tuple[Any, torch.Tensor]:
    """Return maps and labels after transforms."""
    transforms = Transforms(("rgb", "depth"), **options)
    assert transforms.problem(STORE) is None
    inputs = {"rgb": MAPS, "depth": MAPS.flip(0), "sound": MAPS}
    return transforms(inputs, given, torch.Generator().manual_seed(seed))


def test_a_mirror_is_one_of_all_maps_and_labels() -> None:
    """Of certain transforms the result is known; others that are not named stay."""
    labels = torch.arange(2 * 8 * 8).reshape(2, 8, 8)
    found, turned = changed(labels, of=(("RandomHorizontalFlip", {"p": 1.0}),), labels=True)
    torch.testing.assert_close(found["rgb"], MAPS.flip(-1))
    torch.testing.assert_close(found["depth"], MAPS.flip(0).flip(-1))
    assert torch.equal(turned, labels.flip(-1))
    assert torch.equal(found["sound"], MAPS)
    assert turned.dtype == torch.int64


def test_a_window_is_the_same_of_all_maps() -> None:
    """Pixels of both move by the same steps, in each sample by others; padding is zero."""
    found, _ = changed(torch.zeros(2), of=(("RandomCrop", {"size": 8, "padding": 3}),), seed=3)
    moved = [(found["rgb"][n] > 0).any(0) for n in range(2)]
    assert all(torch.equal(moved[n], (found["depth"][n] > 0).any(0)) for n in range(2))
    assert not torch.equal(*moved)
    again, _ = changed(torch.zeros(2), of=(("RandomCrop", {"size": 8, "padding": 3}),), seed=3)
    torch.testing.assert_close(again["rgb"], found["rgb"])


def test_colours_stay_between_0_and_255() -> None:
    """Values are brought to 0 to 1 and back."""
    found, _ = changed(torch.zeros(2), of=(("ColorJitter", {"brightness": 0.9}),))
    assert not torch.equal(found["rgb"], MAPS)
    assert found["rgb"].min() >= 0
    assert found["rgb"].max() <= 255


def test_what_torchvision_refuses_is_one_sentence() -> None:
    """A name with the nearest, an option, and a size that makes another shape of a sample."""
    for of, told in {
        (("RandomCrp", ()),): r"names 'RandomCrp', .* did you mean 'RandomCrop'",
        (("RandomCrop", (("sise", 3),)),): "RandomCrop refuses its options",
    }.items():
        named = tuple((name, dict(options)) for name, options in of)
        with pytest.raises(UserError, match=told):
            Augmentations((Transforms(("rgb",), named),)).problem(STORE)


GRAPH = """
graph.target = 'sketch'
graph.sketch = @sketch/Member()
graph.picture = @picture/Member()
Member.network = @Conv2d
Conv2d.channels = (4, 4)
data.augmentation = @augmentation()
augmentation.of = (@Transforms(),)
augmentation.views = 2
Transforms.modalities = ('picture', 'sketch')
Transforms.of = (('RandomCrop', {'size': 32, 'padding': 4}), ('RandomRotation', {'degrees': 9}))
"""
ERASING = "Transforms.of = (('RandomErasing', {'p': 1.0}),)"


@pytest.mark.usefixtures("float64")
def test_kept_views_are_those_that_would_be_computed(tmp_path: Path) -> None:
    """With the cache and without, the same weights; views of which teachers' answers are kept."""
    (tmp_path / "graph.gin").write_text(f"include '{captions(tmp_path)}'\n{GRAPH}")
    for name, cache in (("kept", True), ("anew", False)):
        bindings = [f"engine.cache = {cache}", "DKD.epochs = 4"]
        run(open_experiment([tmp_path / "graph.gin"], bindings), tmp_path / name)
    assert_weights(tmp_path / "kept", tmp_path / "anew", 1e-6)
    with pytest.raises(
        UserError, match=r"cannot transform picture, sketch together .*CxHxW"
    ) as caught:
        open_experiment([tmp_path / "graph.gin"], [ERASING])
    assert "\n" not in str(caught.value)
    other = [line.replace("32", "16") for line in GRAPH.splitlines() if "RandomCrop" in line]
    with pytest.raises(UserError, match=r"turns 'picture' from .* into"):
        run(open_experiment([tmp_path / "graph.gin"], other), tmp_path / "smaller")
