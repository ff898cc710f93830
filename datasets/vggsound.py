"""VGGSound-50k (AVEL): 48,755 clips of ten seconds, 141 classes of what is seen and heard.

Source: H. Chen, W. Xie, A. Vedaldi and A. Zisserman, "VGGSound: A Large-Scale Audio-Visual
Dataset", ICASSP 2020; J. Zhou, D. Guo and M. Wang, "Contrastive Positive Sample Propagation along
the Audio-Visual Event Line", TPAMI 2023 (VGGSound-AVEL50k), https://github.com/jasongief/CPSP
Licence: CC BY 4.0 for the annotations; the videos: that of their uploaders. None of it comes with
this package.

Layouts that ``raw`` may point to, told apart by looking:

1. the preprocessed features (50 to 100 GB): ``VGGS50k_metadata.txt`` with a line ``NAME&CLASS`` for
   each clip; ``visual_features/NAME_vFeature.npy``, 10×7×7×512, and
   ``audio_features/NAME_aFeature.npy``, 10×128. The two folders lie beside the list, or in
   ``VGGS50K_features`` or ``VGGS50K_features_normed`` beside it (these are scaled over all clips
   by one minimum and maximum for each modality; normalisation by the training split undoes that, so
   nothing leaks). ``vggsound-avel50k.csv`` there tells the names of the classes, else they are
   numbers;
2. the raw files: ``vggsound-avel50k.csv`` with the columns video_id and category, and ``videos/``
   with a video for each clip at any depth, the 11 characters of its id first in its name, or after
   one letter (``vABCDEFGHIJK_30_40.mp4``). Clips without a video are left out. Classes are numbered
   as they first appear in the table.

What layout 2 does, after the paper: of each of ten seconds, 16 frames at 224×224 go through VGG19
up to ``pool5`` and are averaged (7×7×512), and the sound at 16 kHz through VGGish (128). It needs
pip install 'mstgraph[audio,video]' torchvision for VGG19, with weights from torchvision's cache or
the file that ``visual_weights`` names. There is no VGGish to install with weights: name a function
with ``audio_extractor``; ``visual_extractor`` puts one in VGG19's place. The segment labels of AVEL
are not used: a clip has one class.

Stored: ``visual`` 512×10×7×7 (49 GB as float32, 24 GB with ``precision=float16``) and ``audio``
10×128, float32, both unscaled. Clips are in the order of the list or of the table. If the table has
a column split (train, val, test), it becomes the split ``official``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from mstgraph.recipes import raw as raw_data
from mstgraph.recipes import tables, videos
from mstgraph.store.recipe import Labels, Modality, Recipe
from mstgraph.support.errors import UserError

CLASSES = 141
SECONDS, FRAMES, SIDE = 10, 16, 224
VISUAL, AUDIO = (SECONDS, 7, 7, 512), (SECONDS, 128)
RATE = 16000
PARTS = {"train": "train", "val": "validation", "test": "test"}
LIST, TABLE = "VGGS50k_metadata.txt", "vggsound-avel50k.csv"
EXTRA = "mstgraph[audio,video]"


@dataclass
class VGGSound(Recipe):
    """Clips, seen and heard; see the head of the file.

    Attributes:
        raw: the folder of features, or of the raw files.
        precision: type of the visual features in the store.
        visual_weights: a state dict of torchvision's VGG19; None takes torchvision's own.
        visual_extractor: ``module:function`` from the frames of one second [16, 224, 224, 3]
            (uint8, RGB) to [7, 7, 512], in place of VGG19.
        audio_extractor: ``module:function`` from ten seconds of sound (float32 [160000], 16 kHz)
            to [10, 128].
    """

    title: ClassVar[str] = "VGGSound-50k"
    source: ClassVar[str] = "Chen et al., ICASSP 2020; https://github.com/jasongief/CPSP"
    licence: ClassVar[str] = "CC BY 4.0; the videos: that of their uploaders"
    requires: ClassVar[str] = (
        f"the data of VGGSound-50k is needed: name with --raw the folder with {LIST} and the "
        f"features, or the one with {TABLE} and videos/"
    )

    raw: Path | None = None
    precision: Literal["float32", "float16"] = "float32"
    visual_weights: Path | None = None
    visual_extractor: str | None = None
    audio_extractor: str | None = None

    @cached_property
    def _clips(self) -> _Clips:
        path = raw_data.existing(self.raw, self.requires)
        if (path / LIST).exists():
            options = ("visual_weights", "visual_extractor", "audio_extractor")
            raw_data.refuse_options(self, options, "preprocessed features")
            return _Features(path)
        if (path / TABLE).exists():
            return _Videos(path, self)
        raise UserError(f"{path} has neither {LIST} nor {TABLE}; {self.requires}")

    def modalities(self) -> tuple[Modality, ...]:
        """Return ``visual`` (channels × seconds × height × width) and ``audio``."""
        seconds, height, width, channels = VISUAL
        return (
            Modality("visual", self.precision, (channels, seconds, height, width)),
            Modality("audio", "float32", AUDIO),
        )

    def labels(self) -> Labels:
        """Return the class of the whole clip."""
        return Labels("classification", self._clips.classes)

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self._clips.names)

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        """Return clip ``index``.

        Raises:
            UserError: a file cannot be read, or an extractor is missing or gives other features.
        """
        visual, audio = self._clips.read(index)
        return {
            "visual": visual.transpose(3, 0, 1, 2).astype(self.precision),
            "audio": audio.astype(np.float32),
            "label": np.asarray(self._clips.targets[index]),
        }

    def identifier(self, index: int) -> str:
        """Return the clip's name in the list, or its video's id."""
        return self._clips.names[index]

    def official_splits(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """Return AVEL's split as ``official``, where the table tells it."""
        parts = self._clips.split()
        return {"official": parts} if parts else {}

    def raw_files(self) -> tuple[Path, ...]:
        """Return the list and all features, or the table and all videos."""
        return self._clips.files()


