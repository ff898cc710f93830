"""Lists and tables as plain text: a row is a row, whatever quotation marks its fields hold."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from mstgraph.support.errors import UserError, nearest

Row = tuple[int, dict[str, str]]
"""The number of a row's last line, and its fields by column."""

OTHERS = (";", "\t", "|", ",")  # what else may stand between fields


def lines(path: Path) -> list[str]:
    r"""Return the lines of a text in UTF-8; they end in \n, \r\n or, all of them, in \r.

    What Python also takes for the end of a line, such as U+2028, may stand in a line.

    Raises:
        UserError: it cannot be read, or is in another encoding; names the line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        wrong = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"line {wrong} of {path} cannot be read as text in UTF-8: {error.reason}"
        ) from error
    if "\n" not in text:
        text = text.replace("\r", "\n")
    found = text.split("\n")
    for number, line in enumerate(found, 1):
        if "\0" in line or "\r" in line:
            raise UserError(
                f"line {number} of {path} holds a character that no text does; expected a text in "
                "UTF-8"
            )
    return found[:-1] if not found[-1] else found


def table(path: Path, columns: Sequence[str], delimiter: str = ",") -> list[Row]:
    """Return the rows of a table in UTF-8 whose first line names its columns, with their lines.

    A table is plain if each of its lines has as many fields as the first: quotation marks then
    matter where they enclose a whole field, and nowhere else. In any other, quoted fields may hold
    delimiters and ends of lines.

    Args:
        path: the file.
        columns: columns that it must have, of which no field may be empty; () for all that
            there are, empty fields and all.
        delimiter: between two fields.

    Raises:
        UserError: a column is missing or named twice, a row is of another length, or the file is
            no such table; names the line.
    """
    text = lines(path)
    plain = [line.split(delimiter) for line in text]
    count = len(plain[0]) if plain else 0
    names = [_unquoted(field) for field in plain[0]] if plain else []
    if other := next((mark for mark in OTHERS if count == 1 and mark in text[0]), None):
        raise UserError(
            f"line 1 of {path} names a single column, but holds {other!r}; expected columns "
            f"between which stands {delimiter!r}"
        )
    _check_names(path, names, columns)
    if all(len(fields) == count or fields == [""] for fields in plain):
        rows = [
            (number, [_unquoted(field) for field in fields])
            for number, fields in enumerate(plain, 1)
            if fields != [""]
        ][1:]
    else:
        rows = list(_quoted(path, text, count, delimiter))
    found = [(number, dict(zip(names, fields, strict=True))) for number, fields in rows]
    for number, row in found:
        for column in columns:
            if not row[column].strip():
                raise UserError(f"line {number} of {path} has an empty '{column}'")
    return found


def _check_names(path: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    for column in columns:
        if column not in names:
            raise UserError(f"{path} has no column '{column}'{nearest(column, names)}")
    for column in columns or names:  # without any that are named, all are wanted
        if names.count(column) > 1:
            raise UserError(f"{path} has two columns '{column}'; expected one")


def _unquoted(field: str) -> str:
    """Return what a field says, without quotation marks that enclose it and double those inside."""
    inside = field[1:-1]
    enclosed = len(field) > 1 and field[0] == field[-1] == '"'
    return inside.replace('""', '"') if enclosed and '"' not in inside.replace('""', "") else field


def _quoted(
    path: Path, text: Sequence[str], count: int, delimiter: str
) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a table whose quoted fields hold delimiters or ends of lines."""
    reader = csv.reader((f"{line}\n" for line in text), delimiter=delimiter, strict=True)
    begun = 0
    try:
        for fields in reader:
            first, begun = begun + 1, reader.line_num
            if fields and len(fields) != count:
                raise UserError(
                    f"line {begun} of {path} has another number of columns than the first line, "
                    f"{count}"
                )
            for number in range(first + 1, begun + 1):
                if text[number - 1].count(delimiter) == count - 1:
                    raise UserError(
                        f"line {first} of {path} opens a quotation mark that line {number}, which "
                        "looks like a row of its own, closes; expected marks that are doubled "
                        "inside a field, and around it"
                    )
            if fields and first > 1:
                yield begun, fields
    except csv.Error as error:
        raise UserError(f"line {reader.line_num} of {path} cannot be read: {error}") from error
