"""NYU-Depth-V2: 1,449 labelled frames of indoor scenes, colour and depth, one class per pixel.

Source: N. Silberman, D. Hoiem, P. Kohli and R. Fergus, "Indoor Segmentation and Support Inference
from RGBD Images", ECCV 2012; https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html
Licence: for research; cite the paper. Neither the data nor pictures of it come with this package.

How to get it: download ``nyu_depth_v2_labeled.mat`` (2.8 GB) from that page. ``splits.mat``, the
official 795/654 split, is a file of its own there; put it beside the first to have the split.

Layouts that ``raw`` may point to, told apart by looking:

1. the official HDF5 file (MATLAB v7.3): ``images`` N×3×W×H uint8, ``depths`` N×W×H float32 in
   metres, ``labels`` N×W×H uint16 (0 = unlabelled, 1…894), W×H = 640×480, last two axes swapped;
2. the same with ``labels40`` N×W×H (0 = unlabelled, 1…40) in place of ``labels``, at any size;
   both may hold ``trainNdxs`` and ``testNdxs`` (1-based), and then need no ``splits.mat``;
3. a folder with ``rgb/`` (PNG or JPEG), ``depth/`` (16-bit PNG, millimetres, 0 = missing) and
   ``label40/`` (8-bit PNG, 0…40), a sample's three files under one stem; ``train.txt`` and
   ``test.txt`` may list the stems of an official split.

Stored: ``rgb``; ``depth`` in millimetres; ``normals``, computed here from depth with the Kinect's
intrinsics, zero where depth is missing; labels 0…40, where 0 is ignored.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mstgraph.recipes import images, indoor, tables
from mstgraph.store.recipe import Labels, Modality, Recipe
from mstgraph.support.errors import UserError


@dataclass
class NYUDepth(Recipe):
    """NYU-Depth-V2 with 40 classes; see the head of the file.

    Attributes:
        raw: the .mat file, or the folder.
        size: height and width to store; None keeps the raw size. Colour is averaged over areas,
            depth and labels take the nearest pixel. Networks may ask more of a size (FuseNet,
            that both numbers divide by 32); that is theirs to check.
    """

    title: ClassVar[str] = "NYU-Depth-V2"
    source: ClassVar[str] = "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html"
    licence: ClassVar[str] = "for research; cite Silberman et al., ECCV 2012"
    requires: ClassVar[str] = (
        "download nyu_depth_v2_labeled.mat from "
        "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html"
    )

    raw: Path | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuse a size that is none."""
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise UserError(f"size={self.size} of NYUDepth must be (height, width), both positive")

    @cached_property
    def _frames(self) -> _Frames:
        if self.raw is None:
            raise UserError(f"NYU-Depth-V2 needs its raw data: {self.requires}")
        path = Path(self.raw)
        if not path.exists():
            raise UserError(f"{path} does not exist; {self.requires}")
        return _Folder(path) if path.is_dir() else _MatFile(path)

    @property
    def _stored_size(self) -> tuple[int, int]:
        return self._frames.size if self.size is None else self.size

    def modalities(self) -> tuple[Modality, ...]:
        """Return ``rgb``, ``depth`` and ``normals``."""
        return indoor.modalities(*self._stored_size)

    def labels(self) -> Labels:
        """Return one of 41 classes per pixel; 0 is ignored."""
        return indoor.labels(*self._stored_size)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._frames)

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        """Return frame ``index``.

        Raises:
            UserError: a part cannot be read, or sizes, depths or labels are not as expected.
        """
        where = f"sample '{self.identifier(index)}' of {self.raw}"
        frame = self._frames.read(index)
        _check(frame, where)
        height, width = self._stored_size
        if self.size is None and frame.depth.shape != (height, width):
            raise UserError(
                f"{where} is {_by(frame.depth.shape)} pixels where the first sample is "
                f"{_by((height, width))}; give a size to store all of them at"
            )
        rgb = indoor.resized_colour(frame.rgb, height, width)
        depth = indoor.nearest_pixels(frame.depth, height, width).astype(np.float32)
        label = indoor.nearest_pixels(frame.label, height, width)
        normals = indoor.normals_from_depth(depth, indoor.Intrinsics.kinect(height, width))
        return indoor.stored(rgb.transpose(2, 0, 1), depth, normals, label)

    def item(self, modality: Modality, raw: Path | str) -> np.ndarray:
        """Return a picture in colour, or a depth map (16-bit PNG, millimetres), as stored."""
        return indoor.item(modality, raw)

    def identifier(self, index: int) -> str:
        """Return the stem of the sample's files, or its number in the .mat file, from 0."""
        return self._frames.identifier(index)

    def official_splits(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """Return the authors' split as ``official``, where the raw data tells it."""
        parts = self._frames.split()
        return {} if parts is None else {"official": parts}

    def raw_files(self) -> tuple[Path, ...]:
        """Return the .mat file, or all images of the folder, and the lists of the split."""
        return self._frames.files()


class _Frame(NamedTuple):
    rgb: np.ndarray  # [height, width, 3] uint8
    depth: np.ndarray  # [height, width] metres
    label: np.ndarray  # [height, width] 0…40


class _Frames(ABC):
    """The frames of one raw layout."""

    size: tuple[int, int]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, index: int) -> _Frame: ...

    @abstractmethod
    def identifier(self, index: int) -> str: ...

    @abstractmethod
    def split(self) -> dict[str, list[int]] | None: ...

    @abstractmethod
    def files(self) -> tuple[Path, ...]: ...


