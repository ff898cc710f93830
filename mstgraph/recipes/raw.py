"""Reading raw data: what recipes share, with every failure told in one sentence."""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from mstgraph.store.recipe import Recipe
from mstgraph.support import memory
from mstgraph.support.errors import UserError, nearest
from mstgraph.support.machine.libraries import extra
from mstgraph.support.text import shape_in_words, size_in_words


def function(name: str, option: str) -> Callable[..., Any]:
    """Return the function that an option names as ``module:function``.

    Raises:
        UserError: it is not written so, or there is no such module or function.
    """
    module_name, separator, attribute = name.partition(":")
    if not (separator and module_name and attribute):
        raise UserError(f"option '{option}' is '{name}'; expected module:function")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(
            f"option '{option}' names the module '{module_name}', which cannot be imported: {error}"
        ) from error
    found = getattr(module, attribute, None)
    if not callable(found):
        valid = [key for key, value in vars(module).items() if callable(value)]
        raise UserError(
            f"option '{option}': module '{module_name}' has no function '{attribute}'"
            f"{nearest(attribute, valid)}"
        )
    return found


def existing(raw: Path | None, requires: str) -> Path:
    """Return where the raw data is.

    Raises:
        UserError: it is not given or not there; ``requires`` says how to get it.
    """
    if raw is None:
        raise UserError(requires)
    if not Path(raw).exists():
        raise UserError(f"{raw} does not exist; {requires}")
    if not (Path(raw).is_file() or Path(raw).is_dir()):  # a pipe would be waited for without end
        raise UserError(f"{raw} is neither a file nor a folder; {requires}")
    return Path(raw)


def refuse_options(recipe: Recipe, names: Sequence[str], holds: str) -> None:
    """Raise UserError if one of the options is given, which this raw data has no use for.

    Args:
        recipe: the recipe, a dataclass.
        names: options that have no effect.
        holds: what the raw data is, for the message.
    """
    defaults = {field.name: field.default for field in fields(recipe)}  # type: ignore[arg-type]
    for name in names:
        if getattr(recipe, name) != defaults[name]:
            raise UserError(
                f"option '{name}' of {recipe.title} has no effect on {holds}; leave it out"
            )


def opened_array(path: Path) -> np.ndarray:
    """Open what NumPy wrote without reading it: an array, or an archive of them.

    Raises:
        UserError: it is missing or cannot be read.
    """
    try:
        opened: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return opened
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except Exception as error:  # a damaged header is parsed as Python, which raises almost anything
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} cannot be read as a .npy file of numbers: {reason}") from error


def array(path: Path, shapes: Sequence[tuple[int, ...]], *, whole: bool = False) -> np.ndarray:
    """Open a ``.npy`` file of numbers without reading it.

    Args:
        path: the file.
        shapes: the shapes that a sample may have.
        whole: the file is one sample; without it, samples follow one another, [samples, *shape].

    Raises:
        UserError: it is missing, cannot be read, or holds something else.
    """
    opened = opened_array(path)
    if not isinstance(opened, np.ndarray) or opened.dtype.kind not in "uif":
        kind = getattr(opened, "dtype", "an archive")
        raise UserError(f"{path} holds {kind}; expected one array of numbers")
    found = opened.shape if whole else opened.shape[1:]
    if found not in shapes or (not whole and not opened.ndim):
        many = "" if whole else "N×"
        wanted = " or ".join((many + shape_in_words(s)) if s else many.rstrip("×") for s in shapes)
        raise UserError(f"{path} is {shape_in_words(opened.shape)}; expected {wanted}")
    return opened


def labels(path: Path, classes: int) -> np.ndarray:
    """Return the labels in a ``.npy`` file, int64 [samples].

    Raises:
        UserError: see `array`; or a label is no integer from 0 to ``classes`` - 1.
    """
    given = array(path, [()])
    wrong = (given != np.floor(given)) | (given < 0) | (given >= classes)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"label {first} of {path} is {given[first]}; expected integers from 0 to {classes - 1}"
        )
    return given.astype(np.int64)


def same_length(arrays: dict[Path, np.ndarray]) -> None:
    """Raise UserError unless all arrays hold as many samples."""
    lengths = {len(value) for value in arrays.values()}
    if len(lengths) > 1:
        told = ", ".join(f"{len(value)} in {path}" for path, value in arrays.items())
        raise UserError(f"the numbers of samples differ: {told}")


def stored_type(arrays: Sequence[np.ndarray]) -> str:
    """Return the type to store arrays in: their own if uint8 or float16, else float32."""
    kinds = {value.dtype.name for value in arrays}
    return kinds.pop() if kinds in ({"uint8"}, {"float16"}) else "float32"


def refuse_bomb(path: Path) -> None:
    """Refuse an archive (``.npz``) that unpacks to more than memory holds.

    Raises:
        UserError: it does.
    """
    most = memory.total()
    with zipfile.ZipFile(path) as archive:
        size = sum(item.file_size for item in archive.infolist())
    if size > most:
        raise UserError(
            f"{path} unpacks to {size_in_words(size)}, more than the {size_in_words(most)} of "
            "memory here"
        )


def waveform(path: Path, rate: int) -> np.ndarray:
    """Return a recording as one channel at ``rate`` samples per second, [samples] float32.

    Raises:
        UserError: librosa is missing, or the file cannot be read or is empty.
    """
    librosa = extra("librosa", "mstgraph[audio]")
    soundfile = extra("soundfile", "mstgraph[audio]")
    refuse_cut_short(path)
    try:
        channels, found = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"the recording {path} cannot be read as a sound file: {error}") from error
    if not len(channels):
        raise UserError(f"the recording {path} is empty")
    if not np.isfinite(channels).all():
        raise UserError(f"the recording {path} holds values that are no numbers")
    return librosa.resample(channels.mean(axis=1), orig_sr=found, target_sr=rate)


def refuse_cut_short(path: Path) -> None:
    """Refuse a WAV file with less than its head says: readers take what is there for all of it.

    Raises:
        UserError: it was cut, as by a download that broke off.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
        found = path.stat().st_size
    except OSError as error:
        raise UserError(f"the recording {path} cannot be read: {error.strerror}") from error
    said = int.from_bytes(head[4:8], "little")
    # The last byte may be missing: it pads an odd number of them.
    if (
        head[:4] == b"RIFF"
        and head[8:12] == b"WAVE"
        and said < UNKNOWN_SIZE
        and said + 8 > found + 1
    ):
        raise UserError(
            f"the recording {path} was cut: it has {found} bytes, expected {said + 8} as its head "
            "says"
        )


UNKNOWN_SIZE = 0x7FFFFF00  # what is written as it is recorded says more, having no end yet
