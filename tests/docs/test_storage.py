"""The page on storage: its recipe keeps the files that it is given."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mstgraph.store import load_recipe
from mstgraph.store.build.builder import build

image = pytest.importorskip("PIL.Image")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "storage.md"


def test_the_recipe_of_the_page(tmp_path: Path) -> None:
    """Synthetic photographs of any size become pictures of one, and no larger than they were."""
    (recipe,) = re.findall(r"```python\n(# photos\.py.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "photos.py").write_text(recipe)
    for number in range(6):
        file = tmp_path / "raw" / "ab"[number % 2] / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        image.new("RGB", (40 + number, 30), (40 * number, 0, 0)).save(file)
    store = build(load_recipe(tmp_path / "photos.py", tmp_path / "raw"), tmp_path / "store")
    assert store.labels_spec.classes == ("a", "b")
    assert store.identifier(3) == "1.jpg"
    assert np.ptp(store.read("photo", [3]), axis=(2, 3)).max() == 0
    assert sum(len(value) for _, value in store.environment.items("photo")) < 6 * 2000
