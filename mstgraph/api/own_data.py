"""A folder for data of one's own: a recipe, a gin file and a README, from what is found."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from mstgraph.api.networks import members_in_gin
from mstgraph.recipes import images, sounds
from mstgraph.recipes import table as tables
from mstgraph.recipes.columns import LOOKED_AT, Images, Sounds, Source, file_of, is_empty
from mstgraph.store.recipe import Modality
from mstgraph.store.splits import official_split
from mstgraph.support.errors import UserError, nearest
from mstgraph.support.files import explained
from mstgraph.support.text import shape_in_words

LABELS = ("label", "labels", "class", "category", "target", "y")
SPLITS = ("split", "subset", "fold", "part", "partition", "set")
LARGEST_SIDE = 64  # of pictures, unless somebody asks for more
HIGHEST_RATE = 16_000  # samples per second that are kept of a sound
MOST_SECONDS = 10.0


@dataclass(frozen=True)
class Found:
    """What a table holds, and how it is to be read.

    Attributes:
        recipe: the recipe that reads it, with all that was found as its options.
        target: the modality that the student sees.
    """

    recipe: tables.Table
    target: str

    @property
    def modalities(self) -> dict[str, Modality]:
        """What will be stored, by name."""
        return {modality.name: modality for modality in self.recipe.modalities()}


def new(
    folder: Path | str,
    source: Path | str,
    *,
    label: str | None = None,
    split: str | None = None,
    target: str | None = None,
    synthetic: str = "",
) -> Path:
    """Write a recipe, a gin file and a README for data of one's own; nothing is overwritten.

    Args:
        folder: where they go; it may not exist, or must be empty.
        source: a CSV, TSV or Parquet file, a folder of files, or a saved data set.
        label: the column of classes; None takes one that is called like it.
        split: the column of train, validation and test; None takes one that is called like it.
        target: the modality that the student sees; None takes a picture, else the first.
        synthetic: what must be said wherever numbers on this data appear, if it is not real.

    Returns:
        The gin file.

    Raises:
        UserError: the folder is not empty, or the data cannot be read.
    """
    place, data = Path(folder), Path(source)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UserError(_not_empty(place))
    found = look(data, label, split, target)
    name = re.sub(r"[^\w.-]+", "_", place.resolve().name)
    files = {
        "recipe.py": _recipe(found, data, name, synthetic),
        f"{name}.gin": _gin(found, place, data, name),
        "README.md": _readme(found, place, data, name),
    }
    with explained(place):
        place.mkdir(parents=True, exist_ok=True)
    _write(place, files)
    return place / f"{name}.gin"


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    """Write all of them, or none; another process that writes them, too, is left alone."""
    written: list[Path] = []
    try:
        for name, text in texts.items():
            with explained(folder / name), _created(folder, folder / name) as file:
                written.append(folder / name)
                file.write(text)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _created(folder: Path, path: Path) -> TextIO:
    """Open a file that is not there yet; who comes second is refused."""
    try:
        return path.open("x", encoding="utf-8")
    except FileExistsError as error:
        raise UserError(_not_empty(folder)) from error


def _not_empty(folder: Path) -> str:
    return f"'{folder}' is not empty; expected a folder that is, or that is not there"


def look(
    source: Path, label: str | None = None, split: str | None = None, target: str | None = None
) -> Found:
    """Find out what a table holds; see `new` for arguments and errors."""
    rows = tables.Table(source).rows
    label = label or _called(LABELS, rows.columns)
    if label is None:
        raise UserError(
            f"'{source}' has no column that is called like a label; name it with --label"
            f"{nearest('label', rows.columns)}"
        )
    split = split or _called(SPLITS, rows.columns) or "split"
    recipe = tables.Table(source, label=label, split=split)
    recipe = _fitted(recipe)
    found = [modality.name for modality in recipe.modalities()]
    if target is not None and target not in found:
        raise UserError(f"'{source}' has no modality '{target}'{nearest(target, found)}")
    pictures = [name for name, each in recipe.sources.items() if isinstance(each, Images)]
    recipe.labels()  # refuses what are no classes before anything is written
    for name, parts in recipe.official_splits().items():
        official_split(name, parts, len(recipe))
    return Found(recipe, target or (pictures or found)[0])


def _called(names: Sequence[str], columns: Mapping[str, object]) -> str | None:
    """Return the column that has the first of some names, whatever its case."""
    lower = {column.lower(): column for column in columns}
    return next((lower[name] for name in names if name in lower), None)


def _fitted(recipe: tables.Table) -> tables.Table:
    """Return the recipe with columns, sizes, rate and seconds as they are found."""
    sizes, extents = [], []
    for source in recipe.sources.values():
        if isinstance(source, Images):
            sizes.append(f"{source.columns[0]}={_size(recipe, source)}")
        if isinstance(source, Sounds):
            extents += _first(recipe, source, sounds.extent)
    columns = tuple(c for source in recipe.sources.values() for c in source.columns)
    rate, seconds = recipe.rate, recipe.seconds
    if extents:
        rates, lengths = np.array(extents).T
        rate = int(min(HIGHEST_RATE, rates.max()))
        seconds = max(0.1, round(min(MOST_SECONDS, float(np.percentile(lengths, 90))), 1))
    return tables.Table(
        recipe.raw,
        columns=columns,
        optional=tuple(c for source in recipe.sources.values() for c in _empty(recipe, source)),
        label=recipe.label,
        split=recipe.split,
        sizes=tuple(sizes) or recipe.sizes,
        rate=rate,
        seconds=seconds,
    )


def _empty(recipe: tables.Table, source: Source) -> tuple[str, ...]:
    """Return the columns of a modality that some rows lack whole, and no row in part."""
    cells = (recipe.rows.columns[column] for column in source.columns)
    lacking = [[*map(is_empty, row)] for row in zip(*cells, strict=True)]
    some = any(map(all, lacking)) and not any(any(row) and not all(row) for row in lacking)
    return source.columns if some else ()


def _size(recipe: tables.Table, source: Images) -> str:
    """Return the size of the first picture if it is small, else one that is."""
    width, height = _first(recipe, source, lambda *file: images.colour(*file).size)[0]
    small = max(width, height) <= LARGEST_SIDE
    return f"{height}x{width}" if small else f"{LARGEST_SIDE}x{LARGEST_SIDE}"


def _first(
    recipe: tables.Table, source: Source, measure: Callable[[Path, bytes | None], tuple]
) -> list[tuple]:
    """Measure the files of the first rows; sounds that are no WAV files are not looked at."""
    rows, (column,) = recipe.rows, source.columns
    there = [n for n in range(len(rows)) if not is_empty(rows.columns[column][n])]
    some = there[: 1 if isinstance(source, Images) else LOOKED_AT]
    files = [file_of(rows, column, n) for n in some]
    if isinstance(source, Sounds):
        files = [f for f in files if f[1] is not None or f[0].suffix.lower() == ".wav"]
    return [measure(*file) for file in files]


def _recipe(found: Found, data: Path, name: str, synthetic: str) -> str:
    options = found.recipe
    return f'''"""{name}: how its samples are read. Written by mstgraph new; yours to edit.

