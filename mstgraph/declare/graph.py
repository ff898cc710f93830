"""Declare: members, mask points and edges of a distillation graph, checked for sense.

A gin file binds members to ``graph``; the scope's name is the member's name::

    graph.target = 'rgb'
    graph.rgb = @rgb/Member()
    graph.depth = @depth/Member()
    depth/Member.masks = ('encoder.stage5', 'decoder.stage5')
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import gin
import networkx as nx

from mstgraph.declare.configuration import Configuration
from mstgraph.declare.gin_state import forget_call
from mstgraph.declare.roles import network_roles
from mstgraph.distil.gate import layers_read
from mstgraph.distil.masknet import MaskNet
from mstgraph.methods.kl import KL
from mstgraph.methods.loss import HINTS, REPRESENTATION, ROLES, EdgeLoss
from mstgraph.networks.inputs import shapes_of
from mstgraph.stages.stage import Stage
from mstgraph.store.recipe import Modality
from mstgraph.support.errors import UserError, nearest

ALL = "all"
PROPOSED = ("penultimate", "hints", "masks")  # by networks that say which of their layers play them
TWIN = "target"  # as inputs
SHARED = ("network", "weights", "frozen", *ROLES)  # what a twin takes of the target
ANSWERS = "answers of "  # begins the modality that a file of answers is

Teachers = Literal["all", "multimodal", "cross-modal", "none"]
Points = Literal["masks", "penultimate", "hints", "representation", "none"]
Absent = Literal["out", "zeros"]
Stages = type[Stage] | tuple[type[Stage], ...]
PLACES = {
    "initialisation": (
        ("members", "member"),
        "a stage that gives members their first weights, such as '@CI' or '@Pretrain'",
    ),
    "adaptation": (
        ("mask",),
        "a stage that trains what is inserted at a mask point, such as '@STA'",
    ),
    "distillation": (
        ("student",),
        "a stage that trains a student under its teachers, such as '@DKD' or '@Distill'",
    ),
}


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class Member:
    """A network over one modality or several, and its edges.

    Attributes:
        network: gin reference to the network's class (``@FuseNet``); built in the member's scope.
        inputs: modalities it sees, in the order its ``forward`` takes them; default: its own name;
            ``'target'`` makes it the target's twin: the same inputs and, unless its own scope says
            otherwise, the same network with the same settings, roles, weights and frozen modules.
        masks: mask points, the dotted module paths whose output a MaskNet rewrites (Eq. 6).
        mask: gin reference to what is inserted at a mask point.
        penultimate: the last layer before the classifier, for losses that read it.
        hints: layers whose features guide another member's, or are guided, for losses that read
            them; those of two members belong together in their order.
        representation: the layer among whose features a method may select; default: the
            penultimate one.
            A network that knows its layers proposes them for ``masks``, ``penultimate`` and
            ``hints`` where nothing is bound (`mstgraph.networks.roles`).
        teaches: members it teaches; default: every target.
        mutual: members it is aligned with in both directions (Eq. 2), or ``'all'`` for every
            other member that says ``'all'`` too.
        loss: loss of the edges that leave it.
        absent: what becomes of a sample that lacks one of its inputs: the member takes no part in
            it (``'out'``), or, as long as one is there, sees zeros in the place of the others
            (``'zeros'``); zero is the mean under the standard normalisation.
        modality_dropout: probability with which each of several inputs is taken from a sample in
            training, and zeros stand in its place; one of those that are there always stays.
        weights: what it starts from: a file of weights (safetensors, or a state dict of torch), a
            folder with one, or a finished run, whose student or member of the same name is meant;
            of ``@Stored`` a file of answers. Afterwards the run needs the file no more.
        trained: whether any stage trains it; False takes it as it is. Then it is aligned with
            nobody, also where it says ``'all'``.
        frozen: dotted paths of modules that never train: no gradient, always in eval mode. What
            comes before the first module that trains is computed once in a stage.
    """

    network: Callable[..., Any] | None = None
    inputs: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    mask: Callable[..., Any] = MaskNet
    penultimate: str = ""
    hints: tuple[str, ...] = ()
    representation: str = ""
    teaches: tuple[str, ...] | None = None
    mutual: tuple[str, ...] | str = ()
    loss: EdgeLoss = field(default_factory=KL)
    absent: Absent = "out"
    modality_dropout: float = 0.0
    weights: str = ""
    trained: bool = True
    frozen: tuple[str, ...] = ()
    scope: str = field(default_factory=gin.config.current_scope_str)

    def layers(self, role: str) -> tuple[str, ...]:
        """Return the layers that play a role, one of `mstgraph.methods.loss.ROLES`."""
        if role == HINTS:
            return self.hints
        layer = self.penultimate
        if role == REPRESENTATION and self.representation:
            layer = self.representation
        return (layer,) if layer else ()


@gin.configurable("graph", module="mstgraph")
class Declaration:
    """What a gin file binds to ``graph``, unchecked.

    Attributes:
        target: the student to deploy, or a tuple of students that share what they can.
        gate: gin reference to the gate (``@Gate``) under which the target learns from its
            teachers (DKD); None distils from all of them at once.
        alone: train each target once more without distillation, with the same network and
            budget, to compare with.
        seed: the seed of everything random.
        teachers: which of the members stay beside the targets: ``'all'``, the ``'multimodal'``
            (fused) ones, the ``'cross-modal'`` (unimodal) ones or ``'none'``. Several targets
            teach and align each other with ``'all'`` and ``'cross-modal'`` alone.
        points: where teachers are specialised: at their ``'masks'``, at the layers that play the
            role ``'penultimate'``, ``'hints'`` or ``'representation'``, or, with ``'none'``,
            nowhere.
        fresh: whether the last stage trains the student from scratch even if it has weights.
        initialisation: gin reference to the stage that gives members their first weights, or a
            tuple of stages one after the other; () takes CI. A member without mutual edges goes
            through those that train one member by itself, or through Pretrain.
        adaptation: the same for what is inserted at a mask point; () takes STA.
        distillation: the same for a student under its teachers; () takes DKD for a target under a
            gate, else Distill.
        members: every other binding, name → `Member`, or None for a member that is left out.
    """

    def __init__(
        self,
        target: str | tuple[str, ...] = (),
        gate: Callable[..., Any] | None = None,
        alone: bool = True,
        seed: int = 0,
        teachers: Teachers = "all",
        points: Points = "masks",
        fresh: bool = False,
        initialisation: Stages = (),
        adaptation: Stages = (),
        distillation: Stages = (),
        **members: Member | None,
    ):
        self.target = target
        self.gate = gate
        self.alone = alone
        self.seed = seed
        self.teachers = teachers
        self.points = points
        self.fresh = fresh
        self.initialisation = _row(initialisation)
        self.adaptation = _row(adaptation)
        self.distillation = _row(distillation)
        self.members: Mapping[str, Member | None] = members


def _row(stages: Stages) -> tuple[type[Stage], ...]:
    return tuple(stages) if isinstance(stages, (tuple, list)) else (stages,)


@dataclass(frozen=True)
class Graph:
    """A declared graph that makes sense.

    Attributes:
        members: name → member, in the paper's order: index i is the position (fused members
            first, most inputs first, then unimodal ones in the order of the store's modalities).
        targets: names of the students to deploy, in that order.
        edges: nodes are members; edges have ``kind`` "teaches" (directed) or "mutual" (stored in
            both directions).
        settings: what else the gin file binds to ``graph``.
    """

    members: Mapping[str, Member]
    targets: tuple[str, ...]
    edges: nx.MultiDiGraph
    settings: Declaration

    @property
    def seed(self) -> int:
        """The seed of everything random."""
        return self.settings.seed

    def teachers_of(self, student: str) -> tuple[str, ...]:
        """Return the members that teach a student, in the order of members."""
        sources = {u for u, _, kind in self.edges.in_edges(student, keys=True) if kind == "teaches"}
        return tuple(name for name in self.members if name in sources)

    def students(self) -> tuple[str, ...]:
        """Return the members that somebody teaches."""
        return tuple(name for name in self.members if self.teachers_of(name))

    def mutual_components(self) -> list[tuple[str, ...]]:
        """Return the connected components of the mutual edges, members in order."""
        pairs = [(u, v) for u, v, kind in self.edges.edges(keys=True) if kind == "mutual"]
        order = list(self.members)
        components = nx.connected_components(nx.Graph(pairs))
        return sorted(
            (tuple(sorted(c, key=order.index)) for c in components), key=lambda c: order.index(c[0])
        )


def declare(configuration: Configuration, modalities: Mapping[str, Modality]) -> Graph:
    """Build the graph that gin's state declares, and check it.

    Args:
        configuration: where each binding stands, for messages.
        modalities: modalities of the store, in their order.

    Raises:
        UserError: the graph makes no sense; names file and line, member and the nearest name.
    """
    declaration = Declaration()
    _check_stages(declaration, configuration)
    members = _members(declaration, configuration)
    members = _with_inputs(members, configuration, modalities)
    order = _order(members, list(modalities))
    members = {name: members[name] for name in order}
    targets = _targets(declaration, members, configuration)
    members = _with_roles(members, targets, configuration, modalities)
    staying = _staying(declaration, members, targets, configuration)
    edges = _edges(declaration, members, targets, staying, configuration)
    members = {name: members[name] for name in staying}
    members = _with_points(declaration.points, members, edges, configuration)
    graph = Graph(members, targets, edges, declaration)
    if declaration.teachers != "none":
        _check_taught(graph, configuration)
    _check_cycles(graph, configuration)
    _check_untrained(graph, configuration)
    _check_roles(graph, configuration)
    return graph


def _check_stages(declaration: Declaration, configuration: Configuration) -> None:
    """Each stage stands where it can, once."""
    for setting, (places, expected) in PLACES.items():
        stages = getattr(declaration, setting)
        place = f"{configuration.where('graph', setting)}: graph.{setting}"
        for stage in stages:
            name = getattr(stage, "__name__", stage)
            if getattr(stage, "place", "") not in places:
                raise UserError(f"{place} is '@{name}', expected {expected}")
            if [other.kind for other in stages].count(stage.kind) > 1:
                raise UserError(f"{place} has two stages of the kind '{stage.kind}', expected one")
            if stage.gated and declaration.gate is None:
                raise UserError(f"{place} is '@{name}', which needs graph.gate, such as '@Gate'")


def _members(declaration: Declaration, configuration: Configuration) -> dict[str, Member]:
    members = {name: m for name, m in declaration.members.items() if m is not None}
    _check_members(members, configuration)
    for name, member in members.items():
        if _names(member.inputs) == (TWIN,):
            members[name] = _twin(name, declaration, members, configuration)
    for name, member in members.items():
        if member.network is None:
            raise UserError(
                f"{configuration.where('graph', name)}: member '{name}' has no network; write "
                f"'{name}/Member.network = @…' with the name of a network"
            )
    return members


def _check_members(members: Mapping[str, Member], configuration: Configuration) -> None:
    for name, member in members.items():
        place = configuration.where("graph", name)
        if not isinstance(member, Member):
            settings = list(inspect.signature(Declaration).parameters)[:-1]
            close = difflib.get_close_matches(name, settings, n=1)
            setting = f"; did you mean the setting 'graph.{close[0]}'?" if close else ""
            raise UserError(f"{place}: graph.{name} must be '@{name}/Member()' or None{setting}")
        if member.scope != name:
            raise UserError(
                f"{place}: graph.{name} is bound to the scope '{member.scope}'; the scope's name "
                f"is the member's name: write '@{name}/Member()'"
            )


def _twin(
    name: str,
    declaration: Declaration,
    members: Mapping[str, Member],
    configuration: Configuration,
) -> Member:
    """Return a member as the only target is, but for what its own scope says."""
    targets = _names(declaration.target)
    if len(targets) != 1 or targets[0] not in members or targets[0] == name:
        raise UserError(
            f"{configuration.where('Member', 'inputs', name)}: member '{name}' is the twin of the "
            f"target; expected another member as graph.target, and no second one"
        )
    target = members[targets[0]]
    given = configuration.locations
    own = {v for v in SHARED if (name, "mstgraph.Member", v) in given}
    taken = {v: getattr(target, v) for v in SHARED if v not in own}
    forget_call(name, "mstgraph.Member", taken)  # read again as a file, it is no binding of its own
    scope = target.scope if "network" in taken else name
    inputs = _names(target.inputs) or targets
    return _changed(members[name], inputs=inputs, scope=scope, **taken)


def _names(value: tuple[str, ...] | str | None) -> tuple[str, ...]:
    """Return a tuple of names; gin users forget the comma of a tuple of one."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _with_inputs(
    members: Mapping[str, Member], configuration: Configuration, modalities: Mapping[str, Any]
) -> dict[str, Member]:
    complete = {}
    for name, member in members.items():
        stored = getattr(member.network, "stored", False)
        inputs = _names(member.inputs) or (name,)
        if stored and member.weights:
            if _names(member.inputs):
                raise UserError(
                    f"{configuration.where('Member', 'inputs', name)}: member '{name}' has both "
                    "inputs and a file of answers; expected one of them"
                )
            inputs = (ANSWERS + name,)
        for modality in inputs:
            if modality not in modalities and not modality.startswith(ANSWERS):
                raise UserError(
                    f"{configuration.where('Member', 'inputs', name)}: member '{name}' sees the "
                    f"modality '{modality}', which the store does not have"
                    f"{nearest(modality, modalities)}"
                )
        _refuse_repeated(_names(member.masks), name, configuration)
        _check_dropout(name, member, inputs, configuration)
        if len(set(inputs)) < len(inputs):
            raise UserError(
                f"{configuration.where('Member', 'inputs', name)}: member '{name}' lists a "
                "modality twice; each of its inputs must be another one"
            )
        complete[name] = _changed(
            member,
            inputs=inputs,
            masks=_names(member.masks),
            hints=_names(member.hints),
            trained=member.trained and not stored,
            frozen=_names(member.frozen),
        )
    return complete


