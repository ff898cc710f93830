"""Asking a recipe what it declares: once, in one place, and of the type that it should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from mstgraph.store.recipe import Chunk, Labels, Modality, Recipe
from mstgraph.support.errors import UserError, users_code


@dataclass(frozen=True)
class Declared:
    """What a recipe declares, asked once; everything is of the type that it should be.

    Attributes:
        title: see `Recipe`, as are the next three.
        source: where the data comes from.
        licence: its licence.
        synthetic: empty for real data.
        modalities: in their order.
        labels: what is to be predicted.
        length: number of samples.
        official_splits: name → part → sample numbers.
        chunks: how many samples each chunk has; () where they are read one by one.
    """

    title: str
    source: str
    licence: str
    synthetic: str
    modalities: tuple[Modality, ...]
    labels: Labels
    length: int
    official_splits: Mapping[str, Mapping[str, Any]]
    chunks: tuple[int, ...] = ()


def declared(recipe: Recipe) -> Declared:
    """Ask a recipe what it declares.

    Raises:
        UserError: it fails, or says something of another type than it should.
    """
    name = type(recipe).__name__
    texts = {
        item: _typed(getattr(recipe, item, None), str, f"{item} of the recipe {name}")
        for item in ("title", "source", "licence", "synthetic")
    }
    if not texts["title"]:
        raise UserError(f"title of the recipe {name} is empty; expected the data set's name")
    labels = f"labels() of the recipe {name}"
    chunks = _chunks(recipe, f"chunks() of the recipe {name}")  # whose length it may be
    return Declared(
        **texts,
        modalities=_modalities(recipe, f"modalities() of the recipe {name}"),
        labels=_fields_typed(_typed(_asked(recipe.labels, labels), Labels, labels), labels),
        length=_length(recipe, f"len() of the recipe {name}"),
        official_splits=_official_splits(recipe, f"official_splits() of the recipe {name}"),
        chunks=chunks,
    )


def raw_files(recipe: Recipe) -> tuple[Path, ...]:
    """Ask a recipe which files determine the store's content.

    Raises:
        UserError: it fails, or says something else than paths.
    """
    what = f"raw_files() of the recipe {type(recipe).__name__}"
    files = _typed(_asked(recipe.raw_files, what), (tuple, list), what)
    return tuple(
        _typed(file, Path, f"{what}, at place {place},") for place, file in enumerate(files)
    )


def _asked(question: Any, what: str) -> Any:
    with users_code(f"{what} fails"):
        return question()


def _typed(value: Any, kinds: Any, what: str) -> Any:
    """Return a value of one of some types; a truth value is no number."""
    wanted = kinds if isinstance(kinds, tuple) else (kinds,)
    if isinstance(value, wanted) and (bool in wanted or not isinstance(value, bool)):
        return value
    given = "nothing" if value is None else f"{_shown(value)}, of type {type(value).__name__}"
    expected = " or ".join(_KINDS.get(kind, kind.__name__) for kind in wanted)
    raise UserError(f"{what} is {given}; expected {expected}")


_KINDS = {
    bool: "True or False",
    str: "text",
    Integral: "an integer",
    float: "math.nan",
    Real: "a number",
    tuple: "a tuple",
    list: "a list",
    type(None): "None",
}


def _shown(value: Any) -> str:
    text = repr(value).partition("\n")[0]
    return text if len(text) <= 60 else f"{text[:60]}…"


def _modalities(recipe: Recipe, what: str) -> tuple[Modality, ...]:
    given = _typed(_asked(recipe.modalities, what), (tuple, list), what)
    places = [f"{what}[{place}]" for place in range(len(given))]
    return tuple(
        _fields_typed(_typed(item, Modality, place), place)
        for place, item in zip(places, given, strict=True)
    )


_FIELDS: Mapping[str, Any] = {
    "name": str,
    "dtype": str,
    "unit": str,
    "encoding": str,
    "integers": bool,
    "task": str,
    "scale": Real,
    "optional": bool,
    "varying": bool,
    "ignored": (Integral, type(None)),
    "unknown": (Integral, float, type(None)),
    "shape": (tuple, list),
    "classes": (tuple, list),
}
_ITEMS: Mapping[str, Any] = {"shape": Integral, "classes": str}


def _fields_typed(item: Any, what: str) -> Any:
    """Return a modality or labels with tuples in the place of lists; refuse other types."""
    changes = {}
    for name in (field.name for field in fields(item)):
        value = _typed(getattr(item, name), _FIELDS[name], f"{name} in {what}")
        if name in _ITEMS:
            kind = _ITEMS[name]
            value = tuple(_typed(each, kind, f"one of {name} in {what}") for each in value)
        changes[name] = tuple(map(int, value)) if name == "shape" else value
    return replace(item, **changes)


def _length(recipe: Recipe, what: str) -> int:
    with users_code(f"{what} fails"):
        return len(recipe)


def _chunks(recipe: Recipe, what: str) -> tuple[int, ...]:
    given = _typed(_asked(recipe.chunks, what), (tuple, list), what)
    sizes = []
    for place, chunk in enumerate(given):
        _typed(chunk, Chunk, f"{what}[{place}]")
        where = f"samples in {what}[{place}]"
        size = int(_typed(chunk.samples, Integral, where))
        if size < 1:
            raise UserError(f"{where} is {size}; expected at least 1")
        sizes.append(size)
    return tuple(sizes)


def _official_splits(recipe: Recipe, what: str) -> dict[str, Mapping[str, Any]]:
    given = _typed(_asked(recipe.official_splits, what), Mapping, what)
    return {
        _typed(name, str, f"a split's name in {what}"): _typed(
            parts, Mapping, f"the split '{name}' in {what}"
        )
        for name, parts in given.items()
    }
