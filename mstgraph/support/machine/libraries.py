"""Libraries that not everybody needs, imported where they are used."""

from __future__ import annotations

import importlib
from types import ModuleType

from mstgraph.support.errors import UserError


def extra(module: str, install: str) -> ModuleType:
    """Import a module that only raw data needs.

    Args:
        module: its name.
        install: what to give to pip, ``'mstgraph[audio]'`` for an extra of this package.

    Raises:
        UserError: it is not installed, or is broken.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        given = f"'{install}'" if "[" in install else install
        raise UserError(
            f"reading this raw data needs {module.partition('.')[0]}: pip install {given}"
        ) from error
    except Exception as error:  # a library built for another torch raises what it likes
        raise UserError(
            f"{module.partition('.')[0]} is installed, but importing it fails: "
            f"{str(error).partition(chr(10))[0]}"
        ) from error
