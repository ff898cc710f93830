"""Settings of runs side by side."""

from __future__ import annotations

import doctest
from types import SimpleNamespace

from mstgraph.look import items, settings
from mstgraph.look.settings import differences


def test_examples() -> None:
    """The examples in the docstrings."""
    assert not doctest.testmod(settings).failed
    assert not doctest.testmod(items).failed


def test_only_what_differs_is_said() -> None:
    """By name; a setting that one run lacks is absent there; comments are none."""
    one = SimpleNamespace(config="# CI\nCI.epochs = 3\na.b = 1\n")
    other = SimpleNamespace(config="CI.epochs = 4\na.b = 1\nc.d = \\\n    'x'\n")
    assert differences([one, other]) == {"CI.epochs": ["3", "4"], "c.d": ["—", "'x'"]}
