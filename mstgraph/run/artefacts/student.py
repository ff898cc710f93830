"""The student ready to use: raw values of its modalities in, logits out.

import mstgraph
student = mstgraph.load_student("runs/nyudepth_rgb-seed0")
logits = student(rgb)  # [batch, 3, height, width] uint8, as the store holds it
logits = student(camera, imu)  # of a student of several modalities, see student.modalities

A run's folder is code: its configuration may name modules that lie beside it, and they are
imported to make the network. Of somebody else's run, take the weights alone:

student = mstgraph.load_student("theirs", network=MyNetwork)  # reads no code, runs only yours
student = mstgraph.load_student("theirs", code=False)  # refuses if it needs code of its own
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import gin
import torch
from torch import Tensor, nn

from mstgraph.data.feed import Pool
from mstgraph.declare.configuration import Configuration
from mstgraph.declare.graph import Declaration
from mstgraph.declare.load import load
from mstgraph.derive.experiment import Experiment
from mstgraph.networks.inputs import Integers
from mstgraph.networks.presence import takes_lengths
from mstgraph.run.artefacts.forms import read_student
from mstgraph.run.artefacts.run_folder import CONFIG, no_run
from mstgraph.support.errors import UserError, nearest
from mstgraph.support.files import file_digest
from mstgraph.support.numerics import masked
from mstgraph.support.weights import load_weights

WEIGHTS = ".safetensors"
NetworkOf = Callable[[Mapping[str, tuple[int, ...]], int], nn.Module]
"""From the shapes of its modalities and the number of outputs to a network."""


class Student(nn.Module):
    """A distilled network with the normalisation it was trained with.

    Attributes:
        network: the network.
        classes: names of the classes that were predicted, or of the numbers.
        task: the kind of its task: logits of exclusive classes (``'classification'``,
            ``'segmentation'``), of single ones (``'multilabel'``), or numbers (``'regression'``);
            empty for runs of earlier versions.
        member: its name in the graph.
        modalities: what it sees, in the order that it takes them.
        modality: the same in words.
        integers: those of them that are integers, which are not normalised.
        data: title of the data set it was trained on, and what must be said of it if synthetic.
    """

    def __init__(
        self, network: nn.Module, description: dict[str, Any], configuration: Configuration | None
    ):
        super().__init__()
        self._configuration = configuration
        self.network = network
        self.classes = tuple(description["classes"])
        self.task = description.get("task", "")
        self.member = description["member"]
        inputs = _inputs(description)
        self.modalities = tuple(found["modality"] for found in inputs)
        self.modality = " + ".join(self.modalities)
        self.integers = tuple(found["modality"] for found in inputs if found.get("integers"))
        self.data = description["data"]
        self._normalisers: list[tuple[str, str]] = []
        for place, found in enumerate(inputs):
            ending = f"_{place}" if len(inputs) > 1 else ""
            shape = (-1, *[1] * (len(found["shape"]) - 1))
            for name in ("factor", "offset"):
                values = torch.tensor(found[name], dtype=torch.float32)
                self.register_buffer(name + ending, values.reshape(shape))
            self._normalisers.append((f"factor{ending}", f"offset{ending}"))

    def forward(self, *values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return its outputs, [batch, num_outputs] or [batch, num_outputs, height, width] float.

        Args:
            values: its modalities as the store holds them, [batch, *shape] of any numeric type,
                in the order of `modalities`.
            lengths: of sequences that are padded at their end, of each modality, [batch] or
                [batch, modalities] int64; None: all of full length.

        Raises:
            UserError: there are fewer or more than it has modalities.
        """
        if len(values) != len(self.modalities):
            raise UserError(
                f"the student sees {self.modality}: expected a tensor of each in that order, not "
                f"{len(values)}"
            )
        inputs = [self._normalised(place, given) for place, given in enumerate(values)]
        beside = {}
        if lengths is not None:
            lengths = lengths.reshape(len(lengths), -1)
            inputs = [masked(v, own) for v, own in zip(inputs, lengths.unbind(1), strict=True)]
            beside = {"lengths": lengths} if takes_lengths(self.network) else {}
        with _entered(self._configuration):  # a network may call configurables when it answers
            logits: Tensor = self.network(*inputs, **beside)
            return logits

    def _normalised(self, place: int, values: Tensor) -> Tensor:
        if self.modalities[place] in self.integers:
            return values.to(torch.int64)
        factor, offset = (getattr(self, name) for name in self._normalisers[place])
        return torch.addcmul(offset, values.to(torch.float32), factor)


def student_description(experiment: Experiment, target: str, pool: Pool) -> dict[str, Any]:
    """Return what it takes, beside the weights, to use a student."""
    modalities = experiment.plan.graph.members[target].inputs
    inputs = [_described(experiment, modality, pool) for modality in modalities]
    return {
        "member": target,
        **(inputs[0] if len(inputs) == 1 else {"inputs": inputs}),
        "task": experiment.task.kind,
        "classes": list(experiment.task.classes),
        "outputs": experiment.task.num_outputs,
        "data": {"title": experiment.source.title, "synthetic": experiment.source.synthetic},
    }


