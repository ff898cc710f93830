"""What a recipe declares and yields is checked before it is stored: nothing is mended silently."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Number
from typing import Any, get_args

import numpy as np

from mstgraph.store.build.reading.chunks import InOrder
from mstgraph.store.declared import Declared
from mstgraph.store.encoded.decoding import decoded
from mstgraph.store.layout import LABEL, RESERVED, is_storable
from mstgraph.store.recipe import ENCODINGS, RAW, VECTORS, Labels, Modality, Recipe, Task
from mstgraph.support import memory
from mstgraph.support.errors import UserError, nearest, users_code
from mstgraph.support.seeds import derive_seed, seed_python
from mstgraph.support.text import shape_in_words, size_in_words

ARRAYS = (np.ndarray, np.generic, Number, list, tuple)
BYTES_OF_SPLITS = 64  # of each sample: its number in five groups, and one more while they are made


def check_declaration(declared: Declared) -> None:
    """Check what a recipe declares, before any sample is read.

    Raises:
        UserError: no or repeated modalities, a name, type, shape or scale that cannot be stored,
            labels that do not fit their task, chunks of other samples than there are, or more than
            memory can hold.
    """
    modalities, labels = declared.modalities, declared.labels
    names = [item.name for item in modalities]
    if not names:
        raise UserError(f"{declared.title} declares no modality; expected at least one")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(f"{declared.title} declares modality '{repeated[0]}' more than once")
    _check_labels(declared.title, labels)
    for item in modalities:
        _check_modality(item, labels)
    if declared.chunks and sum(declared.chunks) != declared.length:
        raise UserError(
            f"the chunks of {declared.title} hold {sum(declared.chunks)} samples, and its length "
            f"is {declared.length}; expected the same"
        )
    _check_memory(declared)


def _check_memory(declared: Declared) -> None:
    """A sample, and the splits' numbers, are held in memory."""
    most = memory.total()
    for item in declared.modalities:
        size = np.dtype(item.dtype).itemsize * math.prod(item.shape)
        if size > most:
            raise UserError(
                f"a sample of modality '{item.name}' takes {size_in_words(size)}, more than the "
                f"{size_in_words(most)} of memory here; expected smaller ones"
            )
    if declared.length * BYTES_OF_SPLITS > most:
        raise UserError(
            f"{declared.title} has {declared.length} samples, whose numbers alone do not fit the "
            f"{size_in_words(most)} of memory here; expected fewer"
        )


def _check_modality(item: Modality, labels: Labels) -> None:
    where = f"modality '{item.name}'"
    if not item.name.isidentifier() or item.name in RESERVED:
        raise UserError(
            f"{where} cannot be stored under this name; expected letters, digits and underscores, "
            f"and none of {', '.join(RESERVED)}"
        )
    if not is_storable(item.dtype):
        raise UserError(
            f"{where} has type '{item.dtype}'; expected numpy's name of an integer, "
            f"floating or bool type{nearest(item.dtype, ('uint8', 'uint16', 'float16', 'float32'))}"
        )
    if not item.shape or not all(isinstance(size, int) and size > 0 for size in item.shape):
        raise UserError(f"{where} has shape {item.shape}; expected one or more positive sizes")
    if item.encoding not in ENCODINGS:
        raise UserError(
            f"{where} has the encoding '{item.encoding}'{nearest(item.encoding, ENCODINGS)}"
        )
    if item.misfit:
        raise UserError(
            f"{where} has type '{item.dtype}' and shape {item.shape} and the encoding "
            f"'{item.encoding}'; expected {item.misfit}"
        )
    if item.varying and len(item.shape) < 2:
        raise UserError(
            f"{where} varies in length and has shape {item.shape}; expected (channels, length)"
        )
    if not (np.isfinite(item.scale) and item.scale > 0):
        raise UserError(f"{where} has scale {item.scale}; expected a finite positive number")
    if item.integers and (np.dtype(item.dtype).kind not in "iu" or item.scale != 1):
        raise UserError(
            f"{where} holds integers, but has type '{item.dtype}' and scale {item.scale}; expected "
            "an integer type, such as 'int32', and no scale"
        )
    if labels.task == "segmentation" and len(item.shape) == 3 and item.shape[1:] != labels.shape:
        raise UserError(
            f"{where} has height × width {shape_in_words(item.shape[1:])}; "
            f"expected {shape_in_words(labels.shape)}, that of the labels"
        )


