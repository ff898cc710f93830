"""Reading a store: metadata at once, data lazily and once per process, batches in one call."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mstgraph.store.destination import shard_of
from mstgraph.store.encoded.gather import Decoding
from mstgraph.store.layout import (
    IDENTIFIER,
    LABEL,
    LARGE_SAMPLE,
    LENGTHS,
    METADATA_FILE,
    OF_SHARDS,
    PLAIN,
    SPLITS,
    STATISTICS,
    Column,
    fingerprint,
    incomplete,
    named_key,
    record_key,
)
from mstgraph.store.mapped.environment import Environment, shared_environment
from mstgraph.store.mapped.gather import Gather
from mstgraph.store.mapped.joined import Joined
from mstgraph.store.mapped.places import DATA_FILE
from mstgraph.store.mapped.records import DAMAGED
from mstgraph.store.mapped.soundness import CHECKSUMS, checksum, checksum_key
from mstgraph.store.metadata import read_columns, read_labels_spec, read_metadata, read_modalities
from mstgraph.store.moments import Statistics, merged
from mstgraph.store.packed import unpacked
from mstgraph.store.recipe import RAW
from mstgraph.support import memory
from mstgraph.support.errors import UserError, nearest

OWN_DATABASES = 5

Indices = np.ndarray | Sequence[int]


class Store:
    """A complete store, open for reading.

    Opening reads ``metadata.json`` alone; the data is mapped on the first read, in each process
    anew (after a fork or a spawn), read-only and without a lock file. A store can be pickled.

    Attributes:
        path: the store's directory.
        metadata: the content of ``metadata.json``.
        length: number of samples.
        modalities: the modalities by name, in the recipe's order.
        labels_spec: what is to be predicted.
        fingerprint: hash of the content: declaration, samples, identifiers and splits.
        shards: the stores that it consists of, each with the samples that follow those of the one
            before; of a store in one file none.

    Raises:
        UserError: there is no store at ``path``, or it is half built, cut short, or of another
            format version.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.metadata: dict[str, Any] = read_metadata(self.path)
        self.length: int = self.metadata["length"]
        self.modalities = read_modalities(self.metadata)
        self.labels_spec = read_labels_spec(self.metadata)
        self.fingerprint: str = self.metadata["fingerprint"]
        self.columns: dict[str, Column] = read_columns(self.metadata)
        self._gathers: dict[str, Gather | Decoding | Joined] = {}
        self._identifiers: dict[int, list[str]] = {}
        self._environment: Environment | None = None
        self.shards: tuple[Store, ...] = self._opened_shards()
        self._firsts = np.cumsum([0, *map(len, self.shards[:-1])])

    def __len__(self) -> int:
        return self.length

    def __reduce__(self) -> tuple[type[Store], tuple[Path]]:
        return Store, (self.path,)

    def read(self, modality: str, indices: Indices, out: np.ndarray | None = None) -> np.ndarray:
        """Return the samples ``indices`` of one modality as stored, in the order asked for.

        Args:
            modality: the modality's name.
            indices: sample numbers, [batch].
            out: C-contiguous array [batch, *shape] of the stored type to fill and return.

        Raises:
            UserError: no such modality, or the store is damaged.
            IndexError: a sample number out of range.
            ValueError: ``out`` does not fit.
        """
        self._known(modality)
        return self.read_column(modality, indices, out)

    def read_labels(self, indices: Indices, out: np.ndarray | None = None) -> np.ndarray:
        """Return the labels of the samples ``indices`` as stored.

        int64 [batch] for classification; [batch, height, width] of uint8, int16 or int32 for
        segmentation (``columns["label"].dtype`` tells which). Errors as for `read`.
        """
        return self.read_column(LABEL, indices, out)

    def read_lengths(self, indices: Indices) -> dict[str, np.ndarray]:
        """Return how much of each modality the samples ``indices`` have.

        Returns:
            Modality → how many entries of its last axis are there, [batch] int64; 0 where it is
            not there at all, and what is stored in its place is zeros. Only of modalities that
            some sample may lack (`Modality.optional`) or have less of (`Modality.varying`).
        """
        names = incomplete(self.modalities.values())
        if not names:
            return {}
        lengths = self.read_column(LENGTHS, indices).astype(np.int64)
        return dict(zip(names, lengths.T, strict=True))

    def will_need(self, column: str, indices: Indices) -> None:
        """Have the pages of some samples fetched in the background, where the system can.

        For samples that will be read soon; what is read, and when, does not depend on it.

        Args:
            column: a modality's name, or ``label``.
            indices: sample numbers, [batch], in any order.

        Raises:
            UserError: no such modality, or the store is damaged.
            IndexError: a sample number out of range.
        """
        if column != LABEL:
            self._known(column)
        self._gather(column).will_need(self._checked(indices))

    def identifier(self, index: int) -> str:
        """Return how a message names sample ``index``: a file name, an id."""
        sample = int(self._checked([index])[0])
        if self.shards:
            number = int(np.searchsorted(self._firsts, sample, side="right")) - 1
            return self.shards[number].identifier(sample - int(self._firsts[number]))
        record, row = divmod(sample, self.metadata["samples_per_block"])
        if record not in self._identifiers:
            first = record * self.metadata["samples_per_block"]
            samples = range(first, min(first + self.metadata["samples_per_block"], self.length))
            content = self._content(IDENTIFIER, record_key(record), samples)
            self._identifiers = {record: json.loads(content)}
        return self._identifiers[record][row]

    def split(self, name: str, part: str) -> np.ndarray:
        """Return the sample numbers of one part of a split, ascending: int64 [samples].

        Raises:
            UserError: no such split or part (train, validation, test).
        """
        splits = self._known_split(name)
        if part not in splits:
            raise UserError(f"unknown part '{part}' of split '{name}'{nearest(part, splits)}")
        if self.shards:
            own = [shard.split(name, part) for shard in self.shards]
            return np.concatenate([ids + n for ids, n in zip(own, self._firsts, strict=True)])
        content = self._content(SPLITS, named_key(name, part), range(self.length))
        return np.frombuffer(content, "<i8").astype(np.int64)

    def statistics(self, modality: str, split: str) -> Statistics:
        """Return the statistics of a modality over the training part of ``split``.

        Raises:
            UserError: no such modality or split.
        """
        self._known(modality)
        self._known_split(split)
        if self.shards:
            parts = (
                (s._values(modality, split), s.statistics(modality, split)) for s in self.shards
            )
            return merged(parts, self.modalities[modality].shape[0])
        packed = np.frombuffer(self._value(STATISTICS, named_key(modality, split)), "<f8")
        return Statistics.unpacked(packed.reshape(4, -1))

    def _values(self, modality: str, split: str) -> int:
        """Return how many values of a channel the statistics of a modality are of."""
        item, train = self.modalities[modality], self.split(split, "train")
        of_each = math.prod(item.shape[1:])
        if item.complete:
            return len(train) * of_each
        return int(self.read_lengths(train)[modality].sum()) * of_each // item.shape[-1]

    def bytes_per_sample(self, modality: str) -> int:
        """Return the bytes of one sample of ``modality`` as it is read."""
        self._known(modality)
        return self.columns[modality].row_bytes

    def describe(self) -> dict[str, Any]:
        """Return what a person wants to know of a store, ready for JSON; reads no data."""
        described = {**self.metadata, "path": str(self.path)}
        described["modalities"] = [
            {**item, "bytes_per_sample": self.columns[item["name"]].row_bytes}
            for item in self.metadata["modalities"]
        ]
        return described

    @property
    def environment(self) -> Environment:
        """The LMDB environment of the store in this process, opened on first use.

        A store of shards has none; each of them has its own.
        """
        if self._environment is None or self._environment.process != os.getpid():
            self.close()
            self._check_unchanged()
            try:
                opened = self.opened()
            except UserError:
                self._check_unchanged()  # in between it may have been replaced
                raise
            self._check_fingerprint(opened)
            self._environment = opened
        return self._environment

    def opened(self) -> Environment:
        """Return the data as it lies there, whatever the fingerprint says of it."""
        databases = len(self.columns) + OWN_DATABASES
        return shared_environment(self.path, databases, self._readahead())

    def _check_fingerprint(self, environment: Environment) -> None:
        """The fingerprint vouches for the checksums of records, and for what metadata says."""
        if fingerprint(self.metadata, environment.items(CHECKSUMS)) != self.fingerprint:
            raise UserError(
                f"{self.path} is damaged: {METADATA_FILE} or the list of checksums in {DATA_FILE} "
                "is not as it was written; copy the two files anew, or prepare the store again"
            )

    def _check_unchanged(self) -> None:
        # The size too: touching a page of a file cut short since would end the process.
        if read_metadata(self.path)["fingerprint"] != self.fingerprint:
            raise UserError(
                f"the store at {self.path} was replaced by another while in use; "
                "expected it to stay as it is during a run"
            )

    def close(self) -> None:
        """Let go of the data; the next read opens it again."""
        self._gathers = {}
        self._identifiers = {}
        self._environment = None
        for shard in self.shards:
            shard.close()

    def _opened_shards(self) -> tuple[Store, ...]:
        if self.metadata["format_version"] != OF_SHARDS:
            return ()
        said = self.metadata["shards"]
        return tuple(_Shard(self, number, shard) for number, shard in enumerate(said))

    def _readahead(self) -> bool:
        """Without read-ahead, a store beyond memory does not drag in what no batch asks for.

        Samples of a megabyte are read whole: they want it however large the store is. Of those
        that are encoded nobody knows.
        """
        arrays = (column for column in self.columns.values() if column.encoding == RAW)
        largest = max(column.row_bytes for column in arrays)
        return largest >= LARGE_SAMPLE or self._bytes_together() < memory.total()

    def _bytes_together(self) -> int:
        return int(self.metadata["data_bytes"])

    def read_column(self, name: str, indices: Indices, out: np.ndarray | None = None) -> np.ndarray:
        """Return the samples ``indices`` of any column as stored, see `read` and `layout`."""
        column = self.columns[name]
        chosen = self._checked(indices)
        shape = (len(chosen), *column.shape)
        if out is None:
            out = np.empty(shape, column.dtype)
        elif out.shape != shape or out.dtype != column.stored_dtype or not out.flags.c_contiguous:
            raise ValueError(
                f"out is {out.dtype} {out.shape}; expected {column.dtype} {shape}, C-contiguous"
            )
        self._gather(name).read(
            chosen, out.reshape(-1).view(np.uint8).reshape(len(chosen), column.row_bytes)
        )
        return out

    def _gather(self, name: str) -> Gather | Decoding | Joined:
        if self.shards:
            if name not in self._gathers:
                files = [partial(shard._gather, name) for shard in self.shards]
                self._gathers[name] = Joined([*map(len, self.shards)], files)
            return self._gathers[name]
        environment = self.environment
        if name not in self._gathers:
            column = self.columns[name]
            encoded = column.encoding != RAW
            self._gathers[name] = (
                Decoding(environment, column, self.modalities[name])
                if encoded
                else Gather(environment, column)
            )
        return self._gathers[name]

    def _checked(self, indices: Indices) -> np.ndarray:
        chosen = np.asarray(indices)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise IndexError(
                f"indices are {chosen.dtype} {chosen.shape}; expected integers [batch]"
            )
        chosen = chosen.astype(np.int64, copy=False)
        # As unsigned, a negative number is beyond every length: one comparison is enough.
        if chosen.size and chosen.view(np.uint64).max() >= self.length:
            wrong = chosen[(chosen < 0) | (chosen >= self.length)][0]
            raise IndexError(f"sample {wrong} of {self.path}; expected 0 to {self.length - 1}")
        return chosen

    def _known(self, modality: str) -> None:
        if modality not in self.modalities:
            raise UserError(
                f"{self.path} has no modality '{modality}'{nearest(modality, self.modalities)}"
            )

    def _known_split(self, name: str) -> dict[str, int]:
        splits: dict[str, dict[str, int]] = self.metadata["splits"]
        if name not in splits:
            raise UserError(f"{self.path} has no split '{name}'{nearest(name, splits)}")
        return splits[name]

    def _value(self, database: str, key: bytes) -> memoryview:
        value = self.environment.value(database, key)
        if value is None or self.environment.damaged(database, [key]):
            raise self._damaged(database)
        return value

    def _content(self, database: str, key: bytes, samples: range) -> bytes:
        """Return what a value of identifiers or of a split says, as its checksum vouches for it."""
        value = self._value(database, key)
        try:
            content = self.unpacked(database, value, samples)
        except ValueError as error:
            raise self._damaged(database) from error
        if checksum(content) != self.environment.value(CHECKSUMS, checksum_key(database, key)):
            raise self._damaged(database)
        return content

    def unpacked(self, database: str, value: memoryview, samples: range) -> bytes:
        """Return what a value of identifiers or of a split says; ValueError if it says nothing."""
        plain = self.metadata["format_version"] in PLAIN
        return bytes(value) if plain else unpacked(database, value, samples)

    def _damaged(self, database: str) -> UserError:
        return UserError(
            f"a record of '{database}' in {self.path} is missing or does not match its "
            f"checksum; {DAMAGED}"
        )


class _Shard(Store):
    """One of the stores that a store consists of.

    Args:
        whole: that store.
        number: its place.
        said: what the whole says of it.

    Raises:
        UserError: it is not there, or another one.
    """

    def __init__(self, whole: Store, number: int, said: Mapping[str, Any]) -> None:
        self._whole_bytes = int(whole.metadata["data_bytes"])
        super().__init__(shard_of(whole.path, number))
        if (self.fingerprint, self.length) != (said["fingerprint"], said["samples"]):
            raise UserError(
                f"{self.path} is not the store that {whole.path / METADATA_FILE} speaks of; copy "
                "both anew, or prepare the store again"
            )

    def _opened_shards(self) -> tuple[Store, ...]:
        if self.metadata["format_version"] == OF_SHARDS:
            raise UserError(f"{self.path} consists of shards; expected one in one file")
        return ()

    def _bytes_together(self) -> int:
        return self._whole_bytes


def open_store(path: Path | str) -> Store:
    """Return the store at ``path``; see `Store`."""
    return Store(path)
