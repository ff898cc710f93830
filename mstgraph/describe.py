"""Configured values as plain data, for hashing and printing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import fields, is_dataclass
from typing import Any

import gin


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
        return {"name": _name(value), **_operative_parameters(value)}
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


def _reference(reference: Any) -> Any:
    """A macro is its value; a reference with a scope of its own leaves the current one."""
    if reference.configurable.wrapped is gin.config.macro:
        return describe(gin.query_parameter(f"{'/'.join(reference.scopes)}/gin.macro.value"))
    scope = gin.config_scope(reference.scopes) if reference.scopes else nullcontext()
    with scope:
        return describe(reference.configurable.wrapper)


def _name(value: Callable[..., Any]) -> str:
    return f"{value.__module__}.{getattr(value, '__qualname__', type(value).__name__)}"


def _operative_parameters(value: Callable[..., Any]) -> dict[str, Any]:
    parameters = {
        name: describe(p.default)
        for name, p in inspect.signature(value).parameters.items()
        if p.default is not p.empty
    }
    try:
        bound = gin.get_bindings(value, resolve_references=False)
    except ValueError:  # not a configurable: its defaults are all there is
        bound = {}
    return {**parameters, **{name: describe(item) for name, item in bound.items()}}
