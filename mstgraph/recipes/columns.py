"""What a column of a table holds, and how one value of it becomes an array."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mstgraph.recipes import images, raw, sounds
from mstgraph.recipes.rows import Rows, suffix_kind
from mstgraph.store.recipe import RAW, Modality
from mstgraph.support.errors import UserError
from mstgraph.support.text import shape_in_words

Kind = Literal["image", "sound", "array", "number", "text"]
LOOKED_AT = 50  # rows that tell what a column holds; a later one that differs is refused by name
LARGEST = float(np.finfo(np.float32).max)
SHOWN = 40  # characters of a value in a sentence


def kind_of(rows: Rows, column: str) -> Kind:
    """Return what a column holds, as its first rows tell."""
    if column in rows.kinds:
        return rows.kinds[column]  # type: ignore[return-value]
    values = first_values(rows, column)
    found = {_kind_of_value(value) for value in values}
    return found.pop() if len(found) == 1 else "text"


def first_values(rows: Rows, column: str) -> list[Any]:
    """Return values of the first rows that have one."""
    values = (rows.columns[column][row] for row in range(min(len(rows), LOOKED_AT)))
    return [value for value in values if not is_empty(value)]


def is_empty(value: Any) -> bool:
    """Say whether a row has no value."""
    return value is None or (isinstance(value, str) and not value)


def _kind_of_value(value: Any) -> Kind:
    if isinstance(value, dict):
        return suffix_kind(str(value.get("path") or "")) or "text"  # type: ignore[return-value]
    if isinstance(value, (list, tuple)):
        return "array"
    if isinstance(value, str) and (kind := suffix_kind(value)):
        return kind  # type: ignore[return-value]
    return "text" if _float(value) is None else "number"


def number(value: Any) -> float | None:
    """Return a finite number that a value is or says, or None."""
    found = _float(value)
    return None if found is None or not math.isfinite(found) else found


def _float(value: Any) -> float | None:
    """Return what a value says as a number, be it nan or infinite, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:
        return None


class Source(ABC):
    """Where a modality comes from: columns of a table, and how a row of them is read."""

    columns: tuple[str, ...]

    @abstractmethod
    def modality(self, name: str) -> Modality:
        """Return what is stored, under a name."""

    @abstractmethod
    def read(self, rows: Rows, row: int) -> np.ndarray | bytes:
        """Return a row's value, an array or the content of a file; UserError names the row."""

    def files(self, rows: Rows) -> list[Path]:
        """Return the files that its rows name."""
        values = [value for column in self.columns for value in _paths(rows, column)]
        return [rows.folder / value for value in values]


def _paths(rows: Rows, column: str) -> list[str]:
    values = rows.columns[column]
    first = next((value for value in values if not is_empty(value)), None)
    if isinstance(first, str) and suffix_kind(first):
        return [value for value in values if not is_empty(value)]
    return []


def _value(rows: Rows, column: str, row: int) -> Any:
    value = rows.columns[column][row]
    if is_empty(value):
        raise UserError(
            f"{rows.lines[row]} has an empty '{column}'; expected a value, or the column among "
            "the option 'optional' where samples lack what it holds"
        )
    return value


def file_of(rows: Rows, column: str, row: int) -> tuple[Path, bytes | None]:
    """Return a file's path, and its content if that lies in the table."""
    value = _value(rows, column, row)
    if not isinstance(value, dict):
        return rows.folder / str(value), None
    content, named = value.get("bytes"), value.get("path")
    if content is None and named is None:
        raise UserError(f"{rows.lines[row]} has neither bytes nor a path in '{column}'")
    # Of a file that lies in the table, the path is where somebody once had it.
    path = Path(f"'{column}' in {rows.lines[row]}") if content else rows.folder / str(named)
    return path, content


@dataclass(frozen=True)
class Images(Source):
    """Pictures, brought to one size, RGB; stored as arrays, or as the files that they are."""

    columns: tuple[str, ...]
    size: tuple[int, int]
    encoding: str = RAW

    def modality(self, name: str) -> Modality:
        """Return [3, height, width] uint8."""
        return Modality(name, "uint8", (3, *self.size), encoding=self.encoding)

    def read(self, rows: Rows, row: int) -> np.ndarray | bytes:
        """Return the picture, resized, or its file."""
        path, content = file_of(rows, self.columns[0], row)
        if self.encoding == RAW:
            return self.opened(path, content)
        return path.read_bytes() if content is None else content

    def opened(self, path: Path, content: bytes | None = None) -> np.ndarray:
        """Return a picture as it is stored; ``content`` is the file's if that lies in a table."""
        height, width = self.size
        picture = images.colour(path, content)
        return images.resized(picture, height, width)


