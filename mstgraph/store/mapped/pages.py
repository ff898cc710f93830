"""Telling the system which pages of a map will be read, so that it fetches them in the background.

Advice only: nothing depends on it, and where there is none to give, nothing happens.
"""

from __future__ import annotations

import mmap

import numpy as np

# Linux fetches no more for one call than a disk's read-ahead window, 128 KiB unless it was changed.
LONGEST = 128 * 1024
GAP = 64 * 1024  # reading over a gap of this many bytes is cheaper than starting anew behind it


def will_need(memory: mmap.mmap, starts: np.ndarray, size: int | np.ndarray) -> None:
    """Ask for the pages of some rows of a map.

    Args:
        memory: the map.
        starts: where the rows begin in it, int64 [rows], in any order.
        size: bytes of a row, or of each.
    """
    if not hasattr(mmap, "MADV_WILLNEED") or not len(starts) or not np.any(size):
        return
    for first, last in page_runs(starts, size):
        for start in range(first, last, LONGEST):
            memory.madvise(mmap.MADV_WILLNEED, start, min(LONGEST, last - start))


def page_runs(starts: np.ndarray, size: int | np.ndarray) -> list[tuple[int, int]]:
    """Return the runs of pages that hold some rows, from the first byte to behind the last.

    Ascending and apart; rows less than `GAP` from each other make one run.
    """
    order = np.argsort(starts)
    first = (starts // mmap.PAGESIZE * mmap.PAGESIZE)[order]
    last = (-(-(starts + size) // mmap.PAGESIZE) * mmap.PAGESIZE)[order]
    cuts = np.flatnonzero(first[1:] > last[:-1] + GAP)
    begins = first[np.concatenate([[0], cuts + 1])]
    ends = last[np.concatenate([cuts, [len(last) - 1]])]
    return list(zip(begins.tolist(), ends.tolist(), strict=True))
