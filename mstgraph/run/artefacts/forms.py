"""The forms of what a run leaves in JSON, as `mstgraph.support.disk.descriptions` reads it.

A key that is not here may be there: what a reader does not need, it does not ask for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from mstgraph.support.disk.descriptions import read_description
from mstgraph.support.files import read_json


class Result(TypedDict):
    """What a part of a split gave: response → metric → value, null where it is undefined."""

    metrics: dict[str, dict[str, float | None]]


class _AlwaysInArtefact(TypedDict):
    hash: str
    kind: str
    epochs: int
    best_epoch: int
    validation: Result
    seconds: float
    peak_memory: int
    device: str


class Artefact(_AlwaysInArtefact, total=False):
    """``artefact.json``; what may be missing was added later, or is the ``test`` of who tunes.

    ``weights`` are digests by part, ``samples`` is the digest of ``samples.npz``, ``files`` are
    the names that the stage left in its folder.
    """

    test: Result
    identity: dict[str, Any]
    weights: dict[str, str]
    samples: str
    files: list[str]
    torch: str
    threads: int
    processes: int


class Data(TypedDict):
    """What a run was trained on."""

    title: str
    synthetic: str


class _AlwaysInInput(TypedDict):
    modality: str
    shape: list[int]
    factor: list[float]
    offset: list[float]


class StudentInput(_AlwaysInInput, total=False):
    """A modality that a student sees, and its normalisation."""

    integers: bool


class _AlwaysInStudent(StudentInput):
    member: str
    classes: list[str]
    data: Data


class StudentDescription(_AlwaysInStudent, total=False):
    """``student-NAME.json`` of a student of one modality.

    ``files`` are digests: of its weights (`mstgraph.support.weights.weights_digest`), and of the
    files config.gin and modules.
    """

    task: str
    outputs: int
    files: dict[str, str]


class _AlwaysInStudentOfSeveral(TypedDict):
    member: str
    inputs: list[StudentInput]
    classes: list[str]
    data: Data


class StudentOfSeveral(_AlwaysInStudentOfSeveral, total=False):
    """The same of a student of several modalities, in the order that it takes them."""

    task: str
    outputs: int
    files: dict[str, str]


class _AlwaysInPlannedStage(TypedDict):
    name: str
    kind: str
    trains: list[str]


class PlannedStage(_AlwaysInPlannedStage, total=False):
    """A stage in ``plan.json``; ``artefact`` is the digest of the description it left."""

    hash: str
    done: bool
    artefact: str


class PlannedMember(TypedDict):
    """A member in ``plan.json``."""

    name: str
    role: str
    network: str
    inputs: list[str]


class PlannedEdge(TypedDict):
    """An edge in ``plan.json``."""

    source: str
    target: str
    kind: str
    loss: str
    stage: str


class PlannedTeacher(TypedDict):
    """A teacher in ``plan.json``."""

    j: int
    name: str
    member: str
    point: str
    loss: str


class Gate(TypedDict):
    """A gate in ``plan.json``."""

    stage: str


class PlannedModality(TypedDict):
    """A modality in ``plan.json``."""

    name: str


class PlanDocument(TypedDict):
    """``plan.json``, as far as anything reads it again."""

    name: str
    seed: int
    data: Data
    task: dict[str, Any]
    targets: list[str]
    modalities: list[PlannedModality]
    members: list[PlannedMember]
    edges: list[PlannedEdge]
    teachers: dict[str, list[PlannedTeacher]]
    gates: dict[str, Gate]
    stages: list[PlannedStage]


class SummaryData(Data):
    """What a summary says of its data."""

    split: str


class SummaryMetric(TypedDict):
    """A metric as it is shown."""

    name: str


class Routed(TypedDict):
    """What a gate sent to a teacher."""

    name: str
    share: float


class SummaryRouting(TypedDict, total=False):
    """What a picture shows of a summary."""

    routing: dict[str, list[Routed]]


class SummaryTeacher(TypedDict):
    """A teacher in a summary."""

    student: str
    name: str
    metrics: dict[str, float | None]
    epochs: int


class SummaryStage(TypedDict):
    """A stage in a summary."""

    name: str
    seconds: float
    peak_memory: int


class Summary(TypedDict):
    """``summary.json``."""

    data: SummaryData
    seed: int
    metrics: list[SummaryMetric]
    primary: str
    students: dict[str, dict[str, Any]]
    teachers: list[SummaryTeacher]
    routing: dict[str, list[Routed]]
    stages: list[SummaryStage]
    device: str


def read_student(path: Path, advice: str) -> dict[str, Any]:
    """Read ``student-NAME.json``, of a student of one modality or of several.

    Args:
        path: the file.
        advice: what to do about a damaged one.

    Raises:
        UserError: it is not of its form.
    """
    several = "inputs" in read_json(path, advice)
    form = StudentOfSeveral if several else StudentDescription
    return read_description(path, form, advice)
