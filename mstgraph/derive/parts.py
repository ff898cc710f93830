"""Everything with weights that a plan names, built in the gin scope it belongs to.

On the meta device for inspection, and for real with a seed that depends on the run's seed and the
part's name alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import gin
import torch
from torch import nn

from mstgraph.declare.configuration import Configuration, find_file
from mstgraph.declare.gin_state import Calls, recorded_calls
from mstgraph.declare.graph import Graph
from mstgraph.derive.members.frozen import check_frozen
from mstgraph.derive.members.weights import (
    Weights,
    find_weights,
    fitting_weights,
    recorded,
    refuse_partial,
    refuse_random,
)
from mstgraph.distil.cuts import Crossing, probe_cut
from mstgraph.distil.frozen import probe_frozen
from mstgraph.distil.gate import Gate, layers_read
from mstgraph.distil.probing import (
    layer_shapes,
    looks_at_values,
    output_shapes,
    refuse_lazy,
    unstorable,
)
from mstgraph.distil.shapes import OnlyShapes
from mstgraph.methods.loss import ROLES, EdgeLoss, EdgeShapes
from mstgraph.networks.inputs import shapes_of
from mstgraph.networks.presence import takes_lengths
from mstgraph.stages.node import Part, Teacher
from mstgraph.stages.stage import StageNode
from mstgraph.store.recipe import Modality
from mstgraph.support.errors import UserError, in_words
from mstgraph.support.files import known_digest
from mstgraph.support.seeds import derive_seed, python_seeded, seed_torch
from mstgraph.support.text import shape_in_words
from mstgraph.tasks.task import Task

INITIAL = "initial_weights"
"""A network's own option for what is otherwise ``Member.weights``; it reads no file itself."""


@dataclass(frozen=True)
class MemberShapes:
    """What a member's network turned out to be, on the meta device.

    Attributes:
        network: name of its class.
        parameters: number of parameters.
        output: shape of its logits, without the batch.
        points: mask point or layer that a loss reads → shape of its feature, without the batch.
        initialisation: how its weights are initialised, in words.
    """

    network: str
    parameters: int
    output: tuple[int, ...]
    points: Mapping[str, tuple[int, ...]]
    initialisation: str


