"""Which networks are looked at, on which test samples: saliency side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mstgraph.look.masks import spread
from mstgraph.look.opened import Opened
from mstgraph.look.outcomes import changed
from mstgraph.look.records import Records
from mstgraph.look.saliency import Saliency, saliency

SHOWN = 6  # samples


@dataclass(frozen=True)
class Looks:
    """Saliency of networks on the same samples.

    Attributes:
        positions: places in the test part, [samples].
        labels: as the store holds them, [samples] or [samples, …].
        rows: of each network that has a map.
        raw: modality → [samples, *shape] as the store holds them.
    """

    positions: np.ndarray
    labels: np.ndarray
    rows: list[Saliency]
    raw: Mapping[str, np.ndarray]


def looks(records: Records, run: Opened, target: str, samples: int) -> Looks:
    """Look at teachers as they were, specialised teachers, the student distilled and alone.

    Args:
        records: the run's record.
        run: its networks and data.
        target: the student.
        samples: how many test samples; those that distillation changed come first.
    """
    positions = telling(records, target, samples)
    (modality,) = run.experiment.inputs_of[target]
    rows = []
    for title, place in records.responses().items():
        asked = run.asked(title, place)
        if asked.forward.member == target and not title.startswith(f"{target} "):
            continue
        shared = run.batch(positions, [asked.forward.member])
        found = saliency(asked, shared, modality)
        if found is not None:
            rows.append(found)
    shown = {row.modality for row in rows}
    raw = {name: run.raw(name, list(positions)) for name in shown}
    return Looks(positions, run.labels(list(positions)), rows, raw)


def telling(records: Records, target: str, samples: int) -> np.ndarray:
    """Return test samples worth looking at: half of them mended, some spoilt, the rest spread."""
    found = changed(records, target)
    total = len(records.contributions((records.last(target), target)))
    if found is None:
        return spread(total, samples)
    chosen = [*found.mended[: (samples + 1) // 2], *found.spoilt[: samples // 3]]
    others = [place for place in spread(total, samples) if place not in chosen]
    return np.array([*chosen, *others][:samples], dtype=np.int64)
