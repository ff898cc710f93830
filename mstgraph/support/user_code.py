"""The user's own modules behind a gin file or a recipe: which they are, and in which files.

A user's module is one that is neither part of mstgraph nor installed nor of the standard library.
What it imports is read from its source, so that the answer depends on the files alone, not on
what a process has done before. What a module imports by a computed name is not seen.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from mstgraph.support.errors import is_users


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
        file = None if module in seen else file_of(module)
        seen.add(module)
        if file is not None and is_users(file):
            found[module] = file
            waiting += _imported(module, file)
    return dict(sorted(found.items()))


def relative_path(name: str, file: Path) -> Path:
    """Return where a module's file lies below the folder that it is imported from."""
    path = Path(*name.split("."))
    return path / file.name if file.stem == "__init__" else path.with_name(file.name)


def file_of(name: str) -> Path | None:
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
    yield from with_packages(name)[:-1]
    if file.suffix == ".py":
        package = name if file.stem == "__init__" else name.rpartition(".")[0]
        for imported in _import_names(file.read_bytes(), package):
            yield from with_packages(imported)


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


def with_packages(name: str) -> list[str]:
    """Return a, a.b and a.b.c for a.b.c: importing it runs them all."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def beside(name: str, folder: Path) -> Path | None:
    """Return the file of a module below a folder, or None if there is none."""
    path = folder.joinpath(*name.split("."))
    candidates = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)
