"""Blocks whose record is not full yet: a file for each column, beside the data file.

In the data file itself they would leave holes: what is deleted there is free for what comes later,
but never in one piece as long as the record that its blocks become.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import BinaryIO

from mstgraph.store.mapped.soundness import CHECKSUM_BYTES, checksum
from mstgraph.support.errors import UserError
from mstgraph.support.files import make_names_durable

FOLDER = "pending"


class Pending:
    """The blocks of unfinished records; each lies there with its checksum.

    Args:
        directory: in which the store is built.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, BinaryIO] = {}

    def write(self, column: str, place: int, content: bytes | memoryview) -> None:
        """Keep a block, durably.

        Args:
            column: name of the column.
            place: which block of its record it is; those of a record are equally long.
            content: of the block.
        """
        file = self._file(column)
        file.seek(place * (CHECKSUM_BYTES + len(content)))
        file.write(checksum(content))
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

    def read(self, column: str, count: int, size: int, first: int = 0) -> list[memoryview]:
        """Return blocks of the record that is unfinished.

        Args:
            column: name of the column.
            count: how many.
            size: bytes of each.
            first: place of the first of them.

        Raises:
            UserError: one is not as it was written.
        """
        file = self._file(column)
        file.seek(first * (CHECKSUM_BYTES + size))
        found = [memoryview(file.read(CHECKSUM_BYTES + size)) for _ in range(count)]
        for value in found:
            if checksum(value[CHECKSUM_BYTES:]) != value[:CHECKSUM_BYTES]:
                raise UserError(
                    f"{self._directory} is damaged: a block of samples does not match its "
                    "checksum; remove this folder to build the store from the beginning"
                )
        return [value[CHECKSUM_BYTES:] for value in found]

    def close(self) -> None:
        """Close the files; what was written stays."""
        for file in self._files.values():
            file.close()

    def _file(self, column: str) -> BinaryIO:
        if column not in self._files:
            path = self._directory / FOLDER / column
            path.parent.mkdir(exist_ok=True)
            path.touch()
            make_names_durable(path.parent)
            self._files[column] = path.open("r+b")
        return self._files[column]


def remove_pending(directory: Path) -> None:
    """Remove what no record waits for any more."""
    if (directory / FOLDER).is_dir() and not (directory / FOLDER).is_symlink():
        shutil.rmtree(directory / FOLDER)
