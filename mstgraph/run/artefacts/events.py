"""What TensorBoard shows of a finished stage: distributions over test samples, and confusions.

All of it is at hand once the best epoch is tested, so that no network answers for it again. A
histogram of logits or gradients would cost that, and a scalar says more of the first.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.summary import histogram, image
from torch import nn

from mstgraph.certainty.counts import COLUMNS, confusion, counts_in
from mstgraph.run.artefacts.run_folder import OWN_EVENTS
from mstgraph.stages.stage import StageNode
from mstgraph.support.files import explained

# A file of its own, in which TensorBoard goes on after the one of the epochs: names come in order.
AT_THE_END = f".shown{OWN_EVENTS}"
BINS = 30
MOST_CLASSES = 100  # of a confusion; more are no picture
SIDE, MARGIN = 560, 34  # of a picture in pixels, and the room beside it for numbers
LEGIBLE = 22  # pixels of a cell that holds a number
LEAST_CELL = 4
BLUE = (47, 116, 208)  # on which black is read as well


def last_masks(node: StageNode, modules: Mapping[str, nn.Module]) -> dict[str, np.ndarray]:
    """Return response → the last mask of a MaskNet that the stage trained, if it keeps any."""
    found = {}
    for response, forward in node.forwards.items():
        mask = getattr(modules.get(forward.masknet), "last_mask", None)
        if mask is not None and forward.masknet in node.trains:
            found[response] = mask.float().cpu().numpy()
    return found


def distributions(
    teachers: Sequence[str], masks: Mapping[str, np.ndarray], statistics: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return tag → values: of a stage's statistics by teacher, and of the masks that it trained.

    What has two values at most, such as whether a teacher was chosen, is left out: its mean, which
    is there for every epoch, says all of it.

    Args:
        teachers: names of the stage's teachers.
        masks: response → the mask that it went through, of the last batch.
        statistics: name → its value of each test sample, [samples] or [samples, n] float.
    """
    found: dict[str, np.ndarray] = {}
    for name, values in statistics.items():
        columns = values.reshape(len(values), -1).T
        named = teachers if len(teachers) == len(columns) else range(1, len(columns) + 1)
        tags = [f"test/{name}/{one}" for one in named] if values.ndim > 1 else [f"test/{name}"]
        found |= zip(tags, columns, strict=True)
    found |= {f"test/mask/{response}": mask.ravel() for response, mask in masks.items()}
    known = {tag: values[np.isfinite(values)] for tag, values in found.items()}
    return {tag: values for tag, values in known.items() if len(np.unique(values)) > 2}


def confusions(contributions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return tag → confusion of test samples, [classes, classes] int, where each has one class."""
    found = {}
    for response, values in contributions.items():
        if values.shape[-1] > COLUMNS * MOST_CLASSES:  # of a thousand classes it is gigabytes
            continue
        counts = counts_in(values)
        if counts is None or not counts.single or counts.hit.shape[1] < 2:
            continue
        if np.array_equal(counts.hit, counts.labelled * counts.predicted):
            found[f"test/confusion/{response}"] = confusion(counts)
    return found


def show_end(
    folder: Path,
    epoch: int,
    distributions: Mapping[str, np.ndarray],
    confusions: Mapping[str, np.ndarray],
) -> None:
    """Write events of a stage's best epoch; pictures only where Pillow is installed.

    Args:
        folder: of the stage.
        epoch: the best one.
        distributions: tag → values.
        confusions: tag → [classes, classes] int, rows labels.

    Raises:
        UserError: the folder cannot be written.
    """
    summaries = [histogram(tag, v, _edges(v)) for tag, v in distributions.items()]
    pictures = {tag: _picture(matrix) for tag, matrix in confusions.items()}
    summaries += [image(tag, p, dataformats="HWC") for tag, p in pictures.items() if p is not None]
    if not summaries:
        return
    with explained(folder):
        events = EventsWriter(str(folder / "events"), AT_THE_END)
        for summary in summaries:
            events.write_event(Event(wall_time=time.time(), step=epoch, summary=summary))
        events.close()


def _edges(values: np.ndarray) -> np.ndarray:
    """Return the limits of bins; those of shares are the same in all histograms."""
    low, high = float(values.min()), float(values.max())
    shares = low >= 0 and high <= 1
    return np.linspace(0, 1, BINS + 1) if shares else np.linspace(low, high, BINS + 1)


def _picture(matrix: np.ndarray) -> np.ndarray | None:
    """Return a confusion as a picture, [height, width, 3] uint8: rows are labels, with numbers."""
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        return None
    count = len(matrix)
    cell = max(LEAST_CELL, min(40, SIDE // count))
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    cells = 255 + shares[..., None] * (np.array(BLUE) - 255)
    whole = np.full((MARGIN + cell * count, MARGIN + cell * count, 3), 255, np.uint8)
    whole[MARGIN:, MARGIN:] = cells.round().astype(np.uint8).repeat(cell, 0).repeat(cell, 1)
    picture = Image.fromarray(whole)
    pen = ImageDraw.Draw(picture)
    step = 1 if cell >= LEGIBLE else 10
    middle = [MARGIN + cell * (i + 0.5) for i in range(count)]
    for i in range(0, count, step):
        pen.text((MARGIN - 6, middle[i]), str(i), "black", anchor="rm")
        pen.text((middle[i], MARGIN - 6), str(i), "black", anchor="mb")
    for i, j in np.argwhere(shares >= 0.005) if cell >= LEGIBLE else ():
        pen.text((middle[j], middle[i]), f"{100 * shares[i, j]:.0f}", "black", anchor="mm")
    return np.asarray(picture)
