"""AV-MNIST: 70,000 digits, each written (28×28 pixels) and spoken (a spectrogram of 112×112).

Source: V. Vielzeuf, A. Lechervy, S. Pateux and F. Jurie, "CentralNet: a Multilayer Approach for
Multimodal Fusion", ECCV Workshops 2018. The images are those of MNIST (LeCun et al. 1998) with 75 %
of their energy removed by a principal component analysis; the audio is spoken digits with noise
from ESC-50 (Piczak 2015).
Licence: MNIST CC BY-SA 3.0; ESC-50 CC BY-NC 3.0; the recordings: that of their collection (TIDIGITS
is sold by the Linguistic Data Consortium; the Free Spoken Digit Dataset is CC BY-SA 4.0). None of
it comes with this package.

Layouts that ``raw`` may point to, told apart by looking:

1. the preprocessed arrays (about 1 GB as uint8, 4 GB as float32): ``image/train_data.npy`` and
   ``image/test_data.npy``, N×784, N×28×28 or N×1×28×28; ``audio/train_data.npy`` and
   ``audio/test_data.npy``, N×112×112 or N×1×112×112; ``train_labels.npy`` and ``test_labels.npy``,
   N. Training and test arrays follow one another in the store;
2. the raw files: ``mnist/`` with the four idx files as MNIST has them, packed (``.gz``) or not;
   ``speech/`` with WAV files at any depth whose names begin with the digit (``7_jackson_32.wav``);
   and, if noise is wanted, ``noise/`` with WAV files. The k-th image of a digit goes with the k-th
   of its recordings, in the order of their paths and round again; the last fifth of them is kept
   for the test images, so that no recording is in both parts of the official split. Audio needs
   librosa: pip install 'mstgraph[audio]'.

Stored: ``image`` and ``audio`` as they are, unscaled (uint8 if the arrays are, else float32; for
raw audio decibels). The split ``official`` is MNIST's own.
"""

from __future__ import annotations

import gzip
import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import ClassVar

import numpy as np

from mstgraph.recipes import raw as raw_data
from mstgraph.store.recipe import Labels, Modality, Recipe
from mstgraph.support.errors import UserError

PARTS = ("train", "test")
SIDES = {"image": 28, "audio": 112}


