"""Loads recipe files the way they are meant to be: by path."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # for tools, which write the true formats


@pytest.fixture(scope="session")
def load_file():
    """Return a function from a recipe's name to its module."""

    def load(name):
        path = ROOT / "datasets" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"loaded_{name}", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    return load