def _check_dropout(
    name: str, member: Member, inputs: Sequence[str], configuration: Configuration
) -> None:
    """How often an input is taken away in training must make sense."""
    share = member.modality_dropout
    place = f"{configuration.where('Member', 'modality_dropout', name)}: member '{name}'"
    if not 0 <= share < 1:
        raise UserError(f"{place} has modality_dropout = {share}, expected 0 to less than 1")
    if share and len(inputs) < 2:
        raise UserError(
            f"{place} has modality_dropout = {share} and one input, expected it of a member of "
            "several inputs, as one always stays"
        )


def _refuse_repeated(points: Sequence[str], name: str, configuration: Configuration) -> None:
    """Each mask point of a member is one teacher (Eq. 7): the same one twice would be two."""
    for point in points:
        if points.count(point) > 1:
            raise UserError(
                f"{configuration.where('Member', 'masks', name)}: member '{name}' lists the mask "
                f"point '{point}' {points.count(point)} times; each is a teacher, expected it once"
            )


def _changed(member: Member, **changes: Any) -> Member:
    """Return a changed member, made in its scope: gin looks bindings up even if all are given."""
    with gin.config_scope(member.scope or None):
        return replace(member, **changes)


def _order(members: Mapping[str, Member], modalities: list[str]) -> list[str]:
    """Fused members first, most inputs first; then unimodal ones as the store has them; by name."""

    def key(name: str) -> tuple[int, int, str]:
        inputs = members[name].inputs
        unimodal = len(inputs) == 1 and not inputs[0].startswith(ANSWERS)
        return (-len(inputs), modalities.index(inputs[0]) if unimodal else 0, name)

    return sorted(members, key=key)


