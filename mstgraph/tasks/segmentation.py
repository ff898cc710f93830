"""Segmentation: every pixel has a label of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import gin

from mstgraph.tasks.classes import ClassTask
from mstgraph.tasks.confusion import AA, MIOU, OA
from mstgraph.tasks.task import Metric


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class Segmentation(ClassTask):
    """One class for each pixel, measured as in the paper's Tables 1 and 2."""

    kind: ClassVar[str] = "segmentation"
    metrics: ClassVar[tuple[Metric, ...]] = (OA, AA, MIOU)
    primary: ClassVar[Metric] = MIOU
