"""An exported student in Python: where its files are, and what they are worth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from mstgraph.export.table import header, rows, said_of_times
from mstgraph.report.console import as_text
from mstgraph.report.tables import table


class Exported:
    """An exported student; ``print(exported)`` shows the table of what was measured.

    Made by `Run.export`.

    Attributes:
        path: its folder: the file, ``README.md`` (a model card) and ``export.json``.
    """

    def __init__(self, path: Path, document: Mapping[str, Any]):
        self.path = path
        self._document = document

    @property
    def file(self) -> Path:
        """What a runtime opens."""
        return self.path / str(self._document["files"][0])

    def document(self) -> dict[str, Any]:
        """Return what was measured as plain data: ``export.json``."""
        return dict(self._document)

    def show(self, console: Console) -> None:
        """Print the table to a console."""
        said = self._document
        label = f" · {said['data']['synthetic']}" if said["data"]["synthetic"] else ""
        title = f"{said['name']}{label} · {said['samples']} samples of test split {said['split']}"
        columns = header(said)
        shown = table(title, columns, right=columns[1:])
        for cells in rows(said):
            shown.add_row(*cells)
        console.print(shown)
        console.print(said_of_times(said), highlight=False, markup=False, soft_wrap=True)

    def __str__(self) -> str:
        return as_text(self.show)

    def __repr__(self) -> str:
        return f"<mstgraph.Exported '{self.file}'>"
