"""Figures of a bench."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_samples import bench, drawn

pytest.importorskip("matplotlib")

from matplotlib.patches import PathPatch
from matplotlib.text import Text

from mstgraph.benchmark.report.figures import draw_gains, draw_sweep, swept_rows
from mstgraph.benchmark.report.rank_figure import draw_ranks
from mstgraph.benchmark.results.ranking import Ranking, ranking
from mstgraph.benchmark.results.results import Column, Results, Row
from mstgraph.support.errors import UserError
from mstgraph.viz.canvas import write_picture

CONFIGURATIONS = (
    Row("w/o KD", ""),
    *(Row("MST-Distill", teachers) for teachers in ("CM", "MM", "MM+CM")),
)
SWEPT = (Row("w/o KD", ""), *(Row("MST-Distill", f"k = {k}") for k in (1, 2, 4)))


def gains_figure(students: int = 2, **others: Any) -> Any:
    """Box plots of drawn results."""
    results = replace(drawn(students), rows=CONFIGURATIONS, **others)
    return draw_gains(results, "MST-Distill")


def sweep_results(students: int = 2, **others: Any) -> Results:
    """Drawn results with a setting k."""
    return replace(drawn(students), **{"rows": SWEPT, **others})


def sweep_figure(students: int = 2, **others: Any) -> Any:
    """Trends of drawn results."""
    results = sweep_results(students, **others)
    return draw_sweep(results, swept_rows(results))


def ranks_figure(students: int = 2, **others: Any) -> Any:
    """The critical-difference diagram of drawn results."""
    results = replace(drawn(students), **others)
    found = ranking(results, results.columns())
    assert found is not None
    return draw_ranks(results, found)


FIGURES = [gains_figure, sweep_figure, ranks_figure]


def words(figure: Any) -> list[str]:
    """All pieces of text."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("draw", FIGURES)
@pytest.mark.parametrize("students", [1, 2, 6])
def test_texts_neither_overlap_nor_leave_the_page(draw: Any, students: int) -> None:
    """Also with long names, several lines of panels and a label."""
    figure = draw(students, synthetic="synthetic rooms", title="A bench with rather a long title")
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    placed = [(text.get_text(), text.get_window_extent(renderer)) for text in _drawn(figure)]
    assert len(placed) > 8
    page = figure.bbox
    for text, extent in placed:
        assert page.x0 <= extent.x0 <= extent.x1 <= page.x1, text
        assert page.y0 <= extent.y0 <= extent.y1 <= page.y1, text
    for (one, first), (other, second) in itertools.combinations(placed, 2):
        assert not first.overlaps(second), (one, other)


def _drawn(figure: Any) -> list[Text]:
    """All pieces of text that are seen: not the ticks outside a panel, nor those of the page."""
    found = []
    for axes in figure.axes:
        found += axes.texts
        if axes.axison:
            names = axes.get_xticklabels(), axes.get_yticklabels()
            low, high = axes.get_ylim()
            found += [axes.xaxis.label, axes.yaxis.label, axes._left_title, *names[0]]
            found += [name for name in names[1] if low <= name.get_position()[1] <= high]
    return [text for text in found if text.get_text()]


@pytest.mark.parametrize("draw", FIGURES)
def test_synthetic_data_is_named_on_a_figure(draw: Any) -> None:
    """And nothing is said of real data."""
    assert "synthetic rooms" in words(draw(synthetic="synthetic rooms"))
    assert "synthetic rooms" not in words(draw())


@pytest.mark.parametrize("draw", FIGURES)
def test_the_same_results_are_the_same_picture(draw: Any, tmp_path: Path) -> None:
    """Byte for byte, as SVG and PNG."""
    one = write_picture(draw(), tmp_path / "one")
    two = write_picture(draw(), tmp_path / "two")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_a_dot_is_the_gain_of_one_seed() -> None:
    """Against differences computed here; one box for each student and configuration."""
    results = replace(drawn(2), rows=CONFIGURATIONS)
    (axes,) = [axes for axes in gains_figure(2).axes if axes.get_ylabel()]
    dots = [collection.get_offsets()[:, 1] for collection in axes.collections]
    expected = [
        np.subtract([*results.values(row, column).values()], [*results.values(0, column).values()])
        for column in results.columns()
        for row in (1, 2, 3)
    ]
    np.testing.assert_allclose(dots, expected)
    boxes = [patch for patch in axes.patches if isinstance(patch, PathPatch)]
    assert len(boxes) == 6
    heights = [sorted({y for _, y in box.get_path().vertices[:4]}) for box in boxes]
    np.testing.assert_allclose(heights, [np.percentile(g, [25, 75]) for g in expected])
    assert {"CM", "MM", "MM+CM", "alone, trained as long", "gain in OA"} <= set(
        words(gains_figure(2))
    )


