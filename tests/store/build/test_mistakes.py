"""Mistakes that people make in recipes: one sentence each, which says what they wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from mstgraph.store.build.builder import build
from mstgraph.store.declared import declared
from mstgraph.store.load import load_recipe
from mstgraph.support.errors import UserError

RECIPE = """
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mstgraph.store import Labels, Modality, Recipe


@dataclass
class R(Recipe):
    title = "R"
    source = "made here"
    licence = "none"
    samples: int = 30

    def modalities(self):
        return (Modality("left", "float32", (4,)),)

    def labels(self):
        return Labels("classification", ("a", "b"))

    def __len__(self):
        return self.samples

    def sample(self, index):
        return {"left": np.ones(4, "float32"), "label": index % 2}
"""
MODALITY, LABELS = 'Modality("left", "float32", (4,))', 'Labels("classification", ("a", "b"))'
SAMPLE, LENGTH = 'return {"left": np.ones(4, "float32"), "label": index % 2}', "return self.samples"
LEFT = 'np.ones(4, "float32")'
BEFORE = "    def modalities"


def method(name: str, body: str) -> tuple[str, str]:
    """Return the edit that adds a method."""
    return BEFORE, f"    def {name}:\n        {body}\n\n{BEFORE}"


MISTAKES = {
    # the file
    "ends the program": (("import itertools", "sys = __import__('sys')\nsys.exit(0)"), "sys.exit"),
    "a name that is none": (('"none"', "none"), "NameError: name 'none' is not defined"),
    "calls itself": (("@dataclass\n", "def f(): f()\nf()\n@dataclass\n"), "RecursionError"),
    "no title": (('    title = "R"\n', ""), "title of the recipe R is nothing; expected text"),
    "empty title": (('title = "R"', 'title = ""'), "title of the recipe R is empty"),
    "title is a number": (('title = "R"', "title = 3"), "title of the recipe R is 3, of type int"),
    "synthetic is a flag": (
        ('title = "R"', 'title = "R"\n    synthetic = True'),
        "is True, of type",
    ),
    "an option without default": (("samples: int = 30", "samples: int"), "option 'samples' of"),
    "a type that is none": (("samples: int = 30", "samples: 'integer' = 30"), "NameError"),
    "refuses its options": (method("__post_init__(self)", "raise ValueError('odd')"), "odd"),
    "ends in its options": (method("__post_init__(self)", "sys.exit(0)"), "sys.exit"),
    "an option of its own": (
        ("samples: int = 30", "samples: int = 30\n    o: object = object()"),
        "o",
    ),
    # modalities
    "modalities raises": (("return (" + MODALITY, "return 1 / 0, (" + MODALITY), "ZeroDivision"),
    "modalities ends": (("return (" + MODALITY, "sys.exit(0), (" + MODALITY), "sys.exit"),
    "no tuple": ((f"({MODALITY},)", MODALITY), "modalities() of the recipe R is Modality"),
    "a generator": ((f"return ({MODALITY},)", f"yield {MODALITY}"), "of type generator"),
    "without end": ((f"({MODALITY},)", f"itertools.repeat({MODALITY})"), "expected a tuple"),
    "nothing": ((f"return ({MODALITY},)", "pass"), "modalities() of the recipe R is nothing"),
    "a name alone": (
        (MODALITY, '"left"'),
        "the recipe R[0] is 'left', of type str",
    ),
    "a class": ((MODALITY, "Modality"), "expected Modality"),
    "one argument": ((MODALITY, 'Modality("left")'), "TypeError"),
    "name is a number": (('"left", "float32"', '3, "float32"'), "name in modalities() of"),
    "dtype is None": (('"float32", (4', "None, (4"), "dtype in modalities() of the recipe R[0]"),
    "dtype is numpy's": (('"float32", (4', "np.float32, (4"), "dtype in modalities()"),
    "dtype is text": (('"float32", (4', '"str", (4'), "modality 'left' has type 'str'"),
    "shape is a number": (("(4,))", "4)"), "shape in modalities() of the recipe R[0] is 4"),
    "shape is a float": (("(4,))", "(4.0,))"), "one of shape in modalities()"),
    "shape is a dots": (("(4,))", "(..., 4))"), "is Ellipsis, of type ellipsis; expected an int"),
    "shape is negative": (("(4,))", "(-4,))"), "has shape (-4,)"),
    "shape is endless": (("(4,))", "itertools.count())"), "shape in modalities()"),
    "shape is huge": (("(4,))", "(2**40, 2**40))"), "a sample of modality 'left' takes"),
    "scale is text": (("(4,))", '(4,), "x")'), "scale in modalities() of the recipe R[0] is 'x'"),
    "integers is a number": (("(4,))", "(4,), integers=1)"), "is 1, of type int; expected True or"),
    "scale is no number": (("(4,))", '(4,), float("nan"))'), "has scale nan"),
    "unit is None": (("(4,))", "(4,), 1.0, None)"), "unit in modalities()"),
    # labels
    "labels None": (("return " + LABELS, "return None"), "labels() of the recipe R is nothing"),
    "labels raises": (("return " + LABELS, "raise KeyError('c')"), "KeyError: 'c'"),
    "labels yields": (("return " + LABELS, "yield " + LABELS), "of type generator"),
    "classes is a text": (('("a", "b")', '"ab"'), "classes in labels() of the recipe R is 'ab'"),
    "classes are numbers": (('("a", "b")', "(0, 1)"), "one of classes in labels()"),
    "classes are counted": (('("a", "b")', "2"), "classes in labels() of the recipe R is 2"),
    "ignored is text": (('("a", "b"))', '("a", "b"), "a")'), "ignored in labels()"),
    "task is none": (('"classification"', '"regress"'), "has task 'regress'"),
    "task is a type": (('"classification"', "int"), "task in labels()"),
    # the number of samples
    "a float": ((LENGTH, "return 30.0"), "len() of the recipe R fails: TypeError"),
    "negative": ((LENGTH, "return -1"), "len() of the recipe R fails: ValueError"),
    "nothing at all": ((LENGTH, "pass"), "len() of the recipe R fails: TypeError"),
    "raises": ((LENGTH, "raise ValueError('x')"), "len() of the recipe R fails: ValueError: x"),
    "ends": ((LENGTH, "raise SystemExit(0)"), "sys.exit"),
    "too many": ((LENGTH, "return 10**15"), "whose numbers alone do not fit"),
    "beyond numbers": ((LENGTH, "return 10**30"), "len() of the recipe R fails: OverflowError"),
    "none": ((LENGTH, "return 0"), "has 0 samples"),
    # a sample
    "sample None": ((SAMPLE, "return None"), "sample '0' of R is nothing; expected a dict"),
    "sample yields": ((SAMPLE, "yield 1"), "sample '0' of R is a generator"),
    "sample is a tuple": ((SAMPLE, f"return {LEFT}, 0"), "sample '0' of R is a tuple"),
    "sample raises": ((SAMPLE, "raise RuntimeError('odd')"), "cannot be read: RuntimeError: odd"),
    "sample has no memory": ((SAMPLE, "raise MemoryError()"), "cannot be read: MemoryError"),
    "sample ends": ((SAMPLE, "raise SystemExit(0)"), "cannot be read: it ends the program"),
    "sample stops": ((SAMPLE, "next(iter(()))"), "cannot be read: StopIteration"),
    "sample asserts": ((SAMPLE, "assert index < 0"), "cannot be read: AssertionError"),
    "sample recurses": ((SAMPLE, "return self.sample(index)"), "RecursionError"),
    "sample without index": (("def sample(self, index)", "def sample(self)"), "TypeError"),
    "names are numbers": (('{"left"', '{3: 1, "left"'), "holds an unknown modality '3'"),
    "value None": ((LEFT, "None"), "modality 'left': expected an array of numbers, found nothing"),
    "value is text": ((LEFT, '"four"'), "expected an array of numbers, found a str"),
    "value is dots": ((LEFT, "..."), "expected an array of numbers, found a ellipsis"),
    "value is a function": ((LEFT, "np.ones"), "expected an array of numbers, found a"),
    "value is an iterator": ((LEFT, "iter([1] * 4)"), "found a list_iterator"),
    "value without end": ((LEFT, "itertools.count()"), "found a count"),
    "value is ragged": ((LEFT, "[[1, 2], [3]]"), "expected an array of numbers: ValueError"),
    "value holds itself": ((LEFT, "(lambda v: v.append(v) or v)([])"), "modality 'left'"),
    "value is objects": ((LEFT, "np.array([None] * 4)"), "expected type float32, found object"),
    "value is complex": ((LEFT, "np.ones(4, complex)"), "found complex128"),
    "value is masked": ((LEFT, 'np.ma.masked_less(np.zeros(4, "float32"), 1)'), "masked values"),
    "value is too wide": ((LEFT, "np.ones(4)"), "expected type float32, found float64"),
    "value of another shape": ((LEFT, 'np.ones((1, 4), "float32")'), "expected shape 4, found 1×4"),
    "value is no number": ((LEFT, 'np.full(4, np.nan, "float32")'), "expected finite values"),
    "label is text": (("index % 2", "'a'"), "label: expected an array of numbers, found a str"),
    "label is a share": (("index % 2", "0.5"), "label: expected an integer type, found float64"),
    "label is a flag": (("index % 2", "True"), "label: expected an integer type, found bool"),
    "label is beyond numbers": (("index % 2", "2**70"), "label: expected an integer type"),
    "label is a list": (("index % 2", "[1]"), "label: expected shape a single value, found 1"),
    # what else it says
    "identifier raises": (
        method("identifier(self, index)", "raise ValueError('x')"),
        "identifier(0)",
    ),
    "identifier is a number": (method("identifier(self, index)", "return index"), "expected text"),
    "raw files of text": (
        method("raw_files(self)", 'return ("a.txt",)'),
        "raw_files() of the recipe",
    ),
    "raw files is one": (method("raw_files(self)", 'return Path("a.txt")'), "expected a tuple"),
    "raw files without end": (
        method("raw_files(self)", 'return itertools.repeat(Path("a"))'),
        "expected a tuple or a list",
    ),
    "raw files are folders": (method("raw_files(self)", 'return (Path("."),)'), "cannot be read"),
    "raw files are gone": (method("raw_files(self)", 'return (Path("a.txt"),)'), "cannot be read"),
    "splits is a list": (method("official_splits(self)", "return [1]"), "official_splits() of"),
    "a split is a list": (method("official_splits(self)", 'return {"o": [1]}'), "the split 'o' in"),
    "a split has no name": (method("official_splits(self)", "return {1: {}}"), "a split's name in"),
    "a part has no name": (method("official_splits(self)", 'return {"o": {1: []}}'), "part '1'"),
    "a part is endless": (
        method("official_splits(self)", 'return {"o": {"train": itertools.count(), "test": [1]}}'),
        "part 'train' of split 'o'",
    ),
    "a part is ragged": (
        method("official_splits(self)", 'return {"o": {"train": [[1], [2, 3]], "test": [1]}}'),
        "part 'train' of split 'o'",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is raised, ended, forgotten, of another type or without end."""
    monkeypatch.chdir(tmp_path)
    (before, after), message = MISTAKES[name]
    assert before in RECIPE
    Path("r.py").write_text(RECIPE.replace(before, after, 1))
    with pytest.raises(UserError) as caught:
        build(load_recipe(Path("r.py")), Path("store"))
    said = str(caught.value)
    assert message in said
    assert "\n" not in said
    assert not Path("store").exists()


