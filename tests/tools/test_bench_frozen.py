"""The tool that measures frozen backbones."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tools import bench_frozen


def test_it_measures_three_ways(capsys: pytest.CaptureFixture[str]) -> None:
    """And says that the pictures are random numbers."""
    bench_frozen.main(["--epochs", "2", "--samples", "20", "--rounds", "1"])
    said = capsys.readouterr().out
    assert said.startswith("CI of 2 epochs, random numbers, cpu, 1 thread")
    assert len(re.findall(r"^(trained|frozen, .*): \d+\.\d\d s", said, re.MULTILINE)) == 3
    assert len(re.findall(r" ÷ .*: \d+\.\d{3}$", said, re.MULTILINE)) == 2
