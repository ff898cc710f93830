"""Normalisations that need no statistics; the others are tested through the feed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from mstgraph.data.normalisation import kind_for, normaliser
from mstgraph.store.recipe import Modality


def test_colours_as_imagenet_has_them() -> None:
    """As torchvision's transforms: from 0 to 1, minus the mean, by the deviation; no statistics."""
    specs = {
        "eight": Modality("eight", "uint8", (3, 2, 2)),
        "scaled": Modality("scaled", "uint8", (3, 2, 2), scale=1 / 255),
        "floating": Modality("floating", "float32", (3, 2, 2)),
    }
    zeros, ones = np.zeros(3), np.ones(3)
    statistics: Any = SimpleNamespace(mean=zeros, std=ones, minimum=zeros, maximum=ones)
    colours = torch.randint(0, 256, (4, 3, 2, 2)).float()
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (colours / 255 - mean[:, None, None]) / deviation[:, None, None]
    for name, stored in {"eight": colours, "scaled": colours, "floating": colours / 255}.items():
        found = normaliser(specs[name], statistics, "imagenet", "cpu")(stored)
        torch.testing.assert_close(found, expected)


def test_what_is_said_of_the_others_holds_for_those_that_are_not_named() -> None:
    """One word is for all; without any for the others they are standard."""
    assert kind_for("rgb", "minmax") == "minmax"
    said = {"rgb": "imagenet", "others": "none"}
    assert [kind_for(name, said) for name in ("rgb", "depth")] == ["imagenet", "none"]
    assert kind_for("depth", {"rgb": "imagenet"}) == "standard"
