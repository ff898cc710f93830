"""Tables of one's own, whatever they lie in, as columns: text, Parquet, folders, data sets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mstgraph.recipes.tables import table
from mstgraph.support.errors import UserError
from mstgraph.support.machine.libraries import extra

SUFFIXES = {
    "image": (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"),
    "sound": (".wav", ".flac", ".ogg", ".mp3"),
    "array": (".npy",),
}
TEXTS = {".csv": ",", ".tsv": "\t"}
PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test", "testing"),
}
LABEL, SPLIT = "label", "split"
_FEATURES = {"Image": "image", "Audio": "sound"}  # what Hugging Face's data sets call them


@dataclass(frozen=True)
class Rows:
    """A table.

    Attributes:
        columns: name → the value of each row: text, a number, a list of numbers, a file's content
            (``{"bytes": …, "path": …}``); None or "" where there is none.
        folder: what paths in it are relative to.
        files: what it was read from.
        lines: how a message names each row.
        kinds: name → "image" or "sound", where the table says so.
        classes: name → names of the classes that its numbers stand for.
    """

    columns: Mapping[str, Sequence[Any]]
    folder: Path
    files: tuple[Path, ...]
    lines: Sequence[str]
    kinds: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)


def read_rows(path: Path) -> Rows:
    """Return the rows of a CSV, TSV or Parquet file, of a folder, or of a saved data set.

    A folder's rows are its files: those of one name in one folder, such as ``cat/7.jpg`` and
    ``cat/7.wav``, are a row; the folder's name is their label, and the one above it their part of
    the split if it is called like one. A data set is a folder that ``save_to_disk`` of Hugging
    Face's ``datasets`` wrote: Arrow files, of which no code is run.

    Raises:
        UserError: it is none of these, is empty or cannot be read.
    """
    if path.is_dir():
        saved = (path / "dataset_dict.json").is_file() or (path / "dataset_info.json").is_file()
        rows = _data_set(path) if saved else _files(path)
    elif path.suffix.lower() in TEXTS:
        rows = _text(path)
    elif path.suffix.lower() == ".parquet":
        rows = _parquet(path)
    elif not path.exists():
        raise UserError(f"there is no '{path}'; expected a table or a folder")
    else:
        raise UserError(f"'{path}' is no table; expected .csv, .tsv, .parquet or a folder")
    if not len(rows):
        raise UserError(f"'{path}' has no rows")
    return rows


def part_of(name: str) -> str | None:
    """Return the part of a split that a word stands for, or None."""
    word = name.strip().lower()
    return next((part for part, words in PARTS.items() if word in words), None)


def suffix_kind(name: str) -> str | None:
    """Return what a file of this name holds, or None."""
    suffix = Path(name).suffix.lower()
    return next((kind for kind, known in SUFFIXES.items() if suffix in known), None)


def _text(path: Path) -> Rows:
    found = table(path, (), TEXTS[path.suffix.lower()])
    names = list(found[0][1]) if found else []
    columns = {name: [row[name].strip() for _, row in found] for name in names}
    lines = [f"line {number} of {path}" for number, _ in found]
    return Rows(columns, path.parent, (path,), lines)


def _files(folder: Path) -> Rows:
    """Return a row for all files of one name in one folder."""
    rows: dict[Path, dict[str, str]] = {}
    for file in sorted(folder.rglob("*")):
        place = file.relative_to(folder)
        if (kind := suffix_kind(file.name)) and not any(map(_is_beside, place.parts)):
            row = rows.setdefault(place.with_suffix(""), {})
            if kind in row:
                raise UserError(
                    f"'{folder / row[kind]}' and '{file}' are of one name; expected one {kind}"
                )
            row[kind] = str(place)
    kinds = [kind for kind in SUFFIXES if any(kind in row for row in rows.values())]
    columns = {kind: [row.get(kind) for row in rows.values()] for kind in kinds}
    columns[LABEL] = [place.parent.name or None for place in rows]
    above = [place.parts[-3] if len(place.parts) > 2 else "" for place in rows]
    if all(map(part_of, above)):
        columns[SPLIT] = list(above)
    return Rows(columns, folder, (), [str(folder / place) for place in rows])


def _is_beside(name: str) -> bool:
    """Say whether a file or folder is what systems put beside those of a user."""
    return name.startswith(".") or name == "__MACOSX"


class _ArrowColumn(Sequence[Any]):
    """A column that is read value by value, so that pictures in it need not fit into memory."""

    def __init__(self, values: Any):
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        return self._values[index].as_py()


def _arrow(module: str) -> Any:
    return extra(module, "mstgraph[tables]")


def _parquet(path: Path) -> Rows:
    parquet = _arrow("pyarrow.parquet")
    try:
        read = parquet.read_table(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as Parquet: {_reason(error)}") from error
    return _of_arrow(read, path, (path,), path)


def _data_set(folder: Path) -> Rows:
    """Return the rows of a data set on disk; its parts become a column ``split``."""
    if not (folder / "dataset_dict.json").is_file():
        read, files = _arrow_files(folder)
        return _of_arrow(read, folder, files, folder)
    arrow = _arrow("pyarrow")
    names = sorted(each.name for each in folder.iterdir() if each.is_dir() and part_of(each.name))
    parts = {name: _arrow_files(folder / name) for name in names}
    if not parts:
        raise UserError(f"'{folder}' has no part; expected folders such as train and test")
    tables = [
        read.append_column(SPLIT, [arrow.array([name] * len(read))])
        if SPLIT not in read.column_names
        else read
        for name, (read, _) in parts.items()
    ]
    files = tuple(file for _, found in parts.values() for file in found)
    try:
        read = arrow.concat_tables(tables).replace_schema_metadata(tables[0].schema.metadata)
    except (OSError, ValueError) as error:
        raise UserError(f"the parts of '{folder}' differ: {_reason(error)}") from error
    return _of_arrow(read, folder, files, folder / names[0])


def _arrow_files(folder: Path) -> tuple[Any, tuple[Path, ...]]:
    """Return what the Arrow files of a folder hold together, mapped into memory, and the files."""
    arrow = _arrow("pyarrow")
    files = tuple(sorted(folder.glob("*.arrow")))
    if not files:
        raise UserError(f"'{folder}' holds no Arrow file; expected what save_to_disk wrote")
    try:
        read = [arrow.ipc.open_stream(arrow.memory_map(str(file))).read_all() for file in files]
        return arrow.concat_tables(read), files
    except (OSError, ValueError) as error:
        raise UserError(
            f"the Arrow files of '{folder}' cannot be read: {_reason(error)}"
        ) from error


def _of_arrow(read: Any, path: Path, files: tuple[Path, ...], described: Path) -> Rows:
    """Return an Arrow table's rows; ``described`` may hold a ``dataset_info.json``."""
    features = _features(read.schema.metadata or {}, described)
    kinds = {
        name: _FEATURES[said["_type"]]
        for name, said in features.items()
        if isinstance(said, dict) and said.get("_type") in _FEATURES
    }
    classes = {
        name: tuple(map(str, said["names"]))
        for name, said in features.items()
        if isinstance(said, dict) and said.get("_type") == "ClassLabel" and said.get("names")
    }
    columns = {name: _ArrowColumn(read.column(name)) for name in read.column_names}
    lines = [f"row {number} of {path}" for number in range(len(read))]
    folder = path if path.is_dir() else path.parent
    return Rows(columns, folder, files, lines, kinds, classes)


def _features(metadata: Mapping[bytes, bytes], folder: Path) -> Mapping[str, Any]:
    """Return what Hugging Face's ``datasets`` wrote about the columns; {} if it did not."""
    try:
        said = json.loads(metadata[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        try:
            said = json.loads((folder / "dataset_info.json").read_text("utf-8"))["features"]
        except (OSError, KeyError, ValueError, TypeError):
            return {}
    return said if isinstance(said, dict) else {}


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0]
