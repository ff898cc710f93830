"""The page: whole, alone, of all that is there."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("vl_convert")
pytest.importorskip("jinja2")

from mstgraph.cli import main
from mstgraph.page import page
from mstgraph.page.parts import Article, Rows, Section
from mstgraph.support.errors import UserError

VOID = {"meta", "link", "img", "br"}


class Reader(HTMLParser):
    """Checks that elements close in order, and remembers what the page is made of."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.charts: dict[str, str] = {}
        self._chart = ""
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember ids and whatever a browser would fetch."""
        found = dict(attrs)
        self.ids += [str(found["id"])] if "id" in found else []
        self.links += [str(found[name]) for name in ("src", "href", "xlink:href") if name in found]
        self._chart = str(found.get("data-chart") or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """SVG closes its own."""

    def handle_endtag(self, tag: str) -> None:
        """Close the one that was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Remember charts and words."""
        if self._chart:
            self.charts[self._chart] = data
            self._chart = ""
        if "script" not in self.open and "style" not in self.open:
            self.words += data


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function from folders to the page about them; the library is left out."""
    monkeypatch.setattr(page, "_library", lambda: "/* library */")

    def write(*folders: Path) -> Reader:
        out = tmp_path / "page.html"
        result = CliRunner().invoke(main, ["report", *map(str, folders), "--out", str(out)])
        assert result.exit_code == 0, result.output
        return Reader(out.read_text(encoding="utf-8"))

    return write


def test_a_run_has_all_its_sections(tiny_run: Path, read) -> None:
    """Charts have places and data, nothing is fetched, and synthetic data is said to be so."""
    found = read(tiny_run)
    for word in ("Gain", "Paths", "Learning curves", "Routing of rgb", "Classes of rgb"):
        assert word in found.words
    for word in ("Samples that changed", "Masks for rgb", "Features before", "Transfer", "Time"):
        assert word in found.words
    assert "random numbers" in found.words
    assert len(found.charts) > 15
    for place, text in found.charts.items():
        assert place in found.ids
        chart = json.loads(text)
        assert chart["data"], chart["title"]
    assert all(link.startswith(("#", "data:")) for link in found.links)
    assert len(found.ids) == len(set(found.ids))


def test_every_teacher_of_the_paths_says_something(tiny_run: Path, tmp_path: Path, read) -> None:
    """For each there are marks in the picture that a reader can point at."""
    read(tiny_run)
    text = (tmp_path / "page.html").read_text()
    marks = json.loads(re.search(r'class="marks">(.*?)</script>', text).group(1))
    assert len(marks) == 4
    for mark, said in marks.items():
        assert f'id="{mark}-' in text or f'id="{mark}edge--' in text
        assert "routed" in said


def test_a_stopped_run_is_shown_as_far_as_it_came(stopped_run: Path, read) -> None:
    """It says so, and what is not known yet is not there."""
    found = read(stopped_run)
    assert "Not finished: 6 of 7 stages are done; dkd-rgb is at epoch 2." in found.words
    assert "Not known before the run is finished." in found.words


def test_a_stage_that_is_gone_leaves_the_others(tiny_run: Path, tmp_path: Path, read) -> None:
    """Even the last one of a finished run."""
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(tiny_run, copy)
    shutil.rmtree(copy / "stages" / "dkd-rgb")
    found = read(copy)
    assert "Confusion, alone" in found.words
    assert "Confusion, distilled" not in found.words


def test_without_the_store_all_else_is_there(tiny_run: Path, tmp_path: Path, read) -> None:
    """The sections that need data say why they are empty; the others stand."""
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(tiny_run, copy)
    config = copy / "config.gin"
    store = str(tiny_run.parent / "store")
    config.write_text(config.read_text().replace(store, str(tmp_path / "gone")))
    found = read(copy)
    assert "They need the data and the run's code" in found.words
    assert "Confusion, distilled" in found.words


def test_two_runs_stand_side_by_side(tiny_run: Path, read) -> None:
    """Results and differing settings come first, then each run."""
    found = read(tiny_run, tiny_run)
    assert "Side by side" in found.words
    assert "None differs." in found.words
    assert found.words.count("Learning curves") == 4


def test_what_is_told_is_told_once(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many galleries, students and runs open the same recipe."""
    told: list[str] = []

    def about(_run: Any, _method: str, _device: str, notice: Any) -> Article:
        notice("a recipe is code")
        return Article("", "", "", [])

    monkeypatch.setattr(page, "_library", lambda: "/* library */")
    monkeypatch.setattr(page, "of_record", about)
    page.write_page([tiny_run, tiny_run], tmp_path / "page.html", notice=told.append)
    assert told == ["a recipe is code"]


def test_what_is_no_run_is_one_sentence(tmp_path: Path) -> None:
    """Exit code 2, and no page."""
    result = CliRunner().invoke(main, ["report", str(tmp_path)])
    assert result.exit_code == 2
    assert "expected the folder of a run" in result.stderr


def test_text_of_a_user_is_no_code(tiny_run: Path, tmp_path: Path, read) -> None:
    """Names with angle brackets are shown, in words and in charts, and never run."""
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(tiny_run, copy)
    for name in ("plan.json", "summary.json"):
        content = json.loads((copy / name).read_text())
        content.pop("sha256", None)
        content["data"]["title"] = "</script><script>alert(1)</script>"
        (copy / name).write_text(json.dumps(content))
    read(copy)
    assert "<script>alert" not in (tmp_path / "page.html").read_text()


def test_a_file_of_other_hands_is_not_written_over(tmp_path: Path) -> None:
    """Nor anything in the folder that is shown; a page is written again."""
    mine, run = tmp_path / "mine.gin", tmp_path / "run"
    mine.write_text("graph.target = 'a'")
    run.mkdir()
    with pytest.raises(UserError, match="is there already and is no page of mstgraph's"):
        page.refuse_others(mine, [run])
    with pytest.raises(UserError, match="lies in a folder that is shown"):
        page.refuse_others(run / "plan.json", [run])
    mine.write_bytes(b"<!doctype html>" + page.MARK)
    page.refuse_others(mine, [run])


def test_words_begin_at_one_edge_and_numbers_end_at_the_other() -> None:
    """Column by column: one word makes it one of words, what is not known says nothing."""
    rows = [["a", "0.5", "—", "0.1.0", ""], ["b", "−0.25", "0.5", "split drawn", "3"]]
    assert Rows("vwxyz", rows).of_words == [True, False, False, True, False]
    assert Rows("xy", []).of_words == [False, False]


def test_columns_of_words_are_marked_and_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for a table, not for each cell: of a thousand epochs that would take minutes."""
    asked: list[Rows] = []
    found = Rows.of_words.fget

    def of_words(rows: Rows) -> list[bool]:
        asked.append(rows)
        return found(rows)

    monkeypatch.setattr(Rows, "of_words", property(of_words))
    table = Rows(["v", "w", "x"], [["a", "0.5", "low"], ["b", "—", "high"]])
    written = page._template()([Article("", "", "", [Section("", [table])])], "")
    assert re.findall(r'<t[hd](?: scope="col")? class="word">(\w+)', written) == [
        "v",
        "x",
        "low",
        "high",
    ]
    assert written.count('class="word"') == 4
    assert asked == [table]