class Parts:
    """Builds the parts of a plan's stages.

    Args:
        graph: the members that they belong to.
        teachers: student → its teachers.
        stages: in which they take part.
        modalities: modalities of the store.
        task: the task.
        configuration: where bindings stand, for messages.
        samples: number of training samples.
        known: member → what a finished run records of its weights, which it needs no more.

    Attributes:
        members: what their networks turned out to be.
        weights: member → what its network takes of a file, for those that start from one.

    Raises:
        UserError: a network, mask point, MaskNet or gate that cannot be, or networks whose
            outputs differ; the sentence names file and line, member and layer.
    """

    def __init__(
        self,
        graph: Graph,
        teachers: Mapping[str, Sequence[Teacher]],
        stages: Collection[StageNode],
        modalities: Mapping[str, Modality],
        task: Task,
        configuration: Configuration,
        samples: int,
        known: Mapping[str, Mapping[str, Any]] | None = None,
    ):
        self.samples = samples
        self.graph = graph
        self.teachers = teachers
        self.modalities = modalities
        self.task = task
        self.configuration = configuration
        self._forwards = {f for node in stages for f in node.forwards.values()}
        self._built: dict[Part, tuple[int, Calls]] = {}
        self._networks: dict[Part, nn.Module] = {}  # as they were asked, without values
        self._by_value: set[Part] = set()  # those that had to be asked on the CPU
        self._trunks: dict[tuple[str, tuple[str, ...]], Crossing | None] = {}
        self._behind_frozen: dict[tuple[str, tuple[str, ...]], Crossing | None] = {}
        self._known = known or {}
        self.weights: dict[str, Weights] = {}
        self.members = {name: self._inspect(name) for name in graph.members}
        self._check_outputs()

    def build(self, part: Part, device: torch.device | str) -> nn.Module:
        """Build a part with initial weights that depend on the seed and its name alone.

        On the meta device, a network is the one that was asked: it is built there once, or, where
        it cannot live there, on the CPU, and then goes without its values.
        """
        meta = torch.device(device).type == "meta"
        if meta and part in self._networks:
            return self._networks[part]
        seed = derive_seed(self.graph.seed, "initial", part.name)
        with (
            self.configuration.entered(),
            torch.random.fork_rng(devices=[] if meta else None),
            python_seeded(seed),
            torch.device(device),
            OnlyShapes() if meta else nullcontext(),
        ):
            # All devices' generators take a while; without numbers one is enough.
            (torch.default_generator.manual_seed if meta else seed_torch)(seed)
            return self._construct(part)

    def start(self, part: Part, module: nn.Module) -> None:
        """Load the weights of a file that a part starts from, if there are any.

        Raises:
            UserError: the file is gone, or was replaced.
        """
        if part.kind == "network" and part.member in self.weights:
            self.weights[part.member].load(module)

    def parameters(self, part: Part) -> int:
        """Return the number of a part's parameters; builds it on the meta device, once."""
        return self._on_meta(part)[0]

    def calls(self, part: Part) -> Calls:
        """Return the gin configurables that a part calls, its constructor among them.

        Those of a network include what its forward pass calls.
        """
        return self._on_meta(part)[1]

    def _on_meta(self, part: Part) -> tuple[int, Calls]:
        if part not in self._built:
            with self.configuration.entered(), recorded_calls() as calls:
                module = self.build(part, "meta")
                self._refuse_state(part, module)
                count = count_parameters(module)
            self._built[part] = count, calls
        return self._built[part]

    def trunk(self, member: str, points: tuple[str, ...]) -> Crossing | None:
        """Return what crosses the cuts of a member's network at mask points, probed once.

        Returns:
            Name → (shape without batch, type); None if the network has to run whole.
        """
        if (member, points) not in self._trunks:
            network = self.build(Part("network", member), "meta").eval()
            with self.configuration.entered():
                # What is told how much of its inputs is there is not a function of them alone.
                whole = takes_lengths(network)
                shapes = self.input_shapes(member)
                crossing = None if whole else probe_cut(network, points, shapes)
            self._trunks[member, points] = crossing
        return self._trunks[member, points]

    def run_whole(self, member: str, points: tuple[str, ...]) -> None:
        """Let a member's network run whole from now on, as its cut at mask points is none."""
        self._trunks[member, points] = None

    def behind_frozen(self, member: str, taps: tuple[str, ...]) -> Crossing | None:
        """Return what crosses the cut of a member's network behind its frozen modules, as `trunk`.

        Args:
            member: whose.
            taps: layers that are wanted of it, too.
        """
        if (member, taps) not in self._behind_frozen:
            network = self.build(Part("network", member), "meta")
            frozen = self.graph.members[member].frozen
            with self.configuration.entered():
                # As in `trunk`; modality dropout makes another input of the same sample.
                whole = takes_lengths(network) or self.graph.members[member].modality_dropout
                shapes = self.input_shapes(member)
                crossing = None if whole else probe_frozen(network, frozen, taps, shapes)
            self._behind_frozen[member, taps] = crossing
        return self._behind_frozen[member, taps]

    def train_whole(self, member: str, taps: tuple[str, ...]) -> None:
        """Let a member train whole from now on, as its cut is none."""
        self._behind_frozen[member, taps] = None

    def layers(self, member: str) -> tuple[nn.Module, dict[str, tuple[int, ...] | str]]:
        """Return a member's network without values, and path → shape or why it is no mask point."""
        part, shapes = Part("network", member), self.input_shapes(member)
        by_value = part in self._by_value
        with self.configuration.entered():
            network = self.build(part, "cpu" if by_value else "meta")
            return network, layer_shapes(network, shapes, by_value=by_value)

    def input_shapes(self, member: str) -> dict[str, tuple[int, ...]]:
        """Return modality → shape of a sample, for a member's modalities."""
        return shapes_of(self.modalities, self.graph.members[member].inputs)

    def feature(self, part: Part) -> tuple[int, ...]:
        """Return the shape of the feature that a MaskNet masks."""
        return self.members[part.member].points[part.point]

    def constructor(self, part: Part) -> tuple[str, Callable[..., Any]]:
        """Return the gin scope in which a part is built, and what builds it."""
        if part.kind == "network":
            member = self.graph.members[part.member]
            assert member.network is not None
            return member.scope, member.network
        if part.kind == "masknet":
            return part.member, self.graph.members[part.member].mask
        if part.kind == "adapter":
            return part.member, self._loss(part).adapter
        return part.student, self.graph.settings.gate or Gate

    def _construct(self, part: Part) -> nn.Module:
        scope, constructor = self.constructor(part)
        given = self._given(part)
        self.configuration.refuse_given(constructor, len(given), scope)
        with gin.config_scope(scope), self._in_words(part, scope):
            module = constructor(*given)
            if not isinstance(module, nn.Module):
                raise UserError(f"{constructor.__name__} is no network, expected a torch module")
            refuse_lazy(module)
            return module

    def _given(self, part: Part) -> tuple[Any, ...]:
        """Return the arguments that follow from the data and the plan."""
        if part.kind == "network":
            return self.input_shapes(part.member), self.task.num_outputs
        if part.kind == "masknet":
            return (self.feature(part),)
        if part.kind == "adapter":
            return (self._edge_shapes(part),)
        count = len(self.teachers[part.student])
        roles = layers_read(self.graph.settings.gate)
        features = (self._role_shapes(part.student, roles),) if roles else ()
        return self.task.num_outputs, count, self.task.dense, *features

    def _loss(self, part: Part) -> EdgeLoss:
        return self.graph.members[part.member].loss

    def _edge_shapes(self, part: Part) -> EdgeShapes:
        loss = self._loss(part)
        return EdgeShapes(
            teacher=self._role_shapes(part.member, loss.roles(of_student=False)),
            student=self._role_shapes(part.student, loss.roles(of_student=True)),
            task=self.task,
            samples=self.samples,
        )

    def _role_shapes(
        self, name: str, roles: tuple[str, ...]
    ) -> dict[str, tuple[tuple[int, ...], ...]]:
        """Return role → shapes of what a member's layers return, without the batch."""
        member, points = self.graph.members[name], self.members[name].points
        return {role: tuple(points[at] for at in member.layers(role)) for role in roles}

    @contextmanager
    def _in_words(self, part: Part, scope: str) -> Iterator[None]:
        """Name the place and the member in front of whatever a constructor refuses."""
        where = f"mask point '{part.point}' of " if part.point else ""
        try:
            yield
        except UserError as error:  # gin appends lines of its own
            text = str(error).splitlines()[0]
            place = self._place(part, scope, text)
            raise UserError(f"{place}: {where}member '{scope}': {text}") from error
        except (Exception, SystemExit) as error:  # whatever a network of the user's raises
            text = in_words(error)
            raise UserError(
                f"{self._place(part, scope, text)}: {where}member '{scope}': its {part.kind} "
                f"cannot be built: {text}"
            ) from error

    def _place(self, part: Part, scope: str, text: str) -> str:
        """Return where the option stands that a message names, else where the part is declared."""
        _, constructor = self.constructor(part)
        if place := self.configuration.place_of_option(constructor, scope, text):
            return place
        chosen = self.configuration.exactly_where("Member", "mask", scope) is not None
        declared = {
            "network": ("Member", "network"),
            "masknet": ("Member", "mask" if chosen else "masks"),
            "adapter": ("Member", "loss"),
        }
        return self.configuration.where(*declared.get(part.kind, ("graph", "gate")), scope)

    def _inspect(self, name: str) -> MemberShapes:
        part = Part("network", name)
        with self.configuration.entered(), recorded_calls() as calls:
            network, outputs, points = self._asked(part)
            self._refuse_state(part, network)
        self._built[part] = count_parameters(network), calls
        self._networks[part] = network
        member = self.graph.members[name]
        if member.frozen:
            place = self.configuration.where("Member", "frozen", name)
            check_frozen(network, member.frozen, member.trained, name, place)
        return MemberShapes(
            network=type(network).__name__,
            parameters=self.parameters(part),
            output=outputs[""],
            points={point: outputs[point] for point in points},
            initialisation=self._initialisation(name, network),
        )

    def _initialisation(self, name: str, network: nn.Module) -> str:
        """Say what a member starts from, and find its weights."""
        own: str = getattr(network, "initialisation", "standard initialisation")
        member = self.graph.members[name]
        frozen = f"; frozen: {', '.join(member.frozen)}" if member.frozen else ""
        if getattr(network, "stored", False):
            if not member.weights:
                return own
            self.weights[name] = self._stored(name, member.weights)
            return f"{own}, '{member.weights}'"
        weights = self._find_weights(name, network)
        if weights is None:
            return own + frozen
        self.weights[name] = weights
        return f"{weights.in_words()}{f' ({own})' if weights.missing else ''}{frozen}"

    def _find_weights(self, name: str, network: nn.Module) -> Weights | None:
        """Return what a member starts from by its own setting, else by its network's."""
        member, option = self.graph.members[name], ("Member", "weights", name)
        given = member.weights
        if not given and (given := getattr(network, INITIAL, None) or ""):
            option = (type(network).__name__, INITIAL, member.scope)
        place = self.configuration.where(*option)
        if given and name in self._known:
            return recorded(self._known[name])
        if given:
            # A twin that has taken the target's weights means the target.
            own = (name, "mstgraph.Member", "weights") in self.configuration.locations
            names = (name, member.scope) if own else (member.scope,)
            path = find_weights(given, names, place, self.configuration)
            with self._told(place, name):
                weights = fitting_weights(given, path, network)
                refuse_random(weights, network, member.frozen)
                if not member.trained:
                    refuse_partial(weights)
                return weights
        if not member.trained and count_parameters(network):
            raise UserError(
                f"{self.configuration.where('Member', 'trained', name)}: member '{name}' is not "
                f"trained and has no weights, so it would answer at random; expected "
                f"'{name}/Member.weights = FILE', or that it is trained"
            )
        return None

    def _stored(self, name: str, given: str) -> Weights:
        place = self.configuration.where("Member", "weights", name)
        path = find_file(given, place, self.configuration)
        return Weights(given, known_digest(path), {}, path=path)

    @contextmanager
    def _told(self, place: str, name: str) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            raise UserError(f"{place}: member '{name}': {error}") from error

    def _asked(self, part: Part) -> tuple[nn.Module, dict[str, tuple[int, ...]], tuple[str, ...]]:
        """Return a network without values, and its outputs; built on the CPU if it must be."""
        try:
            network = self.build(part, "meta")
            return network, *self._outputs(network, part.member)
        except UserError as error:
            if not looks_at_values(error):
                raise
        self._by_value.add(part)
        network = self.build(part, "cpu")
        outputs = self._outputs(network, part.member, by_value=True)
        return network.to("meta"), *outputs

    def _refuse_state(self, part: Part, module: nn.Module) -> None:
        if wrong := unstorable(module):
            scope, _ = self.constructor(part)
            raise UserError(
                f"{self._place(part, scope, '')}: the {part.kind} {type(module).__name__} of "
                f"member '{scope}' cannot be kept: {wrong}"
            )

    def _outputs(
        self, network: nn.Module, name: str, by_value: bool = False
    ) -> tuple[dict[str, tuple[int, ...]], tuple[str, ...]]:
        """Return layer → shape of its output, and the layers that count: mask points and taps."""
        member = self.graph.members[name]
        shapes = self.input_shapes(name)
        declared = {"masks": member.masks, **self._layers_read(name)}
        points = tuple(dict.fromkeys(point for layers in declared.values() for point in layers))
        try:
            return output_shapes(network, shapes, points, by_value=by_value), points
        except UserError as error:
            candidates = {"network": (), **declared}
            at_fault = next(
                (o for o, names in candidates.items() if _fails(network, shapes, names, by_value)),
                "network",
            )
            place = self.configuration.where("Member", at_fault, name)
            raise UserError(f"{place}: member '{name}': {error}") from error

    def _layers_read(self, name: str) -> dict[str, tuple[str, ...]]:
        """Return role → layers of a member, of roles that some loss reads.

        A data set's file names layers for all of its members, also for a network of the user's.
        """
        taps = {layer for f in self._forwards if f.member == name for layer in f.taps}
        layers = {role: self.graph.members[name].layers(role) for role in ROLES}
        return {role: names for role, names in layers.items() if taps.intersection(names)}

    def _check_outputs(self) -> None:
        expected = (self.task.num_outputs, *self.task.extent)
        for name, shapes in self.members.items():
            if shapes.output != expected:
                raise UserError(
                    f"{self.configuration.where('Member', 'network', name)}: the network "
                    f"{shapes.network} of member '{name}' answers with "
                    f"{shape_in_words(shapes.output)}, expected "
                    f"{shape_in_words(expected)} (outputs of the task, and size of the labels)"
                )


def _fails(
    network: nn.Module,
    shapes: Mapping[str, tuple[int, ...]],
    points: tuple[str, ...],
    by_value: bool,
) -> bool:
    try:
        output_shapes(network, shapes, points, by_value=by_value)
    except UserError:
        return True
    return False


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters, buffers left out."""
    return sum(math.prod(parameter.shape) for parameter in module.parameters())