def _targets(
    declaration: Declaration, members: Mapping[str, Member], configuration: Configuration
) -> tuple[str, ...]:
    place = configuration.where("graph", "target")
    wanted = _names(declaration.target)
    if not wanted:
        raise UserError(f"{place}: graph.target is missing; name the student{nearest('', members)}")
    for name in wanted:
        if name not in members:
            raise UserError(
                f"{place}: the target '{name}' is no member of the graph{nearest(name, members)}"
            )
    return tuple(name for name in members if name in wanted)


def _with_roles(
    members: Mapping[str, Member],
    targets: tuple[str, ...],
    configuration: Configuration,
    modalities: Mapping[str, Modality],
) -> dict[str, Member]:
    """Return the members with the roles that their networks propose, where nothing names a layer.

    Who sees what a target sees, as targets that teach each other and twins do, is proposed no mask
    points: it teaches as it is.
    """
    seen = [members[target].inputs for target in targets]
    complete = dict(members)
    for name, member in members.items():
        wanted = ("penultimate", "hints") if member.inputs in seen else PROPOSED
        lacking = [
            role
            for role in wanted
            if not getattr(member, role)
            and configuration.exactly_where("Member", role, name) is None
        ]
        if not lacking or member.inputs[0].startswith(ANSWERS):
            continue
        shapes = shapes_of(modalities, member.inputs)
        roles = network_roles(member.network, member.scope, shapes, configuration)
        found: dict[str, Any] = {role: roles[role] for role in lacking if role in roles}
        if "penultimate" in found:
            (found["penultimate"],) = found["penultimate"]
        forget_call(name, "mstgraph.Member", found)  # what is proposed is no binding
        complete[name] = _changed(member, **found) if found else member
    return complete


