"""The networks of a group of stages, and what they answer for a batch.

What several stages of a group ask for, and what several specialised teachers of one member share,
is computed once per batch; what is kept (`mstgraph.run.kept`) is not computed at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mstgraph.data.presence import Lengths
from mstgraph.distil.cuts import Cut
from mstgraph.distil.frozen import FrozenCut, freeze
from mstgraph.distil.insertion import inserted, tapped
from mstgraph.networks.presence import InputRule, drop_modalities, takes_lengths
from mstgraph.networks.rows import at_rest, spread
from mstgraph.run.kept import Kept
from mstgraph.stages.node import RESPONSE, Forward, FrozenTrunk, Question, Trunk
from mstgraph.support.errors import UserError
from mstgraph.support.numerics import autocast, masked

Outputs = Mapping[str, Tensor]


class Shared:
    """What all stages of a group have in common in one batch.

    Args:
        inputs: modality → [batch, ...] float.
        labels: [batch] or [batch, height, width] int64.
        positions: place of each sample in its part of the split, [batch] int64.
        kept: what networks can be asked → what is kept of the answers.
        lengths: how much of each modality is there, `mstgraph.data.presence.Lengths`; {}: all.
        places: of each sample's view among all views, [batch] int64; None where there are none.
    """

    def __init__(
        self,
        inputs: Mapping[str, Tensor],
        labels: Tensor,
        positions: Tensor,
        kept: Mapping[Question, Kept],
        lengths: Lengths | None = None,
        places: Tensor | None = None,
    ):
        self.inputs = inputs
        self.labels = labels
        self.positions = positions
        self.places = positions if places is None else places
        self.kept = kept
        self.lengths: Lengths = lengths or {}
        self.there: dict[str, Tensor | None] = {}  # see `Networks.there`
        self.rows: dict[str, Tensor] = {}  # member → the numbers of these samples
        self.memo: dict[Question, Outputs] = {}
        self.memo_of_rows: dict[Question, Outputs] = {}


class Networks:
    """The parts of a group of stages, and how responses are computed with them.

    Args:
        modules: name of a part → module.
        inputs_of: member → its modalities.
        trained: names of the parts that some stage of the group trains.
        cuts: member → its frozen network, cut at its mask points.
        precision: see `mstgraph.declare.settings.Engine`.
        rules: member → what it does without an input.
        stays: member → dotted paths of its modules that never train.
        frozen: member that trains → its network, cut behind these.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        inputs_of: Mapping[str, tuple[str, ...]],
        trained: frozenset[str],
        cuts: Mapping[str, Cut],
        precision: str = "fp32",
        rules: Mapping[str, InputRule] | None = None,
        stays: Mapping[str, Sequence[str]] | None = None,
        frozen: Mapping[str, FrozenCut] | None = None,
    ):
        self.stays = stays or {}
        self.frozen = frozen or {}
        self.modules = modules
        self.inputs_of = inputs_of
        self.trained = trained
        self.cuts = cuts
        self.precision = precision
        self.rules = defaultdict(InputRule, rules or {})
        self._leaves_inputs: set[tuple[str, bool]] = set()  # member, in training
        self._modes: dict[str, bool] = {}  # part → whether it was last put into training mode

    def shared(self, batch: Shared) -> Shared:
        """Return a batch, as it was read, as these networks answer for it."""
        return batch

    def begin_step(self, seed: int) -> None:
        """Called before each step of a stage, with a seed of its own."""

    def ready(self, trained: Collection[str]) -> None:
        """Put the parts that are trained into training mode, all else into eval mode.

        One that is in its mode already is left alone: to go through the modules of a dozen frozen
        teachers twice an epoch takes longer than a step of a small student.
        """
        for name, module in self.modules.items():
            mode = name in trained
            if self._modes.get(name) is not mode or module.training is not mode:
                module.train(mode)
                self._modes[name] = mode
            freeze(module, self.stays.get(name, ()))

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
            if rows is not None and rows is not shared.rows.get(question.member):
                return self.computed(question, shared, rows)
            memo = shared.memo if rows is None else shared.memo_of_rows
            if question not in memo:
                memo[question] = self.computed(question, shared, rows)
            return memo[question]

    def there(self, member: str, shared: Shared) -> Tensor | None:
        """Return in which samples a member takes part, [batch] bool; None: in all.

        It does where all of its inputs are there, or any of them, see `InputRule`.
        """
        if not shared.lengths:  # nobody lacks anything
            return None
        if member not in shared.there:
            found = self._takes_part(member, shared.lengths)
            shared.there[member] = found
            if found is not None:
                shared.rows[member] = found.nonzero().flatten()
        return shared.there[member]

    def _takes_part(self, member: str, lengths: Lengths) -> Tensor | None:
        inputs = self.inputs_of[member]
        own = [lengths[name] > 0 for name in inputs if name in lengths]
        any_will_do = self.rules[member].any_will_do
        if not own or (any_will_do and len(own) < len(inputs)):
            return None
        found = torch.stack(own).any(0) if any_will_do else torch.stack(own).all(0)
        return None if found.all() else found

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
            (index, rows [n] int64, answer) of each that some row chose in which it takes part.
        """
        rows_of = [self._choosing(f, (chosen == j).any(1), shared) for j, f in enumerate(forwards)]
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

    def chosen_responses(
        self,
        forwards: Sequence[Forward],
        chosen: Tensor,
        shared: Shared,
        like: Callable[[], Tensor],
    ) -> Tensor:
        """Return what each sample's first, second, … choice answers, [k, batch, ...] float.

        Args:
            forwards: what there is to choose from.
            chosen: [batch, k] int64, indices into them.
            shared: the batch.
            like: returns a response of the same shape, [batch, ...].
        """
        answers = self.chosen_outputs(forwards, chosen, shared)
        # Put together: a loss then runs once, not once per teacher and its samples.
        first = answers[0][2][RESPONSE] if answers else like().detach()
        # Who chose one that is not there gets zeros.
        make = first.new_zeros if shared.lengths else first.new_empty
        responses = make((chosen.shape[1], len(chosen), *first.shape[1:]))
        for j, rows, answer in answers:
            responses[(chosen[rows] == j).int().argmax(1), rows] = answer[RESPONSE]
        return responses

    def _choosing(self, forward: Forward, choosing: Tensor, shared: Shared) -> Tensor:
        there = self.there(forward.member, shared)
        choosing = choosing if there is None else choosing & there
        return choosing.nonzero().flatten()

    def computed(self, question: Question, shared: Shared, rows: Tensor | None = None) -> Outputs:
        """Return `outputs` computed anew, whatever is kept or was computed before.

        A network sees the samples that it takes part in and no others; of these the answer is 0.
        """
        there = self.there(question.member, shared)
        if there is None:
            return self._computed(question, shared, rows)
        there = there if rows is None else there[rows]
        places = there.nonzero().flatten()
        if rows is None:
            rows = shared.rows[question.member]
        elif len(places) == len(rows):
            return self._computed(question, shared, rows)
        else:
            rows = rows[places]
        modules = [self.modules[part] for part in question.parts]
        if not len(rows):
            with torch.no_grad(), at_rest(modules):
                blank = self._computed(_unmasked(question), shared, places.new_zeros(1))
            return {n: v.new_zeros(len(there), *v.shape[1:]) for n, v in blank.items()}
        with at_rest(modules, of=_BatchNorm) if len(rows) == 1 else nullcontext():
            answers = self._computed(question, shared, rows)
        return {name: spread(values, places, len(there)) for name, values in answers.items()}

    def _computed(self, question: Question, shared: Shared, rows: Tensor | None) -> Outputs:
        if isinstance(question, Trunk):
            return self.cuts[question.member].trunk(self._arguments(question, shared, rows)[0])
        if isinstance(question, FrozenTrunk):
            arguments, _ = self._arguments(question, shared, rows)
            with torch.no_grad(), autocast(self.precision, shared.labels.device):
                return self.frozen[question.member].trunk([v.clone() for v in arguments])
        if self.is_cut_behind(question):
            return self._behind(question, shared, rows)
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
            logits = self._call(question.member, *self._arguments(question, shared, rows))
        outputs = {**features, RESPONSE: logits}
        return {name: value.to(torch.get_default_dtype()) for name, value in outputs.items()}

    def is_cut_behind(self, forward: Forward) -> bool:
        """Say whether a response is computed from what frozen modules gave."""
        return forward.member in self.frozen and not forward.masknet

    def _behind(self, forward: Forward, shared: Shared, rows: Tensor | None) -> Outputs:
        """Return a response from what crosses the cut behind a network's frozen modules."""
        cut, network = self.frozen[forward.member], self.modules[forward.member]
        values = self.outputs(FrozenTrunk(forward.member), shared, rows)
        later = [tap for tap in forward.taps if tap not in cut.taps]
        names = self.inputs_of[forward.member]
        given = [shared.inputs[n] if i in cut.needed else None for i, n in enumerate(names)]
        if rows is not None:
            given = [None if value is None else value[rows] for value in given]
        with tapped(network, later) as features, autocast(self.precision, shared.labels.device):
            # Copies: a network may overwrite them, and others read what is remembered.
            logits = cut.tail(
                [None if value is None else value.clone() for value in given],
                {name: value.clone() for name, value in values.items()},
                network.training,
            )
        early = {tap: values[cut.taps[tap]] for tap in forward.taps if tap in cut.taps}
        outputs = {**features, **early, RESPONSE: logits}
        return {name: value.to(torch.get_default_dtype()) for name, value in outputs.items()}

    def _call(self, member: str, arguments: list[Tensor], lengths: Tensor | None) -> Tensor:
        """Run a network; one that overwrites its inputs gets copies, as others read them, too."""
        network = self.modules[member]
        beside = {"lengths": lengths} if lengths is not None and takes_lengths(network) else {}
        known = (member, network.training)
        given = arguments if known in self._leaves_inputs else [v.clone() for v in arguments]
        versions = [values._version for values in given]
        logits: Tensor = network(*given, **beside)
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

    def _arguments(
        self, question: Question, shared: Shared, rows: Tensor | None
    ) -> tuple[list[Tensor], Tensor | None]:
        """Return a network's inputs, and how much of each is there, [rows, inputs] int64.

        The latter is None where everything is.
        """
        names = self.inputs_of[question.member]
        inputs = [shared.inputs[name] for name in names]
        inputs = inputs if rows is None else [values[rows] for values in inputs]
        training = self.modules[question.member].training
        dropout = self.rules[question.member].dropout if training else 0.0
        if not dropout and shared.lengths.keys().isdisjoint(names):
            return inputs, None
        own = [_own_lengths(shared, name, rows) for name in names]
        lengths = torch.stack(own, dim=1)
        if dropout:
            lengths = drop_modalities(lengths, dropout)
            inputs = [masked(v, own) for v, own in zip(inputs, lengths.unbind(1), strict=True)]
        return inputs, lengths


def _own_lengths(shared: Shared, name: str, rows: Tensor | None) -> Tensor:
    """Return how much of a modality samples have, [rows] int64."""
    values = shared.inputs[name]
    whole = torch.full((len(values),), values.shape[-1], device=values.device)
    found = shared.lengths.get(name, whole)
    return found if rows is None else found[rows]


def _unmasked(question: Question) -> Question:
    """Return a question whose answer has the same shapes, and that no mask sees."""
    if isinstance(question, Forward) and question.masknet:
        return Forward(question.member, taps=question.taps)
    return question
