"""A table's rows are those that a person sees in it, or its line is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mstgraph.recipes.tables import lines, table
from mstgraph.support.errors import UserError


def write(path: Path, content: str | bytes) -> Path:
    """Write a table."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def texts(path: Path, delimiter: str = "\t") -> list[str]:
    """Return the texts of a table's rows."""
    return [row["text"] for _, row in table(path, ["id", "text"], delimiter)]


def test_quoted_fields_may_hold_anything(tmp_path: Path) -> None:
    """Rows by column with their lines; a leading mark goes."""
    path = write(tmp_path / "a", '\ufeffid\ttext\n1\t"two\nlines, ""quoted"""\n2\tplain\n')
    assert table(path, ["text"], "\t") == [
        (3, {"id": "1", "text": 'two\nlines, "quoted"'}),
        (4, {"id": "2", "text": "plain"}),
    ]
    assert texts(write(path, 'id,text\n1,"a, b"\n2,c\n'), ",") == ["a, b", "c"]


LONE = ('"help is on its way', '"all safe" here', 'six 6" pipes', 'she said "no"', '"', '""a""')


def test_a_lone_quotation_mark_is_a_character(tmp_path: Path) -> None:
    """No row disappears in another's field; a mark around a whole field goes, as ever."""
    rows = "".join(f"{number}\t{text}\n" for number, text in enumerate((*LONE, '"whole"')))
    assert texts(write(tmp_path / "a", "id\ttext\n" + rows)) == [*LONE, "whole"]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n\t")), max_size=6))
def test_plain_rows_are_read_as_they_stand(
    tmp_path_factory: pytest.TempPathFactory, given_texts: list[str]
) -> None:
    """Whatever characters they hold, as many rows come out, in order."""
    path = tmp_path_factory.mktemp("table") / "a"
    rows = "".join(f"{number}\tx{text}x\n" for number, text in enumerate(given_texts))
    assert texts(write(path, "id\ttext\n" + rows)) == [f"x{text}x" for text in given_texts]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_they_do_anywhere(tmp_path: Path, end: str) -> None:
    """And nowhere else: what Python takes for a line's end may stand in a text."""
    path = write(tmp_path / "a", end.join(["id\ttext", "1\tone\u2028\x85\x0cline", "", "2\ttwo"]))
    assert texts(path) == ["one\u2028\x85\x0cline", "two"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("id\ttxt\n", "no column 'text'; did you mean 'txt'"),
        ("", "no column 'id'"),
        ("id\ttext\ttext\n", "two columns 'text'"),
        ("id\ttext\n1\n", "line 2 of .* has another number of columns than the first line, 2"),
        ("id\ttext\n1\ta\tb\n", "line 2 of .* has another number of columns"),
        ("id\ttext\n1\ta\n\t\n", "line 3 of .* has an empty 'id'"),
        ("id\ttext\n1\ta\n2\t \n", "line 3 of .* has an empty 'text'"),
        (b"id\ttext\n1\ta\n2\tcaf\xe9\n", "line 3 of .* cannot be read as text in UTF-8"),
        ("id\ttext\n1\ta\n".encode("utf-16"), "line 1 of .* cannot be read as text in UTF-8"),
        ("id\ttext\n1\ta\0\n", "line 2 of .* holds a character that no text does"),
        ("id\ttext\n1\ta\rb\n", "line 2 of .* holds a character that no text does"),
        ('id\ttext\n1\t"a\n2\tb"\n3\tc\td\n', "line 2 of .* opens a quotation mark that line 3"),
        ('id\ttext\n1\t"a\nb\n', "line 3 of .* cannot be read"),
    ],
)
def test_what_is_no_such_table_is_refused(tmp_path: Path, content: str | bytes, told: str) -> None:
    """With the file, and the line where one is at fault."""
    with pytest.raises(UserError, match=told):
        texts(write(tmp_path / "a", content))


def test_lists_are_read_as_tables_are(tmp_path: Path) -> None:
    """Without the mark at their beginning, and the end of the last line."""
    assert lines(write(tmp_path / "a", "\ufeffone\r\ntwo\r\n")) == ["one", "two"]
    with pytest.raises(UserError, match="b cannot be read: No such file"):
        lines(tmp_path / "b")
