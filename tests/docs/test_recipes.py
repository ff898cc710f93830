"""The page on recipes: its archives are read, and grow, as it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from own_data import write_tar

from mstgraph.cli import main
from mstgraph.store import Store, layout, load_recipe
from mstgraph.store.build.builder import build

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "recipes.md").read_text("utf-8")


def _write_recipe(name: str) -> None:
    (text,) = re.findall(rf"```python\n(# {name}.*?)```", PAGE, re.DOTALL)
    Path(name).write_text(text)


def _said(command: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, shlex.split(command)[1:])
    assert done.exit_code == code, done.output
    return done.output


def test_tars_become_a_store_that_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's commands on (synthetic) tars, one compressed; then one more of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(layout, "BLOCK_SAMPLES", 4)
    _write_recipe("clips.py")
    (tmp_path / "tars").mkdir()
    write_tar(tmp_path / "tars" / "0.tar", range(7))
    write_tar(tmp_path / "tars" / "1.tar.gz", range(7, 16))
    for command in re.findall(r"^mstgraph (?:prepare|store info).*clips.*$", PAGE, re.MULTILINE):
        said = _said(command)
    assert "shards: 2 of 8, 8 samples" in said
    write_tar(tmp_path / "tars" / "2.tar", range(16, 19))
    assert "`mstgraph store append stores/clips" in _said("mstgraph prepare clips.py --raw tars", 2)
    (append,) = re.findall(r"`(mstgraph store append .*clips.py.*?)`", PAGE)
    assert "Clips, 19 samples" in _said(append)
    assert "Clips, 19 samples" in _said(append)
    assert "shards: 3 of 8, 8, 3 samples; the last 1 appended" in _said(
        "mstgraph store info stores/clips"
    )
    assert "19 samples, every record is as it was written" in _said(
        "mstgraph store verify stores/clips"
    )
    store = Store("stores/clips")
    assert store.read("clip", range(19))[:, 1, 2].tolist() == [*range(19)]
    assert store.identifier(17) == "dog/0017.npy"
    _said("mstgraph store append stores/clips clips.py --raw nowhere", 2)


def test_rows_of_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk is a group of rows."""
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    _write_recipe("rows.py")
    values = np.arange(48.0).reshape(12, 4)
    table = arrow.table({"values": values.tolist(), "class": [n % 2 for n in range(12)]})
    parquet.write_table(table, "rows.parquet", row_group_size=5)
    recipe = load_recipe(Path("rows.py"), Path("rows.parquet"))
    assert [chunk.samples for chunk in recipe.chunks()] == [5, 5, 2]
    store = build(recipe, tmp_path / "store")
    np.testing.assert_array_equal(store.read("values", range(12)), values)
