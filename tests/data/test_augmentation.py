"""Mirrored batches."""

from __future__ import annotations

import pytest
import torch

from mstgraph.data.augmentation import HorizontalFlip


def batch() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Two kinds of maps, a vector, and dense labels."""
    generator = torch.Generator().manual_seed(0)
    inputs = {
        "rgb": torch.rand(40, 3, 2, 5, generator=generator),
        "normals": torch.rand(40, 3, 2, 5, generator=generator),
        "words": torch.rand(40, 7, generator=generator),
    }
    return inputs, torch.randint(0, 9, (40, 2, 5), generator=generator)


def test_a_sample_is_mirrored_as_a_whole() -> None:
    """All its maps and its labels, or none; normals point the other way; vectors stay."""
    inputs, labels = batch()
    changed, turned = HorizontalFlip()(inputs, labels, torch.Generator().manual_seed(1))
    mirrored = 0
    for b in range(40):
        flip = not torch.equal(turned[b], labels[b])
        mirrored += flip
        rgb, normals = inputs["rgb"][b], inputs["normals"][b].clone()
        if flip:
            rgb, normals = rgb.flip(-1), normals.flip(-1)
            normals[0] = -normals[0]
            assert torch.equal(turned[b], labels[b].flip(-1))
        assert torch.equal(changed["rgb"][b], rgb)
        assert torch.equal(changed["normals"][b], normals)
    assert torch.equal(changed["words"], inputs["words"])
    assert 10 < mirrored < 30


@pytest.mark.parametrize(("probability", "times"), [(0.0, 0), (1.0, 1)])
def test_the_limits_of_the_probability(probability: float, times: int) -> None:
    """Never and always; the given batch is left as it was."""
    inputs, labels = batch()
    before = inputs["normals"].clone()
    flip = HorizontalFlip(probability)
    changed, turned = flip(inputs, labels, torch.Generator().manual_seed(1))
    assert torch.equal(turned, labels.flip(-1) if times else labels)
    assert torch.equal(inputs["normals"], before)
    again, back = flip(changed, turned, torch.Generator().manual_seed(1))
    assert torch.equal(again["normals"], before)
    assert torch.equal(back, labels)


def test_one_label_per_sample_stays() -> None:
    """Only maps of labels are mirrored."""
    inputs, _ = batch()
    labels = torch.arange(40)
    _, same = HorizontalFlip(1.0)(inputs, labels, torch.Generator())
    assert torch.equal(same, labels)


def test_randomness_comes_from_the_generator_alone() -> None:
    """Same generator, same batch."""
    inputs, labels = batch()
    results = []
    for _ in range(2):
        torch.rand(3)
        results.append(HorizontalFlip()(inputs, labels, torch.Generator().manual_seed(5))[1])
    assert torch.equal(*results)
