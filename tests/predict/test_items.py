"""What the words of a command line stand for, item by item."""

from __future__ import annotations

import io
from pathlib import Path

from mstgraph.predict.items import Item, items
from mstgraph.support.errors import UserError


def found(*inputs: str | Path, of: tuple[str, ...] = ("touch",), stdin: str = "") -> list[Item]:
    """Return the items; in tables, `label` holds no modality."""
    columns = lambda names: [name for name in names if name != "label"]  # noqa: E731
    return list(items(inputs, of, columns, io.StringIO(stdin)))


def named(*inputs: str | Path, stdin: str = "") -> list[tuple[str, object]]:
    """Return name and raw item of each, of one modality."""
    return [
        (item.name, item.raws if isinstance(item.raws, UserError) else item.raws.get("touch"))
        for item in found(*inputs, stdin=stdin)
    ]


def test_a_folder_stands_for_its_files_in_order(tmp_path: Path) -> None:
    """Those below it, too; hidden ones are left out."""
    for name in ("b.png", "a.npy", "below/c.png", ".hidden/d.png", ".e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    files = [Path(name).relative_to(tmp_path).as_posix() for name, _ in named(tmp_path)]
    assert files == ["a.npy", "b.png", "below/c.png"]


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


def test_numbers_go_without_labels_and_remarks(tmp_path: Path) -> None:
    """Columns of text and of labels are left out; those of the modality's name go before others."""
    path = tmp_path / "t.csv"
    path.write_text("x,remark,label,y\n1,wet,0,2\n3,dry,1,4\n")
    assert [raw for _, raw in named(path)] == ["1,2", "3,4"]
    path.write_text("id,touch0,touch1,label\n7,1,2,0\n8,3,4,1\n")
    assert [raw for _, raw in named(path)] == ["1,2", "3,4"]


def test_a_row_of_another_length_is_named(tmp_path: Path) -> None:
    """Nobody knows which of its fields is which."""
    path = tmp_path / "t.csv"
    path.write_text("x,y\n1,2\n1,2,3\n")
    ((_, first), (_, second)) = named(path)
    assert first == "1,2"
    assert str(second) == "it has 3 fields; expected 2 as are named"


def test_several_modalities_are_columns(tmp_path: Path) -> None:
    """Of their names, or of those and a number; the last one's may have any names."""
    path = tmp_path / "t.csv"
    path.write_text("photo,sound_1,sound_2,age,label\n1.png,1,2,30,0\n,3,4,,1\n")
    (tmp_path / "1.png").touch()
    assert [item.raws for item in found(path, of=("photo", "sound", "numbers"))] == [
        {"photo": tmp_path / "1.png", "sound": "1,2", "numbers": "30"},
        {"sound": "3,4"},
    ]
    path.write_text("1,2\n3,4\n")
    ((reason),) = (item.raws for item in found(path, of=("photo", "sound")))
    assert str(reason) == "its first line names none of photo, sound"


def test_several_modalities_are_folders(tmp_path: Path) -> None:
    """Files of one name are an item; what one lacks is left out, and one file is told apart."""
    for name in ("rgb/b.png", "rgb/in/a.jpg", "depth/in/a.npy"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    both = found(tmp_path, of=("rgb", "depth"))
    assert [(item.name, item.raws) for item in both] == [
        (str(tmp_path / "b"), {"rgb": tmp_path / "rgb/b.png"}),
        (
            str(tmp_path / "in/a"),
            {"rgb": tmp_path / "rgb/in/a.jpg", "depth": tmp_path / "depth/in/a.npy"},
        ),
    ]
    one, none = found(tmp_path / "rgb/b.png", tmp_path / "c.png", of=("rgb", "depth"))
    assert "it is of one modality, and the student sees rgb + depth" in str(one.raws)
    assert str(none.raws) == "there is no such file"


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
