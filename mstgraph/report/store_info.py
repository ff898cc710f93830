"""What ``mstgraph store info`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from mstgraph.report.tables import table
from mstgraph.store.presence import having
from mstgraph.support.text import shape_in_words, size_in_words


def print_store(described: Mapping[str, Any], console: Console) -> None:
    """Print a store's description.

    Args:
        described: see `mstgraph.store.Store.describe`.
        console: where to.
    """
    labels = described["labels"]
    label = f" · [bold yellow]{described['synthetic']}[/]" if described["synthetic"] else ""
    console.print(
        f"[bold]{described['title']}[/]{label} · {described['length']} samples · "
        f"{labels['task']}, {len(labels['classes'])} {_named(labels)} · "
        f"{size_in_words(described['data_bytes'])}",
        highlight=False,
    )
    if shards := described.get("shards"):
        _print_shards(shards, console)
    if (unlabelled := described.get("unlabelled", {})).get("samples") or unlabelled.get("pixels"):
        pixels = f", {unlabelled['pixels']:.1%} of the pixels" if "pixels" in unlabelled else ""
        console.print(f"no label: {unlabelled['samples']} samples{pixels}", highlight=False)
    for title in ("source", "licence", "fingerprint"):
        console.print(f"{title}: {described[title]}", markup=False, highlight=False)
    columns = ("name", "type", "shape", "unit", "bytes per sample")
    presence = described.get("presence", {}).get("samples", {})
    modalities = table("Modalities", (*columns, "samples") if presence else columns)
    for item in described["modalities"]:
        modalities.add_row(
            item["name"],
            ", ".join((item["dtype"], *([item["encoding"]] if "encoding" in item else ()))),
            shape_in_words(item["shape"]),
            item["unit"],
            f"{item['bytes_per_sample']:,}",
            *((f"{having(presence, item['name'])}",) if presence else ()),
        )
    console.print(modalities)
    if presence:
        patterns = table("Modalities that samples have", ("pattern", "samples"), right=("samples",))
        for pattern, count in presence.items():
            patterns.add_row(pattern, str(count))
        console.print(patterns)
    splits = table("Splits", ("name", "train", "validation", "test"))
    for name, parts in described["splits"].items():
        splits.add_row(name, *(str(parts[part]) for part in ("train", "validation", "test")))
    console.print(splits)
    classes = ", ".join(labels["classes"])
    ignored = "" if labels["ignored"] is None else f" (ignored: {labels['ignored']})"
    console.print(f"{_named(labels)}{ignored}: {classes}", markup=False, highlight=False)


def _print_shards(shards: Sequence[Mapping[str, Any]], console: Console) -> None:
    sizes = ", ".join(str(shard["samples"]) for shard in shards)
    appended = sum(1 for shard in shards if shard.get("appended"))
    last = f"; the last {appended} appended, others kept their splits" if appended else ""
    console.print(f"shards: {len(shards)} of {sizes} samples{last}", highlight=False)


def _named(labels: Mapping[str, Any]) -> str:
    """Return what the names of labels are names of."""
    return "numbers" if labels["task"] == "regression" else "classes"
