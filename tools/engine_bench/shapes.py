"""The shapes that are measured: graphs in gin, and random data of their sizes in a real store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mstgraph.store.recipe import Labels, Modality, Recipe, Task

ROOT = Path(__file__).parents[2]
SPLIT = "all"


@dataclass(frozen=True)
class Shape:
    """What is measured.

    Attributes:
        name: as the command line and the table call it.
        files: gin files, relative to the repository's root.
        gin: gin statements on top of them.
        modalities: modality → shape of a sample.
        classes: number of classes.
        batch: samples per batch.
        samples: training samples of the store that is built.
        real: training samples of the data set that it stands for.
        gigabytes: memory for data and kept values at the data set's size; scaled down to the
            samples of the store, so that what fits is what would fit.
        extent: (height, width) of the labels of a segmentation.
        really_run: whether whole runs are short enough to be run.
    """

    name: str
    files: tuple[str, ...]
    gin: str
    modalities: Mapping[str, tuple[int, ...]]
    classes: int
    batch: int
    samples: int
    real: int
    gigabytes: float = 4.0
    extent: tuple[int, ...] = ()
    really_run: bool = False


AVMNIST = """
graph.image = @image/Member()
image/Member.network = @LeNet5
graph.audio = @audio/Member()
audio/Member.network = @ThreeLayerCNN
graph.fused = @fused/Member()
fused/Member.network = @FusedCNN
fused/Member.inputs = ('image', 'audio')
fused/Member.masks = ('fusion', 'hidden1')
"""
CRISISMMD = """
graph.target = 'text'
graph.text = @text/Member()
graph.image = @image/Member()
image/Member.masks = ('hidden1', 'hidden2')
graph.fused = @fused/Member()
fused/Member.network = @FusedMLP
fused/Member.inputs = ('image', 'text')
fused/Member.masks = ('hidden1', 'hidden2')
Member.network = @MLP
MLP.hidden = (1024, 512)
FusedMLP.branch = (1024, 512)
FusedMLP.hidden = (512, 256)
MaskNet.factor = 8
"""
AVMNIST_MODALITIES = {"image": (1, 28, 28), "audio": (1, 112, 112)}
ROOM = (64, 96)
METHOD = ("gin/base/mst.gin",)

SHAPES = (
    Shape(
        "avmnist-image",
        METHOD,
        AVMNIST + "graph.target = 'image'\naudio/Member.masks = ('conv2', 'conv3')\n",
        AVMNIST_MODALITIES,
        10,
        batch=64,
        samples=512,
        real=42000,
    ),
    Shape(
        "avmnist-audio",
        METHOD,
        AVMNIST + "graph.target = 'audio'\nimage/Member.masks = ('conv3', 'hidden1')\n",
        AVMNIST_MODALITIES,
        10,
        batch=64,
        samples=512,
        real=42000,
    ),
    Shape(
        "crisismmd",
        METHOD,
        CRISISMMD,
        {"image": (2048,), "text": (768,)},
        8,
        batch=64,
        samples=2048,
        real=9634,
    ),
    Shape(
        "mfeat",
        ("gin/mfeat_zer.gin",),
        "",
        {"fou": (76,), "zer": (47,)},
        10,
        batch=64,
        samples=1200,
        real=1200,
        really_run=True,
    ),
    Shape(
        "rooms",
        ("gin/nyudepth_rgb.gin",),
        "FuseNet.width = 0.5\nFuseNetBranch.width = 0.5\n",
        {"rgb": (3, *ROOM), "depth": (1, *ROOM)},
        41,
        batch=8,
        samples=32,
        real=869,
        gigabytes=0.5,  # a small image's: the data, not the logits of every pixel
        extent=ROOM,
    ),
)


def named(name: str) -> Shape:
    """Return the shape of a name."""
    return next(shape for shape in SHAPES if shape.name == name)


class RandomData(Recipe):
    """Normal noise and random labels; training samples, and a batch each to validate and test."""

    title = "Random tensors"
    source = "drawn by tools/engine_bench/shapes.py"
    licence = "none needed"
    synthetic = "random tensors"

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def modalities(self) -> tuple[Modality, ...]:
        """Return float32 modalities of the shape's sizes."""
        return tuple(Modality(n, "float32", size) for n, size in self.shape.modalities.items())

    def labels(self) -> Labels:
        """Return numbered classes, of each pixel if the shape has an extent."""
        task: Task = "segmentation" if self.shape.extent else "classification"
        classes = tuple(map(str, range(self.shape.classes)))
        return Labels(task, classes, shape=self.shape.extent)

    def __len__(self) -> int:
        return self.shape.samples + 2 * self.shape.batch

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        """Return the sample that the index seeds."""
        draw = np.random.default_rng(index)
        label = draw.integers(0, self.shape.classes, self.shape.extent)
        drawn = {
            name: draw.standard_normal(size, np.float32)
            for name, size in self.shape.modalities.items()
        }
        return {**drawn, "label": np.asarray(label)}

    def official_splits(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        """Return the one split that is used."""
        train, batch = self.shape.samples, self.shape.batch
        return {
            SPLIT: {
                "train": range(train),
                "validation": range(train, train + batch),
                "test": range(train + batch, train + 2 * batch),
            }
        }
