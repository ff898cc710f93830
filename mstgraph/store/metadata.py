"""Reading ``metadata.json``: what a store is, without touching its data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from mstgraph.store.destination import partial_of, shard_of
from mstgraph.store.layout import (
    FORMAT_VERSION,
    LABEL,
    LENGTHS,
    METADATA_FILE,
    OF_SHARDS,
    PARTIAL_SUFFIX,
    PLAIN,
    STATE_FILE,
    WITH_LENGTHS,
    Column,
    incomplete,
    is_storable,
)
from mstgraph.store.mapped.places import DATA_FILE
from mstgraph.store.recipe import ENCODINGS, RAW, Labels, Modality
from mstgraph.store.splits import PARTS
from mstgraph.support.disk.descriptions import DIGEST, content_digest
from mstgraph.support.disk.forms import FormError, check_form
from mstgraph.support.errors import UserError, nearest
from mstgraph.support.files import read_json

ADVICE = "copy the file anew, or prepare the store again"


class _Version(TypedDict):
    format_version: int


class _Sized(TypedDict):
    samples_per_record: int
    dtype: str
    shape: list[int]


class _AlwaysInModality(_Sized):
    name: str
    scale: float
    unit: str


class _Modality(_AlwaysInModality, total=False):
    integers: bool
    optional: bool
    varying: bool
    encoding: str


class _AlwaysInLabels(_Sized):
    task: str
    classes: list[str]
    ignored: int | None


class _Labels(_AlwaysInLabels, total=False):
    unknown: int | str | None  # "nan" among numbers


class _AlwaysInRawFile(TypedDict):
    name: str
    size: int
    sha256: str


class _RawFile(_AlwaysInRawFile, total=False):
    path: str
    modified: int
    inode: int


class _AlwaysInRecipe(TypedDict):
    file: str
    sha256: str
    options: dict[str, Any]
    raw_files: list[_RawFile]


class _Recipe(_AlwaysInRecipe, total=False):
    modules: dict[str, str]
    places: dict[str, str]


class _Unlabelled(TypedDict, total=False):
    samples: int
    pixels: float
    splits: dict[str, dict[str, int]]


class _Lengths(TypedDict):
    samples_per_record: int


class _Presence(TypedDict):
    samples: dict[str, int]
    splits: dict[str, dict[str, dict[str, int]]]
    classes: dict[str, dict[str, list[str]]]


class _AlwaysInMetadata(TypedDict):
    title: str
    source: str
    licence: str
    synthetic: str
    recipe: _Recipe
    identity: str
    fingerprint: str
    length: int
    modalities: list[_Modality]
    labels: _Labels
    samples_per_block: int
    splits: dict[str, dict[str, int]]
    data_bytes: int


class _Metadata(_AlwaysInMetadata, total=False):
    content_version: int
    unlabelled: _Unlabelled
    lengths: _Lengths
    presence: _Presence


class _AlwaysInShard(TypedDict):
    samples: int
    fingerprint: str


class _Shard(_AlwaysInShard, total=False):
    appended: bool


class _OfShards(_Metadata):
    shards: list[_Shard]
    sha256: str  # of the rest, which no list of checksums vouches for


_FORMS = {**dict.fromkeys((*PLAIN, FORMAT_VERSION), _Metadata), OF_SHARDS: _OfShards}


def read_metadata(directory: Path) -> dict[str, Any]:
    """Return the metadata of the store at ``directory``, and check that its data is there whole.

    The data of a store of shards is theirs.

    Raises:
        UserError: there is no store, it is half built, of another format, or cut short; or what
            its metadata says is of no sense.
    """
    path = directory / METADATA_FILE
    if directory.name.endswith(PARTIAL_SUFFIX) or not path.is_file():
        raise UserError(_absent(directory))
    metadata = read_json(path, ADVICE)
    try:
        check_form(metadata, _Version)
        version = metadata["format_version"]
        if version in _FORMS:
            check_form(metadata, _FORMS[version])
            _check_values(metadata)
    except FormError as error:
        raise UserError(f"{path} is not a store's metadata: {error}; {ADVICE}") from error
    if version not in _FORMS:
        raise UserError(
            f"{directory} is a store of format version {version}; expected at most "
            f"{max(_FORMS)} (prepare it again with this version of mstgraph)"
        )
    if version == OF_SHARDS:
        _check_digest(path, metadata)
        return dict(metadata)
    try:
        _check_size(directory, metadata["data_bytes"])
    except UserError:
        if read_json(path, ADVICE) != metadata:  # samples were appended between the two looks
            return read_metadata(directory)
        raise
    return dict(metadata)


def _check_values(metadata: Mapping[str, Any]) -> None:
    """Refuse values of which no column could be made."""
    labels, names = metadata["labels"], [item["name"] for item in metadata["modalities"]]
    _check("length", metadata["length"], metadata["length"] > 0)
    _check("modalities", names, 0 < len(set(names)) == len(names))
    _check("labels.classes", labels["classes"], len(labels["classes"]) > 0)
    _check("samples_per_block", metadata["samples_per_block"], metadata["samples_per_block"] > 0)
    for item in metadata["modalities"]:
        _check(f"scale of '{item['name']}'", item["scale"], 0 < item["scale"] < math.inf)
        _check(f"shape of '{item['name']}'", item["shape"], len(item["shape"]) > 0)
    for item in (*metadata["modalities"], {**labels, "name": LABEL}):
        sizes, count = item["shape"], item["samples_per_record"]
        _check(f"shape of '{item['name']}'", sizes, min(sizes, default=1) > 0)
        _check(f"samples_per_record of '{item['name']}'", count, count > 0)
        _check(f"type of '{item['name']}'", item["dtype"], is_storable(item["dtype"]))
        if (encoding := item.get("encoding", RAW)) != RAW:
            known = encoding in ENCODINGS and not _modality(item).misfit
            _check(f"encoding of '{item['name']}'", encoding, known)
            continue
        size = metadata["length"] * math.prod(sizes)
        _check(f"length and shape of '{item['name']}'", size, size <= metadata["data_bytes"])
    lacking = [item["name"] for item in metadata["modalities"] if _incomplete(item)]
    version = metadata.get("content_version", metadata["format_version"])
    if lacking or version == WITH_LENGTHS:
        sensible = bool(lacking) and "lengths" in metadata and "presence" in metadata
        _check("modalities that samples may lack", lacking or "none", sensible)
        count = metadata["lengths"]["samples_per_record"]
        _check("samples_per_record of lengths", count, count > 0)
    if shards := metadata.get("shards") if metadata["format_version"] == OF_SHARDS else None:
        sizes = [shard["samples"] for shard in shards]
        _check("samples of shards", sizes, min(sizes) > 0 and sum(sizes) == metadata["length"])
    elif shards is not None:
        _check("shards", "none", False)
    for name, parts in metadata["splits"].items():
        _check(f"parts of split '{name}'", sorted(parts), set(parts) == set(PARTS))
    _check("splits", "none", len(metadata["splits"]) > 0)


def _incomplete(item: Mapping[str, Any]) -> bool:
    return bool(item.get("optional") or item.get("varying"))


def _check(what: str, value: object, sensible: bool) -> None:
    if not sensible:
        raise FormError(f"{what} is {str(value)[:60]}")


def _absent(directory: Path) -> str:
    if not (directory / METADATA_FILE).is_file() and partial_of(directory).is_dir():
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


def _check_digest(path: Path, metadata: Mapping[str, Any]) -> None:
    rest = {key: value for key, value in metadata.items() if key != DIGEST}
    if content_digest(rest) != metadata[DIGEST]:
        raise UserError(f"{path} is damaged: it is not as it was written; {ADVICE}")


def _check_size(directory: Path, expected: int) -> None:
    path = directory / DATA_FILE
    found = path.stat().st_size if path.is_file() else 0
    if not found and (shard_of(directory, 0) / DATA_FILE).is_file():
        raise UserError(
            f"appending to {directory} was broken off; the same `mstgraph store append` command "
            "continues"
        )
    if found != expected:
        raise UserError(
            f"{path} has {found} bytes, expected {expected}: it was cut short or changed; "
            "copy or prepare the store again"
        )


def read_modalities(metadata: dict[str, Any]) -> dict[str, Modality]:
    """Return the modalities by name, in the recipe's order."""
    return {item["name"]: _modality(item) for item in metadata["modalities"]}


