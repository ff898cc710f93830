"""The evidence for `mstgraph advise`: what is averaged and correlated, on rows made up here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mstgraph.advice.prediction import predicted_gain

sys.path.insert(0, str(Path(__file__).parents[2]))

from tools import check_advice


def test_the_report_ranks_means_over_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One combination ranks in the wrong place among four: ρ = 1 − 6·2 / (4·15) = 0.8."""
    gains = {"a": 0.02, "b": 0.01, "c": 0.03, "d": 0.04}
    rows = [
        {
            **{"set": "mfeat", "student": "s", "teacher": teacher, "labelled": 0.1, "seed": seed},
            **{"accuracy": 0.9, "told": 0.1, "untold": 0.1, "visible": 0.2, "unlabelled": 0.9},
            **{"helps": helps, "harms": 0.0, "alone": 0.5},
            "distilled": 0.5 + gain + (0.1 if seed else -0.1),
        }
        for helps, (teacher, gain) in zip((0.1, 0.2, 0.3, 0.4), gains.items(), strict=True)
        for seed in (0, 1)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    check_advice.report(tmp_path)
    printed = capsys.readouterr().out
    assert "all: +0.80, 4 combinations" in printed
    assert f"{predicted_gain(0.3, 0.0, 0.9):+.3f} | +0.030 |" in printed
