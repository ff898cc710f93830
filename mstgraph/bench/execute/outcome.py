"""How a job of a benchmark went, as whoever did it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mstgraph.bench.plan.dag import Job

Status = Literal["done", "failed", "interrupted"]


@dataclass(frozen=True)
class Outcome:
    """How a job went.

    Attributes:
        job: the job.
        status: what came of it.
        sentence: why it failed.
        details: a traceback, for what is nobody's input.
        seconds: how long it took.
    """

    job: Job
    status: Status
    sentence: str = ""
    details: str = ""
    seconds: float = 0.0
