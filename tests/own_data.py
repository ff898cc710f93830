"""Files as a person has them, but synthetic: a table naming pictures, sounds and arrays; tars."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import wavfile

CLASSES = ("high", "low")
RATE = 8_000


def write_own_data(folder: Path, rows: int = 24) -> Path:
    """Write JPEG, WAV and NPY files and a table that names them; return the table.

    Synthetic: of class ``high``, pictures are bright, tones high and movements fast.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for row in range(rows):
        random, high = np.random.default_rng(row), row % 2 == 0
        pixels = random.integers(0, 100, (36, 30, 3)) + 100 * high
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{row}.jpg")
        times = np.arange(RATE // 2) / RATE
        tone = np.sin(2 * np.pi * (1500 if high else 300) * times) + random.normal(
            0, 0.1, len(times)
        )
        wavfile.write(folder / f"{row}.wav", RATE, (tone * 10_000).astype(np.int16))
        phase = np.linspace(0, 12 if high else 3, 32) + random.uniform(0, 6)
        np.save(folder / f"{row}.npy", np.stack([np.sin(phase), np.cos(phase)]).astype(np.float32))
        part = ("train", "train", "train", "train", "val", "test")[row // 2 % 6]
        files = (f"{row}.jpg", f"{row}.wav", f"{row}.npy")
        lines.append((*files, f"{random.normal() + high:.3f}", CLASSES[not high], part, "a remark"))
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("photo", "tone", "motion", "age", "label", "split", "remark"))
        writer.writerows(lines)
    return folder / "table.csv"


def write_tar(path: Path, numbers: range) -> None:
    """Write a tar, compressed or not, of (synthetic) .npy files of two classes."""
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for number in numbers:
            content = io.BytesIO()
            np.save(content, np.full((2, 40), number, np.float32))
            member = tarfile.TarInfo(f"{('cat', 'dog')[number % 2]}/{number:04d}.npy")
            member.size = len(content.getvalue())
            archive.addfile(member, io.BytesIO(content.getvalue()))