def test_what_an_exception_went_through_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line of the recipe, below the working directory as a person would write it."""
    monkeypatch.chdir(tmp_path)
    Path("r.py").write_text(RECIPE.replace(SAMPLE, "return {}['x']"))
    line = RECIPE.splitlines().index(f"        {SAMPLE}") + 1
    with pytest.raises(UserError, match=rf"sample '0' of R cannot be read: .*\(r\.py:{line}\)$"):
        build(load_recipe(Path("r.py")), Path("store"))


DRAWING = RECIPE.replace(LEFT, "np.random.rand(4).astype('float32')").replace(
    "import sys", "import random"
)


def test_what_a_recipe_draws_depends_on_the_sample_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two builds hold the same; and the program's own generators stay as they were."""
    monkeypatch.chdir(tmp_path)
    Path("r.py").write_text(DRAWING)
    stores = [build(load_recipe(Path("r.py")), Path(name)) for name in ("one", "two")]
    assert stores[0].fingerprint == stores[1].fingerprint
    rows = stores[0].read("left", [0, 1])
    assert (rows[0] != rows[1]).all()


def test_lists_and_numpys_numbers_are_as_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shape as a list, or of numpy's integers, is a shape."""
    monkeypatch.chdir(tmp_path)
    Path("r.py").write_text(
        RECIPE.replace("(4,))", "[np.int64(4)])").replace('("a", "b")', '["a", "b"]')
    )
    said = declared(load_recipe(Path("r.py")))
    assert said.modalities[0].shape == (4,)
    assert said.labels.classes == ("a", "b")
    assert build(load_recipe(Path("r.py")), Path("store")).length == 30
