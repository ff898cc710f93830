"""Gin's private state, touched here and nowhere else (gin-config 0.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gin

Calls = dict[tuple[str, str], dict[str, Any]]


def bindings() -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """Return (scope, full selector) → parameter → value of everything that is bound."""
    return gin.config._CONFIG


def read_so_far() -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """Return (scope, full selector) → parameter → value of everything that a call has read."""
    return gin.config._OPERATIVE_CONFIG


def is_macro(wrapped: Any) -> bool:
    """Say whether a configurable stands for a value: a macro, or a constant."""
    return wrapped in (gin.config.macro, gin.config._retrieve_constant)


def configurable(selector: str) -> Callable[..., Any] | None:
    """Return the class or function behind a selector, or None if there is none.

    Raises:
        KeyError: the selector is ambiguous; gin's own words say what it could be.
    """
    entry = gin.config._REGISTRY.get_match(selector)
    return entry.wrapped if entry else None


def registered(selector: str) -> Callable[..., Any]:
    """Return the class or function behind a full selector."""
    return gin.config._REGISTRY[selector].wrapped


def full_selector(selector: str | Callable[..., Any]) -> str:
    """Return the full selector of a configurable, or of one that a selector names."""
    if callable(selector):
        entry = gin.config._inverse_lookup(selector)
        return entry.selector if entry else selector.__name__
    entry = gin.config._REGISTRY.get_match(selector)
    return entry.selector if entry else selector


def short_selector(selector: str) -> str:
    """Return the shortest name by which a gin file can name a configurable."""
    return gin.config._REGISTRY.minimal_selector(selector)


def configurables() -> dict[str, Callable[..., Any]]:
    """Return the short names of everything that gin files may name, gin's own left out."""
    registry = gin.config._REGISTRY
    return {
        registry.minimal_selector(selector): entry.wrapped
        for selector, entry in registry.items()
        if not selector.startswith("gin.")
    }


@contextmanager
def recorded_calls() -> Iterator[Calls]:
    """Collect the configurables that are called while the context is open.

    Yields:
        (scope, full selector) → parameters, as gin gave them or by default; filled in at the end.
        Gin's operative configuration is afterwards as if nobody had looked.
    """
    operative = gin.config._OPERATIVE_CONFIG
    before = {key: dict(values) for key, values in operative.items()}
    operative.clear()
    calls: Calls = {}
    try:
        yield calls
    finally:
        for key, values in operative.items():
            if not key[1].startswith("gin."):  # macros, which count by their value
                calls[key] = dict(values)
        for key, values in before.items():
            operative[key] = {**values, **operative.get(key, {})}
