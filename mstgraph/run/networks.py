"""The networks of a group of stages, and the responses of a batch that they are asked for.

What several stages of a group ask for, and what several specialised teachers of one member share,
is computed once per batch; what is kept (`mstgraph.run.kept`) is not computed at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from mstgraph.distil.cuts import Cut
from mstgraph.distil.insertion import inserted, tapped
from mstgraph.run.kept import Kept
from mstgraph.stages.node import RESPONSE, Forward
from mstgraph.support.numerics import autocast

Outputs = Mapping[str, Tensor]


class Shared:
    """What all stages of a group have in common in one batch.

    Args:
        inputs: modality → [batch, ...] float.
        labels: [batch] or [batch, height, width] int64.
        positions: place of each sample in its part of the split, [batch] int64.
        kept: response or member → what is kept of it.
    """

    def __init__(
        self,
        inputs: Mapping[str, Tensor],
        labels: Tensor,
        positions: Tensor,
        kept: Mapping[Forward | str, Kept],
    ):
        self.inputs = inputs
        self.labels = labels
        self.positions = positions
        self.kept = kept
        self.memo: dict[Forward | str, Outputs] = {}


class Networks:
    """The parts of a group of stages, and how responses are computed with them.

    Args:
        modules: name of a part → module.
        inputs_of: member → its modalities.
        trained: names of the parts that some stage of the group trains.
        cuts: member → its frozen network, cut at its mask points.
        precision: see `mstgraph.declare.settings.Engine`.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        inputs_of: Mapping[str, tuple[str, ...]],
        trained: frozenset[str],
        cuts: Mapping[str, Cut],
        precision: str = "fp32",
    ):
        self.modules = modules
        self.inputs_of = inputs_of
        self.trained = trained
        self.cuts = cuts
        self.precision = precision

    def response(self, forward: Forward, shared: Shared, rows: Tensor | None = None) -> Tensor:
        """Return logits of a batch, or of some of its rows ([n] int64)."""
        return self.outputs(forward, shared, rows)[RESPONSE]

    def outputs(self, forward: Forward, shared: Shared, rows: Tensor | None = None) -> Outputs:
        """Return logits, and what the layers return that are tapped, of a batch or some rows."""
        if forward in shared.kept:
            positions = shared.positions if rows is None else shared.positions[rows]
            return shared.kept[forward].read(positions)
        if self.trained.isdisjoint(forward.parts):
            with torch.no_grad():
                if rows is not None:
                    return self.compute(forward, shared, rows)
                if forward not in shared.memo:
                    shared.memo[forward] = self.compute(forward, shared)
                return shared.memo[forward]
        return self.compute(forward, shared, rows)

    def trunk(self, member: str, shared: Shared, rows: Tensor | None = None) -> Outputs:
        """Return what crosses the cuts of a member's frozen network."""
        if member in shared.kept:
            positions = shared.positions if rows is None else shared.positions[rows]
            return shared.kept[member].read(positions)
        with torch.no_grad():
            if rows is not None:
                return self.cuts[member].trunk(self._arguments(member, shared, rows))
            if member not in shared.memo:
                shared.memo[member] = self.cuts[member].trunk(self._arguments(member, shared, None))
            return shared.memo[member]

    def routed(
        self, forwards: Sequence[Forward], chosen: Tensor, shared: Shared
    ) -> Sequence[tuple[int, Tensor, Tensor]]:
        """Ask each network for the rows that chose it.

        Teachers of one member go through the network up to their mask points together.

        Args:
            forwards: the N responses to choose from.
            chosen: [batch, k] int64, indices into them.
            shared: the batch.

        Returns:
            (index j, rows [n] int64, logits [n, ...]) of each that some row chose.
        """
        rows_of = [(chosen == j).any(1).nonzero().flatten() for j in range(len(forwards))]
        trunks: dict[str, tuple[Tensor, Outputs]] = {}
        answers = []
        for j, forward in enumerate(forwards):
            rows = rows_of[j]
            if len(rows) == 0:
                continue
            if forward in shared.kept or forward.member not in self.cuts or not forward.masknet:
                answers.append((j, rows, self.response(forward, shared, rows)))
                continue
            if forward.member not in trunks:
                same = [f.member == forward.member and bool(f.masknet) for f in forwards]
                union = torch.cat([r for r, s in zip(rows_of, same, strict=True) if s]).unique()
                trunks[forward.member] = union, self.trunk(forward.member, shared, union)
            union, values = trunks[forward.member]
            places = torch.searchsorted(union, rows)
            needed = self.cuts[forward.member].needed(forward.point)
            trained = not self.trained.isdisjoint(forward.parts)
            with torch.set_grad_enabled(trained and torch.is_grad_enabled()):
                logits = self._tail(forward, {name: values[name][places] for name in needed})
            answers.append((j, rows, logits))
        return answers

    def compute(self, forward: Forward, shared: Shared, rows: Tensor | None = None) -> Outputs:
        """Compute outputs, whatever is kept or was computed before."""
        if forward.masknet and forward.member in self.cuts and not forward.taps:
            return {RESPONSE: self._tail(forward, self.trunk(forward.member, shared, rows))}
        network = self.modules[forward.member]
        arguments = self._arguments(forward.member, shared, rows)
        with ExitStack() as stack:
            if forward.masknet:
                masknet = self.modules[forward.masknet]
                stack.enter_context(inserted(network, forward.point, masknet))
            # After the mask: at a mask point the masked feature is tapped.
            features = stack.enter_context(tapped(network, forward.taps)) if forward.taps else {}
            stack.enter_context(autocast(self.precision, shared.labels.device))
            logits = network(*arguments)
        outputs = {**features, RESPONSE: logits}
        return {name: value.to(torch.get_default_dtype()) for name, value in outputs.items()}

    def _tail(self, forward: Forward, values: Outputs) -> Tensor:
        cut, masknet = self.cuts[forward.member], self.modules[forward.masknet]
        with autocast(self.precision, next(iter(values.values())).device):
            return cut.tail(forward.point, values, masknet).to(torch.get_default_dtype())

    def _arguments(self, member: str, shared: Shared, rows: Tensor | None) -> list[Tensor]:
        inputs = [shared.inputs[modality] for modality in self.inputs_of[member]]
        return inputs if rows is None else [values[rows] for values in inputs]
