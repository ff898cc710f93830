"""What a person names on the command line, item by item: files, folders, tables, lines."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os.path import isfile
from pathlib import Path
from typing import TextIO

from mstgraph.support.errors import UserError

TABLES = {".csv": ",", ".tsv": "\t"}
STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Item:
    """One raw item.

    Attributes:
        name: as messages and results name it: a path, ``FILE.csv:LINE``, ``-:LINE``.
        raw: a file, or a line of text; or why there is none.
    """

    name: str
    raw: Path | str | UserError


def items(inputs: Iterable[str | Path], modality: str, stdin: TextIO) -> Iterator[Item]:
    """Yield the items that inputs stand for.

    A folder stands for all files below it, in the order of their names; a table (.csv, .tsv) for
    its rows; ``-`` for the lines of standard input; all else for itself.

    Args:
        inputs: what was named.
        modality: the column of a table that holds the item, where it names a file beside the
            table, that file; one without such a column is an item by all of its fields.
        stdin: standard input.
    """
    for given in inputs:
        if str(given) == STANDARD_INPUT:
            yield from _lines(stdin)
            continue
        path = Path(given)
        files = _below(path) if path.is_dir() else [path]
        for file in files:
            if file.suffix.lower() in TABLES and file.is_file():
                yield from _rows(file, modality)
            else:
                yield Item(str(file), file)


def _below(folder: Path) -> list[Path]:
    """Return the files below a folder, hidden ones left out."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [p for p in found if not any(x.startswith(".") for x in p.relative_to(folder).parts)]


def _lines(stdin: TextIO) -> Iterator[Item]:
    for number, line in enumerate(stdin, 1):
        if line.strip():
            yield Item(f"{STANDARD_INPUT}:{number}", line.rstrip("\n"))


def _rows(path: Path, modality: str) -> Iterator[Item]:
    """Yield a table's rows; a first row that names columns is none."""
    delimiter = TABLES[path.suffix.lower()]
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter)
            rows = [(reader.line_num, fields) for fields in reader if any(fields)]
    except (OSError, ValueError, csv.Error) as error:
        yield Item(str(path), UserError(f"the table cannot be read: {error}"))
        return
    names = [name.strip() for name in rows[0][1]] if rows else []
    if modality in names:
        column = names.index(modality)
        rows = [(line, fields[column : column + 1]) for line, fields in rows[1:]]
    elif _numbers(fields for _, fields in rows[1:2]) and not _numbers([names]):
        rows = rows[1:]
    for line, fields in rows:
        text = delimiter.join(fields)
        beside = path.parent / text
        named = modality in names and isfile(beside)  # of a text longer than a name it says no
        yield Item(f"{path}:{line}", beside if named else text)


def _numbers(rows: Iterable[Sequence[str]]) -> bool:
    """Tell whether there are rows, all of numbers."""
    try:
        return bool([float(field) for fields in rows for field in fields])
    except ValueError:
        return False
