"""What `mstgraph new` writes for data of one's own: a recipe, a gin file, a README."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from mstgraph.api.networks import members_in_gin
from mstgraph.recipes import columns
from mstgraph.recipes import table as tables
from mstgraph.store.recipe import Modality
from mstgraph.support.text import shape_in_words

RECIPE, STORE = "recipe.py", "store"  # names in the folder


@dataclass(frozen=True)
class Found:
    """What a table holds, and how it is to be read.

    Attributes:
        recipe: the recipe that reads it, with all that was found as its options.
        target: the modality that the student sees.
        measured: mean and spread of the labels where they are numbers to be predicted; None where
            they are classes.
    """

    recipe: tables.Table
    target: str
    measured: tuple[float, float] | None = None

    @property
    def modalities(self) -> dict[str, Modality]:
        """What will be stored, by name."""
        return {modality.name: modality for modality in self.recipe.modalities()}


def recipe_text(found: Found, data: Path, name: str, synthetic: str) -> str:
    """Return the recipe, with all that was found as the defaults of its options."""
    options, imports, numbers = found.recipe, _IMPORTS, ""
    if found.measured is not None:
        mean, spread = found.measured
        imports, numbers = _IMPORTS_OF_NUMBERS, _NUMBERS.format(mean=mean, spread=spread)
    return f'''"""{name}: how its samples are read. Written by mstgraph new; yours to edit.

What is here can stay as it is: a table with paths or numbers is read by the base class. To read a
file in your own way, override ``modalities`` and ``sample``.
"""

from __future__ import annotations
{imports}

@dataclass
class OwnData(table.Table):
    """A row is a sample."""

    title = {name!r}
    source = {data.name!r}
    licence = "unknown"  # say here whose the data is, and what it allows
    synthetic = {synthetic!r}  # what must be said of data that is not real; empty for real data

    columns: tuple[str, ...] = {options.columns!r}  # what members may see
    optional: tuple[str, ...] = {options.optional!r}  # of these, what some rows lack
    label: str = {options.label!r}
    split: str = {options.split!r}  # a column of train, validation and test; none: random groups
    sizes: tuple[str, ...] = {options.sizes!r}  # height x width of pictures
    rate: int = {options.rate}  # samples per second of sounds
    seconds: float = {options.seconds}  # of a sound: longer ones are cut, shorter ones filled
    bands: int = {options.bands}  # of a sound's spectrogram
{numbers}'''


_IMPORTS = """
from dataclasses import dataclass

from mstgraph.recipes import table
"""
_IMPORTS_OF_NUMBERS = """
import math
from dataclasses import dataclass

from mstgraph.recipes import table
from mstgraph.recipes.columns import is_empty
from mstgraph.store.recipe import Labels
"""
_NUMBERS = """
    mean: float = {mean!r}  # what is learned is (label - mean) / spread, a number of about one
    spread: float = {spread!r}

    def labels(self) -> Labels:
        \"""Return what is predicted, a number; where the cell is empty nobody knows it.\"""
        empty = any(map(is_empty, self.rows.columns[self.label]))
        return Labels("regression", (self.label,), unknown=math.nan if empty else None)

    def target(self, row: int) -> list[float]:
        \"""Return a row's number.\"""
        cell = self.rows.columns[self.label][row]
        return [math.nan if is_empty(cell) else (float(cell) - self.mean) / self.spread]
"""