@dataclass
class AVMNIST(Recipe):
    """Digits seen and heard; see the head of the file.

    Attributes:
        raw: the folder of arrays, or of raw files.
        energy: share of the variance that the images keep; raw files only.
        signal_to_noise: of the audio, in decibels, where ``noise/`` is there; raw files only.
    """

    title: ClassVar[str] = "AV-MNIST"
    source: ClassVar[str] = "Vielzeuf et al., CentralNet, ECCV Workshops 2018"
    licence: ClassVar[str] = (
        "MNIST: CC BY-SA 3.0; ESC-50: CC BY-NC 3.0; recordings: that of their collection"
    )
    requires: ClassVar[str] = (
        "the data of AV-MNIST is needed: name with --raw the folder of its arrays (image/, audio/, "
        "train_labels.npy, test_labels.npy) or of the raw files (mnist/, speech/, noise/)"
    )

    raw: Path | None = None
    energy: float = 0.25
    signal_to_noise: float = 20.0

    def __post_init__(self) -> None:
        """Refuse an energy that is none."""
        if not 0 < self.energy <= 1:
            raise UserError(f"energy={self.energy} of AVMNIST must be above 0 and at most 1")

    @cached_property
    def _digits(self) -> _Digits:
        path = raw_data.existing(self.raw, self.requires)
        if (path / "mnist").is_dir():
            return _RawFiles(path, self.energy, self.signal_to_noise)
        raw_data.refuse_options(self, ("energy", "signal_to_noise"), "preprocessed arrays")
        return _Arrays(path)

    def modalities(self) -> tuple[Modality, ...]:
        """Return ``image`` and ``audio``, maps of one channel."""
        return tuple(
            Modality(name, self._digits.types[name], (1, side, side))
            for name, side in SIDES.items()
        )

    def labels(self) -> Labels:
        """Return the digit."""
        return Labels("classification", tuple("0123456789"))

    def __len__(self) -> int:
        """Return the number of training and test digits together."""
        return sum(self._digits.lengths)

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        """Return digit ``index``; the training digits come first.

        Raises:
            UserError: a recording cannot be read.
        """
        part, place = self._place(index)
        digits = self._digits
        maps = {name: digits.read(name, part, place) for name in SIDES}
        shaped = {
            name: np.asarray(values, digits.types[name]).reshape(1, SIDES[name], SIDES[name])
            for name, values in maps.items()
        }
        return {**shaped, "label": digits.targets[part][place]}

    def identifier(self, index: int) -> str:
        """Return the part and the number in it, from 0: ``test 17``."""
        part, place = self._place(index)
        return f"{PARTS[part]} {place}"

    def official_splits(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """Return MNIST's split as ``official``."""
        first, second = self._digits.lengths
        return {"official": {"train": range(first), "test": range(first, first + second)}}

    def raw_files(self) -> tuple[Path, ...]:
        """Return the arrays, or the idx files and all recordings."""
        return self._digits.files()

    def _place(self, index: int) -> tuple[int, int]:
        first = self._digits.lengths[0]
        return (0, index) if index < first else (1, index - first)


class _Digits(ABC):
    """The digits of one raw layout; everything is by part: 0 train, 1 test."""

    types: dict[str, str]
    targets: list[np.ndarray]

    @property
    def lengths(self) -> list[int]:
        return [len(targets) for targets in self.targets]

    @abstractmethod
    def read(self, name: str, part: int, place: int) -> np.ndarray: ...

    @abstractmethod
    def files(self) -> tuple[Path, ...]: ...


class _Arrays(_Digits):
    """The preprocessed arrays."""

    def __init__(self, path: Path) -> None:
        paths = {name: [path / name / f"{part}_data.npy" for part in PARTS] for name in SIDES}
        label_paths = [path / f"{part}_labels.npy" for part in PARTS]
        lacking = [item for item in chain(*paths.values(), label_paths) if not item.exists()]
        if lacking:
            raise UserError(f"{lacking[0]} does not exist; {AVMNIST.requires}")
        self._maps = {
            name: [raw_data.array(item, _shapes(name)) for item in items]
            for name, items in paths.items()
        }
        self.targets = [raw_data.labels(item, 10) for item in label_paths]
        for part, label_path in enumerate(label_paths):
            arrays = {paths[name][part]: self._maps[name][part] for name in SIDES}
            raw_data.same_length({**arrays, label_path: self.targets[part]})
        self.types = {name: raw_data.stored_type(maps) for name, maps in self._maps.items()}
        self._files = (*chain(*paths.values()), *label_paths)

    def read(self, name: str, part: int, place: int) -> np.ndarray:
        return self._maps[name][part][place]

    def files(self) -> tuple[Path, ...]:
        return self._files


def _shapes(name: str) -> list[tuple[int, ...]]:
    side = SIDES[name]
    flat: list[tuple[int, ...]] = [(side * side,)] if name == "image" else []
    return [*flat, (side, side), (1, side, side)]


class _RawFiles(_Digits):
    """MNIST's idx files and WAV files."""

    types: dict[str, str]

    def __init__(self, path: Path, energy: float, signal_to_noise: float) -> None:
        self.types = dict.fromkeys(SIDES, "float32")
        self._signal_to_noise = signal_to_noise
        names = [("train-images-idx3-ubyte", "train-labels-idx1-ubyte")]
        names.append(("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"))
        self._idx = [[_packed_or_not(path / "mnist", name) for name in pair] for pair in names]
        self.targets = [_idx(pair[1], 1).astype(np.int64) for pair in self._idx]
        self._energy = energy
        self._recordings = _by_digit(path / "speech")
        self._noises = sorted((path / "noise").rglob("*.wav"))
        for pair, targets in zip(self._idx, self.targets, strict=True):
            if targets.max(initial=0) > 9:
                raise UserError(f"{pair[1]} holds the label {targets.max()}; expected 0 to 9")

    @cached_property
    def _images(self) -> list[np.ndarray]:
        images = [_idx(pair[0], 3) for pair in self._idx]
        for pair, part, targets in zip(self._idx, images, self.targets, strict=True):
            if part.shape != (len(targets), 28, 28):
                raise UserError(
                    f"{pair[0]} holds {'×'.join(map(str, part.shape))} pixels; expected "
                    f"{len(targets)}×28×28, as {pair[1]} has {len(targets)} labels"
                )
        mean, basis = principal_components(images[0].reshape(-1, 784), self._energy)
        flat = [part.reshape(-1, 784) - mean for part in images]
        return [(part @ basis) @ basis.T + mean for part in flat]

    @cached_property
    def _occurrences(self) -> list[np.ndarray]:
        """How many times the digit of each sample came before it in its part."""
        counted = []
        for targets in self.targets:
            before = np.zeros(len(targets), int)
            for digit in range(10):
                before[targets == digit] = np.arange((targets == digit).sum())
            counted.append(before)
        return counted

    def read(self, name: str, part: int, place: int) -> np.ndarray:
        if name == "image":
            return self._images[part][place]
        occurrence = int(self._occurrences[part][place])
        recordings = _share(self._recordings[int(self.targets[part][place])], part)
        recording = recordings[occurrence % len(recordings)]
        noises = _share(self._noises, part) if self._noises else []
        noise = noises[place % len(noises)] if noises else None
        return spectrogram(recording, noise, self._signal_to_noise)

    def files(self) -> tuple[Path, ...]:
        return (*chain(*self._idx), *chain(*self._recordings), *self._noises)


def _share(items: Sequence[Path], part: int) -> Sequence[Path]:
    """Return the first four fifths for training, the rest (at least one) for testing."""
    if len(items) == 1:
        return items
    bound = min(len(items) - 1, -(-len(items) * 4 // 5))
    return items[bound:] if part else items[:bound]


def principal_components(rows: np.ndarray, energy: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean [784] and the fewest components [784, k] that keep ``energy`` of variance.

    Args:
        rows: [samples, 784], the training images: test images tell nothing of the basis.
        energy: share of the variance to keep.
    """
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = rows - mean
    values, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    kept = np.cumsum(values[::-1]) / values.sum()
    count = int(np.searchsorted(kept, energy - 1e-9)) + 1
    return mean, vectors[:, ::-1][:, :count].astype(np.float32)


RATE = 16000


def spectrogram(recording: Path, noise: Path | None, signal_to_noise: float) -> np.ndarray:
    """Return the mel spectrogram in decibels, [112, 112] float32; the digit fills all its frames.

    Raises:
        UserError: librosa is missing, or a file cannot be read or is empty.
    """
    librosa = raw_data.extra("librosa", "mstgraph[audio]")
    signal = raw_data.waveform(recording, RATE)
    if noise is not None:
        signal = signal + _scaled_noise(raw_data.waveform(noise, RATE), signal, signal_to_noise)
    side = SIDES["audio"]
    hop = -(-len(signal) // side)
    signal = np.pad(signal, (0, side * hop - 1 - len(signal) if len(signal) < side * hop else 0))
    power = librosa.feature.melspectrogram(
        y=signal[: side * hop - 1], sr=RATE, n_fft=2048, hop_length=hop, n_mels=side
    )
    return librosa.power_to_db(power).astype(np.float32)


def _scaled_noise(noise: np.ndarray, signal: np.ndarray, decibels: float) -> np.ndarray:
    """Return noise as long as the signal, at the given distance below it."""
    noise = np.resize(noise, len(signal))
    loudness = np.sqrt((noise**2).mean()) or 1.0
    return noise * np.sqrt((signal**2).mean()) / loudness * 10 ** (-decibels / 20)


def _by_digit(folder: Path) -> list[list[Path]]:
    """Return the recordings of each digit, in the order of their paths."""
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist; expected WAV files of spoken digits")
    found: list[list[Path]] = [[] for _ in range(10)]
    for path in sorted(folder.rglob("*.wav")):
        if path.name[0] not in "0123456789":
            raise UserError(
                f"the recording {path} does not begin with its digit, as in 7_ann_1.wav"
            )
        found[int(path.name[0])].append(path)
    for digit, paths in enumerate(found):
        if not paths:
            raise UserError(f"{folder} has no recording of the digit {digit} ({digit}_….wav)")
    return found


def _packed_or_not(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            return path
    raise UserError(f"{folder} has neither {name} nor {name}.gz; expected MNIST's four idx files")


def _idx(path: Path, axes: int) -> np.ndarray:
    """Read an idx file of bytes: magic number, sizes (big-endian), data."""
    head = 4 + 4 * axes
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            begin = file.read(head)
            if begin[:4] != bytes((0, 0, 8, axes)):
                raise UserError(f"{path} is no idx file of bytes with {axes} axes, as MNIST's is")
            sizes = np.frombuffer(begin, ">i4", axes, 4) if len(begin) == head else np.array([-1])
            count = math.prod(sizes.tolist())
            content = file.read(count + 1) if 0 <= count <= MOST_BYTES else b""
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be unpacked: {error}") from error
    if len(content) != count:
        raise UserError(f"{path} is truncated or longer than its head says")
    return np.frombuffer(content, np.uint8).reshape(sizes)


MOST_BYTES = 2**32  # far beyond MNIST's, and far below what would fill a memory