class _Clips(ABC):
    """The clips of one raw layout."""

    names: list[str]
    targets: list[int]
    classes: tuple[str, ...]
    rows: Sequence[Mapping[str, str]] = ()  # of the table

    def split(self) -> dict[str, list[int]]:
        """Return the ids of each part, empty if the table does not tell them for every clip."""
        part_of = {row["video_id"]: row.get("split", "") for row in self.rows}
        parts: dict[str, list[int]] = {}
        for index, name in enumerate(self.names):
            part = part_of.get(name) or part_of.get(name[1:12], "")
            parts.setdefault(part, []).append(index)
        if parts.keys() != PARTS.keys():
            return {}
        return {PARTS[part]: ids for part, ids in parts.items()}

    @abstractmethod
    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]: ...

    @abstractmethod
    def files(self) -> tuple[Path, ...]: ...


class _Features(_Clips):
    """The list and a file of features for each clip and modality."""

    def __init__(self, path: Path) -> None:
        self._list, self._table = path / LIST, path / TABLE
        places = (path, path / "VGGS50K_features", path / "VGGS50K_features_normed")
        found = [place for place in places if (place / "visual_features").is_dir()]
        if not found:
            raise UserError(f"{path} has {LIST} but no folder visual_features/ beside it")
        self._place = found[0]
        self.classes = tuple(map(str, range(CLASSES)))
        if self._table.exists():
            self.rows = _rows(self._table)
            self.classes = tuple(dict.fromkeys(row["category"] for row in self.rows))
        self.names, self.targets = self._listed()

    def _listed(self) -> tuple[list[str], list[int]]:
        clips: dict[str, int] = {}
        content = self._list.read_bytes().decode("utf-8", "replace")
        for number, line in enumerate(content.split("\n"), start=1):
            if not line.strip():
                continue
            name, _, label = line.strip().rpartition("&")
            where = f"line {number} of {self._list}"
            if not name or not label.isdecimal() or int(label) >= len(self.classes):
                raise UserError(
                    f"{where} is '{line.strip()}'; expected NAME&CLASS with a class from 0 to "
                    f"{len(self.classes) - 1}"
                )
            if name in clips:
                raise UserError(f"{where} names the clip {name} for the second time")
            clips[name] = int(label)
        return list(clips), list(clips.values())

    def _paths(self, name: str) -> tuple[Path, Path]:
        visual = self._place / "visual_features" / f"{name}_vFeature.npy"
        return visual, self._place / "audio_features" / f"{name}_aFeature.npy"

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        visual, audio = self._paths(self.names[index])
        return raw_data.array(visual, [VISUAL], whole=True), raw_data.array(
            audio, [AUDIO], whole=True
        )

    def files(self) -> tuple[Path, ...]:
        table = [self._table] if self._table.exists() else []
        features = [path for name in self.names for path in self._paths(name)]
        return (self._list, *table, *features)


