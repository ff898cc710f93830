"""Write a student as a file that a runtime runs, and measure that file before it counts."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from mstgraph.derive.experiment import Experiment
from mstgraph.export.card import card
from mstgraph.export.format import (
    Answer,
    Deployed,
    Format,
    Model,
    Output,
    facts_as_text,
)
from mstgraph.export.measure import TOLERANCE, Row, compare, milliseconds, threads_of_torch
from mstgraph.export.raw import Raw
from mstgraph.export.to_executorch import ExecuTorch
from mstgraph.export.to_onnx import Onnx
from mstgraph.export.to_openvino import OpenVino
from mstgraph.export.to_torch import TorchExport
from mstgraph.run.artefacts.run_folder import locked, student_files
from mstgraph.run.artefacts.student import Student
from mstgraph.support.disk.own_folder import OwnFolder
from mstgraph.support.errors import RunError, UserError, nearest
from mstgraph.support.files import explained, json_text, write_atomically, write_text
from mstgraph.tasks.task import Task

FORMATS: Mapping[str, Format] = {
    item.name: item for item in (Onnx(), TorchExport(), ExecuTorch(), OpenVino())
}
CARD, NUMBERS, PAGE = "README.md", "export.json", "predict.py"
DEPLOYED = Path(__file__).with_name("deployed.py")  # needs ONNX Runtime: read, never imported
MOST = {"batch": 2**16, "threads": 2**10, "calibration": 2**20}  # beyond any that is of use
MOST_APART = 0.01  # of the outputs: where a maximum's place is an output, rounding can move it


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        format: ``onnx``, ``torch``, ``executorch`` or ``openvino``.
        int8: whether in eight bits.
        output: ``logits`` or ``probabilities``.
        batch: the larger batch that is timed.
        threads: that every runtime computes on.
        calibration: training samples to calibrate eight bits on.
        max_loss: of the primary metric, beyond which eight bits are refused.
    """

    format: str
    int8: bool = False
    output: Output = "logits"
    batch: int = 32
    threads: int = 1
    calibration: int = 256
    max_loss: float = 0.02

    def check(self, task: Task) -> Format:
        """Return the format.

        Raises:
            UserError: there is none of the name, it lacks its libraries, or a number is none.
        """
        if self.format not in FORMATS:
            raise UserError(f"there is no format '{self.format}'{nearest(self.format, FORMATS)}")
        for name, most in MOST.items():
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}, expected at least 1")
            if getattr(self, name) > most:
                raise UserError(f"{name} is {getattr(self, name)}, expected at most {most}")
        if self.output not in ("logits", "probabilities"):
            raise UserError(
                f"output is '{self.output}'{nearest(self.output, ('logits', 'probabilities'))}"
            )
        if self.output == "probabilities" and not task.exclusive_classes:
            raise UserError(
                f"the task {type(task).__name__} has outputs that are no logits of exclusive "
                "classes, so that no probabilities follow; expected output 'logits'"
            )
        chosen = FORMATS[self.format]
        chosen.check_installed(self.int8)
        return chosen


def export(
    experiment: Experiment,
    student: Student,
    run: Path,
    summary: Mapping[str, Any],
    folder: Path,
    wanted: Wanted,
) -> dict[str, Any]:
    """Write a student, run the file over the test split by its own runtime, and describe it.

    Args:
        experiment: of the finished run, entered.
        student: the student.
        run: the run's folder.
        summary: what the run came to.
        folder: where files go; a new folder, an empty one, or one of an earlier export.
        wanted: what is asked for.

    Returns:
        What ``export.json`` holds.

    Raises:
        UserError: the format is not to be had, the network cannot be exported, or eight bits lose
            too much.
        RunError: the file does not answer as torch does.
    """
    task, chosen = experiment.task, wanted.check(experiment.task)
    own = OwnFolder(folder, "export")
    own.refuse_foreign()
    raw = Raw(experiment, student.modalities)
    model = _model(experiment, student, raw, wanted)
    with TemporaryDirectory() as temporary, threads_of_torch(wanted.threads), torch.no_grad():
        with explained(Path(temporary)):
            paths = _write(chosen, model, raw, student.member, wanted, Path(temporary))
        ways = {"torch": _of_torch(model)}
        ways |= {name: chosen.answer(path, wanted.threads) for name, path in paths.items()}
        sizes = {name: _size(chosen.files(path)) for name, path in paths.items()}
        sizes["torch"] = (run / student_files(student.member)[0]).stat().st_size
        found = compare(ways, raw.batches("test", wanted.batch), task, sizes)
        _check(found, task, wanted)
        for size in sorted({1, wanted.batch}):
            values = [_resized(own, size) for own in raw.values("test", size)]
            for name, times in milliseconds(ways, values).items():
                found[name].milliseconds[size] = times
        shipped = chosen.files(paths[next(reversed(paths))])
        document = _document(experiment, student, run, summary, wanted, chosen, found)
        document["samples"] = len(raw.ids("test"))
        document["files"] = [path.name for path in shipped]
        document["calibrated"] = min(wanted.calibration, len(raw.ids("train")))
        _keep(own, shipped, document)
    return document


