"""Asking a recipe for all that a build must know: once, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mstgraph.store.build.job import Job
from mstgraph.store.build.provenance import identity, provenance
from mstgraph.store.build.reading.checks import check_declaration
from mstgraph.store.declared import declared
from mstgraph.store.layout import make_columns
from mstgraph.store.recipe import Recipe
from mstgraph.store.splits import Split, make_splits


def asked(
    recipe: Recipe,
    destination: Path,
    jobs: int | None,
    splits: Mapping[str, Split] | None = None,
) -> Job:
    """Ask a recipe for all that a build of its samples must know.

    Args:
        recipe: what to store.
        destination: the store's directory.
        jobs: processes that read samples.
        splits: those of the store; None for those that the recipe's samples have by themselves.

    Raises:
        UserError: what it declares is at fault, or a raw file cannot be read.
    """
    said = declared(recipe)
    check_declaration(said)
    if splits is None:
        splits = make_splits(said)
    columns, block = make_columns(said.modalities, said.labels, said.length)
    origin = provenance(recipe)
    return Job(
        recipe=recipe,
        declared=said,
        destination=destination,
        samples=range(said.length),
        total=said.length,
        columns=columns,
        block=block,
        splits=splits,
        provenance=origin,
        identity=identity(origin, said.length),
        earlier_identity=identity({**origin, "modules": {}}, said.length),
        jobs=jobs,
    )
