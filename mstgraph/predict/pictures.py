"""Maps of classes as pictures: a colour for each class, its index behind it."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mstgraph.predict.prediction import Prediction
from mstgraph.run.artefacts.run_folder import locked
from mstgraph.support.disk.own_folder import OwnFolder
from mstgraph.support.errors import UserError
from mstgraph.support.files import write_atomically
from mstgraph.tasks.task import Task

GOLDEN = 0.618033988749895  # of a turn: hues that stay apart however many there are
MOST = 256  # classes that a PNG's palette holds


def draw_maps(
    predictions: Iterable[Prediction], task: Task, folder: Path, batch: int
) -> Iterator[tuple[Prediction, Path]]:
    """Write the map of each prediction, and yield both.

    Args:
        predictions: of a segmentation, in their order.
        task: the segmentation.
        folder: where to; pictures of an earlier call are removed.
        batch: how many names are recorded at a time: the record is written whole, so that one for
            each picture would take as long as all before it.

    Raises:
        UserError: there are no maps, or too many classes; or see `picture_folder`.
    """
    numbered = enumerate(predictions)
    check_maps(task.extent, len(task.classes))
    colours = palette(len(task.classes), task.labels.ignored)
    with picture_folder(folder) as own:
        while some := list(islice(numbered, batch)):
            places = [own.path / picture_name(number, one.name) for number, one in some]
            own.make(*(place.name for place in places))
            for (_, prediction), place in zip(some, places, strict=True):
                write_map(place, prediction.index, colours)
                yield prediction, place


def palette(count: int, ignored: int | None) -> list[tuple[int, int, int]]:
    """Return a colour for each class, (red, green, blue); what is ignored is black."""
    found = []
    for index in range(count):
        lightness, saturation = (0.45, 0.65, 0.55)[index % 3], (0.75, 0.55)[index % 2]
        colour = colorsys.hls_to_rgb(index * GOLDEN % 1, lightness, saturation)
        found.append((0, 0, 0) if index == ignored else tuple(round(255 * c) for c in colour))
    return found  # type: ignore[return-value]


@contextmanager
def picture_folder(path: Path) -> Iterator[OwnFolder]:
    """Hold a folder of pictures; those of an earlier call are removed.

    Raises:
        UserError: it holds something else, or Pillow is missing.
    """
    _pillow()
    own = OwnFolder(path, "prediction")
    with locked(path, own):
        own.remove(own.made())
        yield own


def write_map(path: Path, classes: np.ndarray, colours: Iterable[tuple[int, int, int]]) -> None:
    """Write a map as a PNG with a palette.

    Args:
        path: the file.
        classes: of each pixel, [height, width].
        colours: of the classes.
    """
    image = _pillow().fromarray(classes.astype(np.uint8), "P")
    image.putpalette([value for colour in colours for value in colour])
    write_atomically(path, lambda new: image.save(new, "PNG"))


def picture_name(number: int, item: str) -> str:
    """Return the file's name of an item's map, which no other item's has."""
    return f"{number:05d}-{Path(item.replace(':', '-')).stem}.png"


def check_maps(extent: tuple[int, ...], classes: int) -> None:
    """Raise UserError unless answers are maps of classes that a picture can hold."""
    if not extent:
        raise UserError("the run's task has no maps to draw; expected a run of segmentation")
    if classes > MOST:
        raise UserError(f"a picture holds {MOST} classes, the run has {classes}")


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise UserError("pictures need Pillow: pip install 'mstgraph[raw]'") from error
    return Image
