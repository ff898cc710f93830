"""Mirrored batches, and what no augmentation may be."""

from __future__ import annotations

import math

import pytest
import torch

from mstgraph.data.augmentation import Augmentation, HorizontalFlip
from mstgraph.data.pictures import Crop, Transforms
from mstgraph.data.sensors import FrequencyMask, Jitter, Scale, TimeMask
from mstgraph.store.recipe import Modality


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


def test_maps_that_are_named_are_all_that_is_moved() -> None:
    """A picture may be mirrored, and the spectrogram beside it stay."""
    inputs, labels = batch()
    flip = HorizontalFlip(1.0, modalities=("rgb",))
    changed, _ = flip(inputs, labels, torch.Generator())
    assert torch.equal(changed["rgb"], inputs["rgb"].flip(-1))
    assert torch.equal(changed["normals"], inputs["normals"])
    assert (flip.touches("rgb", (3, 2, 5)), flip.touches("normals", (3, 2, 5))) == (True, False)
    cropped, _ = Crop(0.2, modalities="rgb")(inputs, labels, torch.Generator())  # type: ignore[arg-type]
    assert not torch.equal(cropped["rgb"], inputs["rgb"])
    assert torch.equal(cropped["normals"], inputs["normals"])


STORE = {
    "rgb": Modality("rgb", "uint8", (3, 8, 8)),
    "sound": Modality("sound", "float32", (1, 8, 40), varying=True),
    "words": Modality("words", "float32", (7,)),
}
REFUSED: tuple[tuple[Augmentation, str, str], ...] = (
    (HorizontalFlip(1.5), "probability", "is 1.5, expected 0 to 1"),
    (HorizontalFlip(), "modalities", "include 'sound', whose samples differ in length"),
    (Crop(modalities=("rgb", "sound")), "modalities", "include 'sound', whose samples differ"),
    (Crop(modalities=("rbg",)), "modalities", "names 'rbg'; did you mean 'rgb'"),
    (Crop(modalities=("words",)), "modalities", "names 'words', expected maps, channels×height"),
    (Transforms(("sound",), (("A", {}),)), "modalities", "include 'sound', whose samples differ"),
    (Transforms(("rgb",), (("A", {}),), largest=0.0), "largest", "is 0.0, expected more than 0"),
    (Jitter(("rgb",), -0.1), "deviation", "is -0.1, expected at least 0"),
    (Scale(("rgb",), math.inf), "deviation", "is inf, expected at least 0"),
    (TimeMask(("sound",), 5.0), "share", "is 5.0, expected a share of the times or bands, 0 to 1"),
    (FrequencyMask(("words",)), "modalities", "names 'words', of which a sample is 7, expected"),
)


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_makes_no_sense_is_refused(number: int) -> None:
    """Before anything is read; padding is never moved into a sample."""
    augmentation, parameter, sentence = REFUSED[number]
    problem = augmentation.problem(STORE)
    assert problem is not None
    assert (problem[0], problem[1][: len(sentence)]) == (parameter, sentence)


def test_maps_of_one_length_are_mirrored_beside_others() -> None:
    """And jitter may go over what is padded: padding is nothing again afterwards."""
    masks = TimeMask("sound")  # type: ignore[arg-type]  # the forgotten comma
    for augmentation in (HorizontalFlip(modalities=("rgb",)), Jitter(("sound",)), masks):
        assert augmentation.problem(STORE) is None
