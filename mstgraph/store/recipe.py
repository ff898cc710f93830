"""What a recipe declares: the modalities of a data set, its labels, and how to read one sample.

A recipe is one file under ``datasets/`` with one subclass of `Recipe`, a dataclass whose fields
are its options. Splits, statistics, hashing, progress, resuming and checks belong to the package.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

Task = Literal["classification", "segmentation", "multilabel", "regression"]
RAW = "raw"
ENCODINGS = (RAW, "jpeg", "png", "flac")
VECTORS = ("multilabel", "regression")  # a label is as long as there are names
BESIDE = ("label", "split")  # columns of tables that hold no modality


@dataclass(frozen=True)
class Modality:
    """One named input stream, as it is stored.

    Attributes:
        name: the modality's name; a member of a graph lists it under ``inputs``.
        dtype: numpy's name of the stored type (``uint8``, ``uint16``, ``float32``, …).
        shape: shape of one sample, channels first for maps: ``[channels, height, width]``.
        scale: a stored value times this is the physical value.
        unit: unit of the physical value ("m"), empty where there is none.
        integers: whether the values are names, such as token ids: they are not normalised, and
            reach a network as int64.
        optional: whether a sample may lack it: it is left out of what `Recipe.sample` returns, or
            None. A modality that is not, and lacks, is an error.
        varying: whether samples differ in the length of their last axis, as sequences do:
            ``shape`` holds the longest, ``[channels, ..., length]``, and what a sample lacks of it
            is padding.
        encoding: ``raw`` for arrays; ``jpeg``, ``png`` or ``flac`` where `Recipe.sample` returns
            the bytes of such a file, which are stored as they are and decoded when they are read,
            see `mstgraph.store.encoded.decoding.decoded`.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float = 1.0
    unit: str = ""
    integers: bool = False
    optional: bool = False
    varying: bool = False
    encoding: str = RAW

    @property
    def complete(self) -> bool:
        """Whether every sample has all of it."""
        return not (self.optional or self.varying)

    @property
    def misfit(self) -> str:
        """What type and shape its encoding asks for, in words; empty if it has them."""
        if self.encoding == RAW:
            return ""
        if self.encoding == "flac":
            fits = self.dtype in ("int16", "int32", "float32") and len(self.shape) == 2
            return "" if fits else "int16, int32 or float32 [channels, samples]"
        deep = self.encoding == "png" and self.dtype == "uint16" and self.shape[0] == 1
        fits = deep or (self.dtype == "uint8" and self.shape[0] in (1, 3))
        if fits and len(self.shape) == 3 and not self.varying and not self.integers:
            return ""
        beside = ", or uint16 [1, height, width]" if self.encoding == "png" else ""
        return f"uint8 [3 or 1, height, width]{beside}, none of them varying or integers"


@dataclass(frozen=True)
class Labels:
    """What is to be predicted.

    Attributes:
        task: one class per sample (``classification``) or per pixel (``segmentation``), for each
            class whether it applies, 1 or 0 (``multilabel``), or numbers (``regression``).
        classes: names of the classes; the label is the index into them, and a network has one
            output for each. For numbers, what each of them is.
        ignored: the label that takes part in no loss and no metric, or None.
        shape: ``()`` for classification, ``(height, width)`` for segmentation; of a label that is
            a vector, ``(len(classes),)``, which need not be given.
        unknown: the label of a sample or pixel whose class nobody knows: it takes part in no task
            loss and no metric, but in distillation. A sample whose ``label`` is None is unknown as
            a whole; of a vector single places can be. Among numbers it is ``math.nan``. None:
            every label is known.
    """

    task: Task
    classes: tuple[str, ...]
    ignored: int | None = None
    shape: tuple[int, ...] = ()
    unknown: float | None = None

    def __post_init__(self) -> None:
        """Give a label that is a vector its length."""
        if self.task in VECTORS and not self.shape:
            object.__setattr__(self, "shape", (len(self.classes),))

    @property
    def maps(self) -> bool:
        """Whether every pixel has a label of its own."""
        return self.task == "segmentation"

    def known(self, values: np.ndarray) -> np.ndarray:
        """Return which labels as stored count and are known, bool of their shape."""
        if self.task == "regression":
            return ~np.isnan(values)
        above = 1 if self.task == "multilabel" else len(self.classes) - 1
        known = (values >= 0) & (values <= above)
        return known if self.ignored is None else known & (values != self.ignored)


@dataclass(frozen=True)
class Chunk:
    """Consecutive samples that are read together, in their order.

    Attributes:
        samples: how many there are.
        read: opens what they are in and yields each, as `Recipe.sample` returns one. It is called
            once, and again where a build is continued that stopped in the middle; perhaps in
            another process than other chunks'.
    """

    samples: int
    read: Callable[[], Iterable[Mapping[str, np.ndarray | bytes | None]]]