def _check(frame: _Frame, where: str) -> None:
    """Refuse sizes, depths and labels that cannot be."""
    rgb, depth, label = frame
    if not rgb.shape[:2] == depth.shape == label.shape:
        raise UserError(
            f"the parts of {where} differ in size: rgb {_by(rgb.shape[:2])}, "
            f"depth {_by(depth.shape)}, labels {_by(label.shape)} pixels"
        )
    indoor.check_depth(depth, where)
    _check_labels(label, len(indoor.CLASSES), where)


def _check_labels(label: np.ndarray, number: int, where: str) -> None:
    for value in (label.min(), label.max()):
        if not 0 <= value < number:
            raise UserError(
                f"{where} has the label {value}; expected 0 (unlabelled) to {number - 1}"
            )


def _by(size: Sequence[int]) -> str:
    return "×".join(map(str, size))


def _extra(module: str, package: str) -> ModuleType:
    """Import what only raw data needs."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"reading this raw data needs {package}: pip install 'mstgraph[raw]'"
        ) from error


class _MatFile(_Frames):
    """The official HDF5 file, or one that has ``labels40`` instead of ``labels``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _open_hdf5(path)
        self._forty = "labels40" in self._file
        self._names = ("images", "depths", "labels40" if self._forty else "labels")
        missing = [name for name in self._names if not _is_array(self._file.get(name))]
        if missing:
            raise UserError(
                f"{path} has no dataset '{missing[0]}', which NYU-Depth-V2 has; "
                f"found {', '.join(self._file) or 'none'}"
            )
        images, depths, labels = (self._file[name] for name in self._names)
        if images.shape[1:2] != (3,) or (images.ndim, depths.ndim, labels.ndim) != (4, 3, 3):
            raise UserError(
                f"images, depths and labels of {path} are {_by(images.shape)}, "
                f"{_by(depths.shape)} and {_by(labels.shape)}; expected N×3×W×H, N×W×H and N×W×H"
            )
        kinds = images.dtype, depths.dtype.kind, labels.dtype.kind
        if kinds[0] != np.uint8 or kinds[1] != "f" or kinds[2] not in "ui":
            raise UserError(
                f"images, depths and labels of {path} are {images.dtype}, {depths.dtype} and "
                f"{labels.dtype}; expected uint8, a float type and an integer type"
            )
        if len({len(images), len(depths), len(labels)}) > 1:
            raise UserError(
                f"{path} has {len(images)} images, {len(depths)} depths and {len(labels)} labels; "
                "expected as many of each"
            )
        self.size = (images.shape[3], images.shape[2])

    def __len__(self) -> int:
        return len(self._file["images"])

    def identifier(self, index: int) -> str:
        return str(index)

    def files(self) -> tuple[Path, ...]:
        beside = self._path.with_name("splits.mat")
        return (self._path, beside) if self._reads_splits() else (self._path,)

    def read(self, index: int) -> _Frame:
        try:
            rgb, depth, label = (self._file[name][index] for name in self._names)
        except OSError as error:
            raise UserError(
                f"sample '{index}' of {self._path} cannot be read; the file is damaged"
            ) from error
        label = label.T
        if not self._forty:
            _check_labels(label, len(_FORTY), f"sample '{index}' of {self._path}")
            label = _FORTY[label]
        return _Frame(np.ascontiguousarray(rgb.transpose(2, 1, 0)), depth.T, label)

    def split(self) -> dict[str, list[int]] | None:
        if _SPLIT.keys() <= self._file.keys():
            return self._indices(self._path, self._file)
        if not self._reads_splits():
            return None
        path = self._path.with_name("splits.mat")
        if path.read_bytes()[:10] == b"MATLAB 5.0":
            return self._indices(path, _loadmat(path))
        return self._indices(path, _open_hdf5(path))

    def _reads_splits(self) -> bool:
        return not _SPLIT.keys() <= self._file.keys() and (
            self._path.with_name("splits.mat").exists()
        )

    def _indices(self, path: Path, arrays: Mapping[str, Any]) -> dict[str, list[int]]:
        missing = [name for name in _SPLIT if name not in arrays]
        if missing:
            raise UserError(f"{path} has no dataset '{missing[0]}'; expected trainNdxs, testNdxs")
        given = {part: np.ravel(arrays[name]) for name, part in _SPLIT.items()}
        for values in given.values():
            if values.dtype.kind not in "uif" or (values != np.floor(values)).any():
                raise UserError(f"trainNdxs and testNdxs of {path} must be whole numbers")
        parts = {part: values.astype(int) - 1 for part, values in given.items()}
        both = np.concatenate(list(parts.values()))
        if sorted({*both} & {*range(len(self))}) != sorted(both):
            raise UserError(
                f"trainNdxs and testNdxs of {path} must be different numbers from 1 to {len(self)}"
            )
        return {part: sorted(ids.tolist()) for part, ids in parts.items()}


