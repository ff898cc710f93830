"""What gin would take without a word, refused with the place where it stands."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator
from typing import Any

from mstgraph.declare.binding_types import type_problem
from mstgraph.declare.configuration import GRAPH, Configuration
from mstgraph.declare.gin_state import (
    bindings,
    bound_value,
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


def refuse_values_of_another_type(configuration: Configuration) -> None:
    """Refuse a value that is not of the type its parameter is declared with."""
    for (scope, selector, parameter), place in configuration.locations.items():
        value = bound_value(scope, selector, parameter)
        problem = type_problem(registered(selector), parameter, value)
        if problem is not None:
            other = _otherwise_named(selector, parameter, value)
            raise UserError(f"{place}: {_written(scope, selector)}.{parameter} {problem}{other}")


def _otherwise_named(selector: str, parameter: str, value: Any) -> str:
    """Say how a member is declared whose modality has the name of one of the graph's settings."""
    if selector != GRAPH or getattr(value, "selector", "").rpartition(".")[2] != "Member":
        return ""
    return (
        f"; '{parameter}' is a setting of the graph, so that the member of a modality of this name "
        f"needs another: graph.own = @own/Member() and own/Member.inputs = ('{parameter}',)"
    )


def _written(scope: str, selector: str) -> str:
    """Return a configurable as a gin file names it."""
    short = short_selector(selector)
    return f"{scope}/{short}" if scope else short


def refuse_scopes_that_nobody_enters(configuration: Configuration) -> None:
    """Refuse a binding whose scope is no member: gin would ignore it without a word."""
    config = bindings()
    members = [name for name in config.get(("", GRAPH), {}) if name not in _settings()]
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