def _check_labels(title: str, labels: Labels) -> None:
    if labels.task not in get_args(Task):
        raise UserError(f"{title} has task '{labels.task}'{nearest(labels.task, get_args(Task))}")
    vector = (len(labels.classes),)
    wanted, fits = {
        "classification": ("()", labels.shape == ()),
        "segmentation": ("(height, width)", len(labels.shape) == 2 and min(labels.shape) > 0),
    }.get(labels.task, (f"{vector}, a place for each name,", labels.shape == vector))
    if not fits:
        raise UserError(
            f"labels of {title} have shape {labels.shape}; expected {wanted} for {labels.task}"
        )
    _check_unknown(title, labels)
    least, words = (1, "one") if labels.task in VECTORS else (2, "two")
    if len(labels.classes) < least or len(set(labels.classes)) != len(labels.classes):
        raise UserError(
            f"{title} declares {len(labels.classes)} class names, "
            f"{len(set(labels.classes))} of them distinct; expected {words} or more, all distinct"
        )


def _check_unknown(title: str, labels: Labels) -> None:
    """What stands for no label must not be one, and be of the labels' type."""
    if labels.task in VECTORS and labels.ignored is not None:
        raise UserError(
            f"{title} ignores the label {labels.ignored}, but labels for {labels.task} have a "
            "value in each place; expected unknown in its place"
        )
    if labels.unknown is None:
        return
    numbers = labels.task == "regression"
    if not math.isnan(labels.unknown) if numbers else isinstance(labels.unknown, float):
        wanted = "math.nan" if numbers else "a whole number such as -1"
        raise UserError(
            f"{title} calls the label {labels.unknown} unknown; expected {wanted} for {labels.task}"
        )
    above = 2 if labels.task == "multilabel" else len(labels.classes)
    if labels.unknown == labels.ignored or 0 <= labels.unknown < above:
        raise UserError(
            f"{title} calls the label {labels.unknown} unknown, which is a class or ignored; "
            "expected another number, such as -1"
        )


class SampleChecker:
    """Checks the samples of one recipe against what it declares."""

    def __init__(self, recipe: Recipe, declared: Declared) -> None:
        self._recipe = recipe
        self._title = declared.title
        self._modalities = declared.modalities
        self._labels = declared.labels
        self._names = {*(item.name for item in self._modalities), LABEL}
        self._read: Callable[[int], Any] = recipe.sample
        if declared.chunks:
            with users_code(f"chunks() of {declared.title} fails"):
                self._read = InOrder(recipe).sample

    def read(self, index: int) -> dict[str, np.ndarray | Encoded]:
        """Return sample ``index``, checked: one array per modality that it has, and ``label``.

        Of a modality with an encoding it is the file and the array that comes of it.

        Raises:
            UserError: the sample cannot be read; a modality is unknown, or missing without being
                optional; all are missing; or an array's shape, type or values are not as declared.
                The sentence names the sample.
        """
        sample = self._raw(index)
        where = f"sample '{self.identifier(index)}'"
        for name in sample:
            if name not in self._names:
                raise UserError(
                    f"{where} holds an unknown modality '{name}'{nearest(str(name), self._names)}"
                )
        absent = {m.name for m in self._modalities if m.optional and sample.get(m.name) is None}
        for name in self._names - absent:
            if name not in sample:
                raise UserError(
                    f"{where} lacks '{name}'; expected {', '.join(sorted(self._names))}"
                    f"{', or Modality(…, optional=True)' if name != LABEL else ''}"
                )
        if len(absent) == len(self._modalities):
            raise UserError(f"{where} lacks every modality; expected at least one")
        there = (item for item in self._modalities if item.name not in absent)
        arrays = {item.name: _sample(where, item, sample[item.name]) for item in there}
        arrays[LABEL] = _checked_label(where, self._labels, sample[LABEL])
        return arrays

    def identifier(self, index: int) -> str:
        """Return how a message names sample ``index``.

        Raises:
            UserError: the recipe does not say it, or not in text.
        """
        with users_code(f"identifier({index}) of {self._title} fails"):
            name = self._recipe.identifier(index)
        if not isinstance(name, str):
            raise UserError(
                f"identifier({index}) of {self._title} is {name!r}, of type "
                f"{type(name).__name__}; expected text"
            )
        return name

    def _raw(self, index: int) -> Mapping[str, np.ndarray | bytes | None]:
        what = f"sample '{self.identifier(index)}' of {self._title}"
        # What a recipe draws depends on the sample alone, so that a build can be continued.
        seed_python(derive_seed(0, "sample", index))
        with users_code(f"{what} cannot be read"):
            sample = self._read(index)
        if not isinstance(sample, Mapping):
            given = "nothing" if sample is None else f"a {type(sample).__name__}"
            raise UserError(
                f"{what} is {given}; expected a dict of one array per modality, and 'label'"
            )
        return sample


