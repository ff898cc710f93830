"""What the words of a command line stand for, item by item."""

from __future__ import annotations

import io
from pathlib import Path

from mstgraph.predict.items import items


def named(*inputs: str | Path, stdin: str = "") -> list[tuple[str, object]]:
    """Return name and raw item of each."""
    return [(item.name, item.raw) for item in items(inputs, "touch", io.StringIO(stdin))]


def test_a_folder_stands_for_its_files_in_order(tmp_path: Path) -> None:
    """Those below it, too; hidden ones are left out."""
    for name in ("b.png", "a.npy", "below/c.png", ".hidden/d.png", ".e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [Path(name).relative_to(tmp_path).as_posix() for name, _ in named(tmp_path)]
    assert found == ["a.npy", "b.png", "below/c.png"]


def test_rows_of_a_table_are_items(tmp_path: Path) -> None:
    """With or without names of columns; named by their lines."""
    path = tmp_path / "t.csv"
    path.write_text("1,2\n\n3,4\n")
    assert named(path) == [(f"{path}:1", "1,2"), (f"{path}:3", "3,4")]
    path.write_text("x,y\n1,2\n3,4\n")
    assert named(path) == [(f"{path}:2", "1,2"), (f"{path}:3", "3,4")]


def test_a_column_of_the_modalitys_name_holds_the_item(tmp_path: Path) -> None:
    """Quoted text and all; other columns are somebody else's."""
    path = tmp_path / "t.tsv"
    path.write_text('id\ttouch\n7\t"soft, and ""warm"""\n', encoding="utf-8")
    assert named(path) == [(f"{path}:2", 'soft, and "warm"')]


def test_a_column_may_name_files_beside_the_table(tmp_path: Path) -> None:
    """As the tables that data come in do, from wherever one asks; other text stays text."""
    path = tmp_path / "t.csv"
    path.write_text(f"touch,label\n1.png,a\n2.png,b\n{'long ' * 100},c\n")
    (tmp_path / "1.png").touch()
    assert [raw for _, raw in named(path)] == [tmp_path / "1.png", "2.png", "long " * 100]


def test_rows_of_text_are_all_items(tmp_path: Path) -> None:
    """Nobody can tell a first row of text from a name, unless numbers follow."""
    path = tmp_path / "t.csv"
    path.write_text("soft\nwarm\n")
    assert [raw for _, raw in named(path)] == ["soft", "warm"]


def test_lines_of_standard_input() -> None:
    """Empty ones are passed over; the file named beside it comes in its turn."""
    assert named("-", "x.npy", stdin="1 2\n\n3 4\n") == [
        ("-:1", "1 2"),
        ("-:3", "3 4"),
        ("x.npy", Path("x.npy")),
    ]


def test_a_broken_table_is_an_item_that_says_why(tmp_path: Path) -> None:
    """So that the others are read all the same."""
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe1,2\n")
    ((_, reason),) = named(tmp_path)
    assert "the table cannot be read" in str(reason)
