"""A data set of one's own as a recipe: a table with files or values, and what there is found out.

``datasets/table.py`` is the recipe; one of your own derives from `Table` and says what differs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from mstgraph.recipes import columns as reading
from mstgraph.recipes.names import plain_name
from mstgraph.recipes.raw import existing
from mstgraph.recipes.rows import PARTS, SPLIT, Rows, part_of, read_rows, suffix_kind
from mstgraph.recipes.sounds import LogMel
from mstgraph.store.recipe import RAW, Labels, Modality, Recipe
from mstgraph.support.errors import UserError, nearest
from mstgraph.support.text import shape_in_words

NUMBERS = "numbers"  # the modality that columns of numbers are together
UNKNOWN = -1
PRETENDED = 0.5  # share of the rows from which on classes look like no classes
WORDS = {"image": "a picture", "sound": "a recording"}
FEW = 20  # rows of which any number of classes may be meant


@dataclass
class Table(Recipe):
    """A CSV, TSV or Parquet file, a folder of files, or a data set that ``datasets`` saved.

    Attributes:
        raw: the file or folder; see `mstgraph.recipes.rows.read_rows`. Paths in a table are
            relative to where it lies.
        columns: the columns that are modalities; empty for all that hold pictures, sounds or
            arrays, one modality each, and for all columns of numbers together, the modality
            ``numbers``.
        optional: the columns whose cell may be empty: the sample lacks that modality. Columns of
            numbers are one modality, so that a row has all of them or none.
        label: the column of classes; a row whose label is empty is one that nobody labelled.
        split: the column that says ``train``, ``validation`` or ``test``; without it, random
            groups.
        sizes: height and width of pictures: ``96x128`` for all, ``thermal=32x32`` for a column.
        rate: samples per second of sounds, which are stored as spectrograms.
        seconds: of a sound; longer ones are cut, shorter ones filled with silence.
        bands: of the spectrograms.

    Class attributes:
        keeps_files: whether JPEG and PNG files are stored as they are, and decoded when they are
            read: a fraction of the bytes for more time. A column's first file says which it is.
    """

    title: ClassVar[str] = "Table"
    source: ClassVar[str] = "a table of the user's own"
    licence: ClassVar[str] = "that of the data"
    requires: ClassVar[str] = (
        "a CSV, TSV or Parquet file, a folder with one folder of files per class, or a data set "
        "that Hugging Face's datasets saved"
    )

    keeps_files: ClassVar[bool] = False  # no option, which would make every earlier store another

    raw: Path | None = None
    columns: tuple[str, ...] = ()
    optional: tuple[str, ...] = field(default=(), metadata={"later": True})
    label: str = "label"
    split: str = SPLIT
    sizes: tuple[str, ...] = ("64x64",)
    rate: int = 16_000
    seconds: float = 1.0
    bands: int = 64

    @cached_property
    def rows(self) -> Rows:
        """The table."""
        return read_rows(existing(self.raw, f"expected {self.requires}"))

    @cached_property
    def sources(self) -> dict[str, reading.Source]:
        """Modality → the columns that it comes from, and how they are read."""
        kinds = {name: reading.kind_of(self.rows, name) for name in self._chosen}
        found: dict[str, reading.Source] = {}
        for column, kind in kinds.items():
            if kind != "number":
                found[self._new_name(column, found)] = self._source(column, kind)
        if together := tuple(column for column, kind in kinds.items() if kind == "number"):
            found[self._new_name(NUMBERS, found)] = reading.Numbers(together)
        if not found:
            raise UserError(
                f"'{self.raw}' has no column of pictures, sounds, arrays or numbers beside its "
                f"label; it has {', '.join(map(repr, self.rows.columns))}"
            )
        return found

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        self._check_column("label", self.label)
        found = reading.class_names(self.rows, self.label)
        if len(found) < 2:
            folder = self.raw is not None and Path(self.raw).is_dir()
            raise UserError(
                f"the column '{self.label}' of '{self.raw}' has no two classes, but "
                f"{f'{found[0]!r} alone' if found else 'nothing'}"
                f"{'; expected a folder of files for each class' if folder else ''}"
            )
        if len(self.rows) > FEW and len(found) > PRETENDED * len(self.rows):
            raise UserError(
                f"the column '{self.label}' of '{self.raw}' has {len(found)} different values in "
                f"{len(self.rows)} rows; expected classes, each with several rows"
            )
        return found

    def modalities(self) -> tuple[Modality, ...]:
        """Return them in the order of the columns, numbers last."""
        for column in self.optional:
            self._check_column("optional", column)
        return tuple(
            replace(source.modality(name), optional=self._may_lack(source))
            for name, source in self.sources.items()
        )

    def labels(self) -> Labels:
        """Return the classes; an empty label is unknown."""
        empty = any(map(reading.is_empty, self.rows.columns.get(self.label, ())))
        return Labels("classification", self.classes, unknown=UNKNOWN if empty else None)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def sample(self, index: int) -> Mapping[str, np.ndarray | bytes | None]:
        """Return a row, None for what it lacks.

        Raises:
            UserError: a file is missing or cannot be read, or a value is none; names the row.
        """
        values = {
            name: None if self._lacks(source, index) else source.read(self.rows, index)
            for name, source in self.sources.items()
        }
        return {**values, "label": np.array(self.target(index))}

    def item(self, modality: Modality, raw: Path | str) -> np.ndarray:
        """Return a picture, a recording, an array or a line of numbers, as `sample` stores it.

        Raises:
            UserError: it cannot be read, or is no item of this modality.
            ValueError: it is no array and no line of the modality's numbers.
        """
        path = Path(raw)
        kind = suffix_kind(path.name)
        if kind not in ("image", "sound"):
            return super().item(modality, path if kind == "array" else raw)
        source: reading.Images | reading.Sounds
        if kind == "image":
            source = reading.Images((), tuple(modality.shape[-2:]))  # type: ignore[arg-type]
        else:
            source = reading.Sounds((), LogMel(self.rate, self.seconds, self.bands))
        if source.modality(modality.name) != replace(modality, optional=False):
            shape = shape_in_words(modality.shape)
            raise UserError(f"it holds {WORDS[kind]}; expected {shape} of '{modality.name}'")
        return source.opened(path)

    def columns_read(self, names: Sequence[str]) -> Sequence[str]:
        """Return those that the option ``columns`` names, or all but label and split."""
        beside = (self.label, self.split)
        return [name for name in self.columns or names if name not in beside]

    def identifier(self, index: int) -> str:
        """Return the line."""
        return self.rows.lines[index]

    def official_splits(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """Return the split that the table tells as ``table``; {} if it has no such column."""
        if self.split not in self.rows.columns:
            if self.split != SPLIT:
                self._check_column("split", self.split)
            return {}
        parts: dict[str, list[int]] = {}
        for row, word in enumerate(self.rows.columns[self.split]):
            part = part_of(str(word))
            if part is None:
                raise UserError(
                    f"{self.rows.lines[row]} has '{word}' in '{self.split}'"
                    f"{nearest(str(word), PARTS)}"
                )
            parts.setdefault(part, []).append(row)
        return {"table": parts}

    def raw_files(self) -> tuple[Path, ...]:
        """Return the table and all files that it names."""
        named = (file for source in self.sources.values() for file in source.files(self.rows))
        return (*self.rows.files, *dict.fromkeys(named))

    def _may_lack(self, source: reading.Source) -> bool:
        return not {*source.columns}.isdisjoint(self.optional)

    def _lacks(self, source: reading.Source, row: int) -> bool:
        cells = (self.rows.columns[column][row] for column in source.columns)
        return self._may_lack(source) and all(map(reading.is_empty, cells))

    @property
    def _chosen(self) -> list[str]:
        """Names of the columns that are modalities."""
        for column in self.columns:
            self._check_column("columns", column)
        others = [name for name in self.rows.columns if name not in (self.label, self.split)]
        if self.columns:
            return list(self.columns)
        return [name for name in others if reading.kind_of(self.rows, name) != "text"]

    def _new_name(self, column: str, taken: Mapping[str, object]) -> str:
        """Return a column's name as that of a modality, which no other has."""
        name = plain_name(column)
        if name in taken:
            raise UserError(
                f"two modalities of '{self.raw}' would be called '{name}'; rename the column "
                f"'{column}'"
            )
        return name

    def _source(self, column: str, kind: str) -> reading.Source:
        if kind == "image":
            encoding = reading.encoding_of(self.rows, column) if self.keeps_files else RAW
            return reading.Images((column,), self._size(column), encoding)
        if kind == "sound":
            return reading.Sounds((column,), LogMel(self.rate, self.seconds, self.bands))
        if kind == "array":
            return reading.array_like(self.rows, column)
        raise UserError(
            f"the column '{column}' of '{self.raw}' holds text; expected paths to pictures, "
            "sounds or .npy files, or numbers"
        )

    def _size(self, column: str) -> tuple[int, int]:
        """Return height and width of a column's pictures."""
        said = dict(entry.rpartition("=")[::2] for entry in self.sizes)
        if wrong := next((name for name in said if name and name not in self.rows.columns), None):
            self._check_column("sizes", wrong)
        text = said.get(column, said.get("", "64x64"))
        found = re.fullmatch(r"(\d+)x(\d+)", text)
        if not found or "0" in found.groups():
            raise UserError(f"option 'sizes' holds '{text}'; expected a height and width, 96x128")
        return int(found[1]), int(found[2])

    def target(self, row: int) -> int | Sequence[float]:
        """Return the label of a row, as it is stored."""
        value = self.rows.columns[self.label][row]
        if reading.is_empty(value):
            return UNKNOWN
        if self.label in self.rows.classes:
            return int(value)
        return self.classes.index(str(value))

    def _check_column(self, option: str, column: str) -> None:
        if column not in self.rows.columns:
            raise UserError(
                f"option '{option}' names '{column}', but '{self.raw}' has no such column"
                f"{nearest(column, self.rows.columns)}"
            )
