from __future__ import annotations

from pathlib import Path

import pytest
from sample_recipes import Vectors

from mstgraph.store import layout
from mstgraph.store.build.builder import build
from mstgraph.store.reader import Store


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four samples a block, eight a record: forty samples then make several of each."""
    monkeypatch.setattr(layout, "BLOCK_SAMPLES", 4)
    monkeypatch.setattr(layout, "RECORD_BYTES", 480)  # 8 samples of rgb (60 bytes)


@pytest.fixture
def store(tmp_path: Path, small_blocks: None) -> Store:
    """A finished store of `Vectors` with several records a column."""
    return build(Vectors(), tmp_path / "vectors")
