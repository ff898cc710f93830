"""Files that are whole or not there at all."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mstgraph.support.errors import UserError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR}
_REMOVED = {errno.ENOENT, errno.ESTALE}
NO_SPACE = "no space is left to write"  # begins the sentence of a full disk
_PIECE = 1 << 20  # bytes of a file that are digested at a time


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what keeps a path from being written into a sentence for the user.

    A full disk, a folder that cannot be written, one that was removed under our feet.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL or error.errno == errno.EIO:
            failing = ", or the disk is failing" if error.errno == errno.EIO else ""
            raise UserError(
                f"{NO_SPACE} '{path}'{failing}; what is finished is kept and "
                "nothing half written is used: free some space and give the same command again"
            ) from error
        if error.errno in _FORBIDDEN:
            raise UserError(
                f"'{path}' cannot be written ({error.strerror}); choose another place with --out"
            ) from error
        if error.errno in _REMOVED:
            raise UserError(
                f"'{path}' cannot be written: a folder above it was removed while mstgraph was at "
                "work; give the same command again"
            ) from error
        if error.errno == errno.ENAMETOOLONG:
            raise UserError(f"a name in '{path}' is too long; choose a shorter one") from error
        raise


def partial_path(path: Path) -> Path:
    """Return where a file is written before it takes its name."""
    return path.with_name(f".{path.name}.partial")


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file that is then there whole and for good (`replace_durably`).

    Raises:
        UserError: the disk is full, or the directory cannot be written.
    """
    with explained(path):
        replace_durably(path, write)


def replace_durably(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, make it durable, then rename it."""
    temporary = partial_path(path)
    try:
        temporary.unlink(missing_ok=True)  # it may be a link, through which nothing is written
        write(temporary)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        make_names_durable(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def make_names_durable(folder: Path) -> None:
    """Make names that were given in a folder survive a power cut; some file systems cannot."""
    if os.name != "posix":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, see `json_ready`."""
    write_text(path, json_text(value))


def write_json_durably(path: Path, value: Any) -> None:
    """Write JSON as `write_json` does; what the system refuses is for the caller to tell."""
    text = json_text(value)
    replace_durably(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def json_text(value: Any) -> str:
    """Return a JSON file's content, see `json_ready`."""
    return json.dumps(json_ready(value), indent=2, ensure_ascii=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write text atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_json(path: Path, advice: str = "") -> Any:
    """Return a JSON file's content.

    Args:
        path: the file.
        advice: what to do about one that cannot be read.

    Raises:
        UserError: it is not there, not JSON, or nested beyond all sense.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        end = f"; {advice}" if advice else ""
        raise UserError(f"'{path}' cannot be read as JSON: {error}{end}") from error


def json_ready(value: Any) -> Any:
    """Return what every JSON reader takes: tensors and arrays as lists, null for nan and ±inf."""
    if isinstance(value, Mapping):
        return {name: json_ready(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    if hasattr(value, "tolist"):
        return json_ready(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def known_digest(path: Path) -> str:
    """Return `file_digest`, read once in a process as long as size and time of change stay."""
    status = path.stat()
    return _digest_of(path.resolve(), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=100_000)
def _digest_of(path: Path, size: int, changed: int) -> str:
    return file_digest(path)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, 64 hexadecimal digits."""
    total = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            total.update(piece)
    return total.hexdigest()
