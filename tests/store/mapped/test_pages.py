"""Asking for pages: the right ones, in few runs, and nothing depends on it."""

from __future__ import annotations

import mmap
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_recipes import Maps

from mstgraph.store.build.builder import build
from mstgraph.store.mapped.pages import GAP, LONGEST, page_runs
from mstgraph.store.reader import Store
from mstgraph.support.errors import UserError

PAGE = mmap.PAGESIZE
Call = tuple[int, int, bytes]


@given(st.lists(st.integers(0, 400), min_size=1, max_size=40), st.integers(1, 3 * PAGE))
def test_runs_hold_every_row_and_little_else(rows: list[int], size: int) -> None:
    """Whole pages, ascending, apart by more than the gap, each beginning and ending with a row."""
    starts = np.array([row * 3001 for row in rows])
    runs = page_runs(starts, size)
    wanted = {p for s in starts.tolist() for p in range(s // PAGE, -(-(s + size) // PAGE))}
    for first, last in runs:
        assert first % PAGE == last % PAGE == 0
        assert {first // PAGE, last // PAGE - 1} <= wanted
        inside = sorted(p for p in wanted if first <= p * PAGE < last)
        assert all(np.diff(inside) * PAGE <= GAP + PAGE)
    assert wanted <= {p for a, b in runs for p in range(a // PAGE, b // PAGE)}
    assert all(b + GAP < a for (_, b), (a, _) in pairwise(runs))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What the system is asked for: (first byte, behind the last, the bytes)."""
    seen: list[Call] = []

    class Noted(mmap.mmap):
        def madvise(self, option: int, start: int = 0, length: int | None = None) -> None:
            super().madvise(option, start, len(self) if length is None else length)
            if option == mmap.MADV_WILLNEED:
                assert start % PAGE == 0
                assert length is not None
                seen.append((start, start + length, self[start : start + length]))

    monkeypatch.setattr(mmap, "mmap", Noted)
    return seen


def bytes_at(calls: list[Call]) -> bytes:
    """Everything that was asked for, in the order of the calls."""
    return b"".join(content for _, _, content in calls)


def test_the_pages_of_small_samples_are_asked_for(store: Store, calls: list[Call]) -> None:
    """In a call or two for a batch, from the records' own pages."""
    store.will_need("rgb", [39, 0, 7, 8])
    asked = bytes_at(calls)
    for sample in store.read("rgb", [39, 0, 7, 8]):
        assert sample.tobytes() in asked
    assert len(calls) <= 4
    store.will_need("label", [3])
    assert store.read_labels([3]).tobytes() in bytes_at(calls[-1:])


def test_large_samples_are_asked_for_in_pieces(tmp_path: Path, calls: list[Call]) -> None:
    """Each is a record of its own; one call for all of it would be cut short."""
    store = build(Maps(), tmp_path / "maps")
    calls.clear()
    store.will_need("rgb", [5, 2])
    assert max(last - first for first, last, _ in calls) == LONGEST
    asked = bytes_at(calls)
    for sample in store.read("rgb", [5, 2]):
        assert sample.tobytes() in asked
    assert len(asked) < 2 * store.bytes_per_sample("rgb") + 4 * PAGE + GAP


def test_nothing_to_ask_for(
    store: Store, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No samples, or a system that takes no advice: the data is the same."""
    store.will_need("rgb", [])
    assert not calls
    monkeypatch.delattr(mmap, "MADV_WILLNEED")
    store.will_need("rgb", [1, 2])
    assert not calls


def test_wrong_questions_are_answered_like_those_of_a_read(store: Store) -> None:
    """Memory outside the map is never named."""
    with pytest.raises(UserError, match="no modality 'rbg'; did you mean 'rgb'"):
        store.will_need("rbg", [0])
    for wrong in ([40], [-1], [0.5]):
        with pytest.raises(IndexError, match="expected"):
            store.will_need("rgb", wrong)
