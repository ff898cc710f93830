"""One student's gin file, run on random values in a process of its own, and what came out."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mstgraph.derive.experiment import Experiment
from mstgraph.derive.opening import open_experiment
from mstgraph.support.errors import UserError
from mstgraph.support.files import read_json
from tools.student_check.random_data import DATA_SETS, ROOT

STUDENTS = (
    "avmnist_image",
    "avmnist_audio",
    "ravdess_visual",
    "ravdess_audio",
    "vggsound_visual",
    "vggsound_audio",
    "crisismmd_image",
    "crisismmd_text",
    "nyudepth_rgb",
    "nyudepth_depth",
)
STAGES = ("Pretrain", "CI", "STA", "DKD", "Hint", "Distill", "Salience")
CALL = (sys.executable, "-c", "from mstgraph.cli import main; main()")


@dataclass(frozen=True)
class Setting:
    """How all students are run.

    Attributes:
        folder: holds raw files, stores and logs.
        epochs: of every stage.
        methods: gin files on top of a student's.
        bindings: that win over everything else.
        device: as ``mstgraph run`` takes it.
        threads: of torch.
    """

    folder: Path
    epochs: int = 2
    methods: tuple[str, ...] = ()
    bindings: tuple[str, ...] = ()
    device: str = "cpu"
    threads: int = 1

    def files(self, student: str) -> list[str]:
        """Return the gin files of a student's run."""
        return [str(ROOT / "gin" / f"{student}.gin"), *map(str, map(_absolute, self.methods))]

    def all_bindings(self, student: str) -> list[str]:
        """Return the bindings of a student's run."""
        data = DATA_SETS[student.partition("_")[0]]
        return [
            *(f"{stage}.epochs = {self.epochs}" for stage in STAGES),
            f"data.store = '{(self.folder / 'stores' / data.recipe).resolve()}'",
            f"data.batch_size = {data.batch}",
            *self.bindings,
        ]


@dataclass
class Outcome:
    """What a student came to; empty where the run did not get there.

    Attributes:
        student: name of its gin file.
        networks: member → parameters.
        teachers: (j, δ(j), member, point) of each teacher.
        masknets: name of a teacher → parameters of its mask.
        adapters: name of a teacher → parameters of what its loss trains.
        seconds: of the run's process.
        memory: largest peak of a stage, in bytes.
        accuracy: test OA of the student: of no meaning, as the values are random.
        error: what went wrong, in a sentence; empty if nothing.
    """

    student: str
    networks: dict[str, int] = field(default_factory=dict)
    teachers: list[tuple[int, int, str, str]] = field(default_factory=list)
    masknets: dict[str, int] = field(default_factory=dict)
    adapters: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    memory: int = 0
    accuracy: float | None = None
    error: str = ""


def check(student: str, setting: Setting) -> Outcome:
    """Run a student on random values; its data set is prepared if it is not yet.

    The run's folder is deleted afterwards (weights of large MaskNets take gigabytes), its log stays
    in ``logs/``.
    """
    outcome = Outcome(student)
    try:
        DATA_SETS[student.partition("_")[0]].prepare(setting.folder)
        experiment = open_experiment(setting.files(student), setting.all_bindings(student))
    except UserError as error:
        outcome.error = str(error)
        return outcome
    _describe(experiment, outcome)
    log = setting.folder / "logs" / f"{experiment.name}.txt"
    with tempfile.TemporaryDirectory(prefix="run-", dir=setting.folder) as directory:
        run = Path(directory)
        started = time.monotonic()
        code = _run(student, setting, run, log)
        outcome.seconds = time.monotonic() - started
        outcome.memory = _peak(run)
        if code:
            outcome.error = f"exit code {code}: {_last_line(log)}"
        else:
            outcome.accuracy = _accuracy(read_json(run / "summary.json"))
    return outcome


def _describe(experiment: Experiment, outcome: Outcome) -> None:
    """Note what a plan has, from networks that are built without memory."""
    plan, parts = experiment.plan, experiment.parts
    outcome.networks = {name: shapes.parameters for name, shapes in parts.members.items()}
    for student, teachers in plan.teachers.items():
        outcome.teachers += [
            (t.index, plan.delta(student, t.index), t.member, t.point) for t in teachers
        ]
    found = {part.name: part for node in plan.stages.values() for part in node.parts.values()}
    for kind, noted in (("masknet", outcome.masknets), ("adapter", outcome.adapters)):
        for part in found.values():
            if part.kind == kind:
                name = ".".join(filter(None, (part.member, part.point)))
                noted[name] = parts.parameters(part)


def _run(student: str, setting: Setting, run: Path, log: Path) -> int:
    command = [*CALL, "run", *setting.files(student), "--device", setting.device, "--out", str(run)]
    for binding in setting.all_bindings(student):
        command += ["-p", binding]
    threads = {name: str(setting.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as stream:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **threads}, stdout=stream, stderr=stream
        )
    return done.returncode


def _absolute(file: str) -> Path:
    return Path(file).resolve()


def _peak(run: Path) -> int:
    """Return the largest peak of the stages that were finished."""
    artefacts = run.glob("stages/*/artefact.json")
    return max((read_json(path)["peak_memory"] for path in artefacts), default=0)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8").strip().splitlines()
    return lines[-1] if lines else "nothing was said"


def _accuracy(summary: Mapping[str, Any]) -> float:
    ((_, student),) = summary["students"].items()
    metrics = student["distilled"] if "distilled" in student else student["alone"]
    return float(metrics["OA"])


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """Return the students of these names, or all; a data set's name stands for its students.

    Raises:
        UserError: there is none of a name.
    """
    found: dict[str, None] = {}
    for name in names:
        matching = [s for s in STUDENTS if name in (s, s.partition("_")[0])]
        if not matching:
            raise UserError(
                f"--only {name} names no student, expected one of {', '.join(STUDENTS)}, or the "
                f"beginning of two: {', '.join(DATA_SETS)}"
            )
        found.update(dict.fromkeys(matching))
    return tuple(found) or STUDENTS