def _modality(item: Mapping[str, Any]) -> Modality:
    return Modality(
        item["name"],
        item["dtype"],
        tuple(item["shape"]),
        item["scale"],
        item["unit"],
        item.get("integers", False),
        item.get("optional", False),  # stores of earlier versions lack nothing
        item.get("varying", False),
        item.get("encoding", RAW),
    )


def read_labels_spec(metadata: dict[str, Any]) -> Labels:
    """Return what is to be predicted."""
    labels = metadata["labels"]
    unknown = labels.get("unknown")  # stores of earlier versions know every label
    return Labels(
        labels["task"],
        tuple(labels["classes"]),
        labels["ignored"],
        tuple(labels["shape"]),
        math.nan if unknown == "nan" else unknown,
    )


def read_columns(metadata: dict[str, Any]) -> dict[str, Column]:
    """Return the columns by name, labels last."""
    declared = [*metadata["modalities"], {**metadata["labels"], "name": LABEL}]
    if lacking := incomplete(read_modalities(metadata).values()):
        lengths = {"name": LENGTHS, "dtype": "int32", "shape": [len(lacking)]}
        declared.insert(-1, {**lengths, **metadata["lengths"]})
    return {
        item["name"]: Column(
            item["name"],
            item["dtype"],
            tuple(item["shape"]),
            metadata["length"],
            item["samples_per_record"],
            item.get("encoding", RAW),
        )
        for item in declared
    }
