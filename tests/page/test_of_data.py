"""Sections that show data, of runs that are cheaper told than trained."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex

from mstgraph.look.outcomes import Changed
from mstgraph.page import of_data
from mstgraph.page.parts import Gallery
from mstgraph.page.pictures import IGNORED, class_colours
from mstgraph.store.recipe import Modality
from mstgraph.support.errors import UserError


@pytest.mark.parametrize("known", [True, False])
def test_text_is_shown_as_words(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the recipe is there and has words; of integers alone, and without it as numbers."""
    told: list[str] = []
    words = lambda modality, values: " ".join("abc"[i] for i in values)  # noqa: E731

    def open_recipe(*_: Any) -> Any:
        if not known:
            raise UserError("the recipe is gone")
        return SimpleNamespace(title="words", words=words)

    monkeypatch.setattr(of_data, "open_recipe", open_recipe)
    modalities = {
        "text": Modality("text", "int32", (2,), integers=True),
        "touch": Modality("touch", "float32", (2,)),
    }
    source = SimpleNamespace(modalities=modalities)
    opened: Any = SimpleNamespace(experiment=SimpleNamespace(source=source))
    raw = {"text": np.array([[0, 1], [2, 2]]), "touch": np.zeros((2, 2))}
    found = of_data._written(opened, raw, told.append)
    assert found == ({"text": ["a b", "c c"]} if known else {})
    assert told == ([] if known else ["text is shown as numbers: the recipe is gone"])


def test_maps_of_a_student_of_several_modalities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each modality that it sees is shown, then the label; what changed is mended or spoilt.

    The key has the colours that are in the maps, of classes and of what is not counted.
    """
    score = np.array([0.0, -0.25, 0.5])
    found = Changed(np.array([2]), np.array([1]), score)
    monkeypatch.setattr(of_data, "changed", lambda *_: found)
    run: Any = SimpleNamespace(classes=["wall", "bed"], responses=dict)
    labels = np.zeros((3, 4, 4), int)
    labels[2, 0, 0] = 255
    opened: Any = SimpleNamespace(
        labels=labels.__getitem__,
        raw=lambda name, positions: np.zeros((len(positions), 3, 4, 4), np.uint8),
        ids=lambda: np.array([7, 8, 9]),
        store=SimpleNamespace(labels_spec=SimpleNamespace(ignored=255, unknown=None)),
        experiment=SimpleNamespace(inputs_of={"car": ("camera", "depth")}),
    )
    section = of_data.segmentation(run, opened, "car")
    assert section is not None
    (gallery,) = section.blocks
    assert isinstance(gallery, Gallery)
    assert [(card.title, card.mark) for card in gallery.cards] == [
        ("sample 9", "mended"),
        ("sample 8", "spoilt"),
    ]
    for card in gallery.cards:
        assert [one.name for one in card.pictures] == ["camera", "depth", "label"]
    colours = {"wall": class_colours(2)[0], "not counted": to_hex(IGNORED)}
    assert dict(gallery.key) == colours
