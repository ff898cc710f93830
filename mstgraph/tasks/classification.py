"""Classification: every sample has one label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import gin

from mstgraph.tasks.classes import ClassTask
from mstgraph.tasks.confusion import AA, F1, KAPPA, OA
from mstgraph.tasks.task import Metric


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class Classification(ClassTask):
    """One class for each sample, measured as in the paper's Tables 1 and 2."""

    kind: ClassVar[str] = "classification"
    metrics: ClassVar[tuple[Metric, ...]] = (OA, AA, F1, KAPPA)
    primary: ClassVar[Metric] = OA
