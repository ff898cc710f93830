"""Reading ``metadata.json``: what a store is, without touching its data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mstgraph.store.layout import (
    FORMAT_VERSION,
    LABEL,
    METADATA_FILE,
    PARTIAL_SUFFIX,
    STATE_FILE,
    Column,
)
from mstgraph.store.places import DATA_FILE
from mstgraph.store.recipe import Labels, Modality
from mstgraph.support.errors import UserError, nearest


def read_metadata(directory: Path) -> dict[str, Any]:
    """Return the metadata of the store at ``directory``, and check that its data is there whole.

    Raises:
        UserError: there is no store, it is half built, of another format, or cut short.
    """
    path = directory / METADATA_FILE
    if directory.name.endswith(PARTIAL_SUFFIX) or not path.is_file():
        raise UserError(_absent(directory))
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
        version = metadata["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read as a store's metadata: {error}") from error
    if version != FORMAT_VERSION:
        raise UserError(
            f"{directory} is a store of format version {version}; expected {FORMAT_VERSION} "
            "(prepare it again with this version of mstgraph)"
        )
    _check_size(directory / DATA_FILE, metadata["data_bytes"])
    return dict(metadata)


def _absent(directory: Path) -> str:
    partial = directory.with_name(directory.name + PARTIAL_SUFFIX)
    if not (directory / METADATA_FILE).is_file() and partial.is_dir():
        return f"{directory} is half built; the same `mstgraph prepare` command continues it"
    if directory.name.endswith(PARTIAL_SUFFIX) or (directory / STATE_FILE).exists():
        return f"{directory} is a half-built store; `mstgraph prepare` continues it"
    if directory.exists():
        return (
            f"{directory} is no store: it holds no {METADATA_FILE}; expected a directory that "
            "`mstgraph prepare` made"
        )
    return f"there is no store at {directory}{nearest(directory.name, _stores(directory.parent))}"


def _stores(directory: Path) -> list[str]:
    return sorted(path.parent.name for path in directory.glob(f"*/{METADATA_FILE}"))


def _check_size(path: Path, expected: int) -> None:
    found = path.stat().st_size if path.is_file() else 0
    if found != expected:
        raise UserError(
            f"{path} has {found} bytes, expected {expected}: it was cut short or changed; "
            "copy or prepare the store again"
        )


def read_modalities(metadata: dict[str, Any]) -> dict[str, Modality]:
    """Return the modalities by name, in the recipe's order."""
    return {
        item["name"]: Modality(
            item["name"], item["dtype"], tuple(item["shape"]), item["scale"], item["unit"]
        )
        for item in metadata["modalities"]
    }


def read_labels_spec(metadata: dict[str, Any]) -> Labels:
    """Return what is to be predicted."""
    labels = metadata["labels"]
    return Labels(
        labels["task"],
        tuple(labels["classes"]),
        labels["ignored"],
        tuple(labels["shape"]),
        labels.get("unknown"),  # stores of earlier versions know every label
    )


def read_columns(metadata: dict[str, Any]) -> dict[str, Column]:
    """Return the columns by name, labels last."""
    declared = [*metadata["modalities"], {**metadata["labels"], "name": LABEL}]
    return {
        item["name"]: Column(
            item["name"],
            item["dtype"],
            tuple(item["shape"]),
            metadata["length"],
            item["samples_per_record"],
        )
        for item in declared
    }
