from __future__ import annotations

from pathlib import Path
from typing import Literal, Optional

import pytest

from mstgraph.store.load import convert, load_recipe, missing_raw, stored_options
from mstgraph.support.errors import UserError

RECIPE = """
from __future__ import annotations
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from mstgraph.store.recipe import Labels, Modality, Recipe

@dataclass
class Toy(Recipe):
    raw: Path | None = None
    size: tuple[int, int] = (4, 5)
    length: int = 3
    noise: float = 0.0
    grey: bool = False
    name: str = "toy"
    crop: int | None = None
    title = "toy"
    source = licence = "none"
    requires = "{requires}"
    def modalities(self): return (Modality("rgb", "uint8", (3, *self.size)),)
    def labels(self): return Labels("classification", ("a", "b"))
    def __len__(self): return self.length
    def sample(self, index): return {{"rgb": np.zeros((3, *self.size), "u1"), "label": 0}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The file of a recipe that needs no raw data."""
    path = tmp_path / "toy.py"
    path.write_text(RECIPE.format(requires=""))
    return path


def test_options_are_converted_to_their_fields_types(recipe: Path) -> None:
    """Text from a command line and values from Python are both taken."""
    options = {"size": "96x128", "length": "7", "noise": "1e-3", "grey": "true", "name": "12"}
    found = load_recipe(recipe, None, {**options, "crop": "8"})
    assert vars(found) == {
        "raw": None,
        "size": (96, 128),
        "length": 7,
        "noise": 0.001,
        "grey": True,
        "name": "12",
        "crop": 8,
    }
    found = load_recipe(recipe, None, {"size": (1, 2), "noise": 2, "grey": False, "crop": None})
    assert vars(found)["size"] == (1, 2)
    assert vars(found)["noise"] == 2.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lenght": "3"}, "no option 'lenght'; did you mean 'length'"),
        ({"raw": "x"}, "no option 'raw'"),
        ({"length": "many"}, "option 'length' of recipe .* is 'many'; expected an integer"),
        ({"length": 2.5}, "is 2.5; expected a value of type int"),
        ({"length": True}, "is True; expected a value of type int"),
        ({"noise": "low"}, "expected a number"),
        ({"grey": "yes"}, "expected true or false"),
        ({"size": "96"}, "expected 2 values, written 96x128"),
        ({"size": "96xb"}, "expected an integer"),
    ],
)
def test_wrong_options_are_refused(recipe: Path, options: dict, message: str) -> None:
    """The option, its value and what was expected are named."""
    with pytest.raises(UserError, match=message):
        load_recipe(recipe, None, options)


def test_literal_optional_and_path_fields_are_understood() -> None:
    """The types that recipes declare options with."""
    assert convert("b", Literal["a", "b"]) == "b"
    with pytest.raises(ValueError, match="one of a, b"):
        convert("c", Literal["a", "b"])
    assert convert("none", Optional[int]) is None  # noqa: UP045
    assert convert("x/y", Path) == Path("x/y")
    assert convert("1,2,3", tuple[float, ...]) == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"there is no file '.*toys\.py'; did you mean '.*toy\.py'"),
        ("x = 1", "defines none; expected exactly one subclass of Recipe"),
        (RECIPE.format(requires="") + "\nclass Other(Toy): pass", "defines Toy, Other"),
        ("import no_such_module", "cannot be loaded: ModuleNotFoundError"),
        ("def", "cannot be loaded: SyntaxError"),
        (
            "from mstgraph.store.recipe import Recipe\nclass Half(Recipe):\n  title = ''",
            "recipe Half in .* does not define __len__, labels, modalities, sample",
        ),
    ],
)
def test_files_that_hold_no_recipe_are_refused(
    tmp_path: Path, recipe: Path, text: str | None, message: str
) -> None:
    """Missing, broken, empty and ambiguous files get a sentence each."""
    path = tmp_path / "toys.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_recipe(path, None, {})


def test_raw_data_are_asked_for_in_the_recipes_words(tmp_path: Path) -> None:
    """Without the raw data the user reads where to get them."""
    path = tmp_path / "toy.py"
    path.write_text(RECIPE.format(requires="get toy.zip from its authors"))
    for raw in (None, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=r"get toy\.zip from its authors"):
            load_recipe(path, raw, {})
        assert "get toy.zip" in str(missing_raw(path, raw))
    (tmp_path / "toy.zip").touch()
    assert missing_raw(path, tmp_path / "toy.zip") is None
    assert vars(load_recipe(path, tmp_path / "toy.zip", {}))["raw"] == tmp_path / "toy.zip"


def test_raw_data_for_a_recipe_that_takes_none_are_refused(tmp_path: Path) -> None:
    """A path that nothing reads is a mistake."""
    path = tmp_path / "toy.py"
    path.write_text(RECIPE.format(requires="").replace("    raw: Path | None = None\n", ""))
    with pytest.raises(UserError, match="takes no raw data"):
        load_recipe(path, tmp_path, {})
    assert missing_raw(path, None) is None


def test_options_of_a_store_are_taken_again_but_for_paths(tmp_path: Path) -> None:
    """Of a path a store knows the name alone: it is the recipe's own, or has to be said."""
    path = tmp_path / "toy.py"
    field = '    names: Path | None = Path("lists/names.txt")\n    length: int = 3\n'
    path.write_text(RECIPE.format(requires="").replace("    length: int = 3\n", field))
    prepared = {"size": [2, 2], "length": 4, "names": "names.txt"}
    found = vars(load_recipe(path, None, stored_options(path, prepared, {"length": "5"})))
    assert (found["size"], found["length"]) == ((2, 2), 5)
    assert found["names"] == Path("lists/names.txt")
    prepared["names"] = "others.txt"
    with pytest.raises(UserError, match=r"knows the name 'others.txt' alone; .* -o names=PATH"):
        stored_options(path, prepared, {})
    assert stored_options(path, prepared, {"names": "x/others.txt"})["names"] == "x/others.txt"
    assert stored_options(path, {"names": None}, {}) == {"names": None}
