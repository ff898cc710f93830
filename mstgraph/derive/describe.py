"""Configured values as plain data, for hashing and printing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import gin

from mstgraph.declare.gin_state import is_macro


def describe(value: Any) -> Any:
    """Return plain data that says how a configured value was made.

    Covers dataclasses, uncalled gin references (their bindings in the current scope and the
    defaults of their signature), macros, containers and literals.
    """
    if is_dataclass(value) and not isinstance(value, type):
        described = {f.name: describe(getattr(value, f.name)) for f in fields(value)}
        return {"name": type(value).__name__, **described}
    if isinstance(value, gin.config.ConfigurableReference):
        return _reference(value)
    if callable(value):
        name = getattr(value, "__qualname__", type(value).__name__)
        return {"name": f"{value.__module__}.{name}", **_operative_parameters(value)}
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


def callables(value: Any) -> list[Callable[..., Any]]:
    """Return whatever can run in a configured value: classes, functions, also inside of others."""
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value), *callables([getattr(value, item.name) for item in fields(value)])]
    if isinstance(value, gin.config.ConfigurableReference):
        with _scope_of(value):
            return callables(_referred(value))
    if callable(value):
        return [value, *callables(_bound(value))]
    items = value.values() if isinstance(value, Mapping) else value
    nested = isinstance(value, (Mapping, list, tuple))
    return [found for item in items for found in callables(item)] if nested else []


def _reference(reference: Any) -> Any:
    """A macro is its value; a reference with a scope of its own leaves the current one."""
    with _scope_of(reference):
        return describe(_referred(reference))


def _referred(reference: Any) -> Any:
    if is_macro(reference.configurable.wrapped):
        return gin.query_parameter(f"{'/'.join(reference.scopes)}/gin.macro.value")
    return reference.configurable.wrapper


def _scope_of(reference: Any) -> AbstractContextManager[Any]:
    own = reference.scopes and not is_macro(reference.configurable.wrapped)
    return gin.config_scope(reference.scopes) if own else nullcontext()


def _operative_parameters(value: Callable[..., Any]) -> dict[str, Any]:
    parameters = {
        name: describe(p.default)
        for name, p in inspect.signature(value).parameters.items()
        if p.default is not p.empty
    }
    return {**parameters, **{name: describe(item) for name, item in _bound(value).items()}}


def _bound(value: Callable[..., Any]) -> dict[str, Any]:
    try:
        return dict(gin.get_bindings(value, resolve_references=False))
    except ValueError:  # not a configurable: its defaults are all there is
        return {}
