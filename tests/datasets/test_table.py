"""The recipe of a table of one's own: what a store made of it holds, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_data import write_own_data

from mstgraph.recipes.table import Table
from mstgraph.store import Store, load_recipe
from mstgraph.store.build.builder import build
from mstgraph.store.declared import declared
from mstgraph.store.recipe import Recipe
from mstgraph.support.errors import UserError

RECIPE = Path(__file__).resolve().parents[2] / "datasets" / "table.py"


def opened(raw: Path, **options: Any) -> Recipe:
    """Return the recipe of a table."""
    return load_recipe(RECIPE, raw, options)


def test_a_store_holds_what_the_files_hold(tmp_path: Path) -> None:
    """Synthetic pictures, sounds, arrays and numbers; text is left out; the table's own split."""
    table = write_own_data(tmp_path / "raw", rows=12)
    store = build(opened(table, sizes="36x30", seconds=0.5, rate=8000), tmp_path / "store")
    assert {name: (m.dtype, m.shape) for name, m in store.modalities.items()} == {
        "photo": ("uint8", (3, 36, 30)),
        "tone": ("float32", (1, 64, 48)),
        "motion": ("float32", (2, 32)),
        "numbers": ("float32", (1,)),
    }
    assert store.labels_spec.classes == ("high", "low")
    assert {part: len(store.split("table", part)) for part in ("train", "validation", "test")} == {
        "train": 8,
        "validation": 2,
        "test": 2,
    }
    np.testing.assert_array_equal(
        Store(tmp_path / "store").read("motion", np.array([3]))[0], np.load(tmp_path / "raw/3.npy")
    )


def test_files_that_are_kept_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take the bytes of their files; of other columns nothing changes."""
    table = write_own_data(tmp_path / "raw", rows=12)
    recipe = opened(table, columns="photo,motion", sizes="8x10")
    arrays = build(recipe, tmp_path / "arrays")
    monkeypatch.setattr(Table, "keeps_files", True)
    files = build(opened(table, columns="photo,motion", sizes="8x10"), tmp_path / "files")
    assert [m.encoding for m in files.modalities.values()] == ["jpeg", "raw"]
    for name in files.modalities:
        np.testing.assert_array_equal(files.read(name, range(12)), arrays.read(name, range(12)))


def test_options_as_text_choose_columns_and_sizes(tmp_path: Path) -> None:
    """Names are parted by commas, whatever letters they have; a column's own size wins."""
    (tmp_path / "a.csv").write_text("max,x x,label\n1,2,a\n3,4,b\n5,6,a\n")
    assert opened(tmp_path / "a.csv", columns="max, x x").sample(1)["numbers"].tolist() == [3, 4]
    (tmp_path / "b.csv").write_text("7,keys,label\nq.npy,q.npy,a\nq.npy,q.npy,b\n")
    np.save(tmp_path / "q.npy", np.zeros(3))
    named = [m.name for m in opened(tmp_path / "b.csv").modalities()]
    assert named == ["column_7", "column_keys"]  # what gin and torch can write
    table = write_own_data(tmp_path / "raw", rows=3)
    recipe = opened(table, columns="photo", sizes="96x128,photo=8x16")
    assert [(m.name, m.shape) for m in recipe.modalities()] == [("photo", (3, 8, 16))]