class Recipe(ABC):
    """How a data set becomes a store; subclasses are dataclasses whose fields are the options.

    Class attributes:
        title: the data set's name as a person writes it.
        source: where the data comes from (URL or citation).
        licence: its licence, and the attribution that it asks for.
        synthetic: empty for real data; else what every log line, summary and picture of a run on
            it must say, e.g. "synthetic rooms".
        requires: which raw data the option ``raw`` must point to and how to get it, in one
            sentence; empty when the recipe needs none.
    """

    title: ClassVar[str]
    source: ClassVar[str]
    licence: ClassVar[str]
    synthetic: ClassVar[str] = ""
    requires: ClassVar[str] = ""

    @abstractmethod
    def modalities(self) -> tuple[Modality, ...]:
        """Return the modalities in the order that indices of members follow."""

    @abstractmethod
    def labels(self) -> Labels:
        """Return what is to be predicted."""

    def __len__(self) -> int:
        """Return the number of samples; need not be defined where `chunks` is."""
        return sum(chunk.samples for chunk in self.chunks())

    def sample(self, index: int) -> Mapping[str, np.ndarray | bytes | None]:
        """Return sample ``index``: one array per modality, and ``label`` (see `Labels.unknown`).

        Of a modality with an encoding it is the content of a file, see `Modality.encoding`.

        A modality that the sample lacks is left out or None, see `Modality.optional`.

        Must depend on the index and the options alone, so that a build can be continued. Need not
        be defined where `chunks` is.
        """
        raise NotImplementedError(f"{type(self).__name__} defines neither sample nor chunks")

    def chunks(self) -> Sequence[Chunk]:
        """Return what samples are read from, where that can only be gone through in order.

        For archives (tar), or files of which some rows are always read together (Parquet, HDF5).
        The samples of a store are those of the first chunk, of the second, and so on; none is
        asked of `sample` then. (): they are asked of `sample`, one by one.
        """
        return ()

    def item(self, modality: Modality, raw: Path | str) -> np.ndarray:
        """Return one raw item as the store keeps a modality: what a student is shown in use.

        `sample` reads it by the same code where the raw data are such items, so that a student
        sees what it was trained on. It may depend on the options, never on the raw data. A recipe
        that does not define it takes `numbers`.

        Args:
            modality: as it is stored.
            raw: a file, or a line of text: one of standard input, a row of a table.

        Raises:
            ValueError: it is no such item; a `UserError` is as good.
        """
        return numbers(modality, raw)

    def words(self, modality: Modality, values: np.ndarray) -> str:
        """Return a stored sample as a person reads it, such as the text behind token ids.

        Reports show it in the place of numbers. "" for what is better seen than read.

        Args:
            modality: as it is stored.
            values: one sample of it.
        """
        return ""

    def columns_read(self, names: Sequence[str]) -> Sequence[str]:
        """Return which columns of somebody's table may hold modalities: not those of labels.

        Args:
            names: of the table's columns.
        """
        return [name for name in names if name not in BESIDE]

    def identifier(self, index: int) -> str:
        """Return how a message names sample ``index`` (a file name, an id)."""
        return str(index)

    def official_splits(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """Return splits that come with the data, ``{name: {"train": ids, "test": ids}}``.

        ``validation`` may be left out: a fifth of the training ids is then set aside.
        """
        return {}

    def raw_files(self) -> tuple[Path, ...]:
        """Return the files that determine the store's content; they are fingerprinted.

        A file that is not among them cannot be seen: the store is used though it has changed.
        """
        return ()


def numbers(modality: Modality, raw: Path | str) -> np.ndarray:
    """Return numbers as they are stored: a ``.npy`` file of one array, or a line of them.

    Args:
        modality: as it is stored.
        raw: a file; or numbers with commas, semicolons or blanks between them, the last axis of
            the array running fastest.

    Raises:
        ValueError: these are no numbers, too few or too many, or none that can be stored.
    """
    wanted = "×".join(map(str, modality.shape))
    kind = "a .npy file of numbers" if isinstance(raw, Path) else "a line of numbers"
    try:
        values = _file(raw) if isinstance(raw, Path) else _line(raw, modality)
    except Exception as error:  # NumPy raises almost anything on a damaged header
        reason = str(error).partition("\n")[0]
        raise ValueError(f"it is no {kind[2:]}, {wanted} of '{modality.name}': {reason}") from error
    if not _fits(values.shape, modality):
        found = "×".join(map(str, values.shape)) or "one number"
        raise ValueError(f"it is {found}; expected {wanted} of '{modality.name}'")
    with np.errstate(invalid="ignore"):  # what no such type holds is told below
        stored = values.astype(modality.dtype)
    if stored.dtype.kind != "f" and not np.array_equal(stored, values):
        raise ValueError(
            f"it holds values that '{modality.name}' cannot store; expected {modality.dtype}"
        )
    return stored


def _file(path: Path) -> np.ndarray:
    values = np.load(path, allow_pickle=False)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "uifb":
        raise ValueError(f"it holds {getattr(values, 'dtype', 'an archive')}")
    return values


def _line(text: str, modality: Modality) -> np.ndarray:
    words = text.replace(",", " ").replace(";", " ").split()
    values = np.array([float(word) for word in words])
    before = modality.shape[:-1]
    whole = (*before, values.size // math.prod(before))
    fits = _fits(whole, modality) and math.prod(whole) == values.size
    return values.reshape(whole) if fits else values


def _fits(shape: tuple[int, ...], modality: Modality) -> bool:
    """Say whether values are of a modality's shape, or shorter where that may be."""
    short = modality.varying and (0,) < shape[-1:] <= modality.shape[-1:]
    return shape == modality.shape or (short and shape[:-1] == modality.shape[:-1])
