"""Writes arrays to files as each data set hands its preprocessed arrays around.

What the recipes under ``datasets/`` read back; content is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def write_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write one ``.npy`` file per array, as AV-MNIST and RAVDESS have them; return the folder.

    Args:
        folder: where to; made if it is missing.
        arrays: path below the folder, without ``.npy`` → array.
    """
    for name, values in arrays.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{name}.npy", values)
    return folder


def write_clips(
    folder: Path,
    names: Sequence[str],
    classes: Sequence[int],
    features: Sequence[tuple[np.ndarray, np.ndarray]],
) -> Path:
    """Write VGGSound's list and two files of features for each clip; return the folder.

    Args:
        folder: where to.
        names: of the clips, in the list's order.
        classes: of the clips.
        features: visual [10, 7, 7, 512] and audio [10, 128] of each clip.
    """
    place = folder / "VGGS50K_features_normed"
    for kind in ("visual", "audio"):
        (place / f"{kind}_features").mkdir(parents=True)
    for name, (visual, audio) in zip(names, features, strict=True):
        np.save(place / "visual_features" / f"{name}_vFeature.npy", visual)
        np.save(place / "audio_features" / f"{name}_aFeature.npy", audio)
    lines = [f"{name}&{label}\n" for name, label in zip(names, classes, strict=True)]
    (folder / "VGGS50k_metadata.txt").write_text("".join(lines), encoding="utf-8")
    return folder


def write_mat(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    labels: str = "labels40",
    **more: np.ndarray | bytes,
) -> Path:
    """Write NYU-Depth-V2's HDF5 file: each map with its last two axes swapped; return its path.

    Args:
        path: the file.
        arrays: upright ``rgb`` [N, height, width, 3], ``depth`` and ``label`` [N, height, width].
        labels: what the data set of the labels is called: ``labels`` (894 classes), ``labels40``.
        more: other data sets by name.
    """
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        file["images"] = arrays["rgb"].transpose(0, 3, 2, 1)
        file["depths"] = arrays["depth"].transpose(0, 2, 1)
        file[labels] = arrays["label"].transpose(0, 2, 1)
        for name, array in more.items():
            file[name] = array
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file")
    return path
