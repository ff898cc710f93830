"""Folders that mstgraph writes to: which are its own, and which names in them it made.

Whoever names a folder with ``--out`` may mean one that holds other things. A folder is mstgraph's
own if it was empty when it was first named, and says so from then on in a record; what is
overwritten or removed in it later stands in the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypedDict

from mstgraph.support.disk.descriptions import read_description, write_description
from mstgraph.support.errors import UserError
from mstgraph.support.files import explained, partial_path

RECORD = ".mstgraph.json"
LOCK = ".lock"
KEPT, SCRATCH = ".kept", ".scratch"  # folders of what is there while a run, a benchmark goes on
_LOCKS = {LOCK, f"{LOCK}.marker"}
_NOTHING = {RECORD, partial_path(Path(RECORD)).name, *_LOCKS, KEPT, SCRATCH, "lost+found"}
"""What may lie in a folder that is as good as empty: a kill can leave no more than that."""


class _Record(TypedDict):
    kind: str
    made: list[str]


Earlier = Callable[[Path], Iterable[str] | None]
"""Says of a folder without a record which names an earlier version made in it; None: none did."""


class OwnFolder:
    """A folder that is mstgraph's own, or may become so.

    Args:
        path: the folder; it need not be there.
        kind: what it holds: ``"run"``, ``"benchmark"``.
        earlier: recognises what earlier versions made, which kept no record.
    """

    def __init__(self, path: Path, kind: str, earlier: Earlier = lambda path: None):
        self.path = path
        self.kind = kind
        self._earlier = earlier
        self._made: set[str] | None = None

    def refuse_foreign(self) -> None:
        """Refuse a folder that holds something else; changes nothing.

        Raises:
            UserError: it is no folder, or neither empty nor of this kind.
        """
        with explained(self.path):
            if not self.path.exists():
                return
            there = {entry.name for entry in self.path.iterdir()} - _NOTHING
        if self._recorded() is None and there:
            shown = ", ".join(f"'{name}'" for name in sorted(there)[:3])
            raise UserError(
                f"'{self.path}' is no {self.kind} of mstgraph's and not empty (it holds {shown}); "
                "expected a new or an empty folder: choose another place with --out"
            )

    def claim(self) -> None:
        """Take a folder over that is there and locked: from now on it is mstgraph's own.

        Raises:
            UserError: it is not (`refuse_foreign`), or it cannot be written.
        """
        self.refuse_foreign()
        self._made = set(self._recorded() or ())
        if not (self.path / RECORD).is_file():
            self._write()

    def make(self, *names: str) -> None:
        """Record names of files that are about to be written.

        Raises:
            UserError: something of such a name is there that mstgraph did not make.
        """
        new = [name for name in names if name not in self._names()]
        for path in (self.path / name for name in new):
            if path.is_symlink() or path.exists():
                raise UserError(
                    f"'{path}' is to be written, but is there already and was not made by this "
                    f"{self.kind}; expected that you move it, or another place with --out"
                )
        if new:
            self._names().update(new)
            self._write()

    def made(self) -> list[str]:
        """Return the names that were made here, sorted."""
        return sorted(self._names())

    def remove(self, names: Iterable[str]) -> None:
        """Remove files that were made here; others of such names stay."""
        with explained(self.path):
            for name in self._names().intersection(names):
                (self.path / name).unlink(missing_ok=True)

    def _names(self) -> set[str]:
        assert self._made is not None, "claim the folder first"
        return self._made

    def _recorded(self) -> Iterable[str] | None:
        path = self.path / RECORD
        if not path.is_file():
            return self._earlier(self.path)
        record = read_description(
            path, _Record, "remove this file, and the folder counts as one of an earlier version"
        )
        return list(record["made"]) if record["kind"] == self.kind else None

    def _write(self) -> None:
        write_description(self.path / RECORD, {"kind": self.kind, "made": self.made()})


def refuse_links(*paths: Path) -> None:
    """Refuse to write through links: a folder that came from elsewhere may point anywhere.

    Raises:
        UserError: one of the paths is a symbolic link.
    """
    for path in paths:
        if path.is_symlink():
            raise UserError(
                f"'{path}' is a link, through which nothing is written; expected a file or a "
                "folder of mstgraph's own: replace it by what it points to, or remove it"
            )


def make_folder(root: Path, folder: Path) -> None:
    """Make a folder below another one, unless a link is on the way.

    Raises:
        UserError: a folder between the two is a link, or cannot be made.
    """
    steps = folder.relative_to(root).parts
    refuse_links(*(root.joinpath(*steps[: i + 1]) for i in range(len(steps))))
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)


def named_folder(given: Path | str | None, default: Path) -> Path:
    """Return the folder that a person names, or the default if none was named.

    Raises:
        UserError: the name is empty, as that of an unset variable is.
    """
    if given is None:
        return default
    if not str(given).strip():
        raise UserError("the folder of --out has an empty name; expected a path such as 'runs/new'")
    return Path(given)
