"""RAVDESS (speech): 1,440 clips of 24 actors who speak in eight emotions, seen and heard.

Source: S. R. Livingstone and F. A. Russo, "The Ryerson Audio-Visual Database of Emotional Speech
and Song (RAVDESS)", PLoS ONE 13(5), 2018; https://doi.org/10.5281/zenodo.1188976
Licence: CC BY-NC-SA 4.0. It does not come with this package.

Layouts that ``raw`` may point to, told apart by looking:

1. the folder of preprocessed arrays (3.3 GB): ``video_data.npy`` N×15×3×224×224 (faces, 0…255),
   ``audio_data.npy`` N×15×156 (coefficients × time) and ``label_data.npy`` N. As they are handed
   around their colours are in the order blue, green, red; the option ``colours`` says so if not;
2. the folder with ``Actor_01`` … ``Actor_24`` as they are unpacked (24 GB of ``.mp4``, 0.6 GB of
   ``.wav``), at any depth. A clip is a video with sound (``01-…``) or without (``02-…``) and the
   audio ``03-…`` of the same name; songs are left out. Actors, then names, give the order.

What layout 2 does, after the paper: audio at 22,050 Hz is cut to its middle 3.6 s, or padded with
silence at the end, and becomes 15 mel-frequency cepstral coefficients at 156 times. Of the same
3.6 s of video, 15 frames are taken (frames 3, 10, 17, … at 30 per second; black where the video has
ended), and from each the face: the first box of MTCNN, the previous frame's where it finds none,
cut to the frame and resized to 224×224. This needs pip install 'mstgraph[audio,video]' torchvision,
and pip install --no-deps facenet-pytorch (which asks for an older torch than it needs); the option
``face_detector`` puts a function of your own in place of the last two.

Stored: ``visual`` 3×15×224×224 (RGB) as uint8, ``audio`` 15×156 as float32, both unscaled. Layout 2
has the split ``actors``: nobody is in two of its parts, unlike in the numbered groups.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from mstgraph.recipes import raw as raw_data
from mstgraph.recipes import videos
from mstgraph.store.recipe import Labels, Modality, Recipe
from mstgraph.support.errors import UserError

PARTS = ("train", "validation", "test")
CLASSES = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
FRAMES, SIDE = 15, 224
RATE, SAMPLES, COEFFICIENTS, TIMES = 22050, 79380, 15, 156
VIDEO_RATE, WINDOW = 30, 108  # 3.6 s
EXTRA = "mstgraph[audio,video]"

Box = Sequence[float]
Detector = Callable[[np.ndarray], Sequence[Box | None]]


@dataclass
class RAVDESS(Recipe):
    """Speaking faces and their voices; see the head of the file.

    Attributes:
        raw: the folder of arrays, or of the actors.
        colours: order of the colours in ``video_data.npy``.
        face_detector: ``module:function`` from frames [n, height, width, 3] (uint8, RGB) to n
            boxes (left, top, right, bottom) or None, in place of MTCNN.
    """

    title: ClassVar[str] = "RAVDESS (speech)"
    source: ClassVar[str] = "https://doi.org/10.5281/zenodo.1188976 (Livingstone and Russo, 2018)"
    licence: ClassVar[str] = "CC BY-NC-SA 4.0"
    requires: ClassVar[str] = (
        "the data of RAVDESS is needed: name with --raw the folder of its arrays (video_data.npy, "
        "audio_data.npy, label_data.npy) or the one with Actor_01 to Actor_24 from "
        "https://doi.org/10.5281/zenodo.1188976"
    )

    raw: Path | None = None
    colours: Literal["bgr", "rgb"] = "bgr"
    face_detector: str | None = None

    @cached_property
    def _clips(self) -> _Clips:
        path = raw_data.existing(self.raw, self.requires)
        if (path / "video_data.npy").exists():
            raw_data.refuse_options(self, ("face_detector",), "preprocessed arrays")
            return _Arrays(path, self.colours)
        raw_data.refuse_options(self, ("colours",), "videos, which tell their own")
        return _Actors(path, self.face_detector)

    def modalities(self) -> tuple[Modality, ...]:
        """Return ``visual`` (channels × frames × height × width) and ``audio``."""
        return (
            Modality("visual", "uint8", (3, FRAMES, SIDE, SIDE)),
            Modality("audio", "float32", (COEFFICIENTS, TIMES)),
        )

    def labels(self) -> Labels:
        """Return the emotion."""
        return Labels("classification", CLASSES)

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self._clips.targets)

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        """Return clip ``index``.

        Raises:
            UserError: a file cannot be read, or no frame of the clip shows a face.
        """
        visual, audio = self._clips.read(index)
        label = np.asarray(self._clips.targets[index])
        return {"visual": np.ascontiguousarray(visual), "audio": audio, "label": label}

    def item(self, modality: Modality, raw: Path | str) -> np.ndarray:
        """Return a recording as stored; of the video, frames that were cut before (``.npy``)."""
        path = Path(raw)
        if modality.name != "audio" or path.suffix == ".npy":
            return super().item(modality, path)
        return heard(path)[0]

    def identifier(self, index: int) -> str:
        """Return the video's name where the raw data tells it, else its number, from 0."""
        return self._clips.identifier(index)

    def official_splits(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """Return ``actors``: 60, 20 and 20 % of the actors, where the raw data tells them."""
        parts = self._clips.split()
        return {"actors": parts} if parts else {}

    def raw_files(self) -> tuple[Path, ...]:
        """Return the arrays, or all videos and recordings."""
        return self._clips.files()


class _Clips(ABC):
    """The clips of one raw layout."""

    targets: Sequence[int] | np.ndarray

    @abstractmethod
    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]: ...

    @abstractmethod
    def identifier(self, index: int) -> str: ...

    @abstractmethod
    def split(self) -> dict[str, list[int]]: ...

    @abstractmethod
    def files(self) -> tuple[Path, ...]: ...