def _staying(
    declaration: Declaration,
    members: Mapping[str, Member],
    targets: tuple[str, ...],
    configuration: Configuration,
) -> list[str]:
    """Return the targets and the members that ``graph.teachers`` lets stay, in order."""
    seen = {modality for target in targets for modality in members[target].inputs}
    kinds = {
        "all": set(members),
        "multimodal": {name for name, member in members.items() if len(member.inputs) > 1},
        "cross-modal": {
            name for name, m in members.items() if len(m.inputs) == 1 and m.inputs[0] not in seen
        },
        "none": set(targets),
    }
    place = configuration.where("graph", "teachers")
    if declaration.teachers not in kinds:
        given = declaration.teachers
        raise UserError(f"{place}: graph.teachers is '{given}'{nearest(given, kinds)}")
    staying = kinds[declaration.teachers] | set(targets)
    # Two cross-modal targets teach each other.
    alone = len(targets) == 1 or declaration.teachers == "multimodal"
    if declaration.teachers in ("multimodal", "cross-modal") and alone and staying == set(targets):
        raise UserError(
            f"{place}: graph.teachers = '{declaration.teachers}' leaves no teacher of these "
            f"members: {', '.join(members)}; expected one that some member fits"
        )
    return [name for name in members if name in staying]


def _edges(
    declaration: Declaration,
    members: Mapping[str, Member],
    targets: tuple[str, ...],
    staying: Sequence[str],
    configuration: Configuration,
) -> nx.MultiDiGraph:
    """Return the edges among the members that stay; names of the others make sense, too."""
    edges = nx.MultiDiGraph()
    edges.add_nodes_from(members)
    if declaration.teachers != "none":
        _add_teaches(edges, members, targets, configuration)
        _add_mutual(edges, members, configuration)
    edges.remove_nodes_from([name for name in members if name not in staying])
    if declaration.teachers == "multimodal":
        # Another target stays for its own sake; it is no multimodal teacher.
        edges.remove_edges_from(
            [edge for edge in edges.edges(keys=True) if {*edge[:2]} <= set(targets)]
        )
    return edges


