"""Gin's private state, touched here and nowhere else (gin-config 0.5).

Gin has one state per process. What is loaded here gets one of its own, which takes the place of
gin's while it is entered: a program that uses gin itself, or has locked it, finds gin as it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import gin
from gin.selector_map import SelectorMap

Calls = dict[tuple[str, str], dict[str, Any]]

PACKAGE = "mstgraph."  # selectors of what mstgraph itself registers begin with it

# Gin has one state at a time: a thread waits until another one has left the state it entered.
_lock = threading.RLock()


class Guest(Protocol):
    """What comes and goes with a state, such as the user's modules that register in it."""

    def put_in(self) -> None:
        """Called when the state has taken gin's place."""

    def take_out(self) -> None:
        """Called before it gives way."""


class GinState:
    """All that gin remembers between two calls: bindings, registry, scopes, whether it is locked.

    Args:
        registry: what gin files may name from the start: full selector → gin's entry.
        guest: comes and goes with it.
    """

    def __init__(self, registry: Mapping[str, Any], guest: Guest | None = None):
        self._guest = guest
        entries, constants = SelectorMap(), SelectorMap()
        for selector, entry in registry.items():
            entries[selector] = entry
        constants["gin.REQUIRED"] = gin.REQUIRED
        self._values: dict[str, Any] = {
            "_REGISTRY": entries,
            "_INVERSE_REGISTRY": {entry.wrapped: entry for entry in registry.values()},
            "_RENAMED_SELECTORS": {},
            "_CONFIG": {},
            "_IMPORTS": set(),
            "_OPERATIVE_CONFIG": {},
            "_SCOPE_MANAGER": gin.config._ScopeManager(),
            "_FINALIZE_HOOKS": [],
            "_CONFIG_IS_LOCKED": False,
            "_INTERACTIVE_MODE": False,
            "_CONSTANTS": constants,
            "_PARSE_CONTEXTS": [gin.config.ParseContext()],
            "_SINGLETONS": {},
            "_LOCATION_PREFIXES": [""],
        }

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Put this state in the place of gin's, and what was there back on leaving."""
        global _current
        with _lock:
            before = _current
            before._give_way_to(self)
            _current = self
            try:
                yield
            finally:
                self._give_way_to(before)
                _current = before

    def _give_way_to(self, other: GinState) -> None:
        if other is not self:
            if self._guest is not None:
                self._guest.take_out()
            self._values = {name: getattr(gin.config, name) for name in other._values}
            for name, value in other._values.items():
                setattr(gin.config, name, value)
            if other._guest is not None:
                other._guest.put_in()


def _entries() -> dict[str, Any]:
    return dict(gin.config._REGISTRY.items())


_current = GinState({})  # gin's own, that of whoever uses it beside mstgraph

# Where mstgraph's modules register, whoever imports them first, and however locked gin is then.
_own = GinState({name: entry for name, entry in _entries().items() if name.startswith("gin.")})


@contextmanager
def registering() -> Iterator[None]:
    """Let modules of mstgraph that are imported meanwhile register in a state of their own."""
    with _own.entered():
        yield


def fresh_state(guest: Guest) -> GinState:
    """Return a state without bindings that knows gin's own configurables and mstgraph's."""
    with _lock:
        # Whoever imports a module of mstgraph directly registers it in gin's state of the moment.
        beside = {n: entry for n, entry in _entries().items() if n.startswith(PACKAGE)}
        with registering():
            return GinState({**beside, **_entries()}, guest)


def bindings() -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """Return (scope, full selector) → parameter → value of everything that is bound."""
    return gin.config._CONFIG


def read_so_far() -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """Return (scope, full selector) → parameter → value of everything that a call has read."""
    return gin.config._OPERATIVE_CONFIG


def is_macro(wrapped: Any) -> bool:
    """Say whether a configurable stands for a value: a macro, or a constant."""
    return wrapped in (gin.config.macro, gin.config._retrieve_constant)


def is_member(value: Any) -> bool:
    """Say whether a bound value declares a member, ``@name/Member()``."""
    reference = isinstance(value, gin.config.ConfigurableReference)
    return reference and value.configurable.selector == f"{PACKAGE}Member"


def bound_value(scope: str, selector: str, parameter: str) -> Any:
    """Return what a parameter is bound to; a macro is followed to its value."""
    value = gin.config._CONFIG[scope, selector][parameter]
    seen: set[str] = set()
    while isinstance(value, gin.config.ConfigurableReference) and value.scoped_selector not in seen:
        if value.configurable.wrapped is not gin.config.macro:
            break
        seen.add(value.scoped_selector)
        value = gin.config._CONFIG["/".join(value.scopes), "gin.macro"]["value"]
    return value


def find_configurable(selector: str) -> tuple[str, Callable[..., Any]] | None:
    """Return the full selector that one stands for and what is behind it; None if nothing is.

    Raises:
        KeyError: the selector is ambiguous; gin's own words say what it could be.
    """
    entry = gin.config._REGISTRY.get_match(selector)
    return (entry.selector, entry.wrapped) if entry else None


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
    before = dict(operative)
    operative.clear()
    calls: Calls = {}
    try:
        yield calls
    finally:
        for key, values in operative.items():
            if not key[1].startswith("gin."):  # macros, which count by their value
                calls[key] = dict(values)
        for key, values in before.items():
            operative[key] = {**values, **operative[key]} if key in operative else values


def forget_call(scope: str, selector: str, parameters: Collection[str]) -> None:
    """Leave parameters out of what is written as operative, for what was called but not heeded."""
    called = gin.config._OPERATIVE_CONFIG.get((scope, selector), {})
    for parameter in parameters:
        called.pop(parameter, None)
