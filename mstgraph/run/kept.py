"""Values that are kept by sample: on the device, or in LMDB where they outlive a kill."""

from __future__ import annotations

import logging
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import lmdb
import numpy as np
import torch
from torch import Tensor

from mstgraph.store.layout import Column, record_key
from mstgraph.store.mapped.environment import Environment, is_sound
from mstgraph.store.mapped.gather import Gather
from mstgraph.store.mapped.places import DATA_FILE
from mstgraph.store.mapped.soundness import CRCS, checksum_key, crc
from mstgraph.support.disk.lmdb_errors import as_system_errors
from mstgraph.support.disk.own_folder import refuse_links
from mstgraph.support.files import explained
from mstgraph.support.numerics import Shapes, kept_type

Tensors = Mapping[str, Tensor]

_log = logging.getLogger(__name__)


class Kept(ABC):
    """Tensors of all samples of a part of a split, by position.

    Args:
        tensors: name → (shape of one sample, type).
        samples: number of samples.
        halved: whether floating tensors are kept as float16.

    Attributes:
        every_view: whether a sample's value holds for all its views; positions may then be those
            of views, see `mstgraph.data.feed.Feed.order`.
    """

    def __init__(self, tensors: Shapes, samples: int, halved: bool):
        self.tensors = tensors
        self.samples = samples
        self.every_view = False
        self.types = {name: kept_type(dtype, halved) for name, (_, dtype) in tensors.items()}

    def rows_of(self, places: Tensor) -> Tensor:
        """Return the rows that hold the values of samples, or of views of them."""
        return places % self.samples if self.every_view else places

    @abstractmethod
    def missing(self, block: int) -> bool:
        """Say whether a block of consecutive samples has still to be computed."""

    @abstractmethod
    def write(self, block: int, first: int, values: Tensors) -> None:
        """Keep a block: the values of consecutive samples from ``first`` on."""

    @abstractmethod
    def finish(self) -> None:
        """Called when every block is there."""

    @abstractmethod
    def close(self) -> None:
        """Called when something went wrong before every block was there."""

    @abstractmethod
    def read(self, positions: Tensor) -> dict[str, Tensor]:
        """Return the tensors of samples, [batch, ...] in their own types, on the device."""

    @abstractmethod
    def release(self) -> None:
        """Give back what it took."""


class InMemory(Kept):
    """Kept on the device, several values of one kind side by side.

    Args:
        beside: the value whose rows this one continues, if it is not the first.
        count: how many values lie side by side.
    """

    def __init__(
        self,
        tensors: Shapes,
        samples: int,
        halved: bool,
        device: torch.device,
        beside: InMemory | None = None,
        count: int = 1,
    ):
        super().__init__(tensors, samples, halved)
        self.place: int = beside.place + 1 if beside else 0
        self.rows: Mapping[str, Tensor] = (
            beside.rows
            if beside
            else {
                name: torch.empty((samples, count, *shape), dtype=self.types[name], device=device)
                for name, (shape, _) in tensors.items()
            }
        )
        self._columns = {name: rows[:, self.place] for name, rows in self.rows.items()}

    def missing(self, block: int) -> bool:
        """It is empty at first."""
        return True

    def write(self, block: int, first: int, values: Tensors) -> None:
        """Copy the block to its place."""
        for name, column in self._columns.items():
            column[first : first + len(values[name])].copy_(values[name])

    def close(self) -> None:
        """Nothing is open."""

    def finish(self) -> None:
        """Nothing is left to do."""

    def read(self, positions: Tensor) -> dict[str, Tensor]:
        """Gather on the device."""
        return {
            name: column.index_select(0, self.rows_of(positions)).to(self.tensors[name][1])
            for name, column in self._columns.items()
        }

    def release(self) -> None:
        """Let go of the tensors."""
        self.rows = {}
        self._columns.clear()


def pick(values: Sequence[Kept], name: str, positions: Tensor, chosen: Tensor) -> Tensor:
    """Return for each sample the tensor of the value that it chose, [batch, ...].

    Only what is chosen is read if the values lie side by side in memory.

    Args:
        values: what to choose from.
        name: of the tensor.
        positions: of the samples, [batch] int64.
        chosen: [batch] int64, indices into ``values``.
    """
    first = values[0]
    if isinstance(first, InMemory) and _side_by_side(first, values):
        rows = first.rows[name]
        own = first.rows_of(positions)
        places = torch.add(chosen + first.place, own, alpha=rows.shape[1])
        return rows.flatten(0, 1).index_select(0, places).to(first.tensors[name][1])
    everything = torch.stack([value.read(positions)[name] for value in values])
    return everything[chosen, torch.arange(len(chosen), device=chosen.device)]