def _model(experiment: Experiment, student: Student, raw: Raw, wanted: Wanted) -> Model:
    source, classes = experiment.source, list(student.classes)
    facts = {
        "title": source.title,
        "synthetic": source.synthetic,
        "licence": raw.store.metadata["licence"],
        "source": raw.store.metadata["source"],
        "modalities": student.modalities,
        "output": wanted.output,
        "answers": "classes" if experiment.task.exclusive_classes else "values",
        "classes": classes,
        "made_by": f"mstgraph {version('mstgraph')}",
    }
    example = tuple(torch.from_numpy(_resized(own, 2)) for own in raw.values("train", 2))
    network = Deployed(student, wanted.output).eval()
    largest = wanted.batch + 1  # a last sample joins the batch before
    return Model(network, student.modalities, example, largest, facts_as_text(facts))


def _resized(values: np.ndarray, size: int) -> np.ndarray:
    """Return as many samples, [size, *shape]; fewer are repeated."""
    return np.resize(values, (size, *values.shape[1:]))


def _of_torch(model: Model) -> Answer:
    return lambda *values: model.network(*map(torch.from_numpy, values)).numpy()


def _write(
    chosen: Format, model: Model, raw: Raw, member: str, wanted: Wanted, folder: Path
) -> dict[str, Path]:
    """Write the file, and the one in eight bits after it where that is asked for."""
    plain = folder / f"{member}{chosen.suffix}"
    chosen.write(model, plain)
    paths = {chosen.title: plain}
    if wanted.int8:
        values = raw.values("train", wanted.calibration)
        samples = [tuple(own[i : i + 1] for own in values) for i in range(len(values[0]))]
        path = paths[f"{chosen.title} int8"] = folder / f"{member}-int8{chosen.suffix}"
        chosen.quantise(model, plain, path, samples)
    return paths


def _size(paths: tuple[Path, ...]) -> int:
    return sum(path.stat().st_size for path in paths)


def _check(found: Mapping[str, Row], task: Task, wanted: Wanted) -> None:
    """Refuse a file that says something else than torch, or eight bits that lose too much."""
    reference, plain, *quantised = found.values()
    if not plain.apart <= MOST_APART:
        raise RunError(
            f"the {plain.way} file does not answer as torch does: {plain.apart:.1%} of its outputs "
            f"differ by more than {TOLERANCE:g} of the largest, by {plain.difference:.2g} at most; "
            f"expected at most {MOST_APART:.0%}; nothing was written"
        )
    name = task.primary.name
    for row in quantised:
        loss = task.primary.merit(reference.metrics[name] - row.metrics[name])
        if not loss <= wanted.max_loss:
            raise UserError(
                f"eight bits lose {loss:.4f} {task.primary.title} on the test split "
                f"({reference.metrics[name]:.4f} → {row.metrics[name]:.4f}), more than max-loss "
                f"{wanted.max_loss:g} allows; nothing was written: expected another format, more "
                "samples with calibration, a larger max-loss, or an export without int8"
            )


def _document(
    experiment: Experiment,
    student: Student,
    run: Path,
    summary: Mapping[str, Any],
    wanted: Wanted,
    chosen: Format,
    found: Mapping[str, Row],
) -> dict[str, Any]:
    source, task, store = experiment.source, experiment.task, experiment.source.store
    assert store is not None
    result = summary["students"][student.member]
    libraries = dict.fromkeys(("mstgraph", "torch", chosen.runtime))
    document = {
        "name": f"{run.resolve().name}-{student.member}",
        "run": run.resolve().name,
        "stage": result["stage"],
        "seed": summary["seed"],
        "split": experiment.split,
        "data": {key: store.metadata[key] for key in ("title", "source", "licence", "synthetic")},
        **asdict(wanted),
        "largest": wanted.batch + 1,
        "runtime": chosen.runtime,
        "inputs": [asdict(source.modalities[name]) for name in student.modalities],
        "task": type(task).__name__.lower(),
        "classes": list(student.classes) if task.exclusive_classes else [],
        "names": list(student.classes),
        "outputs": task.num_outputs,
        "extent": list(task.extent),
        "primary": task.primary.name,
        "measured": [asdict(metric) for metric in task.metrics],
        "student": result,
        "batches": sorted({1, wanted.batch}),
        "processor": _processor(),
        "versions": {name: version(name) for name in libraries},
        "ways": [row.document() for row in found.values()],
    }
    ready: dict[str, Any] = json.loads(json_text(document))  # keys as text, as in the file
    return ready


def _processor() -> str:
    """Return what computes here, as its maker calls it where the system says so."""
    names: list[str] = []
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _keep(own: OwnFolder, shipped: tuple[Path, ...], document: Mapping[str, Any]) -> None:
    """Put files in their place; the description comes last, and vouches for them."""
    texts = {CARD: card(document)}
    if document["format"] == Onnx.name:
        texts[PAGE] = DEPLOYED.read_text(encoding="utf-8")
    with locked(own.path, own):
        own.remove(own.made())
        own.make(*(path.name for path in shipped), *texts, NUMBERS)
        for path in shipped:
            write_atomically(own.path / path.name, partial(shutil.copyfile, path))
        for name, text in texts.items():
            write_text(own.path / name, text)
        write_text(own.path / NUMBERS, json_text(document))