def test_classes_are_in_order_and_may_be_unknown(tmp_path: Path) -> None:
    """Numbers by their value, not by their digits; an empty label is one that nobody knows."""
    (tmp_path / "a.csv").write_text("x,label\n1,10\n2,9\n3,\n")
    recipe = opened(tmp_path / "a.csv")
    assert (recipe.labels().classes, recipe.labels().unknown) == (("9", "10"), -1)
    assert [int(recipe.sample(n)["label"]) for n in range(3)] == [1, 0, -1]


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("x,label\n1,a\nb,b\n", {"columns": "x"}, "holds text; expected paths"),
        ("x,class\n1,a\n2,b\n", {}, "option 'label' names 'label', but .* no such column"),
        ("x,label\n1,a\n2,b\n", {"columns": "y"}, "no such column"),
        ("x,label\n1,a\n2,a\n", {}, "has no two classes"),
        ("a,label\nhello,a\nyou,b\n", {}, "no column of pictures, sounds, arrays or numbers"),
        ("x,label,split\n1,a,train\n2,b,tset\n", {}, "line 3 .* has 'tset' in 'split'; did you"),
        ("a b,a_b,label\nq.npy,q.npy,a\nq.npy,q.npy,b\n", {}, "would be called 'a_b'"),
        ("p,label\nq.jpg,a\nq.jpg,b\n", {"sizes": "0x3"}, "holds '0x3'; expected a height"),
        ("p,label\nq.jpg,a\nq.jpg,b\n", {"sizes": "z=3x3"}, "option 'sizes' names 'z'"),
        (
            "x,label\n" + "".join(f"1,{n}\n" for n in range(30)),
            {},
            "30 different values in 30 rows",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, text: str, options: dict[str, str], sentence: str
) -> None:
    """In one sentence that names column, line or option."""
    (tmp_path / "a.csv").write_text(text)
    np.save(tmp_path / "q.npy", np.zeros(3))
    with pytest.raises(UserError, match=sentence):
        declared(opened(tmp_path / "a.csv", **options))


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("gone.npy,1", "gone.npy does not exist"),
        ("other.npy,1", "is 4; expected 3"),
        (",1", "line 3 of .* has an empty 'f'"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, row: str, sentence: str) -> None:
    """When it is read."""
    np.save(tmp_path / "q.npy", np.zeros(3))
    np.save(tmp_path / "other.npy", np.zeros(4))
    (tmp_path / "a.csv").write_text(f"f,x,label\nq.npy,1,a\n{row},b\n")
    with pytest.raises(UserError, match=sentence):
        opened(tmp_path / "a.csv", columns="f,x").sample(1)


def test_a_sample_may_lack_what_is_optional(tmp_path: Path) -> None:
    """An empty cell of such a column is a modality that is not there, and counted as such."""
    np.save(tmp_path / "q.npy", np.ones(3))
    rows = "".join(
        f"{'' if n % 3 == 0 else 'q.npy'},{'' if n % 6 == 1 else n},{n % 2}\n" for n in range(20)
    )
    (tmp_path / "a.csv").write_text(f"f,x,label\n{rows}")
    recipe = opened(tmp_path / "a.csv", columns="f,x", optional="f,x")
    assert [m.optional for m in recipe.modalities()] == [True, True]
    store = build(recipe, tmp_path / "store")
    there = store.read_lengths(np.arange(20))
    assert (there["f"] > 0).tolist() == [n % 3 != 0 for n in range(20)]
    assert (there["numbers"] > 0).tolist() == [n % 6 != 1 for n in range(20)]
    with pytest.raises(UserError, match=r"option 'optional' names 'g', but .* no such column"):
        opened(tmp_path / "a.csv", optional="g").modalities()


def test_a_row_has_all_of_its_numbers_or_none(tmp_path: Path) -> None:
    """Half a vector is no sample."""
    (tmp_path / "a.csv").write_text("x,y,label\n1,2,a\n,,b\n3,,a\n")
    recipe = opened(tmp_path / "a.csv", optional="x")
    assert recipe.sample(1)["numbers"] is None
    with pytest.raises(UserError, match=r"line 4 of .* has an empty 'y' beside other numbers;"):
        recipe.sample(2)


def test_a_word_far_below_among_numbers_is_named(tmp_path: Path) -> None:
    """What a column holds is told by its first rows, and the others are held to it."""
    lines = [f"{n},{'ab'[n % 2]}" for n in range(60)]
    (tmp_path / "a.csv").write_text("\n".join(["x,label", *lines, "many,a"]))
    with pytest.raises(UserError, match=r"line 62 of .* has 'many' in 'x'; expected a number"):
        opened(tmp_path / "a.csv").sample(60)


def test_raw_items_are_read_as_samples_are(tmp_path: Path) -> None:
    """What a student is shown in use is bit for bit what the store would hold of the file."""
    table = write_own_data(tmp_path / "raw", rows=3)
    options = {"sizes": "36x30", "seconds": 0.5, "rate": 8000}
    recipe = opened(table, **options)
    kept, in_use = recipe.sample(1), load_recipe(RECIPE, None, options, for_items=True)
    for modality, raw in zip(
        recipe.modalities(),
        (*(tmp_path / "raw" / name for name in ("1.jpg", "1.wav", "1.npy")), None),
        strict=True,
    ):
        given = raw or str(float(kept["numbers"][0]))
        np.testing.assert_array_equal(in_use.item(modality, given), kept[modality.name])
    numbers = recipe.modalities()[-1]
    with pytest.raises(UserError, match="it holds a picture; expected 1 of 'numbers'"):
        in_use.item(numbers, tmp_path / "raw/1.jpg")
