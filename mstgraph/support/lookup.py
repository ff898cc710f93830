"""Where a file lies that a person or another file names.

The working directory comes first, then the folder of the file that names it and the folders above,
and last what mstgraph itself brings: so the same name means the same in a clone of the repository
and in an empty folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mstgraph.support.errors import UserError, nearest

_PACKAGE = Path(__file__).resolve().parents[1]
# Holds gin/ and datasets/: setup.py puts them into an installed package; else the repository does.
SHIPPED = next(path for path in (_PACKAGE / "shipped", _PACKAGE.parent) if path.is_dir())


def find_file(name: Path | str, beside: Sequence[Path] = (), place: str = "") -> Path:
    """Return the first file of a name.

    Args:
        name: as it was written.
        beside: folders of the files that name it.
        place: where it was written, for the message.

    Raises:
        UserError: it is nowhere; where it was looked for, and the nearest name there.
    """
    places = [folder / name for folder in (*_folders(beside), SHIPPED)]
    found = next((path for path in places if path.is_file()), None)
    if found is not None:
        return found
    start = f"{place}: " if place else ""
    if any(path.is_dir() for path in places):
        raise UserError(f"{start}'{name}' is a folder, expected a file")
    there = [
        str(Path(name).parent / other.name)
        for path in places
        for other in path.parent.glob(f"*{path.suffix}")
    ]
    looked = "" if Path(name).is_absolute() else f": looked {_in_words(beside)}"
    raise UserError(f"{start}there is no file '{name}'{looked}{nearest(str(name), there)}")


def find_folder(name: Path | str, beside: Sequence[Path] = ()) -> Path | None:
    """Return the first folder of a name; nothing of mstgraph's own; None if it is nowhere."""
    return next((path / name for path in _folders(beside) if (path / name).is_dir()), None)


def _folders(beside: Iterable[Path]) -> list[Path]:
    """Return the working directory, and each folder with those above it."""
    resolved = [folder.resolve() for folder in beside]
    return [Path(), *(above for folder in resolved for above in (folder, *folder.parents))]


def _in_words(beside: Sequence[Path]) -> str:
    shown = dict.fromkeys(f"in and above '{folder.resolve()}'" for folder in beside)
    return ", ".join(("in the working directory", *shown, f"and in '{SHIPPED}'"))
