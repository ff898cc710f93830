"""Columns become modalities under names that nothing else has."""

from __future__ import annotations

import subprocess
import sys

import pytest
from torch import nn

from mstgraph.recipes.names import TAKEN, plain_name


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("tone", "tone"),
        ("a b-c", "a_b_c"),
        ("7", "column_7"),
        ("keys", "column_keys"),
        ("?", "column"),
    ],
)
def test_names(column: str, name: str) -> None:
    """Letters, digits and underscores; no name of what every module of torch's has."""
    assert plain_name(column) == name
    assert plain_name(name) == name


def test_what_torch_takes_is_known() -> None:
    """A later torch has more: they are to be added here. Other libraries add some of their own."""
    found = {name: getattr(nn.ModuleDict, name) for name in dir(nn.ModuleDict)}
    own = {
        n for n, v in found.items() if "transformers" not in (getattr(v, "__module__", "") or "")
    }
    assert {name for name in own if name.strip("_") == name} <= TAKEN


def test_reading_a_table_imports_neither_torch_nor_scipy() -> None:
    """Each process of ``prepare`` would wait for them."""
    code = "import sys, mstgraph.recipes.table; print({'torch', 'scipy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
