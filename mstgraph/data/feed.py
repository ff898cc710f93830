"""The data path: batches from a store, normalised on the device.

What fits the budget is read once and stays on the device; an epoch is then a permutation of
indices. The rest is read batch by batch by a background thread. Both give the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mstgraph.data.augmentation import Augmentation, Inputs
from mstgraph.data.classes import classes_of
from mstgraph.data.labelled import UNKNOWN, keep_labels
from mstgraph.data.normalisation import Normaliser, kind_for, normaliser
from mstgraph.data.order import WINDOW, balanced_order, epoch_order, mixed_order, repeated
from mstgraph.data.presence import PARTS, Lengths, part_lengths, refuse_lost_class
from mstgraph.data.streaming import PREFETCHED, Buffer, ReadAhead, stream
from mstgraph.store.reader import Store
from mstgraph.support.errors import UserError
from mstgraph.support.numerics import masked
from mstgraph.support.seeds import derive_seed, seed_python
from mstgraph.support.text import shape_in_words

LABELS = "label"
LABELS_AT_A_TIME = 256
PIECE_BYTES = 16 * 1024 * 1024  # read at a time of what stays on the device

Item = tuple[Inputs, Tensor, Tensor]
Share = Callable[[int], slice]
"""Number of samples of a batch → those of them that are read, where others read the rest."""


def everything(size: int) -> slice:
    """Read all samples of a batch."""
    return slice(None)


class Pool:
    """The data of one split that stays on the device, shared by all stages of a run.

    Args:
        store: the feature store.
        split: name of the split.
        device: where batches are wanted.
        normalisation: see `mstgraph.data.normalisation`.
        budget: bytes that may stay on the device.
        trained_on: split whose training part the statistics come from, if it is another one.
        shuffle_block: block size of the training order, see `mstgraph.data.order.epoch_order`.
        labelled: how many training samples keep their label, see `mstgraph.data.labelled`.
        seed: which of them.
        labelled_per_batch: share of labelled samples in a training batch; None as they are drawn.
        balanced: whether training takes labelled samples of each class alike.
        absent: modality → share of the samples that lose it, see `mstgraph.data.presence`.
        absent_in: the parts in which they do.
    """

    def __init__(
        self,
        store: Store,
        split: str,
        device: torch.device | str,
        normalisation: str | Mapping[str, str],
        budget: int,
        trained_on: str | None = None,
        shuffle_block: int | None = None,
        labelled: float | int | None = None,
        seed: int = 0,
        labelled_per_batch: float | None = None,
        balanced: bool = False,
        absent: Mapping[str, float] | None = None,
        absent_in: Sequence[str] = PARTS,
    ):
        self.store = store
        self.split = split
        self.trained_on = trained_on or split
        self.device = torch.device(device)
        self.normalisation = normalisation
        self.remaining = budget
        self.shuffle_block = shuffle_block
        self.labelled = labelled
        self.seed = derive_seed(seed, "labelled")
        self.views_seed = derive_seed(seed, "views")
        self.labelled_per_batch = labelled_per_batch
        self.integers = frozenset(n for n, spec in store.modalities.items() if spec.integers)
        self.balanced = balanced
        self.absent = absent or {}
        self.absent_in = tuple(absent_in)
        self.run_seed = seed
        self._lengths: dict[str, dict[str, Tensor]] = {}
        self._resident: dict[tuple[str, str], Tensor] = {}
        self._normalisers: dict[str, Normaliser] = {}
        self._hidden: Tensor | None = None

    def feed(
        self,
        part: str,
        modalities: Sequence[str],
        augmentation: Augmentation | None = None,
        share: Share = everything,
    ) -> Feed:
        """Return the feed of ``train``, ``validation`` or ``test`` for some modalities."""
        return Feed(self, part, modalities, augmentation, share)

    def labels(self, part: str) -> Iterator[Tensor]:
        """Yield the labels of a part as training sees them, some samples at a time."""
        for _, labels, _ in self.feed(part, ()).epoch(LABELS_AT_A_TIME):
            yield labels

    def normaliser(self, modality: str) -> Normaliser:
        """Return a modality's normaliser."""
        if modality not in self._normalisers:
            kind = kind_for(modality, self.normalisation)
            self._normalisers[modality] = normaliser(
                self.store.modalities[modality],
                self.store.statistics(modality, self.trained_on),
                kind,
                self.device,
            )
        return self._normalisers[modality]

    def normalised(self, modality: str, values: Tensor) -> Tensor:
        """Return a batch of a modality as networks see it, a new tensor; integers as they are."""
        return values.clone() if modality in self.integers else self.normaliser(modality)(values)

    def hidden(self, part: str) -> Tensor | None:
        """Return which samples of a part have their label hidden, [n] bool, or None: none has."""
        if self.labelled is None or part != "train":
            return None
        if self._hidden is None:
            self._hidden = ~torch.from_numpy(
                keep_labels(self._classes, self.labelled, self.seed)
            ).to(self.device)
        return self._hidden

    def lengths(self, part: str) -> Lengths:
        """Return how much of each modality the samples of a part have; {} where all have all."""
        if part not in self._lengths:
            absent = self.absent if part in self.absent_in else {}
            ids = self.store.split(self.split, part)
            classes = self._classes_of(ids) if absent else np.zeros(len(ids), np.int64)
            seed = derive_seed(self.run_seed, part)
            whole = {name: item.shape[-1] for name, item in self.store.modalities.items()}
            known = self.store.read_lengths(ids)
            found = part_lengths(known, whole, classes, absent, seed, self.device)
            if absent and part == "train":
                refuse_lost_class(found, absent, classes, self.store.labels_spec.classes)
            self._lengths[part] = found
        return self._lengths[part]

    @cached_property
    def with_label(self) -> Tensor:
        """Which training samples have a label, of some pixel at least, that is not hidden: [n]."""
        hidden = self.hidden("train")
        if hidden is not None:
            return ~hidden.cpu()
        if self.store.labels_spec.unknown is None:
            return torch.ones(len(self.store.split(self.split, "train")), dtype=torch.bool)
        return torch.from_numpy(self._classes != UNKNOWN)

    @cached_property
    def labelled_classes(self) -> Tensor:
        """The class of each training sample, `UNKNOWN` of those without a label: [n] int64."""
        return torch.from_numpy(self._classes).masked_fill(~self.with_label, UNKNOWN)

    @cached_property
    def _classes(self) -> np.ndarray:
        return self._classes_of(self.store.split(self.split, "train"))

    def _classes_of(self, ids: np.ndarray) -> np.ndarray:
        return classes_of(ids, self.store.labels_spec, self.store.read_labels)

    def resident(self, part: str, column: str) -> Tensor | None:
        """Return all of a modality (or the labels) of a part, or None if it does not fit."""
        if (part, column) not in self._resident:
            ids = self.store.split(self.split, part)
            size = len(ids) * self.store.columns[column].row_bytes
            if size > self.remaining:
                return None
            self.remaining -= size
            self._resident[part, column] = self._read_all(ids, column).to(self.device)
        return self._resident[part, column]

    def _read_all(self, ids: np.ndarray, column: str) -> Tensor:
        """Read piece by piece, and ask for pages on the way."""
        spec = self.store.columns[column]
        out = torch.from_numpy(np.empty((len(ids), *spec.shape), spec.stored_dtype))
        ahead = ReadAhead(self.store, [column], ids)
        piece = max(1, PIECE_BYTES // spec.row_bytes)
        for first in range(0, len(ids), piece):
            rows = slice(first, first + piece)
            ahead.advance(piece)
            self.read(ids[rows], column, out[rows])
        return out

    def read(self, ids: np.ndarray, column: str, out: Tensor) -> Tensor:
        """Read a modality (or the labels) of some samples, as stored, on the CPU.

        Args:
            ids: sample numbers, [batch].
            column: the modality's name, or ``label``.
            out: [batch, ...] of the stored type, filled and returned.
        """
        if column == LABELS:
            self.store.read_labels(ids, out.numpy())
        else:
            self.store.read(column, ids, out.numpy())
        return out


class Feed:
    """Batches of one part of a split, for the modalities that somebody asks for.

    Args:
        pool: what stays on the device.
        part: ``train``, ``validation`` or ``test``.
        modalities: the modalities to read; no page of another one is touched.
        augmentation: applied to each batch, or None.
        share: which samples of a batch are read and handed out; of all of it only with an
            augmentation that sees a batch as a whole, which then is cut.
    """

    def __init__(
        self,
        pool: Pool,
        part: str,
        modalities: Sequence[str],
        augmentation: Augmentation | None = None,
        share: Share = everything,
    ):
        self.pool = pool
        self.device = pool.device
        self.ids = pool.store.split(pool.split, part)
        self.modalities = tuple(modalities)
        self.augmentation = augmentation
        self.share = share
        self.views = augmentation.views if augmentation else None
        together = augmentation.together if augmentation else ()
        more = together if not set(together).isdisjoint(modalities) else ()
        self._read = tuple(dict.fromkeys((*modalities, *more)))
        self._columns = {name: pool.resident(part, name) for name in (*self._read, LABELS)}
        self._hidden = pool.hidden(part)
        self._lengths = pool.lengths(part)
        self._unknown = pool.store.labels_spec.unknown
        # Of numbers to be predicted floating, of indices and yes or no integers.
        floating = np.dtype(pool.store.columns[LABELS].dtype).kind == "f"
        self._label_type = torch.get_default_dtype() if floating else torch.int64

    def __len__(self) -> int:
        return len(self.ids)

    def order(
        self, seed: int, epoch: int, labelled: bool = False, batch_size: int | None = None
    ) -> Tensor:
        """Return the order of a training epoch, [n] int64: `mstgraph.data.order.epoch_order`.

        With views, what is returned are places: position + view × samples. A sample's views follow
        one another from epoch to epoch, from another one on for each sample.

        Args:
            seed: the run's seed.
            epoch: the epoch's number.
            labelled: leave out the samples without a label, and go through the others as often as
                it takes to make as many steps as an epoch of all samples has.
            batch_size: of the batches that `Pool.labelled_per_batch` is a share of; None leaves
                all samples as they are drawn.
        """
        positions = self._positions(seed, epoch, labelled, batch_size)
        if self.views is None:
            return positions
        generator = torch.Generator().manual_seed(self.pool.views_seed)
        first = torch.randint(self.views, (len(self),), generator=generator)
        return positions + len(self) * ((first[positions] + epoch) % self.views)

    def positions(self, places: Tensor) -> Tensor:
        """Return the positions of samples, or of samples whose views are at some places."""
        return places if self.views is None else places % len(self)

    def _positions(self, seed: int, epoch: int, labelled: bool, batch_size: int | None) -> Tensor:
        order, pool = epoch_order(len(self), seed, epoch, self.pool.shuffle_block), self.pool
        if labelled:
            kept = order[pool.with_label[order]]
            order = repeated(kept, len(order)) if len(kept) else order
        elif pool.labelled_per_batch is not None and batch_size is not None:
            order = mixed_order(order, pool.with_label, pool.labelled_per_batch, batch_size)
        return balanced_order(order, pool.labelled_classes, seed, epoch) if pool.balanced else order

    def steps(self, batch_size: int) -> int:
        """Return the number of batches of one pass."""
        return len(batch_positions(torch.arange(len(self.ids)), batch_size))

    def epoch(
        self, batch_size: int, order: Tensor | None = None, start: int = 0, seed: int = 0
    ) -> Iterator[Item]:
        """Yield the batches of one pass, see `batches`.

        Args:
            batch_size: samples per batch.
            order: [n] int64 permutation of positions; None keeps the order of the ids.
            start: number of batches to leave out at the beginning (for a resumed epoch).
            seed: of the augmentation.
        """
        positions = torch.arange(len(self.ids)) if order is None else order
        return self.batches(batch_positions(positions, batch_size)[start:], start, seed)

    def batches(self, batches: Sequence[Tensor], first: int = 0, seed: int = 0) -> Iterator[Item]:
        """Yield (modality → [batch, ...] float normalised, labels, positions int64).

        Inputs and labels are those of this feed's share of a batch, positions those of all of it.

        Labels are int64, where they are numbers to be predicted float with nan for unknown ones.

        A modality of integers is int64, as it is stored.

        What a sample lacks is zero after normalisation, padding included; `lengths` says it.

        Args:
            batches: positions of each batch, [batch] int64; with views their places.
            first: number of the first batch, for the augmentation's randomness.
            seed: of the augmentation.
        """
        dtype = torch.get_default_dtype()
        places_of = _moved(batches, self.device)
        whole = self.augmentation is not None and self.views is None

        def read(places: Tensor) -> Tensor:
            return self.positions(places if whole else places[self.share(len(places))])

        streamed = any(column is None for column in self._columns.values())
        stored = (
            self._streamed([read(places) for places in batches], first)
            if streamed
            else (self._gather(read(places)) for places in places_of)
        )
        # What leaves here must be no view of a buffer: normalised inputs are new tensors anyway.
        copied = streamed and self.augmentation is not None
        together = zip(stored, batches, places_of, strict=True)
        for number, (raw, on_cpu, places) in enumerate(together, first):
            inputs: Inputs = {
                n: raw[n].to(torch.int64 if n in self.pool.integers else dtype, copy=copied)
                for n in self._read
            }
            labels = raw[LABELS].to(self._label_type, copy=streamed)
            rows = self.share(len(places))
            if self.views is not None:
                inputs, labels = self._viewed(inputs, labels, on_cpu[rows])
            elif self.augmentation is not None:
                inputs, labels = self._augmented(inputs, labels, derive_seed(seed, number))
                inputs, labels = {n: v[rows] for n, v in inputs.items()}, labels[rows]
            normalised = {n: self.pool.normalised(n, inputs[n]) for n in self.modalities}
            positions = self.positions(places)[rows]
            for name, lengths in self.lengths(positions).items():
                if name in normalised:
                    normalised[name] = masked(normalised[name], lengths)
            yield normalised, self._known(labels, positions), places

    def _augmented(self, inputs: Inputs, labels: Tensor, seed: int) -> tuple[Inputs, Tensor]:
        """Return a batch changed by the augmentation, which may not change its shapes."""
        assert self.augmentation is not None
        generator = torch.Generator().manual_seed(seed)
        seed_python(seed)
        changed, new_labels = self.augmentation(inputs, labels, generator)
        for name, before, after in (
            *((name, values, changed[name]) for name, values in inputs.items()),
            (LABELS, labels, new_labels),
        ):
            if before.shape != after.shape:
                raise UserError(
                    f"the augmentation {type(self.augmentation).__name__} turns '{name}' from "
                    f"{shape_in_words(before.shape[1:])} into {shape_in_words(after.shape[1:])}; "
                    "expected one that keeps the shape of a sample"
                )
        return changed, new_labels

    def _viewed(self, inputs: Inputs, labels: Tensor, places: Tensor) -> tuple[Inputs, Tensor]:
        """Return views: each sample by itself, so that its batch has no part in them."""
        seeds = [derive_seed(self.pool.views_seed, place) for place in places.tolist()]
        found = [
            self._augmented(
                {name: values[row : row + 1] for name, values in inputs.items()},
                labels[row : row + 1],
                seed,
            )
            for row, seed in enumerate(seeds)
        ]
        views = {name: torch.cat([view[name] for view, _ in found]) for name in inputs}
        return views, torch.cat([label for _, label in found])

    def lengths(self, positions: Tensor) -> Lengths:
        """Return how much of each modality samples have; {} where all have all.

        Args:
            positions: of the samples, [batch] int64, on the device.
        """
        return {name: lengths[positions] for name, lengths in self._lengths.items()}

    def _known(self, labels: Tensor, places: Tensor) -> Tensor:
        """Return the labels, of those that nobody knows or that are hidden `UNKNOWN` or nan."""
        if self._unknown not in (None, UNKNOWN):
            labels = labels.masked_fill(labels == self._unknown, UNKNOWN)
        if self._hidden is None:
            return labels
        rows = self._hidden[places].view(-1, *[1] * (labels.dim() - 1))
        return labels.masked_fill(rows, math.nan if labels.is_floating_point() else UNKNOWN)

    def _streamed(self, batches: Sequence[Tensor], first: int) -> Iterator[dict[str, Tensor]]:
        """Yield batches as stored, on the device, each valid until the next is asked for."""
        if not batches:
            return
        store, names = self.pool.store, [n for n, c in self._columns.items() if c is None]
        done = first * len(batches[0])
        block = self.pool.shuffle_block
        window = min(block, len(self.ids)) * WINDOW if block is not None else None
        ids = self.ids[torch.cat(list(batches)).numpy()]
        ahead = ReadAhead(store, names, ids, window, done)
        largest = max(map(len, batches))
        ring = [Buffer(store, names, largest, self.device) for _ in range(PREFETCHED + 2)]

        def fill(positions: Tensor, buffer: Buffer) -> dict[str, Tensor]:
            ahead.advance(len(positions))
            there, rows = positions.to(self.device), buffer.rows(len(positions))
            ids = self.ids[positions.numpy()]
            read = {name: self.pool.read(ids, name, rows[name]) for name in names}
            return {**self._gather(there), **read}

        yield from stream(batches, ring, fill)

    def _gather(self, positions: Tensor) -> dict[str, Tensor]:
        """Return of a batch what stays on the device, as stored."""
        columns = self._columns.items()
        return {n: _select(column, positions) for n, column in columns if column is not None}


def _moved(batches: Sequence[Tensor], device: torch.device) -> Sequence[Tensor]:
    """Return tensors on a device, moved as one: the program waits for a GPU at each such copy."""
    if not batches:
        return ()
    return torch.cat(list(batches)).to(device).split([len(batch) for batch in batches])


def _select(tensor: Tensor, positions: Tensor) -> Tensor:
    if tensor.dtype == torch.uint16:  # torch gathers int16, not uint16; the bits are the same
        return tensor.view(torch.int16).index_select(0, positions).view(torch.uint16)
    return tensor.index_select(0, positions)


def batch_positions(positions: Tensor, batch_size: int) -> list[Tensor]:
    """Cut positions into batches; a last batch of one sample joins the one before.

    Batch normalisation has no variance over a single sample.
    """
    batches = list(positions.split(min(batch_size, max(1, len(positions)))))
    if len(batches) > 1 and len(batches[-1]) == 1 and batch_size > 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
