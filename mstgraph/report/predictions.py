"""The table of what a student says of raw items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from mstgraph.report.tables import table

SHOWN = 3  # classes of an item


def print_predictions(documents: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print a row for each item: its class and how probable, or what fills most of its map."""
    if not documents:
        return
    columns = _columns(documents[0])
    rows = table("", columns)
    for document in documents:
        rows.add_row(*(Text(cell) for cell in _cells(document)))
    console.print(rows)


def _columns(document: Mapping[str, Any]) -> list[str]:
    heads = {"class": ["class", "then"], "shares": ["shows"], "outputs": ["outputs"]}
    found = next(heads[key] for key in heads if key in document)
    return ["item", *found, *(["picture"] if "picture" in document else [])]


def _cells(document: Mapping[str, Any]) -> list[str]:
    end = [document["picture"]] if "picture" in document else []
    if "outputs" in document:
        return [document["item"], f"{document['outputs']}", *end]
    key = "probabilities" if "class" in document else "shares"
    ranked = sorted(document[key].items(), key=lambda pair: -pair[1])[:SHOWN]
    said = [f"{name} {value:.1%}" for name, value in ranked]
    if key == "shares":
        return [document["item"], ", ".join(said), *end]
    return [document["item"], said[0], ", ".join(said[1:]), *end]