class _Arrays(_Clips):
    """The preprocessed arrays."""

    def __init__(self, path: Path, colours: str) -> None:
        names = ("video_data", "audio_data", "label_data")
        self._paths = tuple(path / f"{name}.npy" for name in names)
        self._video = raw_data.array(self._paths[0], [(FRAMES, 3, SIDE, SIDE)])
        self._audio = raw_data.array(self._paths[1], [(COEFFICIENTS, TIMES)])
        self.targets = raw_data.labels(self._paths[2], len(CLASSES))
        arrays = (self._video, self._audio, self.targets)
        raw_data.same_length(dict(zip(self._paths, arrays, strict=True)))
        self._step = -1 if colours == "bgr" else 1

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        given = self._video[index]
        frames = given.clip(0, 255).astype(np.uint8)
        if not np.array_equal(frames, given):
            raise UserError(
                f"clip {index} of {self._paths[0]} holds values that are no integers from 0 to 255"
            )
        return frames[:, :: self._step].swapaxes(0, 1), self._audio[index].astype(np.float32)

    def identifier(self, index: int) -> str:
        return str(index)

    def split(self) -> dict[str, list[int]]:
        return {}

    def files(self) -> tuple[Path, ...]:
        return self._paths


class _Clip(NamedTuple):
    actor: int
    name: str
    emotion: int
    video: Path
    audio: Path


