"""What a recipe declares: the modalities of a data set, its labels, and how to read one sample.

A recipe is one file under ``datasets/`` with one subclass of `Recipe`, a dataclass whose fields
are its options. Splits, statistics, hashing, progress, resuming and checks belong to the package.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from mstgraph.support.errors import UserError, users_code

Task = Literal["classification", "segmentation"]


@dataclass(frozen=True)
class Modality:
    """One named input stream, as it is stored.

    Attributes:
        name: the modality's name; a member of a graph lists it under ``inputs``.
        dtype: numpy's name of the stored type (``uint8``, ``uint16``, ``float32``, …).
        shape: shape of one sample, channels first for maps: ``[channels, height, width]``.
        scale: a stored value times this is the physical value.
        unit: unit of the physical value ("m"), empty where there is none.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float = 1.0
    unit: str = ""


@dataclass(frozen=True)
class Labels:
    """What is to be predicted.

    Attributes:
        task: one label per sample (``classification``) or per pixel (``segmentation``).
        classes: names of the classes; the label is the index into them, and a network has one
            output for each.
        ignored: the label that takes part in no loss and no metric, or None.
        shape: ``()`` for classification, ``(height, width)`` for segmentation.
        unknown: the label of a sample or pixel whose class nobody knows: it takes part in no task
            loss and no metric, but in distillation. A sample whose ``label`` is None is unknown as
            a whole. None: every label is known.
    """

    task: Task
    classes: tuple[str, ...]
    ignored: int | None = None
    shape: tuple[int, ...] = ()
    unknown: int | None = None


class Recipe(ABC):
    """How a data set becomes a store; subclasses are dataclasses whose fields are the options.

    Class attributes:
        title: the data set's name as a person writes it.
        source: where the data comes from (URL or citation).
        licence: its licence, and the attribution that it asks for.
        synthetic: empty for real data; else what every log line, summary and picture of a run on
            it must say, e.g. "synthetic rooms".
        requires: which raw data the option ``raw`` must point to and how to get it, in one
            sentence; empty when the recipe needs none.
    """

    title: ClassVar[str]
    source: ClassVar[str]
    licence: ClassVar[str]
    synthetic: ClassVar[str] = ""
    requires: ClassVar[str] = ""

    @abstractmethod
    def modalities(self) -> tuple[Modality, ...]:
        """Return the modalities in the order that indices of members follow."""

    @abstractmethod
    def labels(self) -> Labels:
        """Return what is to be predicted."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        """Return sample ``index``: one array per modality, and ``label`` (see `Labels.unknown`).

        Must depend on the index and the options alone, so that a build can be continued.
        """

    def identifier(self, index: int) -> str:
        """Return how a message names sample ``index`` (a file name, an id)."""
        return str(index)

    def official_splits(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """Return splits that come with the data, ``{name: {"train": ids, "test": ids}}``.

        ``validation`` may be left out: a fifth of the training ids is then set aside.
        """
        return {}

    def raw_files(self) -> tuple[Path, ...]:
        """Return the files that determine the store's content; they are fingerprinted."""
        return ()


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
    """

    title: str
    source: str
    licence: str
    synthetic: str
    modalities: tuple[Modality, ...]
    labels: Labels
    length: int
    official_splits: Mapping[str, Mapping[str, Any]]


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
    return Declared(
        **texts,
        modalities=_modalities(recipe, f"modalities() of the recipe {name}"),
        labels=_fields_typed(_typed(_asked(recipe.labels, labels), Labels, labels), labels),
        length=_length(recipe, f"len() of the recipe {name}"),
        official_splits=_official_splits(recipe, f"official_splits() of the recipe {name}"),
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
    if isinstance(value, wanted) and not isinstance(value, bool):
        return value
    given = "nothing" if value is None else f"{_shown(value)}, of type {type(value).__name__}"
    expected = " or ".join(_KINDS.get(kind, kind.__name__) for kind in wanted)
    raise UserError(f"{what} is {given}; expected {expected}")


_KINDS = {
    str: "text",
    Integral: "an integer",
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
    "task": str,
    "scale": Real,
    "ignored": (Integral, type(None)),
    "unknown": (Integral, type(None)),
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


def _official_splits(recipe: Recipe, what: str) -> dict[str, Mapping[str, Any]]:
    given = _typed(_asked(recipe.official_splits, what), Mapping, what)
    return {
        _typed(name, str, f"a split's name in {what}"): _typed(
            parts, Mapping, f"the split '{name}' in {what}"
        )
        for name, parts in given.items()
    }
