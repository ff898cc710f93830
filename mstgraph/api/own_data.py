"""A folder for data of one's own: a recipe, a gin file and a README, from what is found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from mstgraph.api.own_files import (
    RECIPE,
    Found,
    gin_text,
    prepare_command,
    readme_text,
    recipe_text,
)
from mstgraph.recipes import images, sounds
from mstgraph.recipes import table as tables
from mstgraph.recipes.columns import (
    LARGEST,
    LOOKED_AT,
    Images,
    Sounds,
    Source,
    file_of,
    is_empty,
    kind_of,
    number,
)
from mstgraph.recipes.rows import SPLIT, Rows, part_of
from mstgraph.store.splits import official_split
from mstgraph.support.errors import UserError, nearest
from mstgraph.support.files import explained

LABELS = ("label", "labels", "class", "category", "target", "y")
SPLITS = ("split", "subset", "fold", "part", "partition", "set")
LARGEST_SIDE = 64  # of pictures, unless somebody asks for more
HIGHEST_RATE = 16_000  # samples per second that are kept of a sound
MOST_SECONDS = 10.0
MOST_CLASSES = 20  # that numbers are taken for


def new(
    folder: Path | str,
    source: Path | str,
    *,
    label: str | None = None,
    split: str | None = None,
    target: str | None = None,
    synthetic: str = "",
    task: str | None = None,
) -> Path:
    """Write a recipe, a gin file and a README for data of one's own; nothing is overwritten.

    Where they are already as they would be written, because the same call was stopped after it,
    they are left alone.

    Args:
        folder: where they go; it may not exist, or must be empty.
        source: a CSV, TSV or Parquet file, a folder of files, or a saved data set.
        label: the column of what is predicted; None takes one that is called like it.
        split: the column of train, validation and test; None takes one that is called like it.
        target: the modality that the student sees; None takes a picture, else the first.
        synthetic: what must be said wherever numbers on this data appear, if it is not real.
        task: ``"classification"`` or ``"regression"``; None takes numbers that look like measured
            ones, many of them different, for those, and all else for classes.

    Returns:
        The gin file.

    Raises:
        UserError: the folder holds something else, or these files edited; or the data cannot be
            read.
    """
    place, data = Path(folder), Path(source)
    if place.exists() and not _may_be_ours(place):
        raise UserError(_not_empty(place))
    found = look(data, label, split, target, task)
    name = re.sub(r"[^\w.-]+", "_", place.resolve().name)
    files = {
        RECIPE: recipe_text(found, data, name, synthetic),
        f"{name}.gin": gin_text(found, place, data, name),
        "README.md": readme_text(found, place, data, name),
    }
    with explained(place):
        place.mkdir(parents=True, exist_ok=True)
        there = {name: (place / name).read_bytes() for name in files if (place / name).exists()}
    if any(content != files[name].encode() for name, content in there.items()):
        raise UserError(
            f"{_not_empty(place)}; the files that are there stay as they are, and "
            f"'{prepare_command(place, data)}' goes on with them"
        )
    _write(place, {name: text for name, text in files.items() if name not in there})
    return place / f"{name}.gin"


def _may_be_ours(folder: Path) -> bool:
    """Say whether a folder is empty, or as an earlier call may have left it."""
    return folder.is_dir() and (not any(folder.iterdir()) or (folder / RECIPE).is_file())


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
    source: Path,
    label: str | None = None,
    split: str | None = None,
    target: str | None = None,
    task: str | None = None,
) -> Found:
    """Find out what a table holds; see `new` for arguments and errors."""
    rows = tables.Table(source).rows
    label = label or _called(LABELS, rows.columns)
    if label is None:
        raise UserError(
            f"'{source}' has no column that is called like a label; name it with --label"
            f"{nearest('', rows.columns)}"
        )
    if label not in rows.columns:
        raise UserError(f"'{source}' has no column '{label}'{nearest(label, rows.columns)}")
    guess = split or _called(SPLITS, rows.columns)
    # Only a column that somebody named, or that says so itself, must tell parts.
    words = rows.columns.get(guess or "", ())
    tells = guess in (split, SPLIT) or all(part_of(str(word)) for word in words)
    columns = _read(rows, (label, guess))
    recipe = tables.Table(source, columns, label=label, split=guess if guess and tells else SPLIT)
    recipe = _fitted(recipe)
    found = [modality.name for modality in recipe.modalities()]
    if target is not None and target not in found:
        raise UserError(f"'{source}' has no modality '{target}'{nearest(target, found)}")
    pictures = [name for name, each in recipe.sources.items() if isinstance(each, Images)]
    measured = None
    if task == "regression" or (task is None and _looks_measured(recipe)):
        measured = _measured(recipe)
    else:
        recipe.labels()  # refuses what are no classes before anything is written
    for name, parts in recipe.official_splits().items():
        official_split(name, parts, len(recipe))
    return Found(recipe, target or (pictures or found)[0], measured)


def _looks_measured(recipe: tables.Table) -> bool:
    """Say whether labels are numbers, too many different ones to be classes.

    A word among them, or an infinite one, makes them no classes if most differ: it is refused.
    """
    values = [v for v in recipe.rows.columns[recipe.label] if not is_empty(v)]
    if recipe.label in recipe.rows.classes:
        return False
    found = {number(value) for value in values}
    different = found - {None}
    like_classes = None in found or all(float(value or 0).is_integer() for value in different)
    return len(different) > max(MOST_CLASSES, len(values) / 2 if like_classes else 0)


def _measured(recipe: tables.Table) -> tuple[float, float]:
    """Return mean and spread of labels that are numbers, to four digits, of training if told."""
    column = recipe.rows.columns[recipe.label]
    for row, value in enumerate(column):
        found = number(value)
        if not is_empty(value) and (found is None or abs(found) > LARGEST):
            raise UserError(
                f"{recipe.rows.lines[row]} has '{value}' in '{recipe.label}'; expected a number to "
                "be predicted, finite in float32, or --task classification"
            )
    rows = recipe.official_splits().get("table", {}).get("train", range(len(column)))
    values = np.array([number(column[row]) for row in rows if not is_empty(column[row])])
    if not len(values) or not values.std() > 0:
        raise UserError(
            f"the column '{recipe.label}' has no two different numbers to learn from; expected "
            "another one with --label"
        )
    return float(f"{values.mean():.4g}"), float(f"{values.std():.4g}")


def _read(rows: Rows, beside: Sequence[str | None]) -> tuple[str, ...]:
    """Return the columns that can be read; of numbers those that the same rows have."""
    kinds = {c: kind_of(rows, c) for c in rows.columns if c not in beside}
    numbers = (c for c, kind in kinds.items() if kind == "number")
    lacking = {c: tuple(map(is_empty, rows.columns[c])) for c in numbers}
    counts = Counter(lacking.values())
    kept = max(counts, key=lambda lacks: (not any(lacks), counts[lacks]), default=())
    left = {c for c, lacks in lacking.items() if lacks != kept}
    return tuple(c for c, kind in kinds.items() if kind != "text" and c not in left)


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


def _refuse_missing(recipe: tables.Table, column: str) -> None:
    """Refuse paths of the first rows that are not there: they may be relative to another place."""
    rows = recipe.rows
    for row in range(min(len(rows), LOOKED_AT)):
        value = rows.columns[column][row]
        if isinstance(value, str) and value and not (rows.folder / value).exists():
            raise UserError(
                f"{rows.lines[row]} names '{value}' in '{column}', but there is no "
                f"'{rows.folder / value}'; expected paths as they are seen from where the table is"
            )


def _first(
    recipe: tables.Table, source: Source, measure: Callable[[Path, bytes | None], tuple]
) -> list[tuple]:
    """Measure the files of the first rows; sounds that are no WAV files are not looked at."""
    rows, (column,) = recipe.rows, source.columns
    _refuse_missing(recipe, column)
    there = [n for n in range(len(rows)) if not is_empty(rows.columns[column][n])]
    some = there[: 1 if isinstance(source, Images) else LOOKED_AT]
    files = [file_of(rows, column, n) for n in some]
    if isinstance(source, Sounds):
        files = [f for f in files if f[1] is not None or f[0].suffix.lower() == ".wav"]
    return [measure(*file) for file in files]