def _with_points(
    points: Points,
    members: Mapping[str, Member],
    edges: nx.MultiDiGraph,
    configuration: Configuration,
) -> dict[str, Member]:
    """Return the members with the mask points that ``graph.points`` asks for."""
    place = configuration.where("graph", "points")
    if points not in get_args(Points):
        raise UserError(f"{place}: graph.points is '{points}'{nearest(points, get_args(Points))}")
    if points == "masks":
        return dict(members)
    result = {}
    for name, member in members.items():
        teaches = any(kind == "teaches" for _, _, kind in edges.out_edges(name, keys=True))
        layers = member.layers(points) if teaches and points != "none" else ()
        if teaches and points != "none" and not layers:
            raise UserError(f"{place}: {_without_role(name, points)}, as graph.points asks for")
        result[name] = _changed(member, masks=tuple(dict.fromkeys(layers)))
    return result


def _without_role(name: str, role: str) -> str:
    value = "('layer', …)" if role == HINTS else "'layer'"
    return (
        f"member '{name}' names no layer for the role '{role}'; write '{name}/Member.{role} = "
        f"{value}'"
    )


def _check_roles(graph: Graph, configuration: Configuration) -> None:
    """Both ends of an edge, and a student under a gate, name the layers that are read of them."""
    for student in graph.students():
        for teacher in graph.teachers_of(student):
            loss = graph.members[teacher].loss
            reader = f"the loss {type(loss).__name__} of member '{teacher}'"
            place = configuration.where("Member", "loss", teacher)
            _check_layers(graph, teacher, loss.roles(False), reader, place, configuration)
            _check_layers(graph, student, loss.roles(True), reader, place, configuration)
        gate = graph.settings.gate
        if gate is not None and student in graph.targets:
            place = configuration.where("graph", "gate")
            reader = f"the gate {gate.__name__}"
            _check_layers(graph, student, layers_read(gate), reader, place, configuration)


