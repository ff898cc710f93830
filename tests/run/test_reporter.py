"""Who is told how a run proceeds."""

from __future__ import annotations

import inspect

import pytest

from mstgraph.report.progress import ConsoleReporter
from mstgraph.run.reporter import Listener, Reporter, Silent


@pytest.mark.parametrize("kind", [Silent, ConsoleReporter])
def test_everything_can_be_told(kind: type) -> None:
    """Each call of the protocol, with the same parameters."""
    calls = [name for name in {**vars(Listener), **vars(Reporter)} if not name.startswith("_")]
    assert len(calls) == 7
    for name in calls:
        expected = inspect.signature(getattr(Reporter, name)).parameters
        assert list(inspect.signature(getattr(kind, name)).parameters) == list(expected)
