"""Settings of a run beside its graph: where the data comes from, and what the engine may keep."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import gin
import torch

from mstgraph.data.augmentation import Augmentation
from mstgraph.data.normalisation import Normalisation
from mstgraph.data.presence import PARTS
from mstgraph.store.recipe import Labels
from mstgraph.support import memory
from mstgraph.support.text import take_tuples_of_one
from mstgraph.tasks.task import Task
from mstgraph.trackers.tracker import Tracker

MEMORY_SHARE = 0.25  # of the memory that is free when the run starts
DISK_SHARE = 0.25  # of the disk that is free
MOST_GIGABYTES = 1e9  # as good as no limit, and still a number of bytes


@gin.configurable("data", module="mstgraph")
@dataclass(frozen=True)
class Data:
    """The data of a run, bound in gin under the name ``data``.

    Attributes:
        store: directory of the feature store.
        recipe: recipe file that prepares the store if it is missing.
        raw: raw data that the recipe reads; None where the recipe needs none.
        options: options of the recipe, ``{'size': (96, 128)}``.
        split: name of the split: an official one, or ``'0'`` to ``'4'``; ``'numbered'`` takes the
            random group ``seed % 5``, as the paper's five runs do, and None the split that comes
            with the data, else a numbered one.
        labelled: share (0.1) or number (120) of training samples that keep their label, the same
            share of each class, chosen by the run's seed; the others take part in distillation
            alone. Validation and test keep theirs. None leaves all.
        labelled_per_batch: share of labelled samples in a training batch (0.5), one of either kind
            at least, for stages that go through all samples. An epoch makes as many steps as
            without it: the labelled ones come again and again, of the others some wait for a
            later epoch. None takes samples as they are drawn; where all have a label, or none,
            it changes nothing.
        sampler: ``'balanced'`` takes as many labelled samples of each class in training; small
            classes come again within an epoch. None takes samples as they are.
        absent: modality → share of the samples that lose it (``{'audio': 0.2}``), the same share of
            each class, chosen by the run's seed, as though they had been recorded without it: to
            see what a method makes of missing modalities on data that has them all.
        absent_in: the parts of the split in which they do, ``('train',)`` or more.
        task: what is predicted, a gin reference called with the store's labels (``@Ordinal``);
            None takes the task that the labels ask for.
        batch_size: samples per optimiser step, where a stage does not say otherwise.
        normalisation: ``'standard'`` (mean 0, standard deviation 1 per channel), ``'minmax'``
            (0 to 1 per channel), ``'imagenet'`` (colours as networks trained on ImageNet want
            them) or ``'none'``; statistics come from the training split alone.
            ``{'depth': 'minmax'}`` says so of some modalities, and leaves the others standard, or
            as ``'others'`` says: ``{'rgb': 'imagenet', 'others': 'none'}``.
        augmentation: changes training batches (``@HorizontalFlip()``), or None.
        shuffle_block: for a store beyond memory, on a disk that is slow at random: training
            shuffles blocks of as many neighbouring samples, then the samples of some blocks
            together, instead of all samples (None); some megabytes of samples make a good block.
        demonstration: gin file that is put on top of the given one when the store is missing and
            so is the raw data; None refuses to run then.
    """

    store: str = ""
    recipe: str = ""
    raw: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    split: str | int | None = None
    labelled: float | int | None = None
    labelled_per_batch: float | None = None
    sampler: Literal["balanced"] | None = None
    absent: Mapping[str, float] = field(default_factory=dict)
    absent_in: tuple[str, ...] = PARTS
    task: Callable[[Labels], Task] | None = None
    batch_size: int = 64
    normalisation: Normalisation | Mapping[str, Normalisation] = "standard"
    augmentation: Augmentation | None = None
    shuffle_block: int | None = None
    demonstration: str | None = None

    def __post_init__(self) -> None:
        """Take one name for a tuple of one."""
        take_tuples_of_one(self)


@gin.configurable("engine", module="mstgraph")
@dataclass(frozen=True)
class Engine:
    """Bound in gin under the name ``engine``.

    Attributes:
        cache: keep values that cannot change during a stage instead of computing them again;
            without it the same seed gives the same numbers to rounding, only slower.
        cache_dtype: ``'float32'`` (as they are computed), or ``'float16'`` to keep twice as many
            values (their error of 3e-4 changes results).
        memory_gigabytes: memory of the device for data and kept values; None takes a quarter of
            what is free.
        disk_gigabytes: disk for kept values, reclaimed when the stage is finished; None takes a
            quarter of what is free, 0 keeps nothing on disk.
        precision: ``'fp32'``, ``'tf32'`` (matrix products of a GPU in TensorFloat-32) or
            ``'bf16'`` (autocast to bfloat16).
        tracker: who else is told of a run's numbers (``@MLflow()``), see
            `mstgraph.trackers.tracker`; changes none of them. None tells nobody.
    """

    cache: bool = True
    cache_dtype: Literal["float32", "float16"] = "float32"
    memory_gigabytes: float | None = None
    disk_gigabytes: float | None = None
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    tracker: Tracker | None = None

    def memory_budget(self, device: torch.device) -> int:
        """Return the bytes of the device that data and kept values may take."""
        if self.memory_gigabytes is not None:
            return int(min(self.memory_gigabytes, MOST_GIGABYTES) * 1e9)
        on_gpu = device.type == "cuda"
        free = torch.cuda.mem_get_info(device)[0] if on_gpu else memory.available()
        return int(free * MEMORY_SHARE)

    def disk_budget(self, folder: Path) -> int:
        """Return the bytes of disk that kept values may take below a folder."""
        if self.disk_gigabytes is not None:
            return int(min(self.disk_gigabytes, MOST_GIGABYTES) * 1e9)
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        return int(shutil.disk_usage(existing).free * DISK_SHARE)

    def problem(self) -> tuple[str, str] | None:
        """Return (option, what is wrong and what was expected) if the settings make no sense."""
        for option in ("memory_gigabytes", "disk_gigabytes"):
            value = getattr(self, option)
            if value is not None and not value >= 0:
                return option, f"is {value}, expected at least 0, or None"
        return None

    @property
    def halved(self) -> bool:
        """Whether floating values are kept as float16."""
        return self.cache_dtype == "float16"
