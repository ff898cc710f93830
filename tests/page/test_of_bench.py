"""A benchmark's page, from its results alone."""

from __future__ import annotations

from pathlib import Path

import bench_samples as samples
import pytest

pytest.importorskip("matplotlib")

from mstgraph.benchmark.results.results import load_results, save_results
from mstgraph.page.of_bench import of_bench
from mstgraph.page.parts import Chart
from mstgraph.support.errors import UserError

VALUES = {
    "image": [[0.5, 0.6, 0.7], [0.55, 0.66, None], [0.6, 0.7, "lost its way"], [0.7, 0.75, 0.8]]
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A benchmark of one cell that failed and one that is to come."""
    save_results(samples.bench(VALUES, synthetic="drawn"), tmp_path / "results.json")
    return tmp_path


def test_results_come_back_as_they_were_written(folder: Path) -> None:
    """Whoever reads results.json has what the benchmark had."""
    assert load_results(folder / "results.json") == samples.bench(VALUES, synthetic="drawn")


def test_gains_are_against_the_control_of_the_same_seed(folder: Path) -> None:
    """Each seed is a dot; failed cells are told, those to come are counted."""
    article = of_bench(folder)
    assert article.synthetic == "drawn"
    assert article.unfinished == "1 of 12 cells are not finished."
    titles = [section.title for section in article.sections]
    assert titles[:3] == ["Tables", "Gains over the student alone", "Ranks"]
    assert "Cells that failed" in titles
    chart = article.sections[1].blocks[0]
    assert isinstance(chart, Chart)
    found = {(row["row"], row["seed"]): row["gain"] for row in chart.data}
    assert found["KD MM", 0] == pytest.approx(0.05)
    assert found["MST-Distill MM+CM", 2] == pytest.approx(0.1)
    assert len(found) == 7


def test_a_benchmark_of_another_form_is_one_sentence(tmp_path: Path) -> None:
    """Whatever lies there under that name."""
    (tmp_path / "results.json").write_text('{"title": 3}')
    with pytest.raises(UserError, match="not of the form"):
        load_results(tmp_path / "results.json")
