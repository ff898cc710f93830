"""Gin files → a checked `Configuration`; what they may name is imported here, in one place."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path

import gin

from mstgraph.declare.config_checks import (
    nothing_calls_itself,
    refuse_macros_without_end,
    refuse_macros_without_value_or_use,
    refuse_members_named_as_settings,
    refuse_scopes_that_nobody_enters,
    refuse_values_of_another_type,
)
from mstgraph.declare.configuration import Configuration
from mstgraph.declare.gin_files import parse
from mstgraph.declare.gin_state import registering
from mstgraph.support.lookup import find_file

MODULES = (
    "mstgraph.data.augmentation",
    "mstgraph.data.pictures",
    "mstgraph.data.sensors",
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
    "mstgraph.trackers",
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
    """Load gin files and then bindings into a state of gin's of their own, and finalise it.

    Args:
        files: gin files, later ones win; they and what they include are looked up as
            `mstgraph.support.lookup` says.
        bindings: single bindings as on the command line, ``"CI.epochs = 2"``.
        code: whether the files may import modules, and so run them.

    Returns:
        The configuration, with the place of each binding.

    Raises:
        UserError: a file is missing, has a syntax error or includes itself; a name is unknown, or
            a value is of another type than its parameter; or a file imports what it may not.
    """
    with registering():  # nothing may register after gin is finalised
        register()
    configuration = Configuration(tuple(find_file(name) for name in files), tuple(bindings))
    configuration.code.allowed = code
    with configuration.entered(), nothing_calls_itself():
        parse(configuration)
        refuse_macros_without_value_or_use(configuration)
        refuse_macros_without_end(configuration)
        refuse_members_named_as_settings(configuration)
        refuse_values_of_another_type(configuration)
        refuse_scopes_that_nobody_enters(configuration)
        gin.finalize()
    return configuration
