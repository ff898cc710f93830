"""Members that are only answers: their files beside the store, checked, and never normalised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mstgraph.data.answers import StoreWithAnswers, answered
from mstgraph.declare.configuration import Configuration, find_file
from mstgraph.declare.graph import Member
from mstgraph.declare.settings import Data, Normalisation
from mstgraph.derive.source import Source
from mstgraph.store.reader import Store
from mstgraph.support.errors import UserError
from mstgraph.support.text import shape_in_words
from mstgraph.tasks.task import Task

ANSWERS, NAMES = "answers", "names"  # in a file by name


def with_answers(
    source: Source,
    data: Data,
    stored: Mapping[str, Member],
    task: Task,
    configuration: Configuration,
) -> tuple[Source, Data]:
    """Return the source with members' answers beside it, and data that leaves them as they are.

    Args:
        source: the data.
        data: its settings.
        stored: the members that are only answers: those with a network that is ``stored``.
        task: what is predicted.
        configuration: where bindings stand.

    Raises:
        UserError: a file cannot be read, or holds not one answer for each sample.
    """
    files = {
        member.inputs[0]: _answers(name, member.weights, source, task, configuration)
        for name, member in stored.items()
        if member.weights
    }
    source = replace(source, modalities={**source.modalities, **answered(files)})
    if source.store is not None and files:
        source = replace(source, store=StoreWithAnswers(source.store.path, files))
    given = data.normalisation
    named = [name for name, modality in source.modalities.items() if not modality.integers]
    every: Mapping[str, Normalisation] = (
        dict.fromkeys(named, given) if isinstance(given, str) else given
    )
    untouched: dict[str, Normalisation] = {member.inputs[0]: "none" for member in stored.values()}
    return source, replace(data, normalisation={**every, **untouched})


def _answers(
    name: str, given: str, source: Source, task: Task, configuration: Configuration
) -> np.ndarray:
    place = configuration.where("Member", "weights", name)
    path = find_file(given, place, configuration)
    start = f"{place}: member '{name}': the answers '{given}'"
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        rows = found if isinstance(found, np.ndarray) else _by_name(found, source.store, start)
    except UserError:
        raise
    except Exception as error:  # NumPy raises almost anything on a damaged header
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{start} cannot be read ({reason}); expected logits as numpy.save writes them, or "
            f"'{ANSWERS}' and '{NAMES}' as numpy.savez does"
        ) from error
    if rows.dtype.kind not in "fiu":
        raise UserError(f"{start} are of the type {rows.dtype}, expected numbers")
    if len(rows.shape) < 2 or len(rows) != source.length:
        raise UserError(
            f"{start} are {shape_in_words(rows.shape)}, expected a row for each of the "
            f"{source.length} samples of the store, in its order"
        )
    if rows.shape[1:] != (task.num_outputs, *task.extent):
        raise UserError(
            f"{start} have {shape_in_words(rows.shape[1:])} for each sample, expected "
            f"{shape_in_words((task.num_outputs, *task.extent))} (outputs of the task)"
        )
    return rows


def _by_name(found: Mapping[str, np.ndarray], store: Store | None, start: str) -> np.ndarray:
    """Return rows in the store's order, of a file that names its samples."""
    rows, names = found[ANSWERS], [str(name) for name in found[NAMES]]
    if len(names) != len(rows) or len(set(names)) < len(names):
        raise UserError(
            f"{start} have {len(rows)} rows and {len(set(names))} names, expected one name each"
        )
    if store is None:
        return rows
    places = dict(zip(names, range(len(names)), strict=True))
    wanted = [store.identifier(index) for index in range(len(store))]
    if missing := [name for name in wanted if name not in places]:
        raise UserError(f"{start} lack the sample '{missing[0]}' ({len(missing)} in all)")
    return rows[[places[name] for name in wanted]]
