"""The student ready to use: raw values of one modality in, logits out.

import mstgraph
student = mstgraph.load_student("runs/nyudepth_rgb-seed0")
logits = student(rgb)  # [batch, 3, height, width] uint8, as the store holds it
"""

from __future__ import annotations

from collections.abc import Mapping
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
from mstgraph.support.errors import UserError, nearest
from mstgraph.support.files import read_json
from mstgraph.support.weights import load_weights


class Student(nn.Module):
    """A distilled network with the normalisation it was trained with.

    Attributes:
        network: the network.
        classes: names of the classes that were predicted.
        modality: what it sees.
        data: title of the data set it was trained on, and what must be said of it if synthetic.
    """

    factor: Tensor
    offset: Tensor

    def __init__(
        self, network: nn.Module, description: dict[str, Any], configuration: Configuration
    ):
        super().__init__()
        self._configuration = configuration
        self.network = network
        self.classes = tuple(description["classes"])
        self.modality = description["modality"]
        self.data = description["data"]
        shape = (-1, *[1] * (len(description["shape"]) - 1))
        for name in ("factor", "offset"):
            values = torch.tensor(description[name], dtype=torch.float32)
            self.register_buffer(name, values.reshape(shape))

    def forward(self, values: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs] or [batch, num_outputs, height, width] float.

        Args:
            values: the modality as the store holds it, [batch, *shape] of any numeric type.
        """
        normalised = torch.addcmul(self.offset, values.to(torch.float32), self.factor)
        with self._configuration.entered():  # a network may call configurables when it answers
            return self.network(normalised)


def student_description(experiment: Experiment, target: str, pool: Pool) -> dict[str, Any]:
    """Return what it takes, beside the weights, to use a student."""
    (modality,) = experiment.plan.graph.members[target].inputs
    normaliser = pool.normaliser(modality)
    return {
        "member": target,
        "modality": modality,
        "shape": list(experiment.source.modalities[modality].shape),
        "factor": normaliser.factor.flatten().tolist(),
        "offset": normaliser.offset.flatten().tolist(),
        "classes": list(experiment.task.classes),
        "outputs": experiment.task.num_outputs,
        "data": {"title": experiment.source.title, "synthetic": experiment.source.synthetic},
    }


def load_student(run: Path | str, target: str | None = None) -> Student:
    """Return a finished run's student in eval mode; needs neither store nor data.

    Args:
        run: the run's folder.
        target: which student, where the run has several.

    Raises:
        UserError: the run is not finished, or has no such student.
    """
    folder = Path(run)
    found = {path.stem.removeprefix("student-"): path for path in folder.glob("student-*.json")}
    if not found:
        raise UserError(f"'{folder}' holds no student; expected the folder of a finished run")
    if target is None and len(found) == 1:
        target = next(iter(found))
    if target not in found:
        raise UserError(f"'{folder}' has no student '{target}'{nearest(str(target), found)}")
    description = read_json(found[target])
    configuration = load([folder / "config.gin"])
    with configuration.entered():
        network = _network(target, description)
    load_weights(found[target].with_suffix(".safetensors"), network)
    return Student(network, description, configuration).eval()


def _network(target: str, description: Mapping[str, Any]) -> nn.Module:
    member = Declaration().members[target]
    assert member is not None
    assert member.network is not None
    with gin.config_scope(target):
        shapes = {description["modality"]: tuple(description["shape"])}
        # Earlier runs had one output for each class, always.
        outputs = description.get("outputs", len(description["classes"]))
        return member.network(shapes, outputs)
