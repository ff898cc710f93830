"""Everything that gin files may name, imported in one place."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path

from mstgraph.declare import gin_files
from mstgraph.declare.configuration import Configuration

MODULES = (
    "mstgraph.data.augmentation",
    "mstgraph.declare.graph",
    "mstgraph.declare.settings",
)
# Of a package every file is imported, so that a new network, method or gate is one new file.
PACKAGES = (
    "mstgraph.distil",
    "mstgraph.methods",
    "mstgraph.networks",
    "mstgraph.stages",
    "mstgraph.tasks",
)


def register() -> None:
    """Import whatever registers configurables."""
    for name in MODULES:
        importlib.import_module(name)
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.iter_modules(package.__path__, prefix=f"{name}."):
            importlib.import_module(module.name)


def load(
    files: Sequence[Path | str], bindings: Sequence[str] = (), *, code: bool = True
) -> Configuration:
    """Load gin files that may name all of these, see `mstgraph.declare.gin_files.load`."""
    return gin_files.load(files, bindings, register=register, code=code)