class _Actors(_Clips):
    """Videos and recordings."""

    def __init__(self, path: Path, face_detector: str | None) -> None:
        self._items = _paired(path)
        self.targets = [clip.emotion - 1 for clip in self._items]
        self._named = face_detector

    @cached_property
    def _detector(self) -> Detector:
        if self._named is not None:
            return raw_data.function(self._named, "face_detector")
        return Mtcnn()

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        clip = self._items[index]
        audio, start = heard(clip.audio)
        frames = read_frames(clip.video, start / RATE)
        visual = np.zeros((FRAMES, SIDE, SIDE, 3), np.uint8)
        if frames:
            boxes = checked_boxes(self._detector(np.stack(frames)), frames, clip.video)
            visual[: len(frames)] = [cut(*pair) for pair in zip(frames, boxes, strict=True)]
        return visual.transpose(3, 0, 1, 2), audio

    def identifier(self, index: int) -> str:
        return self._items[index].name

    def split(self) -> dict[str, list[int]]:
        actors = sorted({clip.actor for clip in self._items})
        bounds = [0, len(actors) * 6 // 10, len(actors) * 8 // 10, len(actors)]
        if bounds[1] == 0 or bounds[1] == bounds[2]:
            return {}  # too few actors for three parts
        parts = {}
        for part, (first, last) in zip(PARTS, pairwise(bounds), strict=True):
            chosen = set(actors[first:last])
            parts[part] = [i for i, clip in enumerate(self._items) if clip.actor in chosen]
        return parts

    def files(self) -> tuple[Path, ...]:
        return tuple(path for clip in self._items for path in (clip.video, clip.audio))


def _paired(folder: Path) -> list[_Clip]:
    """Return the clips of spoken text, by actor and name."""
    videos = {**_by_name(folder, ".mp4", "02"), **_by_name(folder, ".mp4", "01")}
    recordings = _by_name(folder, ".wav", "03")
    if not videos:
        raise UserError(f"{folder} holds no videos of speech (01-01-….mp4); {RAVDESS.requires}")
    clips = []
    for key, video in videos.items():
        if key not in recordings:
            raise UserError(f"{folder} has no recording 03-{key}.wav, which {video} calls for")
        fields = [int(field) for field in key.split("-")]
        emotion, actor = fields[1], fields[5]
        if not 1 <= emotion <= len(CLASSES):
            raise UserError(f"{video} tells the emotion {emotion}; expected 01 to 08")
        clips.append(_Clip(actor, video.stem, emotion, video, recordings[key]))
    return sorted(clips, key=lambda clip: (clip.actor, clip.name[3:]))


def _by_name(folder: Path, suffix: str, modality: str) -> dict[str, Path]:
    """Return the files of speech by what follows the modality in their names."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob(f"*{suffix}")):
        fields = path.stem.split("-")
        if len(fields) != 7 or not all(len(field) == 2 and field.isdigit() for field in fields):
            raise UserError(
                f"{path} is not named as RAVDESS names its files, seven numbers of two digits, "
                f"03-01-06-01-02-01-12{suffix}"
            )
        if fields[:2] == [modality, "01"]:
            key = path.stem[3:]
            if found.setdefault(key, path) != path:
                raise UserError(f"{found[key]} and {path} are of one name; expected one of them")
    return found


def heard(path: Path) -> tuple[np.ndarray, int]:
    """Return the cepstral coefficients of a recording's middle, and where that begins."""
    signal, start = middle(raw_data.waveform(path, RATE))
    librosa = raw_data.extra("librosa", EXTRA)
    audio = librosa.feature.mfcc(y=signal, sr=RATE, n_mfcc=COEFFICIENTS)
    return audio.astype(np.float32), start


def middle(signal: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the middle 3.6 s of a signal, padded at its end if shorter, and where they start."""
    start = max(0, (len(signal) - SAMPLES) // 2)
    kept = signal[start : start + SAMPLES]
    return np.pad(kept, (0, SAMPLES - len(kept))), start


def read_frames(path: Path, start: float) -> list[np.ndarray]:
    """Return 15 frames of the 3.6 s from ``start`` (seconds), fewer if the video ends before.

    Each is the one that begins nearest to its time, whatever the video's rate and however that
    varies, [height, width, 3] uint8, RGB.

    Raises:
        UserError: PyAV is missing, or the file is no video that it can read.
    """
    wanted = (start + (np.arange(FRAMES) * WINDOW // FRAMES + 3) / VIDEO_RATE).tolist()
    found: list[np.ndarray] = []
    before: Any = None
    first, length = 0.0, 1 / VIDEO_RATE
    with videos.opened(path) as container:
        for frame in videos.pictures(path, container):
            first = frame.time if before is None else first
            length = frame.time - before.time if before is not None else length
            while len(found) < len(wanted) and wanted[len(found)] < frame.time - first:
                middle_time = frame.time - first - length / 2
                nearer = frame if before is None or wanted[len(found)] > middle_time else before
                found.append(nearer.to_ndarray(format="rgb24"))
            if len(found) == len(wanted):
                return found
            before = frame
        while before is not None and len(found) < len(wanted):
            if wanted[len(found)] > before.time - first + length / 2:
                break
            found.append(before.to_ndarray(format="rgb24"))
    return found


def checked_boxes(
    boxes: Sequence[Box | None], frames: Sequence[np.ndarray], path: Path
) -> list[tuple[int, int, int, int]]:
    """Return a box for each frame, within it: its own, else the previous, else the first found.

    Raises:
        UserError: the detector found no face, or gave another number of boxes.
    """
    if len(boxes) != len(frames):
        raise UserError(f"the face detector gives {len(boxes)} boxes for {len(frames)} frames")
    height, width = frames[0].shape[:2]
    inside = [_within(box, height, width) for box in boxes]
    last = next((box for box in inside if box is not None), None)
    if last is None:
        raise UserError(f"no frame of {path} shows a face to the face detector")
    filled = []
    for box in inside:
        last = last if box is None else box
        filled.append(last)
    return filled


def _within(box: Box | None, height: int, width: int) -> tuple[int, int, int, int] | None:
    """Return a box rounded and clamped to the frame; None if nothing of it is inside."""
    if box is None:
        return None
    left, top, right, bottom = (round(float(value)) for value in box)
    left, right = max(left, 0), min(right, width)
    top, bottom = max(top, 0), min(bottom, height)
    return (left, top, right, bottom) if left < right and top < bottom else None


def cut(frame: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Return the box of a frame at 224×224, [224, 224, 3] uint8."""
    image = raw_data.extra("PIL.Image", "mstgraph[raw]")
    left, top, right, bottom = box
    face = image.fromarray(np.ascontiguousarray(frame[top:bottom, left:right]))
    return np.asarray(face.resize((SIDE, SIDE), image.Resampling.BILINEAR))


class Mtcnn:
    """The first box of MTCNN (Zhang et al. 2016) for each frame, None where there is no face.

    Raises:
        UserError: torchvision, or facenet-pytorch, which brings the weights along, is missing.
    """

    def __init__(self) -> None:
        raw_data.extra("torchvision", "torchvision")
        facenet = raw_data.extra("facenet_pytorch", "--no-deps facenet-pytorch")
        self._network: Any = facenet.MTCNN()

    def __call__(self, frames: np.ndarray) -> list[Box | None]:
        """Return the boxes of frames [n, height, width, 3] uint8, RGB."""
        found, _ = self._network.detect(frames)
        return [None if boxes is None else boxes[0] for boxes in found]
