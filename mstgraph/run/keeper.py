"""Computes the constant values of a group of stages once, and hands out what is kept.

A part of a split is filled when somebody first asks for it, in the order of its samples and in
blocks of one size: what is kept does not depend on when it was computed.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from mstgraph.data.augmentation import Augmentation
from mstgraph.data.feed import Feed
from mstgraph.derive.keeping.placement import Decision, Value
from mstgraph.distil.frozen import is_within
from mstgraph.run.kept import InMemory, Kept, OnDisk
from mstgraph.run.networks import Networks, Shared
from mstgraph.stages.node import Forward, FrozenTrunk, Question, Trunk
from mstgraph.support.processes.group import ALONE, Processes
from mstgraph.support.seeds import derive_seed, seed_python
from mstgraph.support.weights import weights_digest

FORMAT_VERSION = 1

FeedFor = Callable[[str, Sequence[str], Augmentation | None], Feed]
VIEWS = "views"  # of a key: counts only of values that are kept for each


@dataclass
class Keeper:
    """The kept values of a group.

    Attributes:
        networks: the group's networks.
        decisions: part of the split → what is done with each constant value.
        feed_for: (part, modalities, augmentation) → feed.
        augmentation: of training batches; its views are what values may be kept for.
        block_size: samples per block.
        halved: whether floating tensors are kept as float16.
        folder: where values on disk go.
        key: everything beside the weights that determines a value (store, split, code, numbers).
        processes: who keeps the same; the main one writes what is on disk.
        told: is called with a sentence and (done, total) while a part is filled.
    """

    networks: Networks
    decisions: Mapping[str, Sequence[Decision]]
    feed_for: FeedFor
    block_size: int
    halved: bool
    folder: Path
    key: Mapping[str, object]
    augmentation: Augmentation | None = None
    processes: Processes = ALONE
    told: Callable[[str, int, int], None] = lambda sentence, done, total: None
    _kept: dict[str, dict[Question, Kept]] = field(default_factory=dict)

    def kept(self, part: str) -> Mapping[Question, Kept]:
        """Return what is kept of a part of the split; fills it first."""
        if part not in self._kept:
            self._kept[part] = self._fill(part)
        return self._kept[part]

    def modalities(self, part: str, forwards: Sequence[Forward]) -> set[str]:
        """Return the modalities that responses still need to see in a part."""
        names = {
            _owner(decision.value)
            for decision in self.decisions.get(part, ())
            if decision.placement != "recompute"
        }
        wanted: set[str] = set()
        for forward in forwards:
            if forward in names or (forward.masknet and Trunk(forward.member) in names):
                continue
            behind = self.networks.is_cut_behind(forward) and FrozenTrunk(forward.member) in names
            inputs = self.networks.inputs_of[forward.member]
            needed = self.networks.frozen[forward.member].needed if behind else range(len(inputs))
            wanted |= {inputs[place] for place in needed}
        return wanted

    @property
    def memory(self) -> int:
        """Bytes of the device that are set aside for kept values."""
        everything = [decision for part in self.decisions.values() for decision in part]
        return sum(d.size for d in everything if d.placement == "memory")

    def release(self) -> int:
        """Give back memory and disk; return the bytes of the device that are free again."""
        for values in self._kept.values():
            for kept in values.values():
                kept.release()
        self._kept.clear()
        return self.memory

    def _fill(self, part: str) -> dict[Question, Kept]:
        values = [d for d in self.decisions.get(part, ()) if d.placement != "recompute"]
        if not values:
            return {}
        kept: dict[Question, Kept] = {}
        with ExitStack() as undone:
            for views in sorted({decision.views for decision in values}):
                of_views = [decision for decision in values if decision.views == views]
                kept |= self._fill_views(part, of_views, views, undone)
            with self.processes.main_first():
                for value in kept.values():
                    value.finish()
            undone.pop_all()
        return kept

    def _fill_views(
        self, part: str, decisions: Sequence[Decision], views: int, undone: ExitStack
    ) -> dict[Question, Kept]:
        """Compute the values that are kept for so many views of each sample.

        Whatever is opened is closed with ``undone``.
        """
        needed = {m for d in decisions for m in self.networks.inputs_of[d.value.member]}
        augmentation = self.augmentation if views == self._views(part) else None
        feed = self.feed_for(part, sorted(needed), augmentation)
        count = len(feed) * views
        kept: dict[Question, Kept] = {}
        for owner, value in self._allocated(decisions, part, count, feed.device):
            undone.callback(value.close)
            kept[owner] = value
            value.every_view = augmentation is None and self._views(part) is not None
        self._compute_missing(part, feed, kept, count)
        return kept

    def _views(self, part: str) -> int | None:
        """Return how many views a sample of a part has; None: it is as it is, or new each time."""
        return self.augmentation.views if self.augmentation and part == "train" else None

    def _compute_missing(
        self, part: str, feed: Feed, kept: Mapping[Question, Kept], count: int
    ) -> None:
        blocks = -(-count // self.block_size)
        ranges = torch.arange(count).split(self.block_size)
        values = dict(enumerate(kept.values()))
        missing = self.processes.agreed(
            [[number for number, v in values.items() if v.missing(b)] for b in range(blocks)]
        )
        wanted = [block for block in range(blocks) if missing[block]]
        self.networks.ready(())
        batches = feed.batches([ranges[block] for block in wanted])
        for done, (block, (inputs, labels, places)) in enumerate(
            zip(wanted, batches, strict=True), 1
        ):
            seed_python(derive_seed(0, part, block))
            positions = feed.positions(places)
            lengths = feed.lengths(positions)
            shared = self.networks.shared(Shared(inputs, labels, positions, {}, lengths, places))
            with torch.no_grad():
                for number, (owner, value) in enumerate(kept.items()):
                    if number in missing[block]:
                        answers = self.networks.outputs(owner, shared)
                        value.write(block, block * self.block_size, answers)
            self.told(f"keeping {len(kept)} constant values of the {part} split", done, len(wanted))

    def _allocated(
        self, decisions: Sequence[Decision], part: str, samples: int, device: torch.device
    ) -> Iterator[tuple[Question, Kept]]:
        """Make room; responses in memory lie side by side, so that a choice is one gather."""
        counts = Counter(map(_row, decisions))
        last: dict[object, InMemory] = {}
        for decision in decisions:
            value, row = decision.value, _row(decision)
            if decision.placement == "memory":
                last[row] = InMemory(
                    value.tensors, samples, self.halved, device, last.get(row), counts[row]
                )
                yield _owner(value), last[row]
            else:
                folder = self.folder / self._digest(decision, part)
                yield (
                    _owner(value),
                    OnDisk(
                        value.tensors,
                        samples,
                        self.halved,
                        device,
                        folder,
                        self.block_size,
                        self.processes.main,
                    ),
                )

    def _digest(self, decision: Decision, part: str) -> str:
        """Name a value by all that determines it: one other bit in a weight, another name."""
        value = decision.value
        views = self._views(part)
        parts = value.forward.parts if value.forward else (value.member,)
        identity = {
            **{k: v for k, v in self.key.items() if k != VIEWS or decision.views == views},
            "format": FORMAT_VERSION,
            "part": part,
            "kind": value.kind,
            "member": value.member,
            "points": value.points or (value.forward.point if value.forward else ""),
            "layers": value.forward.taps if value.forward else (),
            "weights": [weights_digest(self._states(value, name)) for name in parts],
            "halved": self.halved,
            "block": self.block_size,
        }
        text = json.dumps(identity, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def _states(self, value: Value, part: str) -> Mapping[str, Tensor]:
        """Return the weights that determine a value; of a network that trains its frozen ones."""
        states = self.networks.modules[part].state_dict()
        if value.kind != "frozen":
            return states
        return {name: tensor for name, tensor in states.items() if is_within(name, value.points)}


def _row(decision: Decision) -> object:
    """Return what responses that can lie side by side have in common."""
    value = decision.value
    shared = value.kind == "response" and decision.placement == "memory"
    return tuple(value.tensors.items()) if shared else id(decision)


def _owner(value: Value) -> Question:
    trunk = FrozenTrunk if value.kind == "frozen" else Trunk
    return value.forward or trunk(value.member)