@dataclass(frozen=True)
class Sounds(Source):
    """Recordings as spectrograms."""

    columns: tuple[str, ...]
    log_mel: sounds.LogMel

    def modality(self, name: str) -> Modality:
        """Return [1, bands, times] float32."""
        return Modality(name, "float32", self.log_mel.shape)

    def read(self, rows: Rows, row: int) -> np.ndarray:
        """Return the spectrogram."""
        return self.opened(*file_of(rows, self.columns[0], row))

    def opened(self, path: Path, content: bytes | None = None) -> np.ndarray:
        """Return a recording as it is stored; ``content`` is the file's if that lies in a table."""
        return self.log_mel(sounds.recording(path, self.log_mel.rate, content))


@dataclass(frozen=True)
class Arrays(Source):
    """Arrays of one shape, from ``.npy`` files or as lists in the table."""

    columns: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str

    def modality(self, name: str) -> Modality:
        """Return an array as the first row has it; float32 unless it is uint8 or float16."""
        return Modality(name, self.dtype, self.shape)

    def read(self, rows: Rows, row: int) -> np.ndarray:
        """Return the array."""
        value = _value(rows, self.columns[0], row)
        if not isinstance(value, str):
            return numbers(value, rows.lines[row], self.columns[0], self.shape)
        opened = raw.array(rows.folder / value, [self.shape], whole=True)
        return np.array(opened, dtype=self.dtype)


def numbers(value: Any, line: str, column: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Return lists of numbers as float32; UserError if they are none, or of another shape."""
    try:
        found = np.asarray(value, np.float32)
    except (ValueError, TypeError) as error:
        raise UserError(f"{line} has no numbers of one shape in '{column}'") from error
    if shape is not None and found.shape != shape:
        raise UserError(
            f"{line} has {shape_in_words(found.shape)} in '{column}'; expected "
            f"{shape_in_words(shape)} as in the first row"
        )
    return found


@dataclass(frozen=True)
class Numbers(Source):
    """Columns of numbers, together a vector."""

    columns: tuple[str, ...]

    def modality(self, name: str) -> Modality:
        """Return [columns] float32."""
        return Modality(name, "float32", (len(self.columns),))

    def read(self, rows: Rows, row: int) -> np.ndarray:
        """Return the row's numbers."""
        found = [self._number(rows, column, row) for column in self.columns]
        return np.array(found, np.float32)

    def _number(self, rows: Rows, column: str, row: int) -> float:
        value = rows.columns[column][row]
        if is_empty(value) and not all(is_empty(rows.columns[name][row]) for name in self.columns):
            raise UserError(
                f"{rows.lines[row]} has an empty '{column}' beside other numbers; expected all of "
                "a row or none: fill it in, or leave the column out of the option 'columns'"
            )
        value = _value(rows, column, row)
        found = number(value)
        if found is None or abs(found) > LARGEST:
            shown = str(value) if len(str(value)) <= SHOWN else f"{str(value)[:SHOWN]}…"
            raise UserError(
                f"{rows.lines[row]} has '{shown}' in '{column}'; expected a number that is finite "
                "in float32"
            )
        return found


def encoding_of(rows: Rows, column: str) -> str:
    """Return how a column's first picture can be stored as it is, see `Modality.encoding`."""
    first = next(iter(first_values(rows, column)), "")
    name = str(first.get("path") or "") if isinstance(first, dict) else str(first)
    return _ENCODINGS.get(Path(name).suffix.lower(), RAW)


_ENCODINGS = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png"}


def array_like(rows: Rows, column: str) -> Arrays:
    """Return how a column of arrays is read: like the first row that has one."""
    row = next((n for n, v in enumerate(rows.columns[column]) if not is_empty(v)), None)
    if row is None:
        raise UserError(f"the column '{column}' is empty")
    value = rows.columns[column][row]
    if not isinstance(value, str):
        return Arrays((column,), numbers(value, rows.lines[row], column).shape, "float32")
    path = rows.folder / value
    opened = raw.opened_array(path)
    shape = getattr(opened, "shape", ())
    raw.array(path, [shape], whole=True)
    return Arrays((column,), shape, raw.stored_type([opened]))


def class_names(rows: Rows, column: str) -> tuple[str, ...]:
    """Return the classes of a column of labels, in their order: numbers by value, words by name."""
    if column in rows.classes:
        return rows.classes[column]
    values: Sequence[Any] = rows.columns[column]
    found = {str(value): number(value) for value in values if not is_empty(value)}
    as_numbers = [value for value in found.values() if value is not None]
    if len(as_numbers) == len(found):
        return tuple(sorted(found, key=lambda name: (found[name], name)))
    return tuple(sorted(found))
