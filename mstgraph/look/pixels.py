"""What pixels are taken for: confusions of maps, which a run's folder does not hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mstgraph.look.opened import Asked, Opened
from mstgraph.stages.node import RESPONSE


@torch.no_grad()
def confusion_of_maps(
    run: Opened, asked: Asked, positions: Sequence[int] | np.ndarray
) -> np.ndarray:
    """Return how many pixels of class i (row) were taken for class j, [classes, classes] int64.

    Args:
        run: the run, of a segmentation.
        asked: the network.
        positions: places in the test part.
    """
    task = run.experiment.task
    classes = task.num_outputs
    found = np.zeros(classes * classes, np.int64)
    for shared in run.batches(positions, [asked.forward.member]):
        answers = asked.outputs(shared)[RESPONSE].argmax(1)
        counted = task.counted(shared.labels)
        places = shared.labels * classes + answers
        places = places.flatten() if counted is None else places[counted]
        found += np.bincount(places.cpu().numpy(), minlength=classes * classes)
    return found.reshape(classes, classes)
