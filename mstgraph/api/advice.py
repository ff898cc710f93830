"""An advice in Python: what each teacher can tell its student; ``print(advice)`` is the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console

from mstgraph.advice.findings import Edge, Findings, Learner
from mstgraph.report.advice import print_advice
from mstgraph.report.console import as_text


class Advice:
    """Whether distillation will help, edge by edge.

    Made by `Experiment.advise` and `Run.advise`.
    """

    def __init__(self, findings: Findings):
        self._findings = findings

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Every teacher of every student, and all of a student as one; a student's best first."""
        return self._findings.edges

    @property
    def students(self) -> Mapping[str, Learner]:
        """Name → the student before it is taught."""
        return self._findings.students

    @property
    def unlabelled(self) -> float:
        """Share of the training samples that have no label."""
        return self._findings.unlabelled

    def document(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        found = self._findings
        edges = [{**asdict(edge), "verdict": edge.verdict} for edge in found.edges]
        return {**asdict(found), "edges": edges}

    def show(self, console: Console) -> None:
        """Print the table to a console."""
        print_advice(self._findings, console)

    def __str__(self) -> str:
        return as_text(self.show)