def _loadmat(path: Path) -> Mapping[str, Any]:
    try:
        return _extra("scipy.io", "SciPy").loadmat(path)
    except UserError:
        raise
    except Exception as error:  # SciPy raises almost anything on a damaged file
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} cannot be read as a MATLAB file: {reason}") from error


def _is_array(item: Any) -> bool:
    return hasattr(item, "shape")  # an HDF5 group has none


_SPLIT = {"trainNdxs": "train", "testNdxs": "test"}


def _open_hdf5(path: Path) -> Any:
    """Open a MATLAB v7.3 file and say what it is if it is none."""
    h5py = _extra("h5py", "h5py")
    with path.open("rb") as file:
        head = file.read(10)
    if head == b"MATLAB 5.0":
        raise UserError(f"{path} is a MATLAB v5 file; expected v7.3 (HDF5), as NYU-Depth-V2 is")
    try:
        # A chunk of the official file spans samples; keep a few of them while reading in order.
        return h5py.File(path, "r", rdcc_nbytes=2**26)
    except OSError as error:
        known = head.startswith((b"MATLAB 7.3", b"\x89HDF"))
        fault = "is truncated or damaged" if known else "is not an HDF5 file"
        raise UserError(f"{path} {fault}; expected NYU-Depth-V2's MATLAB v7.3 file") from error


