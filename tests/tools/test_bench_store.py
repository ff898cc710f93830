"""The store's benchmark: what it takes for cold is cold, and the tables come out whole."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from mstgraph.store.build.builder import build
from mstgraph.store.mapped.places import DATA_FILE
from tools import bench_store
from tools.store_bench import cold

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
TINY = replace(bench_store.CASES[1], samples=300, batch=16)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """A store of the tiny case."""
    path = tmp_path_factory.mktemp("bench") / "store"
    build(bench_store.RandomData(TINY), path)
    return path


def test_resident_share_sees_what_was_read(store: Path) -> None:
    """All of a file that was just read; never more."""
    (store / DATA_FILE).read_bytes()
    assert cold.resident_share(store / DATA_FILE) == 1
    cold.make_cold(store / DATA_FILE, drop_caches=False)
    assert 0 <= cold.resident_share(store / DATA_FILE) <= 1  # a file system in memory keeps it


def test_every_way_is_measured(store: Path) -> None:
    """The same samples are asked for in all ways; the figures of a disk may be nought."""
    passes = cold.measure(store, 16, 5, repeats=1, drop_caches=False)
    assert list(passes) == [way.name for way in cold.WAYS]
    row = 2816 * 4 + 8
    assert all(one.wanted == 80 * row for one in passes.values())
    assert all(one.rate > 0 and 0 < one.first < 80 / one.rate for one in passes.values())


def test_the_table_of_warm_pages(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """A line per case, and a ratio."""
    monkeypatch.setattr(bench_store, "CASES", (TINY,))
    found = bench_store.bench_warm(repeats=2, scale=1.0)
    assert found[TINY.name]["ratio"] > 0
    assert TINY.name in capsys.readouterr().out


def test_the_table_of_cold_pages(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """A line per way under each case."""
    monkeypatch.setattr(bench_store, "CASES", (TINY,))
    found = bench_store.bench_cold(1, gigabytes=0.003, batches=3, drop_caches=False)
    assert set(found[TINY.name]) == {way.name for way in cold.WAYS}
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(cold.WAYS)
