"""What MaskNets do to a run's samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mstgraph.look.masks import every_mask
from mstgraph.look.opened import spread
from mstgraph.look.opening import opened_run
from mstgraph.look.records import Records


def test_what_comes_after_is_the_mask_times_what_was_before(tiny_run: Path) -> None:
    """For each specialised teacher and sample; masks lie in 0…1; the folder stays as it was."""
    before = {path: path.stat().st_mtime_ns for path in tiny_run.rglob("*")}
    records = Records(tiny_run)
    with opened_run(tiny_run, torch.device("cpu")) as run:
        found = list(every_mask(run, records.plan, "rgb", 100))
    assert [one.teacher for one in found] == [
        teacher["name"] for teacher in records.plan["teachers"]["rgb"]
    ]
    for one in found:
        np.testing.assert_allclose(one.after, one.mask * one.before, rtol=1e-5, atol=1e-6)
        assert ((one.mask > 0) & (one.mask < 1)).all()
    assert {path: path.stat().st_mtime_ns for path in tiny_run.rglob("*")} == before


def test_samples_are_spread_over_the_part() -> None:
    """First and last among them, none twice."""
    assert spread(10, 4).tolist() == [0, 3, 6, 9]
    assert spread(3, 8).tolist() == [0, 1, 2]
