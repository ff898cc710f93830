"""What a person names on the command line, item by item: files, folders, tables, lines."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os.path import isfile
from pathlib import Path
from typing import TextIO

from mstgraph.support.errors import UserError

TABLES = {".csv": ",", ".tsv": "\t"}
STANDARD_INPUT = "-"

Raws = Mapping[str, Path | str]
"""Modality → a file, or a line of text; what an item lacks is left out."""
Columns = Callable[[Sequence[str]], Sequence[str]]
"""From the columns of a table to those that may hold modalities."""


@dataclass(frozen=True)
class Item:
    """One raw item.

    Attributes:
        name: as messages and results name it: a path, ``FILE.csv:LINE``, ``-:LINE``.
        raws: what there is of it; or why there is nothing.
    """

    name: str
    raws: Raws | UserError


def items(
    inputs: Iterable[str | Path], modalities: Sequence[str], columns: Columns, stdin: TextIO
) -> Iterator[Item]:
    """Yield the items that inputs stand for.

    A folder stands for all files below it, in the order of their names; a table (.csv, .tsv) for
    its rows; ``-`` for the lines of standard input; all else for itself. Of several modalities, a
    folder has a folder of each, whose files of one name are an item, and a table columns of each.

    Args:
        inputs: what was named.
        modalities: what an item is of.
        columns: which columns of a table may hold them; see `_places`.
        stdin: standard input.
    """
    for given in inputs:
        path, alone = Path(given), len(modalities) == 1
        if str(given) == STANDARD_INPUT and alone:
            yield from _lines(stdin, modalities[0])
        elif path.is_dir() and not alone:
            yield from _of_one_name(path, modalities)
        else:
            for file in _below(path) if path.is_dir() else [path]:
                if file.suffix.lower() in TABLES and file.is_file():
                    yield from _rows(file, modalities, columns)
                else:
                    yield Item(
                        str(file), {modalities[0]: file} if alone else _one(file, modalities)
                    )


def _one(path: Path, modalities: Sequence[str]) -> UserError:
    if not path.exists() and str(path) != STANDARD_INPUT:
        return UserError("there is no such file")
    return UserError(
        f"it is of one modality, and the student sees {' + '.join(modalities)}; expected a table "
        "with a column of each, or a folder with a folder of each"
    )


def _below(folder: Path) -> list[Path]:
    """Return the files below a folder, hidden ones left out."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [p for p in found if not any(x.startswith(".") for x in p.relative_to(folder).parts)]


def _of_one_name(folder: Path, modalities: Sequence[str]) -> Iterator[Item]:
    """Yield what lies in folders called like modalities; files of one name are one item."""
    found: dict[Path, dict[str, Path | str]] = {}
    for modality in modalities:
        for file in _below(folder / modality):
            name = file.relative_to(folder / modality).with_suffix("")
            found.setdefault(name, {})[modality] = file
    for name in sorted(found):
        yield Item(str(folder / name), found[name])
    if not found:
        expected = ", ".join(f"'{name}'" for name in modalities)
        yield Item(str(folder), UserError(f"it has no files in folders called {expected}"))


def _lines(stdin: TextIO, modality: str) -> Iterator[Item]:
    for number, line in enumerate(stdin, 1):
        if line.strip():
            yield Item(f"{STANDARD_INPUT}:{number}", {modality: line.rstrip("\n")})


def _rows(path: Path, modalities: Sequence[str], columns: Columns) -> Iterator[Item]:
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
    numeric = [_number(field) for field in rows[1][1]] if len(rows) > 1 else []
    # Nobody can tell a first row of text from names, unless numbers follow.
    named = not set(modalities).isdisjoint(names) or (any(numeric) and not any(map(_number, names)))
    if not named and len(modalities) > 1:
        yield Item(str(path), UserError(f"its first line names none of {', '.join(modalities)}"))
    elif not named:
        for line, fields in rows:
            yield Item(f"{path}:{line}", {modalities[0]: delimiter.join(fields)})
    else:
        places = _places(names, numeric, modalities, columns(names))
        for line, fields in rows[1:]:
            found: Raws | UserError = _raws(fields, places, names, path.parent, delimiter)
            if len(fields) != len(names):
                found = UserError(
                    f"it has {len(fields)} fields; expected {len(names)} as are named"
                )
            yield Item(f"{path}:{line}", found)


def _raws(
    fields: Sequence[str],
    places: Mapping[str, Sequence[int]],
    names: Sequence[str],
    folder: Path,
    delimiter: str,
) -> dict[str, Path | str]:
    """Return what a row has: text, or the file that a column of a modality's name tells."""
    raws: dict[str, Path | str] = {}
    for modality, own in places.items():
        text = delimiter.join(fields[i] for i in own if i < len(fields))
        # Of a text longer than a name it says no.
        beside = names[own[0]] == modality and isfile(folder / text)
        if text.strip(delimiter):
            raws[modality] = folder / text if beside else text
    return raws


def _places(
    names: Sequence[str], numeric: Sequence[bool], modalities: Sequence[str], allowed: Sequence[str]
) -> dict[str, list[int]]:
    """Return modality → the columns that hold it; {} where none does.

    A modality's are that of its name; else those of its name and a number (``gaze0``, ``gaze1``);
    else, if it is the only one left, all columns of numbers that are left.
    """
    found: dict[str, list[int]] = {}
    for modality in modalities:
        counted = re.compile(rf"{re.escape(modality)}\W?_?\d+\W?")
        own = [i for i, name in enumerate(names) if name == modality]
        own = own[:1] or [i for i, name in enumerate(names) if counted.fullmatch(name)]
        if own:
            found[modality] = own
    taken = {i for own in found.values() for i in own}
    left = [i for i, name in enumerate(names) if i not in taken and name in allowed]
    lacking = [modality for modality in modalities if modality not in found]
    if len(lacking) == 1 and (rest := [i for i in left if numeric[i : i + 1] == [True]]):
        found[lacking[0]] = rest
    return found


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
