"""Random values in the shapes and types of each data set's preprocessed arrays, and their stores.

Nothing can be learned from them; a store of them says so, and with it every summary of a run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mstgraph.store import Store, load_recipe
from mstgraph.store.build.builder import build
from tools.student_check.formats import write_arrays, write_clips, write_mat

ROOT = Path(__file__).parents[2]
SYNTHETIC = "random values, no data of it"

Writer = Callable[[Path, int, np.random.Generator], Path]


@dataclass(frozen=True)
class DataSet:
    """What stands in for a data set.

    Attributes:
        recipe: name of its recipe's file, and of its gin files' beginning.
        samples: how many are drawn; 60 % of them train.
        batch: samples per batch, at least two batches an epoch.
        write: writes raw files for so many samples to a folder, and returns what ``--raw`` names.
    """

    recipe: str
    samples: int
    batch: int
    write: Writer

    def prepare(self, folder: Path) -> Store:
        """Write raw files and build their store, ``folder/stores/RECIPE``, unless it is there."""
        store = folder / "stores" / self.recipe
        raw = folder / "raw" / self.recipe
        if store.exists():
            return Store(store)
        raw.mkdir(parents=True)
        place = self.write(raw, self.samples, np.random.default_rng(0))
        recipe = load_recipe(ROOT / "datasets" / f"{self.recipe}.py", place)
        type(recipe).synthetic = SYNTHETIC
        return build(recipe, store)


def _avmnist(folder: Path, samples: int, rng: np.random.Generator) -> Path:
    counts = {"train": samples - samples // 5, "test": samples // 5}
    arrays: dict[str, np.ndarray] = {}
    for part, count in counts.items():
        arrays[f"image/{part}_data"] = rng.random((count, 784), np.float32)
        arrays[f"audio/{part}_data"] = rng.random((count, 112, 112), np.float32)
        arrays[f"{part}_labels"] = rng.integers(0, 10, count)
    return write_arrays(folder, arrays)


def _ravdess(folder: Path, samples: int, rng: np.random.Generator) -> Path:
    arrays = {
        "video_data": rng.integers(0, 256, (samples, 15, 3, 224, 224), np.uint8),
        "audio_data": rng.normal(size=(samples, 15, 156)).astype(np.float32),
        "label_data": rng.integers(0, 8, samples),
    }
    return write_arrays(folder, arrays)


def _vggsound(folder: Path, samples: int, rng: np.random.Generator) -> Path:
    names = [f"vrandom{number:05}_30_40_out" for number in range(samples)]
    features = [
        (rng.random((10, 7, 7, 512), np.float32), rng.random((10, 128), np.float32)) for _ in names
    ]
    return write_clips(folder, names, rng.integers(0, 141, samples).tolist(), features)


def _crisismmd(folder: Path, samples: int, rng: np.random.Generator) -> Path:
    image, text = (rng.random((samples, width), np.float32) for width in (2048, 768))
    torch.save((image, text, rng.integers(0, 8, samples)), folder / "CMMD_data.pth")
    return folder


def _nyudepth(folder: Path, samples: int, rng: np.random.Generator) -> Path:
    maps = (samples, 480, 640)
    arrays = {
        "rgb": rng.integers(0, 256, (*maps, 3), np.uint8),
        "depth": rng.uniform(0.7, 9.9, maps).astype(np.float32),
        "label": rng.integers(0, 895, maps, np.uint16),
    }
    return write_mat(folder / "nyu_depth_v2_labeled.mat", arrays, "labels")


DATA_SETS = {
    data.recipe: data
    for data in (
        DataSet("avmnist", 30, 6, _avmnist),
        DataSet("ravdess", 15, 3, _ravdess),
        DataSet("vggsound", 30, 6, _vggsound),
        DataSet("crisismmd", 40, 8, _crisismmd),
        DataSet("nyudepth", 4, 1, _nyudepth),
    )
}