def _described(experiment: Experiment, modality: str, pool: Pool) -> dict[str, Any]:
    normaliser = pool.normaliser(modality)
    return {
        "modality": modality,
        "shape": list(experiment.source.modalities[modality].shape),
        "factor": normaliser.factor.flatten().tolist(),
        "offset": normaliser.offset.flatten().tolist(),
        **({"integers": True} if modality in pool.integers else {}),
    }


def _inputs(description: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what is said of each modality; one alone is not in a list."""
    found: list[Mapping[str, Any]] = description.get("inputs", [description])
    return found


def load_student(
    run: Path | str,
    target: str | None = None,
    *,
    code: bool | None = None,
    network: nn.Module | NetworkOf | None = None,
) -> Student:
    """Return a finished run's student in eval mode; needs neither store nor data.

    A run's folder is code: unless told otherwise, this imports the modules that lie in it.

    Args:
        run: the run's folder.
        target: which student, where the run has several.
        code: whether modules of the run's folder may be imported; False refuses a run that needs
            them, None imports them with a warning that names them.
        network: your own network, or what makes it of (modality → shape, number of outputs); takes
            the weights, and neither code nor configuration of the run is read.

    Raises:
        UserError: the run is not finished, is damaged, has no such student, or needs code that
            may not be run.
    """
    folder = Path(run)
    found = {path.stem.removeprefix("student-"): path for path in folder.glob("student-*.json")}
    if not found:
        raise no_run(folder, "holds no student, as that of a finished run does")
    if target is None and len(found) == 1:
        target = next(iter(found))
    if target is None:
        names = " and ".join(map(repr, sorted(found)))
        raise UserError(f"'{folder}' has the students {names}; expected one of them (--member)")
    if target not in found:
        raise UserError(f"'{folder}' has no student '{target}'{nearest(target, found)}")
    advice = "give the run's command again to have it written anew"
    description = read_student(found[target], advice)
    _check_extents(found[target], description, advice)
    configuration = _configuration(folder, description, code) if network is None else None
    with _entered(configuration):
        made = _network(target, description, network)
    weights = found[target].with_suffix(WEIGHTS)
    load_weights(weights, made, advice, description.get("files", {}).get(weights.name))
    return Student(made, description, configuration).eval()


def _entered(configuration: Configuration | None) -> AbstractContextManager[None]:
    return nullcontext() if configuration is None else configuration.entered()


def _check_extents(path: Path, description: Mapping[str, Any], advice: str) -> None:
    """Refuse numbers of which no network and no normalisation can be made."""
    for found in _inputs(description):
        shape, factor = found["shape"], found["factor"]
        if not shape or min(shape) < 1 or len(factor) != len(found["offset"]):
            raise UserError(
                f"'{path}' is not of the form that was expected: shape {shape} with {len(factor)} "
                f"factors and {len(found['offset'])} offsets; {advice}"
            )


def _configuration(
    folder: Path, description: Mapping[str, Any], code: bool | None
) -> Configuration:
    """Load the run's configuration, and of its code what may be run."""
    files = [name for name in description.get("files", {}) if not name.endswith(WEIGHTS)]
    advice = "give the run's command again, or take the student's weights alone with network="
    _check_files(folder, description, files, advice)
    configuration = load([folder / CONFIG], code=code is not False)
    modules = configuration.code.modules
    if code is None and modules:
        warnings.warn(
            f"a run's folder is code: '{folder}' made its student with {', '.join(modules)}; "
            "code=True says that you trust it, code=False refuses, and network= takes its weights",
            stacklevel=3,
        )
    return configuration


def _check_files(
    folder: Path, description: Mapping[str, Any], names: Iterable[str], advice: str
) -> None:
    """Refuse files behind a student that are not those that it was written with."""
    digests = description.get("files", {})
    for path in (folder / name for name in names if name in digests):
        if not path.is_file() or file_digest(path) != digests[path.relative_to(folder).as_posix()]:
            raise UserError(f"'{path}' is not what the student was written with; {advice}")


def _network(
    target: str, description: Mapping[str, Any], network: nn.Module | NetworkOf | None
) -> nn.Module:
    if isinstance(network, nn.Module):
        return network
    shapes = {
        found["modality"]: (Integers if found.get("integers") else tuple)(found["shape"])
        for found in _inputs(description)
    }
    # Earlier runs had one output for each class, always.
    outputs = description.get("outputs", len(description["classes"]))
    if network is not None:
        return network(shapes, outputs)
    member = Declaration().members[target]
    assert member is not None
    assert member.network is not None
    with gin.config_scope(target):
        return member.network(shapes, outputs)
