"""Whether a bound value is of the type that its parameter is declared with."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import gin

from mstgraph.declare.gin_state import bindings, is_macro
from mstgraph.support.errors import nearest

_WORDS: Mapping[Any, tuple[str, str]] = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    bool: ("True or False", "True or False"),
    str: ("a string in quotes", "strings"),
    type(None): ("None", "None"),
}


def type_problem(wrapped: Callable[..., Any], parameter: str, value: Any) -> str | None:
    """Return what is wrong with a bound value and what was expected, or None.

    Says nothing of a parameter without a type, or with one that cannot be looked up.

    Args:
        wrapped: the configurable.
        parameter: one of its parameters.
        value: what gin's parser made of the text: a literal, or a reference.
    """
    kind = _types(wrapped).get(parameter, Any)
    if is_reference(value) and kind is not Any:
        wrong = _reference_problem(value)
        if wrong is not None:
            return wrong
    if _fits(value, kind):
        return None
    literals = [item for item in _alternatives(kind) if isinstance(item, str)]
    near = nearest(value, literals) if literals and isinstance(value, str) else ""
    return f"is {value!r}, expected {_expected(kind)}{near.split(' (')[0]}"


def is_reference(value: Any) -> bool:
    """Say whether a bound value is ``@Name``, ``@Name()`` or ``%NAME``."""
    return isinstance(value, gin.config.ConfigurableReference)


@functools.lru_cache(maxsize=1000)  # asked for every binding of every cell of a benchmark
def _types(wrapped: Callable[..., Any]) -> dict[str, Any]:
    source: Any = wrapped
    if isinstance(wrapped, type) and not is_dataclass(wrapped):
        source = inspect.unwrap(vars(wrapped).get("__init__", wrapped))
    try:
        return get_type_hints(source)
    except (NameError, TypeError, AttributeError):  # names that are imported for checkers alone
        return {}


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union and the values of its literals."""
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(item for part in get_args(kind) for item in _alternatives(part))
    return get_args(kind) if get_origin(kind) is Literal else (kind,)


def _reference_problem(reference: Any) -> str | None:
    """Refuse parentheses after something that cannot be called yet, and scopes that gin forgets."""
    name = reference.selector
    if not reference.evaluate:
        if reference.scopes:
            return f"is {reference!r}, expected '@{name}': it is called in the member's own scope"
        return None
    wrapped = reference.configurable.wrapped
    if is_macro(wrapped):
        return None
    bound = {
        parameter
        for (_, selector), given in bindings().items()
        if selector == reference.configurable.selector
        for parameter in given
    }
    lacking = [
        p.name
        for p in inspect.signature(wrapped).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if set(lacking) - bound:
        return f"is {reference!r}, expected '@{name}' without parentheses"
    return None


def _fits(value: Any, kind: Any) -> bool:
    return any(_fits_one(value, item) for item in _alternatives(kind))


def _fits_one(value: Any, kind: Any) -> bool:
    if kind is Any:
        return True
    if is_reference(value):
        return _reference_fits(value, kind)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    origin = get_origin(kind) or kind
    if origin in (tuple, list, Sequence):
        if isinstance(value, str):  # the forgotten comma of a tuple of one
            return get_args(kind) == (str, ...)
        return isinstance(value, (tuple, list)) and _items_fit(value, kind)
    if origin is Callable or not isinstance(origin, type):
        # What is no type is a value of a literal.
        return origin is not Callable and type(value) is type(kind) and value == kind
    return isinstance(value, origin)


def _items_fit(value: Sequence[Any], kind: Any) -> bool:
    kinds = get_args(kind)
    if get_origin(kind) is tuple and kinds[-1:] != (Ellipsis,):
        if len(kinds) != len(value):
            return False
        return all(_fits(item, part) for item, part in zip(value, kinds, strict=True))
    return not kinds or all(_fits(item, kinds[0]) for item in value)


def _reference_fits(reference: Any, kind: Any) -> bool:
    wrapped = reference.configurable.wrapped
    if is_macro(wrapped):
        return True
    origin = get_origin(kind) or kind
    if not reference.evaluate:
        return origin in (Callable, type)
    if not isinstance(wrapped, type):
        return True  # nobody knows what a function returns
    return isinstance(origin, type) and issubclass(wrapped, origin) and origin is not Callable


def _expected(kind: Any) -> str:
    words = list(dict.fromkeys(_word(item) for item in _alternatives(kind)))
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _word(kind: Any) -> str:
    if kind in _WORDS:
        return _WORDS[kind][0]
    origin = get_origin(kind) or kind
    if origin is Callable or origin is type:
        return "a reference without parentheses, '@Name'"
    if origin in (tuple, list, Sequence):
        return _tuple_words(get_args(kind))
    if not isinstance(origin, type):
        return repr(kind)
    if issubclass(origin, Mapping):
        return "a dict"
    article = "an" if origin.__name__[0] in "AEIOU" else "a"
    return f"{article} {origin.__name__}, written '@Name()'"


def _tuple_words(kinds: tuple[Any, ...]) -> str:
    if not kinds:
        return "a tuple"
    if kinds[-1] is Ellipsis or len(kinds) == 1:
        if isinstance(kinds[0], type) and kinds[0] not in _WORDS:
            return f"a tuple, each of it {_word(kinds[0])}"
        many = _WORDS.get(kinds[0], ("", "values"))[1]
        return f"a tuple of {many}"
    return f"a tuple of {len(kinds)}: {', '.join(_word(item) for item in kinds)}"
