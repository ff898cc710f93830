"""AV-Digits: 10,000 digits, each written (28×28 pixels) and spoken (a spectrogram of 56×56).

AV-MNIST in small, from real parts: images of MNIST (LeCun et al. 1998), of which four principal
components (29 % of the energy) and noise are left, go with recordings of the Free Spoken Digit
Dataset (Z. Jackson et al.) in noise, as in V. Vielzeuf, A. Lechervy, S. Pateux and F. Jurie,
"CentralNet: a Multilayer Approach for Multimodal Fusion", ECCV Workshops 2018. There are 3,000
recordings of six speakers; each is used about three times, with fresh noise. A pair shares its
digit and nothing else: a teacher can tell a student little beyond the label.
Licence: images CC BY-SA 3.0, recordings CC BY-SA 4.0. It does not come with this package.

Raw layout: the file ``avdigits.npz`` that ``raw`` points to, with the arrays ``image`` (uint8,
N×1×28×28), ``audio`` (uint8, N×1×56×56, log-mel), ``label`` (N, 0 to 9), ``speaker`` (N) and
``split`` (N; 0 train, 1 validation, 2 test, without a common image or recording).

Stored: ``image`` and ``audio`` as they are. The numbered groups may have one recording, in other
noise, in two parts; the split ``official`` may not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar
from zipfile import BadZipFile

import numpy as np

from mstgraph.recipes import raw as raw_data
from mstgraph.store.recipe import Labels, Modality, Recipe
from mstgraph.support.errors import UserError
from mstgraph.support.text import shape_in_words

PARTS = ("train", "validation", "test")
SHAPES = {"image": (1, 28, 28), "audio": (1, 56, 56)}
CODES = {"label": 10, "split": len(PARTS)}


@dataclass
class AVDigits(Recipe):
    """Digits seen and heard, in small; see the head of the file.

    Attributes:
        raw: the file.
    """

    title: ClassVar[str] = "AV-Digits"
    source: ClassVar[str] = (
        "MNIST (LeCun et al. 1998) and the Free Spoken Digit Dataset (Jackson et al.), paired by "
        "digit as in Vielzeuf et al., CentralNet, ECCV Workshops 2018"
    )
    licence: ClassVar[str] = "images: CC BY-SA 3.0; recordings: CC BY-SA 4.0"
    requires: ClassVar[str] = (
        "the data of AV-Digits is needed: name with --raw the file avdigits.npz (arrays image, "
        "audio, label and split)"
    )

    raw: Path | None = None

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        path = raw_data.existing(self.raw, self.requires)
        arrays = _read(path, (*SHAPES, *CODES), self.requires)
        for name, shape in SHAPES.items():
            _check_maps(path, name, arrays[name], shape)
        for name, count in CODES.items():
            _check_codes(path, name, arrays[name], count)
        raw_data.same_length({path / name: values for name, values in arrays.items()})
        return arrays

    def modalities(self) -> tuple[Modality, ...]:
        """Return ``image`` and ``audio``, maps of one channel."""
        return tuple(Modality(name, "uint8", shape) for name, shape in SHAPES.items())

    def labels(self) -> Labels:
        """Return the digit."""
        return Labels("classification", tuple("0123456789"))

    def __len__(self) -> int:
        """Return the number of digits."""
        return len(self._arrays["label"])

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        """Return row ``index`` of every array."""
        return {name: self._arrays[name][index] for name in (*SHAPES, "label")}

    def official_splits(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """Return the split that comes with the file as ``official``."""
        codes = self._arrays["split"]
        parts = {name: np.flatnonzero(codes == code) for code, name in enumerate(PARTS)}
        return {"official": {name: ids.tolist() for name, ids in parts.items()}}

    def raw_files(self) -> tuple[Path, ...]:
        """Return the one file."""
        return (raw_data.existing(self.raw, self.requires),)


def _read(path: Path, names: Sequence[str], requires: str) -> dict[str, np.ndarray]:
    """Return arrays of an ``.npz`` file; UserError if it is none, or has not all of them."""
    try:
        raw_data.refuse_bomb(path)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except KeyError as error:
        raise UserError(f"{path}: {error.args[0]}; {requires}") from error
    except (OSError, ValueError, EOFError, AttributeError, TypeError, BadZipFile) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{path} cannot be read as an .npz file of numbers ({reason}); {requires}"
        ) from error


def _check_maps(path: Path, name: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    if values.dtype != np.uint8 or values.shape[1:] != shape:
        raise UserError(
            f"'{name}' of {path} is {values.dtype}, {shape_in_words(values.shape)}; expected "
            f"uint8, N×{shape_in_words(shape)}"
        )


def _check_codes(path: Path, name: str, values: np.ndarray, count: int) -> None:
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise UserError(
            f"'{name}' of {path} is {values.dtype}, {shape_in_words(values.shape)}; expected "
            "integers, N"
        )
    wrong = np.flatnonzero((values < 0) | (values >= count))
    if wrong.size:
        raise UserError(
            f"'{name}' {wrong[0]} of {path} is {values[wrong[0]]}; expected 0 to {count - 1}"
        )
