"""What one build needs to know, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mstgraph.store.declared import Declared
from mstgraph.store.destination import partial_of
from mstgraph.store.layout import Column, make_columns
from mstgraph.store.recipe import Recipe
from mstgraph.store.splits import Split

Progress = Callable[[int, int], None]
"""Called with (samples done, samples in all)."""


@dataclass(frozen=True)
class Job:
    """What is built of what; nothing here changes while it is.

    Attributes:
        recipe: what reads the samples.
        declared: what the recipe declares; its length is that of the store.
        destination: the store's directory.
        samples: which of the recipe's samples the store holds.
        total: number of samples of the recipe.
        columns: how they are stored, labels last.
        block: samples that one commit writes.
        splits: of the store, its samples counted from 0.
        provenance: where they come from.
        identity: hash of all that the build depends on.
        earlier_identity: the same as earlier versions took it.
        jobs: processes that read.
        shard: whether it is one of the stores that a store consists of.
    """

    recipe: Recipe
    declared: Declared
    destination: Path
    samples: range
    total: int
    columns: tuple[Column, ...]
    block: int
    splits: Mapping[str, Split]
    provenance: dict[str, Any]
    identity: str
    earlier_identity: str
    jobs: int | None
    shard: bool = False

    @cached_property
    def partial(self) -> Path:
        """Where it is built until it is whole."""
        return partial_of(self.destination)

    @property
    def state(self) -> dict[str, Any]:
        """What a partial directory must have been begun with to be continued."""
        layout = [self.block, *(column.samples_per_record for column in self.columns)]
        state = {"identity": self.identity, "layout": layout, "pending": "in files"}
        return {**state, "samples": [*self.bounds]} if self.shard else state

    @property
    def bounds(self) -> tuple[int, int]:
        """The first of the recipe's samples, and the one after the last."""
        return self.samples.start, self.samples.stop

    @property
    def length(self) -> int:
        """Number of samples of the store."""
        return self.declared.length

    def part(self, samples: range, destination: Path, splits: Mapping[str, Split]) -> Job:
        """Return the job of a store of some of the recipe's samples.

        It says nothing of the raw files, which may be many: the store that it is part of does.
        """
        said = replace(self.declared, length=len(samples))
        return replace(
            self,
            declared=said,
            destination=destination,
            samples=samples,
            columns=make_columns(said.modalities, said.labels, said.length)[0],
            splits=splits,
            provenance={**self.provenance, "raw_files": []},
            shard=True,
        )


Build = Callable[[Job, Progress], object]
"""Builds a store in one file, or continues that."""
