"""A run's record: plan, summary, epochs and test samples, read from its folder alone.

No code of the run is imported and no store is opened; the run may be at work or have stopped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mstgraph.run.artefacts.forms import (
    PlanDocument,
    Summary,
    SummaryRouting,
    read_student,
)
from mstgraph.run.artefacts.metrics_log import read_records, scalars
from mstgraph.run.artefacts.run_folder import (
    CONFIG,
    METRICS,
    PLAN,
    SUMMARY,
    RunFolder,
    no_run,
)
from mstgraph.support.disk.descriptions import read_description
from mstgraph.support.errors import UserError

REWRITTEN = "give the run's command again to have it written anew"


class Records:
    """What lies in a run's folder.

    Args:
        path: the folder.

    Raises:
        UserError: it is no run's folder.
    """

    def __init__(self, path: Path):
        if not (path / PLAN).is_file():
            raise no_run(path, f"has no {PLAN}")
        self.path = path
        self.folder = RunFolder(path)
        # Every chart asks for them: a stage's are read, and compared with their digest, once.
        self.samples = cache(self.folder.samples)
        self.statistics = cache(self.folder.statistics)
        self._marks = cache(self.folder.marks)

    @cached_property
    def plan(self) -> dict[str, Any]:
        """``plan.json``."""
        found: dict[str, Any] = read_description(self.path / PLAN, PlanDocument, REWRITTEN)
        return found

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return (self.path / SUMMARY).is_file()

    @cached_property
    def summary(self) -> dict[str, Any] | None:
        """``summary.json``, or None of a run that is not finished."""
        if not self.finished:
            return None
        found: dict[str, Any] = read_description(self.path / SUMMARY, Summary, REWRITTEN)
        return found

    @property
    def routing(self) -> dict[str, list[dict[str, Any]]]:
        """Student → for each of its teachers ``name`` and ``share``; {} of an unfinished run."""
        if not self.finished:
            return {}
        found: dict[str, Any] = read_description(self.path / SUMMARY, SummaryRouting, REWRITTEN)
        return found.get("routing", {})

    @property
    def config(self) -> str:
        """The operative configuration as text."""
        path = self.path / CONFIG
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    @property
    def stages(self) -> list[str]:
        """Names of the stages, in order."""
        return [stage["name"] for stage in self.plan["stages"]]

    def last(self, target: str) -> str:
        """Return the stage that ends a student's training."""
        return str(self._of_plan("last")[target])

    def alone(self, target: str) -> str | None:
        """Return the stage that trains the same network as long without teachers, if any does."""
        found: str | None = self._of_plan("alone").get(target)
        return found

    def _of_plan(self, key: str) -> Mapping[str, str]:
        found: Mapping[str, str] | None = self.plan.get(key)
        if found is None:
            raise UserError(
                f"'{self.path / PLAN}' is of an earlier version, which did not say which stages "
                f"end a student's training; {REWRITTEN}"
            )
        return found

    @cached_property
    def targets(self) -> list[str]:
        """Students, in order."""
        return [str(name) for name in self.plan["targets"]]

    @cached_property
    def fused(self) -> set[str]:
        """Members that see several modalities."""
        return {member["name"] for member in self.plan["members"] if len(member["inputs"]) > 1}

    def artefact(self, stage: str) -> dict[str, Any] | None:
        """Return what a finished stage says of itself; None of one that is not finished."""
        return self.folder.artefact(stage)

    def history(self, stage: str) -> list[dict[str, Any]]:
        """Return a row per epoch, also of a stage that is being trained; see `history_row`."""
        path = self.folder.under_way(stage) / METRICS
        if not path.is_file():
            path = self.folder.stage(stage) / METRICS
        return [history_row(stage, record) for record in read_records(path)]

    @cached_property
    def classes(self) -> list[str]:
        """Names of the classes; their numbers before a student is there that knows them."""
        for path in sorted(self.path.glob("student-*.json")):
            return [str(name) for name in read_student(path, REWRITTEN)["classes"]]
        return [str(i) for i in range(int(self.plan["task"]["outputs"]))]

    def responses(self) -> dict[str, tuple[str, str]]:
        """Return title → (stage, response) of all that is measured on test samples.

        Members as they teach, specialised teachers, each student alone and distilled.
        """
        found = {}
        shown = {t: (self.last(t), self.alone(t)) for t in self.targets}
        finals = {stage for pair in shown.values() for stage in pair if stage}
        for stage in (s for s in self.plan["stages"] if s["name"] not in finals):
            for name in stage.get("responses", {}):
                if name in self.samples(stage["name"]) and name not in self.targets:
                    found[name] = (str(stage["name"]), str(name))
        for target, (last, alone) in shown.items():
            if alone and target in self.samples(alone):
                found[f"{target} alone"] = (alone, target)
            if target in self.samples(last):
                found[f"{target} distilled"] = (last, target)
        return found

    def contributions(self, place: tuple[str, str]) -> np.ndarray:
        """Return what each test sample contributes, [samples, statistics]."""
        return self.samples(place[0])[place[1]]

    def marks(self, place: tuple[str, str]) -> np.ndarray | None:
        """Return where a response is right: [samples, places], 2 right, 1 wrong, 0 not counted."""
        return self._marks(place[0]).get(place[1])


def history_row(stage: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return an epoch's record under flat names like ``training/task/value``.

    ``stage``, ``epoch`` (from 1), ``best`` and ``seconds`` are among them; nan where a metric is
    undefined.
    """
    values = {name: math.nan if value is None else value for name, value in scalars(record)}
    return {"stage": stage, "epoch": record["epoch"], "best": record["best"], **values}
