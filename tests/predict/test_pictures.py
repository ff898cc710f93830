"""Maps of classes as pictures."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mstgraph.predict.pictures import (
    check_maps,
    draw_maps,
    palette,
    picture_folder,
    picture_name,
    write_map,
)
from mstgraph.predict.prediction import Prediction
from mstgraph.recipes import images
from mstgraph.support.errors import UserError

pytest.importorskip("PIL.Image")


def test_a_picture_shows_colours_and_keeps_the_classes(tmp_path: Path) -> None:
    """Read as a map of codes, as a recipe would, it gives the classes back."""
    classes = np.random.default_rng(0).integers(0, 41, (6, 9))
    colours = palette(41, ignored=0)
    write_map(tmp_path / "a.png", classes, colours)
    np.testing.assert_array_equal(images.codes(tmp_path / "a.png"), classes)
    seen = np.asarray(images.colour(tmp_path / "a.png"))
    np.testing.assert_array_equal(seen, np.array(colours)[classes])


def test_every_class_has_its_colour() -> None:
    """What is ignored is black, nothing else is."""
    colours = palette(41, ignored=3)
    assert len(set(colours)) == 41
    assert [index for index, colour in enumerate(colours) if colour == (0, 0, 0)] == [3]


def test_items_of_one_name_have_pictures_of_their_own() -> None:
    """Two folders may hold the same names."""
    assert picture_name(0, "a/x.png") != picture_name(1, "b/x.png")


def test_only_its_own_pictures_are_replaced(tmp_path: Path) -> None:
    """A folder that holds something else is refused; one of an earlier call starts anew."""
    with picture_folder(tmp_path / "new") as own:
        own.make("0.png")
        (own.path / "0.png").touch()
    with picture_folder(tmp_path / "new") as own:
        assert not (own.path / "0.png").exists()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/thesis.txt").touch()
    with (
        pytest.raises(UserError, match="no prediction of mstgraph's and not empty"),
        picture_folder(tmp_path / "foreign"),
    ):
        pass


@pytest.mark.parametrize("batch", [1, 2, 9])
def test_maps_are_the_same_whatever_the_batch(tmp_path: Path, batch: int) -> None:
    """One for each item, in their order, in a folder that knows all of them for its own."""
    outputs = np.random.default_rng(0).normal(size=(5, 3, 2, 3))
    said = [Prediction(f"{n}.npy", one, ()) for n, one in enumerate(outputs)]
    labels = SimpleNamespace(ignored=None)
    task: Any = SimpleNamespace(extent=(2, 3), classes=("wall", "floor", "door"), labels=labels)
    places = []
    for prediction, place in draw_maps(said, task, tmp_path / "maps", batch):
        np.testing.assert_array_equal(images.codes(place), prediction.outputs.argmax(0))
        places.append(place.name)
    assert places == [f"{n:05d}-{n}.png" for n in range(5)]
    with picture_folder(tmp_path / "maps") as own:
        assert own.made() == places


def test_what_cannot_be_drawn_is_refused() -> None:
    """A class for each sample, or more classes than a palette holds."""
    with pytest.raises(UserError, match="has no maps to draw"):
        check_maps((), 10)
    with pytest.raises(UserError, match="holds 256 classes, the run has 300"):
        check_maps((4, 4), 300)


def test_a_map_says_which_classes_it_shows() -> None:
    """Their shares of the pixels, those that are there alone."""
    outputs = np.zeros((3, 2, 2))
    outputs[2] = [[1, 1], [1, -1]]
    said = Prediction("x", outputs, ("wall", "floor", "door")).document()
    assert said == {"item": "x", "shares": {"wall": 0.25, "door": 0.75}}
