"""The networks of a group of stages, and what they answer for a batch.

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
from mstgraph.stages.node import RESPONSE, Forward, Question, Trunk
from mstgraph.support.errors import UserError
from mstgraph.support.numerics import autocast

Outputs = Mapping[str, Tensor]


class Shared:
    """What all stages of a group have in common in one batch.

    Args:
        inputs: modality → [batch, ...] float.
        labels: [batch] or [batch, height, width] int64.
        positions: place of each sample in its part of the split, [batch] int64.
        kept: what networks can be asked → what is kept of the answers.
        places: of each sample's view among all views, [batch] int64; None where there are none.
    """

    def __init__(
        self,
        inputs: Mapping[str, Tensor],
        labels: Tensor,
        positions: Tensor,
        kept: Mapping[Question, Kept],
        places: Tensor | None = None,
    ):
        self.inputs = inputs
        self.labels = labels
        self.positions = positions
        self.places = positions if places is None else places
        self.kept = kept
        self.memo: dict[Question, Outputs] = {}


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
        self._leaves_inputs: set[tuple[str, bool]] = set()  # member, in training

    def outputs(self, question: Question, shared: Shared, rows: Tensor | None = None) -> Outputs:
        """Return what networks answer for a batch, or for some of its rows ([n] int64).

        Of a `Forward` that are logits, and what the layers return that are tapped; of a `Trunk`
        what crosses the cuts.
        """
        if question in shared.kept:
            places = shared.places if rows is None else shared.places[rows]
            return shared.kept[question].read(places)
        if not self.trained.isdisjoint(question.parts):
            return self.computed(question, shared, rows)
        with torch.no_grad():
            if rows is not None:
                return self.computed(question, shared, rows)
            if question not in shared.memo:
                shared.memo[question] = self.computed(question, shared)
            return shared.memo[question]

    def chosen_outputs(
        self, forwards: Sequence[Forward], chosen: Tensor, shared: Shared
    ) -> list[tuple[int, Tensor, Outputs]]:
        """Return what each network answers for the rows that chose it, as `outputs` does.

        Teachers of one member go through the network up to their mask points together.

        Args:
            forwards: what there is to choose from.
            chosen: [batch, k] int64, indices into them.
            shared: the batch.

        Returns:
            (index, rows [n] int64, answer) of each that some row chose.
        """
        rows_of = [(chosen == j).any(1).nonzero().flatten() for j in range(len(forwards))]
        trunks: dict[str, tuple[Tensor, Outputs]] = {}
        answers = []
        for j, (forward, rows) in enumerate(zip(forwards, rows_of, strict=True)):
            if len(rows) == 0:
                continue
            if forward in shared.kept or not self._is_cut(forward):
                answers.append((j, rows, self.outputs(forward, shared, rows)))
                continue
            if forward.member not in trunks:
                same = [f.member == forward.member and self._is_cut(f) for f in forwards]
                union = torch.cat([r for r, s in zip(rows_of, same, strict=True) if s]).unique()
                trunks[forward.member] = union, self.outputs(Trunk(forward.member), shared, union)
            union, values = trunks[forward.member]
            places = torch.searchsorted(union, rows)
            needed = self.cuts[forward.member].needed(forward.point)
            answer = self._tail(forward, {name: values[name][places] for name in needed})
            answers.append((j, rows, answer))
        return answers

    def computed(self, question: Question, shared: Shared, rows: Tensor | None = None) -> Outputs:
        """Return `outputs` computed anew, whatever is kept or was computed before."""
        if isinstance(question, Trunk):
            return self.cuts[question.member].trunk(self._arguments(question, shared, rows))
        if self._is_cut(question):
            return self._tail(question, self.outputs(Trunk(question.member), shared, rows))
        network = self.modules[question.member]
        with ExitStack() as stack:
            if question.masknet:
                masknet = self.modules[question.masknet]
                stack.enter_context(inserted(network, question.point, masknet))
            # After the mask: at a mask point the masked feature is tapped.
            features = stack.enter_context(tapped(network, question.taps)) if question.taps else {}
            stack.enter_context(autocast(self.precision, shared.labels.device))
            logits = self._call(question.member, self._arguments(question, shared, rows))
        outputs = {**features, RESPONSE: logits}
        return {name: value.to(torch.get_default_dtype()) for name, value in outputs.items()}

    def _call(self, member: str, arguments: list[Tensor]) -> Tensor:
        """Run a network; one that overwrites its inputs gets copies, as others read them, too."""
        network = self.modules[member]
        known = (member, network.training)
        given = arguments if known in self._leaves_inputs else [v.clone() for v in arguments]
        versions = [values._version for values in given]
        logits: Tensor = network(*given)
        if versions == [values._version for values in given]:
            self._leaves_inputs.add(known)
        elif given is arguments:
            raise UserError(
                f"the network {type(network).__name__} of member '{member}' overwrites its input "
                "for some batches and for others not, expected that it makes a new tensor"
            )
        return logits

    def _is_cut(self, forward: Forward) -> bool:
        return bool(forward.masknet) and forward.member in self.cuts and not forward.taps

    def _tail(self, forward: Forward, values: Outputs) -> Outputs:
        """Return the logits that follow from what crosses the cuts."""
        cut, masknet = self.cuts[forward.member], self.modules[forward.masknet]
        trained = not self.trained.isdisjoint(forward.parts)
        with (
            torch.set_grad_enabled(trained and torch.is_grad_enabled()),
            autocast(self.precision, next(iter(values.values())).device),
        ):
            logits = cut.tail(forward.point, values, masknet)
            return {RESPONSE: logits.to(torch.get_default_dtype())}

    def _arguments(self, question: Question, shared: Shared, rows: Tensor | None) -> list[Tensor]:
        inputs = [shared.inputs[modality] for modality in self.inputs_of[question.member]]
        return inputs if rows is None else [values[rows] for values in inputs]
