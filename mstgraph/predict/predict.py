"""From raw items to what a student says of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
import torch

from mstgraph.declare.configuration import find_file
from mstgraph.derive.experiment import Experiment
from mstgraph.predict.items import Item, Raws, items
from mstgraph.predict.prediction import Prediction
from mstgraph.run.artefacts.student import Student
from mstgraph.store.build.reading.checks import checked
from mstgraph.store.load import load_recipe
from mstgraph.store.recipe import Modality, Recipe
from mstgraph.store.staleness import edited_module
from mstgraph.support.errors import UserError, users_code
from mstgraph.support.files import file_digest
from mstgraph.support.lookup import SHIPPED

Notice = Callable[[str], None]


def open_recipe(experiment: Experiment, code: bool | None, notice: Notice) -> Recipe:
    """Return the recipe that a finished run's store was prepared by, with its options.

    Args:
        experiment: the run's, whose store is there.
        code: whether a recipe that is not mstgraph's own may be run; None says that it is.
        notice: is told of it.

    Raises:
        UserError: it is not there, was edited since, or may not be run.
    """
    assert experiment.source.store is not None
    place = experiment.configuration.where("data", "recipe")
    path = find_file(experiment.data.recipe, place, experiment.configuration)
    if not path.resolve().is_relative_to((SHIPPED / "datasets").resolve()):
        if code is False:
            raise UserError(
                f"the recipe '{path}' is code of the run's that would be run, which was forbidden; "
                "expected a recipe of mstgraph's own, or no --no-code"
            )
        if code is None:
            notice(f"a recipe is code: raw items are read by '{path}'")
    origin = experiment.source.store.metadata["recipe"]
    if file_digest(path) != origin["sha256"] or edited_module(origin, path):
        raise UserError(
            f"{place}: the run's store was prepared by another recipe than '{path}', or before it "
            "was edited; expected the one that the student was trained with"
        )
    return load_recipe(path, None, origin["options"], for_items=True)


class Predictions:
    """What a student says of raw items, one after the other, in their order.

    Made by `mstgraph.api.run.Run.predict`; can be gone through once.

    Args:
        experiment: the finished run's.
        student: the student.
        recipe: reads its items.
        inputs: see `mstgraph.predict.items.items`.
        batch: items at a time.
        device: where to compute.
        notice: is told of every item that is skipped.
        stdin: standard input.

    Attributes:
        skipped: name of each item that could not be read so far, and why.
    """

    def __init__(
        self,
        experiment: Experiment,
        student: Student,
        recipe: Recipe,
        inputs: Iterable[str | Path],
        batch: int,
        device: torch.device,
        notice: Notice,
        stdin: TextIO | None = None,
    ):
        self.skipped: list[tuple[str, str]] = []
        self.task = experiment.task
        self._student = student.to(device)
        self._recipe = recipe
        self._modalities = [experiment.source.modalities[name] for name in student.modalities]
        self._any_will_do = experiment.input_rules[student.member].any_will_do
        self._inputs = inputs
        self._batch = batch
        self._device = device
        self._notice = notice
        self._stdin = stdin or sys.stdin

    def __iter__(self) -> Iterator[Prediction]:
        names = self._student.modalities
        rows = self._read(items(self._inputs, names, self._recipe.columns_read, self._stdin))
        classes = self._student.classes if self.task.exclusive_classes else ()
        while some := list(islice(rows, self._batch)):
            outputs = self._answer([values for _, values in some])
            for (name, _), given in zip(some, outputs, strict=True):
                yield Prediction(name, given, classes)

    @torch.no_grad()
    def _answer(self, rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
        """Return [batch, outputs, *extent], of rows of the values of each modality."""
        whole = [modality.shape[-1] for modality in self._modalities]
        lengths = torch.tensor([[values.shape[-1] for values in row] for row in rows])
        inputs = [
            torch.from_numpy(np.stack([_padded(values, end) for values in own])).to(self._device)
            for own, end in zip(zip(*rows, strict=True), whole, strict=True)
        ]
        short = bool((lengths < torch.tensor(whole)).any())
        outputs = self._student(*inputs, lengths=lengths.to(self._device) if short else None)
        outputs = outputs.softmax(1) if self.task.exclusive_classes else outputs
        found: np.ndarray = outputs.cpu().numpy()
        return found

    def _read(self, found: Iterable[Item]) -> Iterator[tuple[str, list[np.ndarray]]]:
        """Yield name and values of each modality, as stored, of the items that can be read.

        What is not there has the length 0.
        """
        for item in found:
            try:
                yield item.name, self._values(item.raws)
            except UserError as error:
                self.skipped.append((item.name, str(error)))
                self._notice(f"'{item.name}' is skipped: {error}")

    def _values(self, raws: Raws | UserError) -> list[np.ndarray]:
        if isinstance(raws, UserError):
            raise raws
        lacking = [one.name for one in self._modalities if one.name not in raws]
        if lacking and not (self._any_will_do and raws):
            raise UserError(
                f"it has no {' and no '.join(map(repr, lacking))}, without which the student does "
                "not answer"
            )
        return [
            self._value(one, raws[one.name])
            if one.name in raws
            else np.zeros((*one.shape[:-1], 0), one.dtype)
            for one in self._modalities
        ]

    def _value(self, modality: Modality, raw: Path | str) -> np.ndarray:
        if isinstance(raw, Path) and not raw.is_file():
            raise UserError("there is no such file")
        with users_code("it cannot be read"):
            try:
                values = self._recipe.item(modality, raw)
            except ValueError as error:  # a recipe's word for what is no such item
                raise UserError(str(error)) from error
        array = checked("as the recipe reads it", modality, values)
        return np.ascontiguousarray(array, modality.dtype)


def _padded(values: np.ndarray, length: int) -> np.ndarray:
    """Return values with zeros behind them, as a store holds what is short: [..., length]."""
    missing = length - values.shape[-1]
    return np.pad(values, [*[(0, 0)] * (values.ndim - 1), (0, missing)]) if missing else values
