"""A working directory for benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bench_worlds import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_gin: Callable[..., Path]) -> World:
    """A directory of its own with a student's gin file."""
    monkeypatch.chdir(tmp_path)
    return World(write_gin)
