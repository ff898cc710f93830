"""Metadata of another form are one sentence that names the key, whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mstgraph.store.reader import Store
from mstgraph.store.staleness import edited_module, other_raw_data
from mstgraph.support.errors import UserError

NOT_NEEDED = {"unknown", "unlabelled"}  # stores of earlier versions know every label


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all keys and items of plain data."""
    items = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = list(enumerate(value[:1]))
    return [found for key, item in items for found in ((*path, key), *places(item, (*path, key)))]


def changed(metadata: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a copy with another value at a path, or without it if that is ``...``."""
    copy = json.loads(json.dumps(metadata))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    if new is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return copy


def refused(store: Store) -> str:
    """Open the store anew and use it; return why it is refused, or nothing."""
    try:
        opened = Store(store.path)
        opened.describe()
        opened.read("rgb", [0])
        edited_module(opened.metadata["recipe"], store.path / "recipe.py")
        other_raw_data(opened.metadata["recipe"], store.path)
    except UserError as error:
        return str(error)
    return ""


def test_no_key_can_be_left_out_or_be_of_another_type(store: Store) -> None:
    """One sentence each: never a traceback, never silence where it counts."""
    path = store.path / "metadata.json"
    metadata = json.loads(path.read_text())
    for place in places(metadata):
        for new in (..., None, "text", [], {}, -2, 1e300, [[[]]], True):
            content = changed(metadata, place, new)
            if content == metadata:
                continue
            path.write_text(json.dumps(content))
            said = refused(store)
            known = place[0] in ("recipe", "title", "source", "licence", "identity")
            assert said or known or set(place) & NOT_NEEDED, (place, new)
            assert len(said.splitlines()) <= 1


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", "[" * 100_000, "\udcff", '{"a": 1e99999}'])
def test_what_is_no_metadata_is_one_sentence(text: str, store: Store) -> None:
    """However deep, and whatever it is instead."""
    path = store.path / "metadata.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"metadata\.json.*; copy the file anew, or prepare"):
        Store(store.path)
