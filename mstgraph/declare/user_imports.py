"""The user's modules that one configuration imports: there while it is entered, and no longer.

Whatever is loaded from gin files imports them for itself alone: an edited module is read again,
and two experiments can have modules of one name.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from mstgraph.support.errors import PACKAGE, UserError, is_users
from mstgraph.support.files import file_digest
from mstgraph.support.user_code import beside, file_of, user_modules, with_packages


class UserCode:
    """The user's modules that one configuration imports, for itself alone.

    Attributes:
        modules: name → file, of those that gin files import and of those that these import.
        allowed: whether anything may be imported beside what mstgraph itself has loaded.
    """

    def __init__(self) -> None:
        self.modules: dict[str, Path] = {}
        self.allowed = True
        self._digests: dict[str, str] = {}
        self._folders: list[str] = []
        self._loaded: dict[str, ModuleType] = {}
        self._set_aside: dict[str, ModuleType | None] = {}
        self._path: list[str] = []

    def put_in(self) -> None:
        """Let Python find these modules, in the place of others that have their names."""
        self._path = list(sys.path)
        sys.path += self._folders
        self._set_aside = {name: sys.modules.pop(name, None) for name in self._set_aside}
        sys.modules.update(self._loaded)

    def take_out(self) -> None:
        """Let Python find what it found before."""
        self._folders = [folder for folder in sys.path if folder not in self._path]
        sys.path[:] = self._path
        taken = {name: sys.modules.pop(name, None) for name in self._set_aside}
        self._loaded = {name: module for name, module in taken.items() if module is not None}
        sys.modules.update({n: m for n, m in self._set_aside.items() if m is not None})

    def refuse_if_forbidden(self, name: str, place: str) -> None:
        """Refuse a module that would be run, where none may be.

        Raises:
            UserError: it is not mstgraph's own.
        """
        known = name.partition(".")[0] == PACKAGE.name and name in sys.modules
        if not self.allowed and not known:
            raise UserError(
                f"{place}: the module '{name}' would be run, which was forbidden; expected a run "
                "whose networks are mstgraph's own, or that its code is allowed once it was read"
            )

    @contextmanager
    def importing(self, name: str, folder: Path, place: str) -> Iterator[None]:
        """Let a gin file import a module: from its own folder first, then the working directory.

        Args:
            name: of the module.
            folder: of the gin file.
            place: where the gin file says so.

        Raises:
            UserError: it, or one of the user's modules that it imports, is other code than what
                is loaded under that name.
        """
        self._add_folders(folder)
        importlib.invalidate_caches()
        # Only for one import: folders that hold gin's or Hugging Face's namesakes must not stay.
        sys.path.insert(0, str(folder))
        # What is written beside a module that is edited within the second would be taken for it.
        writes_none, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            self._make_way(name)
            yield
            self._refuse_other_code(name, folder, place)
        finally:
            sys.dont_write_bytecode = writes_none
            sys.path.remove(str(folder))
        for module, file in user_modules(name).items():
            self.modules[module] = file
            self._digests[module] = file_digest(file)
            self._set_aside.setdefault(module, None)

    def refuse_edited(self) -> None:
        """Refuse to go on with modules whose files no longer say what was loaded.

        Raises:
            UserError: one was edited or removed since.
        """
        for name, file in self.modules.items():
            if not file.is_file() or file_digest(file) != self._digests[name]:
                raise UserError(
                    f"the module '{name}' ({file}) has changed since it was loaded; expected that "
                    "the gin files are loaded again"
                )

    def _add_folders(self, folder: Path) -> None:
        added = dict.fromkeys((str(folder), str(Path.cwd()), *self._folders))
        self._folders = [path for path in added if path in self._folders or path not in sys.path]
        sys.path[:] = [path for path in sys.path if path not in self._folders] + self._folders

    def _make_way(self, name: str) -> None:
        """Set modules aside that the program has loaded, so that their files are read again."""
        while waiting := [
            module
            for module in _with_namespaces(user_modules(name))
            if module in sys.modules and module not in self._set_aside and module != "__main__"
        ]:
            self._set_aside.update({module: sys.modules.pop(module) for module in waiting})

    def _refuse_other_code(self, name: str, folder: Path, place: str) -> None:
        """Refuse what is loaded from elsewhere: an installed module, or another gin file's.

        Python loads one module of a name: a second gin file that imports its own would silently
        get the first one's. Copies with the same content are as good as one another.
        """
        own = file_of(name)
        modules = user_modules(name)
        if own is not None and not own.resolve().is_relative_to(PACKAGE):
            modules[name] = own
        for module, file in modules.items():
            if module not in sys.modules:  # imported when it is needed
                continue
            expected = beside(module, folder) or beside(module, Path.cwd()) or file
            if file_digest(expected) != (self._digests.get(module) or file_digest(file)):
                raise UserError(
                    f"{place}: the module '{module}' is {expected} here, but other code of that "
                    f"name is loaded already, from {file}; expected different names"
                )


def _with_namespaces(modules: Iterable[str]) -> list[str]:
    """Return modules and the packages without a file that they lie in, the user's own alone."""
    packages = {package for module in modules for package in with_packages(module)[:-1]}
    return [*modules, *(package for package in packages if _is_users_namespace(package))]


def _is_users_namespace(package: str) -> bool:
    loaded = sys.modules.get(package)
    path = getattr(loaded, "__path__", None)
    if path is None or getattr(loaded, "__file__", None) is not None:
        return False
    return all(is_users(Path(folder)) for folder in path)
