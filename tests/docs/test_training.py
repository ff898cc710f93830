"""The page on training: what its blocks bind is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mstgraph.declare.load import load

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"
BLOCKS = re.findall(r"^```gin\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda text: text.split(" =")[0])
def test_a_block_loads(tmp_path: Path, block: str) -> None:
    """Names and types are those that gin files may say."""
    file = tmp_path / "block.gin"
    file.write_text(block, encoding="utf-8")
    assert load([file])
