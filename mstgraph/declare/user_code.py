"""The user's own modules behind a gin file: in which files they are, and that these are loaded.

A user's module is one that is neither part of mstgraph nor installed nor of the standard library.
What it imports is read from its source, so that the answer depends on the files alone, not on
what a process has done before. What a module imports by a computed name is not seen.

Whatever is loaded from gin files imports the user's modules for itself alone: an edited module is
read again, and two experiments can have modules of one name.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from mstgraph.support.errors import UserError

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = tuple(
    Path(sysconfig.get_path(name)).resolve()
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_INSTALLED_NAMES = {"site-packages", "dist-packages"}


@functools.cache
def is_users(file: Path) -> bool:
    """Say whether a source file is the user's own."""
    resolved = file.resolve()
    if resolved.is_relative_to(_PACKAGE) or _INSTALLED_NAMES.intersection(resolved.parts):
        return False
    return not any(resolved.is_relative_to(folder) for folder in _INSTALLED)


def user_modules(name: str) -> dict[str, Path]:
    """Return module → file: of a module and of all that it imports, as far as they are the user's.

    Args:
        name: of a module; one that is not the user's has none.
    """
    found: dict[str, Path] = {}
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        module = waiting.pop()
        file = None if module in seen else _file(module)
        seen.add(module)
        if file is not None and is_users(file):
            found[module] = file
            waiting += _imported(module, file)
    return dict(sorted(found.items()))


def file_digest(file: Path) -> str:
    """Return the digest of a file's content, 16 hexadecimal digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def relative_path(name: str, file: Path) -> Path:
    """Return where a module's file lies below the folder that it is imported from."""
    path = Path(*name.split("."))
    return path / file.name if file.stem == "__init__" else path.with_name(file.name)


class UserCode:
    """The user's modules that one configuration imports, for itself alone.

    Attributes:
        modules: name → file, of those that gin files import and of those that these import.
    """

    def __init__(self) -> None:
        self.modules: dict[str, Path] = {}
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
        own = _file(name)
        modules = user_modules(name)
        if own is not None and not own.resolve().is_relative_to(_PACKAGE):
            modules[name] = own
        for module, file in modules.items():
            if module not in sys.modules:  # imported when it is needed
                continue
            expected = _beside(module, folder) or _beside(module, Path.cwd()) or file
            if file_digest(expected) != (self._digests.get(module) or file_digest(file)):
                raise UserError(
                    f"{place}: the module '{module}' is {expected} here, but other code of that "
                    f"name is loaded already, from {file}; expected different names"
                )


def _with_namespaces(modules: Iterable[str]) -> list[str]:
    """Return modules and the packages without a file that they lie in, the user's own alone."""
    packages = {package for module in modules for package in _with_packages(module)[:-1]}
    return [*modules, *(package for package in packages if _is_users_namespace(package))]


def _is_users_namespace(package: str) -> bool:
    loaded = sys.modules.get(package)
    path = getattr(loaded, "__path__", None)
    if path is None or getattr(loaded, "__file__", None) is not None:
        return False
    return all(is_users(Path(folder)) for folder in path)


def _file(name: str) -> Path | None:
    """Return a module's file without importing anything; None for one without."""
    module = sys.modules.get(name)
    if module is not None:
        file = getattr(module, "__file__", None)
    else:
        spec = _spec(name)
        file = spec.origin if spec is not None and spec.has_location else None
    return Path(file) if file and Path(file).is_file() else None


def _spec(name: str) -> ModuleSpec | None:
    """Return where a module would be found; its packages need not be loaded for that."""
    package, _, last = name.rpartition(".")
    if not package:
        return PathFinder.find_spec(name)
    if package in sys.modules:
        return PathFinder.find_spec(last, list(getattr(sys.modules[package], "__path__", [])))
    above = _spec(package)
    return (
        PathFinder.find_spec(last, list(above.submodule_search_locations or [])) if above else None
    )


def _imported(name: str, file: Path) -> Iterator[str]:
    """Yield the names that a module's source imports, and the packages that it lies in."""
    yield from _with_packages(name)[:-1]
    if file.suffix == ".py":
        package = name if file.stem == "__init__" else name.rpartition(".")[0]
        for imported in _import_names(file.read_bytes(), package):
            yield from _with_packages(imported)


@functools.lru_cache(maxsize=4096)
def _import_names(source: bytes, package: str) -> tuple[str, ...]:
    """Return what a source imports: of `from a import b` a.b, be it a module or not."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # Python says so when it gets there
        return ()
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), package)
            names += [f"{base}.{alias.name}" for alias in node.names if base]
    return tuple(names)


def _absolute(name: str, package: str) -> str:
    try:
        return importlib.util.resolve_name(name, package)
    except ImportError:  # beyond the top: it would fail when it is reached
        return ""


def _with_packages(name: str) -> list[str]:
    """Return a, a.b and a.b.c for a.b.c: importing it runs them all."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _beside(name: str, folder: Path) -> Path | None:
    path = folder.joinpath(*name.split("."))
    candidates = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)
