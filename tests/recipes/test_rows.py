"""A table is the same table, whatever it lies in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mstgraph.recipes.rows import part_of, read_rows
from mstgraph.support.errors import UserError


def test_text_has_lines_and_values(tmp_path: Path) -> None:
    """A row is named by its line."""
    (tmp_path / "a.tsv").write_text("x\tlabel\n1\tcat\n\t dog\n")
    rows = read_rows(tmp_path / "a.tsv")
    assert {name: list(values) for name, values in rows.columns.items()} == {
        "x": ["1", ""],
        "label": ["cat", "dog"],
    }
    assert rows.lines[1] == f"line 3 of {tmp_path / 'a.tsv'}"


def test_files_of_one_name_are_a_row(tmp_path: Path) -> None:
    """Their folder is the label, and the one above it the part, if all are called like parts."""
    for name in ("train/cat/1.jpg", "train/cat/1.wav", "val/dog/1.jpg", "val/dog/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    rows = read_rows(tmp_path)
    assert {name: list(values) for name, values in rows.columns.items()} == {
        "image": ["train/cat/1.jpg", "val/dog/1.jpg"],
        "sound": ["train/cat/1.wav", None],
        "label": ["cat", "dog"],
        "split": ["train", "val"],
    }
    (tmp_path / "val/dog/1.png").touch()
    with pytest.raises(UserError, match="are of one name"):
        read_rows(tmp_path)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    """In one sentence each."""
    (tmp_path / "a.csv").write_text("x,label\n")
    (tmp_path / "a.xlsx").touch()
    (tmp_path / "empty").mkdir()
    for name, sentence in {
        "a.csv": "has no rows",
        "a.xlsx": "is no table; expected .csv",
        "empty": "has no rows",
        "none": "there is no",
    }.items():
        with pytest.raises(UserError, match=sentence):
            read_rows(tmp_path / name)


def test_words_for_the_parts_of_a_split() -> None:
    """As people write them."""
    assert [part_of(word) for word in ("Train", "dev", " val ", "testing", "cat")] == [
        *("train", "validation", "validation", "test", None)
    ]


def test_parquet_and_saved_data_sets_are_tables(tmp_path: Path) -> None:
    """Values come as they are, names of classes and kinds from what ``datasets`` wrote."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = arrow.table(
        {
            "picture": [{"bytes": b"abc", "path": None}, {"bytes": b"d", "path": None}],
            "series": [[1.0, 2.0], [3.0, 4.0]],
            "label": [1, 0],
        }
    )
    features = {
        "picture": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": ["cat", "dog"]},
    }
    parquet.write_table(table, tmp_path / "a.parquet")
    assert list(read_rows(tmp_path / "a.parquet").columns["series"]) == [[1.0, 2.0], [3.0, 4.0]]
    for part in ("train", "test"):
        folder = tmp_path / "set" / part
        folder.mkdir(parents=True)
        with arrow.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as file:
            file.write_table(table)
        (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    alone, both = read_rows(tmp_path / "set" / "train"), read_rows(tmp_path / "set")
    assert (len(alone), len(both)) == (2, 4)
    assert list(both.columns["split"]) == ["test", "test", "train", "train"]
    assert both.columns["picture"][0] == {"bytes": b"abc", "path": None}
    for rows in (alone, both):
        assert rows.kinds == {"picture": "image"}
        assert rows.classes == {"label": ("cat", "dog")}
    (folder / "data-00000-of-00001.arrow").write_bytes(b"broken")
    with pytest.raises(UserError, match="cannot be read"):
        read_rows(tmp_path / "set")


def test_a_missing_library_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence."""
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "a.parquet").touch()
    with pytest.raises(UserError, match=r"needs pyarrow: pip install 'mstgraph\[tables\]'"):
        read_rows(tmp_path / "a.parquet")
