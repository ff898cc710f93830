from __future__ import annotations

from pathlib import Path

import pytest
from sample_recipes import lines


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Raw data of `Listed`, 22 samples."""
    path = tmp_path / "list.txt"
    path.write_text(lines(range(22)))
    return path