@dataclass(frozen=True)
class Encoded:
    """A sample of a modality that is stored as a file.

    Attributes:
        content: of the file.
        array: what it stands for.
    """

    content: bytes
    array: np.ndarray


def _sample(where: str, item: Modality, given: object) -> np.ndarray | Encoded:
    """Return a sample of a modality as it is declared."""
    if item.encoding == RAW:
        return checked(where, item, given)
    if not isinstance(given, bytes) or not given:
        nothing = given is None or isinstance(given, bytes)
        shown = "nothing" if nothing else f"an object of type {type(given).__name__}"
        raise UserError(
            f"{where}, modality '{item.name}': expected the bytes of a {item.encoding.upper()} "
            f"file, found {shown}"
        )
    array = decoded(item, f"{where}, modality '{item.name}',", given)
    return Encoded(given, checked(where, item, array))


def _array(where: str, given: object) -> np.ndarray:
    """Return what a recipe gave as an array; nothing that numpy would have to guess at."""
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise UserError(f"{where}: expected an array without masked values")
    if not isinstance(given, ARRAYS) and not hasattr(given, "__array__"):
        shown = "nothing" if given is None else f"a {type(given).__name__}"
        raise UserError(f"{where}: expected an array of numbers, found {shown}")
    with users_code(f"{where}: expected an array of numbers"):
        return np.asarray(given)


def checked(where: str, item: Modality, given: object) -> np.ndarray:
    """Return a sample of a modality as an array.

    Raises:
        UserError: shape, type or values are not as declared; begins with ``where``.
    """
    where = f"{where}, modality '{item.name}'"
    array = _array(where, given)
    fits = array.shape == item.shape
    if item.varying and array.ndim == len(item.shape):
        fits = array.shape[:-1] == item.shape[:-1] and 0 < array.shape[-1] <= item.shape[-1]
    if not fits:
        length = f" or less, at least 1, of the length {item.shape[-1]}" if item.varying else ""
        raise UserError(
            f"{where}: expected shape {shape_in_words(item.shape)}{length}, "
            f"found {shape_in_words(array.shape)}"
        )
    if not _fits(array.dtype, np.dtype(item.dtype)):
        raise UserError(f"{where}: expected type {item.dtype}, found {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        position = tuple(int(axis) for axis in np.argwhere(~np.isfinite(array))[0])
        raise UserError(f"{where}: expected finite values, found {array[position]} at {position}")
    return array


def _fits(found: np.dtype, expected: np.dtype) -> bool:
    """Tell whether every value of one type is a value of the other (int64 is no float64)."""
    if found.kind in "iu" and found.itemsize == 8 and expected.kind == "f":
        return False
    return np.can_cast(found, expected, "safe")


def _checked_label(where: str, labels: Labels, given: object) -> np.ndarray:
    where = f"{where}, label"
    if given is None:
        if labels.unknown is None:
            raise UserError(
                f"{where}: it is None, but the recipe's Labels name no label for what is unknown; "
                "expected a label, or Labels(…, unknown=-1)"
            )
        given = np.full(labels.shape, labels.unknown)
    array = _array(where, given)
    if array.shape != labels.shape:
        raise UserError(
            f"{where}: expected shape {shape_in_words(labels.shape)}, "
            f"found {shape_in_words(array.shape)}"
        )
    if labels.task == "regression":
        return _checked_numbers(where, labels, array)
    if array.dtype.kind not in ("iub" if labels.task == "multilabel" else "iu"):
        raise UserError(f"{where}: expected an integer type, found {array.dtype}")
    above = 1 if labels.task == "multilabel" else len(labels.classes) - 1
    wrong = (array < 0) | (array > above)
    beside = {"ignored": labels.ignored, "unknown": labels.unknown}
    named = {word: value for word, value in beside.items() if value is not None}
    wrong &= ~np.isin(array, list(named.values()))
    if wrong.any():
        ignored = "".join(f", or {value} for {word}" for word, value in named.items())
        raise UserError(f"{where}: expected 0 to {above}{ignored}, found {array[wrong][0]}")
    return array


def _checked_numbers(where: str, labels: Labels, array: np.ndarray) -> np.ndarray:
    """Return numbers to predict; nan alone says that one is unknown, where that may be."""
    if array.dtype.kind not in "iuf":
        raise UserError(f"{where}: expected numbers, found {array.dtype}")
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused
        numbers = array.astype(np.float32)
    wrong = np.isinf(numbers) if labels.unknown is not None else ~np.isfinite(numbers)
    if wrong.any():
        beside = ", or nan" if labels.unknown is not None else ""
        raise UserError(
            f"{where}: expected finite float32 numbers{beside}, found {array[wrong][0]}"
        )
    return numbers