class _Videos(_Clips):
    """The table of clips and their videos."""

    def __init__(self, path: Path, recipe: VGGSound) -> None:
        self._table, self._recipe = path / TABLE, recipe
        self.rows = _rows(self._table)
        category = {row["video_id"]: row["category"] for row in self.rows}
        self.classes = tuple(dict.fromkeys(category.values()))
        videos = _by_id(path / "videos", category)
        self.names = [name for name in category if name in videos]
        if not self.names:
            raise UserError(f"{path / 'videos'} has no video of a clip that {self._table} lists")
        self.targets = [self.classes.index(category[name]) for name in self.names]
        self._paths = [videos[name] for name in self.names]

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        path = self._paths[index]
        visual = np.stack([np.asarray(self._see(frames)) for frames in read_seconds(path)])
        audio = np.asarray(self._hear(read_sound(path)))
        for kind, values, shape in (("visual", visual, VISUAL), ("audio", audio, AUDIO)):
            if values.shape != shape:
                raise UserError(
                    f"the {kind} extractor gives {_by(values.shape)} for {path}; expected "
                    f"{_by(shape)}"
                )
        return visual, audio

    @cached_property
    def _see(self) -> Callable[[np.ndarray], np.ndarray]:
        named = self._recipe.visual_extractor
        if named is not None:
            return raw_data.function(named, "visual_extractor")
        return VGG19(self._recipe.visual_weights)

    @cached_property
    def _hear(self) -> Callable[[np.ndarray], np.ndarray]:
        named = self._recipe.audio_extractor
        if named is None:
            raise UserError(
                "reading VGGSound's videos needs a VGGish, which no package brings along; expected "
                "the option audio_extractor to name one as module:function"
            )
        return raw_data.function(named, "audio_extractor")

    def files(self) -> tuple[Path, ...]:
        weights = self._recipe.visual_weights
        return (self._table, *self._paths, *([Path(weights)] if weights else []))


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a number"


def _rows(table: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    category: dict[str, str] = {}
    for line, row in tables.table(table, ("video_id", "category")):
        name = row["video_id"]
        if category.setdefault(name, row["category"]) != row["category"]:
            raise UserError(
                f"line {line} of {table} gives the clip '{name}' the category '{row['category']}'; "
                f"an earlier one says '{category[name]}'"
            )
        rows.append(row)
    return rows


def _by_id(folder: Path, known: Mapping[str, str]) -> dict[str, Path]:
    """Return the first video of each id, in the order of their paths."""
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist; expected the videos of the clips")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.mp4")):
        names = (path.name[:11], path.name[1:12])
        name = next((name for name in names if name in known), None)
        if name is not None:
            found.setdefault(name, path)
    return found


def read_seconds(path: Path) -> list[np.ndarray]:
    """Return 16 frames of each of the first ten seconds, [16, 224, 224, 3] uint8 each, RGB.

    A second of a shorter video repeats its last frame.

    Raises:
        UserError: PyAV is missing, or the file is no video that it can read.
    """
    wanted = (np.arange(SECONDS * FRAMES) + 0.5) / FRAMES
    shown: list[np.ndarray] = []
    last: Any = None
    with videos.opened(path) as container:
        for frame in videos.pictures(path, container):
            # A frame is shown until the next one begins.
            while last is not None and len(shown) < len(wanted):
                if wanted[len(shown)] >= frame.time:
                    break
                shown.append(last)
            if len(shown) == len(wanted):
                break
            last = frame.reformat(width=SIDE, height=SIDE, format="rgb24").to_ndarray()
    if last is None:
        raise UserError(f"the video {path} has no pictures")
    shown += [last] * (len(wanted) - len(shown))
    return [np.stack(shown[first : first + FRAMES]) for first in range(0, len(shown), FRAMES)]


def read_sound(path: Path) -> np.ndarray:
    """Return the first ten seconds of a video's sound at 16 kHz, silence after its end, [160000].

    Raises:
        UserError: PyAV is missing, or the file has no sound that it can read.
    """
    av = raw_data.extra("av", EXTRA)
    pieces = []
    with videos.opened(path) as container:
        stream = videos.sound(path, container)
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        for frame in [*container.decode(stream), None]:
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    sound = np.concatenate([*pieces, np.zeros(SECONDS * RATE, np.float32)])
    return sound[: SECONDS * RATE].astype(np.float32)


class VGG19:
    """The maps of VGG19 (Simonyan and Zisserman 2015) after ``pool5``, averaged over frames.

    Args:
        weights: a state dict of torchvision's VGG19; None takes torchvision's own.

    Raises:
        UserError: torchvision or the weights cannot be had.
    """

    def __init__(self, weights: Path | None) -> None:
        from mstgraph.recipes import imagenet

        self._batch = imagenet.batch
        options = ("visual_weights", "visual_extractor")
        self._features = imagenet.network("vgg19", weights, options).get_submodule("features")

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Return [7, 7, 512] float32 of frames [n, 224, 224, 3] uint8, RGB."""
        import torch

        with torch.inference_mode():
            return self._features(self._batch(frames)).mean(0).permute(1, 2, 0).numpy()