What is here can stay as it is: a table with paths or numbers is read by the base class. To read a
file in your own way, override ``modalities`` and ``sample``.
"""

from __future__ import annotations

from dataclasses import dataclass

from mstgraph.recipes import table


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
'''


def _gin(found: Found, place: Path, data: Path, name: str) -> str:
    return f"""# {name}: a student that sees '{found.target}'.
#
# Written by mstgraph new; yours to edit.
#   mstgraph show {place / name}.gin
#   mstgraph run {place / name}.gin
include 'gin/base/mst.gin'

data.recipe = {str(place / "recipe.py")!r}
data.raw = {str(data)!r}
data.store = {str(place / "store")!r}
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


def _readme(found: Found, place: Path, data: Path, name: str) -> str:
    recipe, gin_file = found.recipe, place / f"{name}.gin"
    shapes = {n: shape_in_words(m.shape) for n, m in found.modalities.items()}
    seen = "\n".join(
        f"- `{n}`: {shapes[n]} from {', '.join(f'`{c}`' for c in source.columns)}"
        for n, source in recipe.sources.items()
    )
    unread = [
        c for c in recipe.rows.columns if c not in (*recipe.columns, recipe.label, recipe.split)
    ]
    left = f"\n\nLeft out, as text: {', '.join(f'`{c}`' for c in unread)}." if unread else ""
    lacked = ", ".join(f"`{c}`" for c in recipe.optional)
    lacking = f"\n\nSome rows lack {lacked}: see docs/incomplete.md." if lacked else ""
    parts = recipe.official_splits().get("table", {})
    counts = ", ".join(f"{len(rows)} {part}" for part, rows in parts.items())
    return f"""# {name}

Written by `mstgraph new` from `{data}`: {len(recipe.rows)} samples of {len(recipe.classes)} classes
(`{recipe.label}`); split: {counts or "random groups of 60/20/20"}.

{seen}{left}{lacking}

| file | says | edit it to |
|---|---|---|
| `recipe.py` | how a row becomes a sample | choose columns, sizes, seconds; say whose the data is |
| `{name}.gin` | the student, its teachers, the budget | choose networks, epochs, the method |

```sh
mstgraph prepare {place / "recipe.py"} --raw {data} --out {place / "store"}
mstgraph show {gin_file}
mstgraph advise {gin_file}
mstgraph run {gin_file}
mstgraph eval runs/{name}-seed0
```

After an edit of `recipe.py`, remove `{place / "store"}` to have it prepared again.
"""