def _side_by_side(first: InMemory, values: Sequence[Kept]) -> bool:
    return all(
        isinstance(value, InMemory) and value.rows is first.rows and value.place == place
        for place, value in enumerate(values, first.place)
    )


class OnDisk(Kept):
    """Kept in LMDB, one record per block with its checksum; a part-filled one is continued.

    One that a killed run left is used only if every bit of it is as it was written.

    Args:
        folder: a directory of its own, named by everything that determines the value.
        block_size: samples per block, the last may have fewer.
        writes: whether this process writes it; else it reads what another has finished.
    """

    def __init__(
        self,
        tensors: Shapes,
        samples: int,
        halved: bool,
        device: torch.device,
        folder: Path,
        block_size: int,
        writes: bool = True,
    ):
        super().__init__(tensors, samples, halved)
        self.device = device
        self.folder = folder
        self._columns = {
            name: Column(
                name, str(self.types[name]).removeprefix("torch."), shape, samples, block_size
            )
            for name, (shape, _) in tensors.items()
        }
        self._gathers: dict[str, Gather] = {}
        self._writes = writes
        if not writes:
            return
        size = sum(c.row_bytes for c in self._columns.values()) * samples
        refuse_links(folder.parent, folder, folder / DATA_FILE)
        self._remove_damaged()
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = lmdb.open(
                str(folder), map_size=2 * size + (64 << 20), max_dbs=self._count, lock=False
            )
            names = (*self._columns, CRCS)
            self._databases = {n: self._writer.open_db(n.encode()) for n in names}

    @property
    def _count(self) -> int:
        return len(self._columns) + 1

    def _remove_damaged(self) -> None:
        there = (self.folder / DATA_FILE).is_file()
        if there and not is_sound(self.folder, list(self._columns), [CRCS]):
            _log.warning("values kept in '%s' are damaged; they are computed again", self.folder)
            shutil.rmtree(self.folder)

    def missing(self, block: int) -> bool:
        """Say whether any tensor lacks the block; of no use to one that reads."""
        if not self._writes:
            return False
        with self._writer.begin() as transaction:
            return any(
                transaction.get(record_key(block), db=self._databases[name]) is None
                for name in self._columns
            )

    def write(self, block: int, first: int, values: Tensors) -> None:
        """Commit the block's tensors and their checksums in one transaction."""
        if not self._writes:
            return
        key, sums = record_key(block), self._databases[CRCS]
        with _writing(self.folder), self._writer.begin(write=True) as transaction:
            for name in self._columns:
                array = values[name].to("cpu", self.types[name]).contiguous().numpy()
                content = array.tobytes()
                transaction.put(key, content, db=self._databases[name])
                transaction.put(checksum_key(name, key), crc(content), db=sums)

    def close(self) -> None:
        """Let another writer open it, in this process too; what is there stays."""
        if self._writes:
            self._writer.close()

    def finish(self) -> None:
        """Open it for reading."""
        self.close()
        environment = Environment(self.folder, self._count, readahead=False)
        damaged = f"kept values are damaged: remove '{self.folder}', and they are computed again"
        self._gathers = {n: Gather(environment, c, damaged) for n, c in self._columns.items()}

    def read(self, positions: Tensor) -> dict[str, Tensor]:
        """Gather rows from the map."""
        rows = self.rows_of(positions).cpu().numpy()
        read = {}
        for name, column in self._columns.items():
            out = np.empty((len(rows), column.row_bytes), np.uint8)
            self._gathers[name].read(rows, out)
            array = out.view(column.stored_dtype).reshape(len(rows), *column.shape)
            read[name] = torch.from_numpy(array).to(self.device, self.tensors[name][1])
        return read

    def release(self) -> None:
        """Reclaim the disk."""
        self._gathers.clear()  # closes the map: until then the disk is taken
        if self._writes:
            shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    with explained(folder), as_system_errors():
        yield