def test_gains_where_nothing_finished_are_said_to_be_none() -> None:
    """Also if a seed finished that the student alone failed."""
    values = {"zer": [[0.5, "x"], ["x", 0.5], [0.6, 0.6], ["x", "x"]]}
    found = words(draw_gains(bench(values, rows=CONFIGURATIONS), "MST-Distill"))
    assert found.count("none") == 2


def test_what_cannot_be_drawn_is_named() -> None:
    """Unknown method, no student alone, no or ambiguous values of a setting."""
    results = replace(drawn(2), rows=CONFIGURATIONS)
    with pytest.raises(UserError, match=r"no method 'MST'.*MST-Distill"):
        draw_gains(results, "MST")
    with pytest.raises(UserError, match="no row of the student alone"):
        draw_gains(replace(results, baseline=None), "MST-Distill")
    with pytest.raises(UserError, match="has 0 rows that name 'k = …'"):
        swept_rows(results)
    with pytest.raises(UserError, match=r"'MST-Distill CM' and 'MST-Distill MM' .* k = 2"):
        draw_sweep(results, {1: 2.0, 2: 2.0})


def test_a_trend_joins_means_and_shows_each_seed() -> None:
    """Values of the setting in order, whatever order the rows have."""
    results = sweep_results(1, rows=(SWEPT[0], SWEPT[3], SWEPT[1], SWEPT[2]))
    figure = draw_sweep(results, swept_rows(results))
    (axes,) = [axes for axes in figure.axes if axes.get_ylabel()]
    *seeds, mean, alone = axes.get_lines()
    column = Column("student 0", "OA")
    table = np.array([[*results.values(row, column).values()] for row in (2, 3, 1)])
    np.testing.assert_allclose(mean.get_data(), [[1, 2, 4], table.mean(1)])
    np.testing.assert_allclose([line.get_ydata() for line in seeds], table.T)
    np.testing.assert_allclose(alone.get_ydata(), np.mean([*results.values(0, column).values()]))
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "4"]


def test_a_trend_has_no_point_where_nothing_finished() -> None:
    """A student without any value has an empty panel that says so."""
    values = {
        "zer": [["x"] * 2] * 4,
        "kar": [[0.5, 0.6], [0.6, 0.7], ["x", "x"], [0.7, "x"]],
    }
    results = bench(values, rows=SWEPT, baseline=None)
    figure = draw_sweep(results, swept_rows(results))
    assert words(figure).count("no seed finished") == 1
    panel = next(axes for axes in figure.axes if axes.get_title(loc="left") == "kar")
    np.testing.assert_allclose(panel.get_lines()[-1].get_data(), [[1, 4], [0.65, 0.7]])


def test_students_are_told_apart_by_colour_and_marker() -> None:
    """In every panel another pair."""
    figure = sweep_figure(6)
    marked = [
        line for axes in figure.axes for line in axes.get_lines() if line.get_marker() != "None"
    ]
    assert len({(line.get_color(), line.get_marker()) for line in marked}) == 6


def test_a_setting_is_found_in_names() -> None:
    """As a number after the equals sign, of that setting alone."""
    rows = (Row("k = 1", ""), Row("MST", "k=0.5"), Row("MST", "topk = 3"), Row("k", "4"))
    results = replace(drawn(1), rows=rows)
    assert swept_rows(results) == {0: 1.0, 1: 0.5}


@pytest.mark.parametrize("rows", [3, 4, 17, 30])
def test_every_row_has_its_name_and_rank_in_the_diagram(rows: int) -> None:
    """However many there are, nothing overlaps and nothing leaves the page."""
    names = tuple(Row(f"Method {i}", "MM+CM") for i in range(rows))
    ranked = Ranking({i: 1 + i * 0.9 for i in range(rows)}, 15, 0.01, 2.5)
    figure = draw_ranks(replace(drawn(1), rows=names), ranked)
    found = words(figure)
    assert {f"Method {i} MM+CM  {1 + i * 0.9:.2f}" for i in range(rows)} <= set(found)
    assert any(said.startswith("critical difference 2.50") for said in found)
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    placed = [(text.get_text(), text.get_window_extent(renderer)) for text in _drawn(figure)]
    for text, extent in placed:
        assert figure.bbox.x0 <= extent.x0 <= extent.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= extent.y0 <= extent.y1 <= figure.bbox.y1, text
    for (one, first), (other, second) in itertools.combinations(placed, 2):
        assert not first.overlaps(second), (one, other)