class _Folder(_Frames):
    """``rgb/``, ``depth/`` and ``label40/`` with the same stems."""

    def __init__(self, path: Path) -> None:
        self._path = path
        found = {name: _by_stem(path / name, suffixes) for name, suffixes in _PARTS.items()}
        self._stems = sorted(set().union(*found.values()))
        if not self._stems:
            raise UserError(f"{path} holds no images in {'/, '.join(_PARTS)}/")
        for stem in self._stems:
            for name, files in found.items():
                if stem not in files:
                    raise UserError(
                        f"{path / name} has no file {stem}{' or '.join(_PARTS[name])}, "
                        "which the other parts of that sample call for"
                    )
        self._found = found
        self.size = self.read(0).depth.shape

    def __len__(self) -> int:
        return len(self._stems)

    def identifier(self, index: int) -> str:
        return self._stems[index]

    def files(self) -> tuple[Path, ...]:
        images = [self._found[name][stem] for stem in self._stems for name in _PARTS]
        return (*images, *(path for path in self._lists().values() if path.exists()))

    def read(self, index: int) -> _Frame:
        rgb, depth, label = (self._found[name][self._stems[index]] for name in _PARTS)
        metres = images.millimetres(depth) / indoor.MILLIMETRES
        return _Frame(np.asarray(images.colour(rgb)), metres, images.codes(label))

    def split(self) -> dict[str, list[int]] | None:
        lists = self._lists()
        if not all(path.exists() for path in lists.values()):
            return None
        position = {stem: index for index, stem in enumerate(self._stems)}
        parts: dict[str, list[int]] = {}
        for part, path in lists.items():
            for stem in filter(None, map(str.strip, tables.lines(path))):
                index = position.pop(stem, None)
                if index is None:
                    known = "is listed twice" if stem in self._stems else "is no sample"
                    raise UserError(f"'{stem}' in {path} {known} of {self._path}")
                parts.setdefault(part, []).append(index)
        return parts

    def _lists(self) -> dict[str, Path]:
        return {part: self._path / f"{part}.txt" for part in ("train", "test")}


_PARTS = {"rgb": (".png", ".jpg", ".jpeg"), "depth": (".png",), "label40": (".png",)}


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Return the images of a folder by stem."""
    if not folder.is_dir():
        raise UserError(f"{folder.parent} has no folder {folder.name}/; expected {list(_PARTS)}")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and files.setdefault(path.stem, path) != path:
            raise UserError(f"{folder} has two images of sample '{path.stem}'; expected one")
    return files


def _forty_of_raw() -> np.ndarray:
    """Return the class of each of the 894 raw labels (index 0 = unlabelled), [895] uint8."""
    forty = np.full(895, 40, np.uint8)
    forty[0] = indoor.UNLABELLED
    forty[list(_RAW_OF_CLASS)] = range(1, 38)
    forty[list(_OTHER_STRUCTURE)] = 38
    forty[list(_OTHER_FURNITURE)] = 39
    return forty


# The mapping of Gupta et al. (CVPR 2013): one raw label for each of the classes 1…37, in order;
# the rest is other structure (38), other furniture (39) or other props (40).
# fmt: off
_RAW_OF_CLASS = (
    21, 11, 3, 157, 5, 83, 19, 28, 59, 88, 64, 7, 80, 36, 42, 89, 169, 119, 122, 143, 141, 4,
    85, 17, 172, 15, 135, 123, 26, 45, 331, 158, 124, 24, 144, 136, 55,
)
_OTHER_STRUCTURE = (
    8, 25, 33, 38, 51, 53, 57, 58, 62, 65, 79, 94, 104, 112, 134, 153, 215, 216, 223, 225, 238,
    241, 242, 256, 295, 301, 339, 342, 354, 363, 372, 380, 392, 408, 412, 453, 456, 463, 477,
    497, 541, 550, 553, 567, 573, 582, 591, 609, 612, 615, 642, 645, 657, 658, 659, 663, 667,
    668, 686, 700, 702, 777, 778, 782, 850, 861, 868, 874,
)
_OTHER_FURNITURE = (
    12, 43, 48, 50, 87, 106, 111, 161, 163, 174, 183, 204, 214, 219, 221, 224, 236, 262, 278,
    291, 298, 313, 343, 344, 356, 359, 373, 393, 401, 414, 418, 419, 430, 443, 444, 447, 448,
    457, 458, 460, 462, 475, 479, 485, 486, 493, 494, 498, 499, 509, 510, 515, 521, 524, 540,
    549, 551, 554, 556, 558, 576, 580, 608, 625, 703, 734, 770, 772, 797, 800, 803, 804, 813,
    814, 815, 820, 829, 835, 858, 863, 882, 892,
)
# fmt: on
_FORTY = _forty_of_raw()
