"""The form of what is read from disk, as type annotations, checked in one place.

A form is built of ``str``, ``int``, ``float``, ``bool``, ``None``, ``Any``, ``list[…]``,
``dict[str, …]``, unions and `typing.TypedDict`: keys of one that is not total may be missing, keys
that a form does not name may be there.
"""

from __future__ import annotations

import types
from functools import lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    types.NoneType: "null",
}
_SHOWN = 40  # characters of a value in a message


class FormError(ValueError):
    """A value is of another form; the message names the place and what was expected."""


def check_form(value: Any, form: Any, place: str = "") -> None:
    """Check that plain data is of a form.

    Args:
        value: as a JSON reader returns it.
        form: a type annotation, see above.
        place: where the value stands, for the message.

    Raises:
        FormError: it is of another form.
    """
    if form is Any:
        return
    origin = get_origin(form)
    if origin in (Union, types.UnionType):
        _check_union(value, get_args(form), place)
    elif is_typeddict(form):
        _check_keys(value, form, place)
    elif origin is dict or form is dict:
        _check_type(value, dict, place)
        for key, item in value.items() if origin else ():
            check_form(item, get_args(form)[1], _at(place, key))
    elif origin is list or form is list:
        _check_type(value, list, place)
        for index, item in enumerate(value if origin else ()):
            check_form(item, get_args(form)[0], f"{place}[{index}]")
    else:
        _check_type(value, form, place)


def _check_union(value: Any, choices: tuple[Any, ...], place: str) -> None:
    """The choices are told apart by their outermost type: the first that fits must hold."""
    for form in choices:
        if _is(value, _outermost(form)):
            check_form(value, form, place)
            return
    words = " or ".join(_WORDS[_outermost(form)] for form in choices)
    raise FormError(f"{place or 'it'} is {_shown(value)}, expected {words}")


def _check_keys(value: Any, form: Any, place: str) -> None:
    _check_type(value, dict, place)
    for key, kind in _hints(form).items():
        if key in value:
            check_form(value[key], kind, _at(place, key))
        elif key in form.__required_keys__:
            raise FormError(f"{_at(place, key)} is missing")


@lru_cache
def _hints(form: Any) -> dict[str, Any]:
    return get_type_hints(form)


def _outermost(form: Any) -> Any:
    return dict if is_typeddict(form) else get_origin(form) or form


def _check_type(value: Any, kind: Any, place: str) -> None:
    if not _is(value, kind):
        raise FormError(f"{place or 'it'} is {_shown(value)}, expected {_WORDS[kind]}")


def _is(value: Any, kind: Any) -> bool:
    if kind is Any:
        return True
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _at(place: str, key: str) -> str:
    return f"{place}.{key}" if place else f"'{key}'" if not key.isidentifier() else key


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return _WORDS[type(value)]
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
