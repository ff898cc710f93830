"""What an advice consists of: students before they are taught, and the edges to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

WORTHWHILE = 0.01  # accuracy; a predicted gain below it is no reason for an edge

Verdict = Literal["keep", "drop"]


@dataclass(frozen=True)
class Learner:
    """A student before anybody has taught it.

    Attributes:
        name: the member.
        accuracy: share of the validation samples on which it is right.
        training_accuracy: the same of the training samples that have a label.
    """

    name: str
    accuracy: float
    training_accuracy: float


@dataclass(frozen=True)
class Edge:
    """A teacher beside its student, both as they are without distillation, on validation.

    Attributes:
        teacher: the member, or several joined by ``" + "``, whose mean log-probability teaches.
        student: the member.
        accuracy: the teacher's.
        told: share of the student's errors on which the teacher is right.
        untold: share of the teacher's errors on which the student is right.
        helps: share of all samples on which the teacher is right and the student is wrong.
        harms: the reverse.
        visible: how much of what the teacher says beyond the label can be seen in the student's
            features, R² of 0 to 1.
        gain: the predicted gain in accuracy, a fraction of 1.
    """

    teacher: str
    student: str
    accuracy: float
    told: float
    untold: float
    helps: float
    harms: float
    visible: float
    gain: float

    @property
    def verdict(self) -> Verdict:
        """Whether the gain is worth an edge."""
        return "keep" if self.gain >= WORTHWHILE else "drop"


@dataclass(frozen=True)
class Findings:
    """What was found of a graph's edges.

    Attributes:
        title: the data set's name.
        synthetic: what must be said of the data; empty if it is real.
        split: name of the split.
        samples: validation samples (or pixels) behind every number.
        unlabelled: share of the training samples that have no label.
        students: name → the student before it is taught.
        edges: of each student, the best first.
    """

    title: str
    synthetic: str
    split: str
    samples: int
    unlabelled: float
    students: Mapping[str, Learner]
    edges: tuple[Edge, ...]

    def to(self, student: str) -> list[Edge]:
        """Return the edges to a student, the best first."""
        return [edge for edge in self.edges if edge.student == student]
