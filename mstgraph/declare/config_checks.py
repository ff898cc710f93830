"""What gin would take without a word, refused with the place where it stands."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

import networkx as nx

from mstgraph.declare.binding_types import type_problem
from mstgraph.declare.configuration import GRAPH, Configuration
from mstgraph.declare.gin_state import (
    bindings,
    bound_value,
    is_member,
    read_so_far,
    registered,
    short_selector,
)
from mstgraph.support.errors import UserError, nearest


def _settings() -> tuple[str, ...]:
    """Return the names that a gin file binds to ``graph`` and that are no members."""
    parameters = inspect.signature(registered(GRAPH)).parameters.values()
    return tuple(p.name for p in parameters if p.kind is not p.VAR_KEYWORD)


def refuse_macros_without_value_or_use(configuration: Configuration) -> None:
    """Refuse a macro that is used but never set, and one that is set but never used."""
    macros, uses = configuration.macros, configuration.macro_uses
    for name, place in uses.items():
        if name not in macros:
            raise UserError(f"{place}: '%{name}' has no value{nearest(name, macros)}")
    for name, place in macros.items():
        if name not in uses:
            raise UserError(
                f"{place}: nothing uses '%{name}', which '{name} = …' sets; a setting is written "
                "'Name.parameter = value'"
            )


def refuse_macros_without_end(configuration: Configuration) -> None:
    """Refuse macros that stand for each other in a circle, or in a row that gin cannot follow."""
    uses = nx.DiGraph((name, used) for name, of in configuration.macros_of.items() for used in of)
    with suppress(nx.NetworkXNoCycle):
        circle = nx.find_cycle(uses)
        names = " → ".join(f"%{name}" for name in (circle[0][0], *(to for _, to in circle)))
        raise UserError(
            f"{configuration.macros[circle[0][0]]}: macros stand for each other in a circle: "
            f"{names}; expected one of them to have a value"
        )
    row = nx.dag_longest_path(uses) if uses else []
    if len(row) > LONGEST_ROW:
        raise UserError(
            f"{configuration.macros[row[0]]}: '%{row[0]}' stands for another macro, and so on "
            f"{len(row)} times; expected at most {LONGEST_ROW}"
        )


LONGEST_ROW = 100  # of macros that stand for each other


@contextmanager
def nothing_calls_itself() -> Iterator[None]:
    """Refuse references that call each other without end, as ``KL.temperature = @KL()`` does."""
    try:
        yield
    except RecursionError as error:
        raise UserError(
            "the gin files' references call each other without end; expected that no '@Name()' "
            "comes back to where it is called"
        ) from error


def refuse_members_named_as_settings(configuration: Configuration) -> None:
    """Refuse ``graph.gate = @gate/Member()``: it would be the gate, and no member."""
    for name in _settings():
        place = configuration.locations.get(("", GRAPH, name))
        if place is not None and is_member(bound_value("", GRAPH, name)):
            raise UserError(
                f"{place}: 'graph.{name}' is a setting, so that no member can have this name; "
                f"expected another one, such as '{name}_', with "
                f"{name}_/Member.inputs = ('{name}',)"
            )


def refuse_values_of_another_type(configuration: Configuration) -> None:
    """Refuse a value that is not of the type its parameter is declared with."""
    for (scope, selector, parameter), place in configuration.locations.items():
        value = bound_value(scope, selector, parameter)
        problem = type_problem(registered(selector), parameter, value)
        if problem is not None:
            raise UserError(f"{place}: {_written(scope, selector)}.{parameter} {problem}")


def _written(scope: str, selector: str) -> str:
    """Return a configurable as a gin file names it."""
    short = short_selector(selector)
    return f"{scope}/{short}" if scope else short


def refuse_scopes_that_nobody_enters(configuration: Configuration) -> None:
    """Refuse a binding whose scope is no member: gin would ignore it without a word."""
    config = bindings()
    settings = _settings()
    members = [name for name in config.get(("", GRAPH), {}) if name not in settings]
    for (scope, selector), parameters in config.items():
        if selector in ("gin.macro", "gin.constant"):
            continue
        for part in filter(None, scope.split("/")):
            if part in members:
                continue
            parameter = next(iter(parameters))
            place = configuration.locations.get((scope, selector, parameter), "gin configuration")
            raise UserError(
                f"{place}: nobody enters the scope '{part}' of "
                f"'{_written(scope, selector)}.{parameter}'; a scope is the name of a member"
                f"{nearest(part, members)}"
            )


def refuse_unused_scoped_bindings(configuration: Configuration, members: Collection[str]) -> None:
    """Refuse a binding in a member's scope that nothing read while the plan was built.

    ``depth/DKD.epochs`` does nothing where depth is no student. Members that are left out may
    keep their bindings.

    Args:
        configuration: where each binding stands.
        members: the graph's members.
    """
    config = bindings()
    declared = set(config.get(("", GRAPH), {})) - set(_settings())
    dropped = declared - set(members)
    used = {(tuple(scope.split("/")), selector) for scope, selector in read_so_far()}
    for (scope, selector, parameter), place in configuration.locations.items():
        parts = tuple(scope.split("/"))
        if not scope or dropped.intersection(parts):
            continue
        if not any(s == selector and entered[: len(parts)] == parts for entered, s in used):
            raise UserError(
                f"{place}: nothing in this graph reads '{_written(scope, selector)}.{parameter}'; "
                f"expected a setting of the member '{scope}' or of a stage that is its own"
            )


def unread_on_command_line(configuration: Configuration) -> Iterator[str]:
    """Yield a sentence for each unscoped binding of the command line that nothing has read.

    Files hold settings of stages that not every graph has; who writes ``-p DKD.k=2`` wants one.
    """
    with configuration.entered():
        used = {selector for _, selector in read_so_far()}
        unread = [
            f"{place}: nothing in this graph reads {short_selector(selector)}.{parameter}"
            for (scope, selector, parameter), place in configuration.locations.items()
            if not scope and selector not in used and configuration.from_command_line(place)
        ]
    yield from unread