def gin_text(found: Found, place: Path, data: Path, name: str) -> str:
    """Return the gin file: data, budget, a member for each modality, the method."""
    return f"""# {name}: a student that sees '{found.target}'.
#
# Written by mstgraph new; yours to edit.
#   mstgraph show {_word(place / f"{name}.gin")}
#   mstgraph run {_word(place / f"{name}.gin")}
include 'gin/base/mst.gin'

data.recipe = {str(place / RECIPE)!r}
data.raw = {str(data)!r}
data.store = {str(place / STORE)!r}
data.batch_size = 32

# The budget: raise it until validation no longer gets better.
student_epochs = 20
student_rate = 1e-3

# The student: what you will deploy. A member's name is a scope: NAME/Member says what it sees.
graph.target = {found.target!r}
{members_in_gin(found.modalities, found.target)}
# How it learns: from the mean of frozen teachers, on all samples, with a label or without. Other
# methods are files of gin/methods/, this one takes no notice of masks.
include 'gin/methods/recommended.gin'
"""


def readme_text(found: Found, place: Path, data: Path, name: str) -> str:
    """Return what was found in words, and the commands that follow."""
    recipe, gin_file = found.recipe, place / f"{name}.gin"
    shapes = {n: shape_in_words(m.shape) for n, m in found.modalities.items()}
    seen = "\n".join(
        f"- `{n}`: {shapes[n]} from {', '.join(f'`{c}`' for c in source.columns)}"
        for n, source in recipe.sources.items()
    )
    left = "".join(f"\n\nLeft out, {why}: {', '.join(which)}." for why, which in _unread(recipe))
    lacked = ", ".join(f"`{c}`" for c in recipe.optional)
    lacking = f"\n\nSome rows lack {lacked}: see docs/incomplete.md." if lacked else ""
    parts = recipe.official_splits().get("table", {})
    counts = ", ".join(f"{len(rows)} {part}" for part, rows in parts.items())
    given = _word(gin_file)
    advise = "" if found.measured else f"mstgraph advise {given}\n"
    return f"""# {name}

Written by `mstgraph new` from `{data}`: {len(recipe.rows)} samples, {_predicted(found)}; split:
{counts or "random groups of 60/20/20"}.

{seen}{left}{lacking}

| file | says | edit it to |
|---|---|---|
| `recipe.py` | how a row becomes a sample | choose columns, sizes, seconds; say whose the data is |
| `{name}.gin` | the student, its teachers, the budget | choose networks, epochs, the method |

```sh
{prepare_command(place, data)}
mstgraph show {given}
{advise}mstgraph run {given}
mstgraph eval runs/{name}-seed0
```

After an edit of `recipe.py`, remove `{place / STORE}` to have it prepared again.
"""


def prepare_command(place: Path, data: Path) -> str:
    """Return the command that prepares the store of a folder, or goes on with it."""
    recipe, store = place / RECIPE, place / STORE
    return f"mstgraph prepare {_word(recipe)} --raw {_word(data)} --out {_word(store)}"


def _word(path: Path) -> str:
    """Return a path as a shell reads it."""
    return shlex.quote(str(path))


def _predicted(found: Found) -> str:
    """Return what is predicted in words."""
    label = f"`{found.recipe.label}`"
    if found.measured is None:
        return f"{len(found.recipe.classes)} classes ({label})"
    mean, spread = found.measured
    return f"the number {label} to be predicted, as ({label} − {mean:g}) / {spread:g}"


def _unread(recipe: tables.Table) -> list[tuple[str, list[str]]]:
    """Return why columns are no modality, and which."""
    rows, left = recipe.rows, dict[str, list[str]]()
    known = {*recipe.columns, recipe.label, recipe.split}
    for column in (name for name in rows.columns if name not in known):
        shown, values = f"`{column}`", columns.first_values(rows, column)
        if columns.kind_of(rows, column) != "number":
            why = "as text, which would be a modality as token ids (docs/networks.md)"
            words = [value for value in values if columns.number(value) is None]
            if len(words) < len(values):
                why, shown = "as not all values are numbers", f"{shown} ('{words[0]}')"
        elif any(map(columns.is_empty, rows.columns[column])):
            why = "as some rows lack them and have other numbers (fill them in to use them)"
        else:
            why = "as it is called like a split, but says no part"
        left.setdefault(why, []).append(shown)
    return list(left.items())