def _check_layers(
    graph: Graph,
    name: str,
    roles: Sequence[str],
    reader: str,
    place: str,
    configuration: Configuration,
) -> None:
    for role in roles:
        if role not in ROLES:
            raise UserError(f"{place}: {reader} reads the role '{role}'{nearest(role, ROLES)}")
        if not graph.members[name].layers(role):
            where = configuration.where("Member", role, name)
            raise UserError(f"{where}: {_without_role(name, role)}, which {reader} reads")


def _add_teaches(
    edges: nx.MultiDiGraph,
    members: Mapping[str, Member],
    targets: tuple[str, ...],
    configuration: Configuration,
) -> None:
    for name, member in members.items():
        place = configuration.where("Member", "teaches", name)
        default = tuple(target for target in targets if target != name)
        for student in default if member.teaches is None else _names(member.teaches):
            if student == name:
                raise UserError(f"{place}: member '{name}' teaches itself; name another member")
            _check_member(student, name, "teaches", members, place)
            edges.add_edge(name, student, key="teaches")


def _add_mutual(
    edges: nx.MultiDiGraph, members: Mapping[str, Member], configuration: Configuration
) -> None:
    everybody = [n for n, member in members.items() if member.mutual == ALL and member.trained]
    for name, member in members.items():
        place = configuration.where("Member", "mutual", name)
        partners = everybody if member.mutual == ALL else _names(member.mutual)
        for partner in partners if member.trained or member.mutual != ALL else ():
            _check_member(partner, name, "is aligned with", members, place)
            if still := [n for n in (name, partner) if not members[n].trained]:
                raise UserError(
                    f"{place}: member '{name}' is aligned with '{partner}', but '{still[0]}' is "
                    "not trained, and to be aligned is to learn; let it teach alone"
                )
            if partner != name:
                edges.add_edge(name, partner, key="mutual")
                edges.add_edge(partner, name, key="mutual")
            elif member.mutual != ALL:
                raise UserError(f"{place}: member '{name}' is aligned with itself; name another")


def _check_member(
    name: str, owner: str, verb: str, members: Mapping[str, Member], place: str
) -> None:
    if name not in members:
        raise UserError(
            f"{place}: member '{owner}' {verb} '{name}', which is no member of the graph"
            f"{nearest(name, members)}"
        )


def _check_taught(graph: Graph, configuration: Configuration) -> None:
    for target in graph.targets:
        if graph.edges.in_degree(target) == 0:
            raise UserError(
                f"{configuration.where('graph', 'target')}: nobody teaches the target '{target}'; "
                "add a member, or let one's 'teaches' or 'mutual' name it"
            )
    for name in graph.members:
        if name not in graph.targets and graph.edges.degree(name) == 0:
            raise UserError(
                f"{configuration.where('graph', name)}: member '{name}' teaches nobody and is "
                f"aligned with nobody; drop it with 'graph.{name} = None'"
            )


def _check_untrained(graph: Graph, configuration: Configuration) -> None:
    """Who is taken as it is only teaches."""
    for name, member in graph.members.items():
        if member.trained:
            continue
        place = f"{configuration.where('Member', 'trained', name)}: member '{name}' is not trained"
        if name in graph.targets:
            raise UserError(f"{place}, but it is the target, which learns; name another member")
        if teachers := graph.teachers_of(name):
            raise UserError(f"{place}, but '{teachers[0]}' teaches it; let it teach alone")
        if member.loss.trains_teacher:
            raise UserError(
                f"{place}, but its loss {type(member.loss).__name__} goes on training the teacher; "
                "expected another loss, such as KL"
            )


def _check_cycles(graph: Graph, configuration: Configuration) -> None:
    """One-way edges must not go in a circle.

    Targets may teach each other: each teaches with the weights it had before its own distillation
    (Algorithm 1), so no target waits for another.
    """
    one_way = nx.DiGraph(
        (u, v)
        for u, v, kind in graph.edges.edges(keys=True)
        if kind == "teaches" and not (u in graph.targets and v in graph.targets)
    )
    try:
        cycle = nx.find_cycle(one_way)
    except nx.NetworkXNoCycle:
        return
    path = [cycle[0][0], *(v for _, v in cycle)]
    place = configuration.where("Member", "teaches", path[0])
    raise UserError(
        f"{place}: the one-way edges go in a circle: {' → '.join(path)}; drop one of them or make "
        "it mutual"
    )
