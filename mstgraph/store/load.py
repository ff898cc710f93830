"""Loading a recipe from its file, with options as a person writes them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from mstgraph.store.recipe import Recipe
from mstgraph.support.errors import UserError, nearest, users_code
from mstgraph.support.lookup import find_file
from mstgraph.support.seeds import python_seeded


def load_recipe(
    path: Path,
    raw: Path | None = None,
    options: Mapping[str, str | object] | None = None,
    *,
    for_items: bool = False,
) -> Recipe:
    """Return the recipe in the file ``path``, built with ``options``.

    Args:
        path: the recipe's file, with one subclass of `Recipe`.
        raw: where the raw data is; passed to the recipe's field ``raw``.
        options: values of the recipe's fields; text is converted to the field's type (``true``,
            ``96x128`` for a tuple, …).
        for_items: it is to read single items alone, and needs no raw data.

    Raises:
        UserError: the file, an option or the raw data is missing or at fault.
    """
    chosen = recipe_class(path)
    lacking = None if for_items else _missing(chosen, path, raw)
    if lacking:
        raise UserError(lacking)
    values = _convert_all(chosen, Path(path), options or {})
    if raw is not None:
        if "raw" not in _fields(chosen):
            raise UserError(f"recipe {path} takes no raw data; expected no --raw, got {raw}")
        values["raw"] = Path(raw)
    _refuse_lacking(chosen, path, values)
    with users_code(f"recipe {path} refuses its options"), python_seeded(0):
        return chosen(**values)


def stored_options(
    path: Path, prepared: Mapping[str, object], given: Mapping[str, object]
) -> dict[str, object]:
    """Return the options of a store's recipe for `load_recipe`, but for those that are given now.

    Args:
        path: the recipe's file.
        prepared: options as a store's metadata has them: of a path the name alone.
        given: options that are said.

    Raises:
        UserError: a path must be said, as the recipe's default has another name.
    """
    chosen = recipe_class(path)
    kinds, found = _fields(chosen), {**prepared, **given}
    for name in [name for name in found if name not in given]:
        if Path not in (kinds.get(name), *get_args(kinds.get(name))) or found[name] is None:
            continue
        default = getattr(chosen, name, None)
        if not (isinstance(default, Path) and default.name == found[name]):
            raise UserError(
                f"option '{name}' of recipe {path} is a path, of which the store knows the name "
                f"'{found[name]}' alone; expected -o {name}=PATH"
            )
        del found[name]
    return found


def _refuse_lacking(chosen: type[Recipe], path: Path, values: Mapping[str, object]) -> None:
    """Refuse options without a value and without a default."""
    if not dataclasses.is_dataclass(chosen):
        return
    for item in dataclasses.fields(chosen):
        lacking = item.default is item.default_factory is dataclasses.MISSING
        if item.init and lacking and item.name not in values:
            raise UserError(
                f"option '{item.name}' of recipe {path} has no value; expected a default in the "
                f"recipe, or a value by -o {item.name}=VALUE or data.options"
            )


def recipe_class(path: Path) -> type[Recipe]:
    """Return the one subclass of `Recipe` that the file ``path`` defines.

    Raises:
        UserError: no such file, it cannot be run, or it defines none or several.
    """
    module = _run(Path(path))
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Recipe)
        and value.__module__ == module.__name__
        and not value.__name__.startswith("_")
    ]
    if len(found) != 1:
        names = ", ".join(item.__name__ for item in found) or "none"
        raise UserError(f"{path} defines {names}; expected exactly one subclass of Recipe")
    if lacking := _lacking(found[0]):
        names = ", ".join(sorted(lacking))
        raise UserError(f"recipe {found[0].__name__} in {path} does not define {names}")
    return found[0]


def _lacking(chosen: type[Recipe]) -> set[str]:
    """Return the methods that a recipe must have and has not."""
    lacking = {*getattr(chosen, "__abstractmethods__", ())}
    if chosen.chunks is Recipe.chunks:
        own = ("__len__", "sample")
        lacking |= {name for name in own if getattr(chosen, name) is getattr(Recipe, name)}
    return lacking


def class_in(path: Path, name: str) -> type[Recipe]:
    """Return a class of a recipe's file by its name, in a process that knows which it is."""
    found: type[Recipe] = getattr(_run(path), name)
    return found


def missing_raw(path: Path, raw: Path | None) -> str | None:
    """Return a sentence if the recipe needs raw data that is not there, else None."""
    return _missing(recipe_class(path), path, raw)


def _missing(chosen: type[Recipe], path: Path, raw: Path | None) -> str | None:
    if raw is None:
        if not chosen.requires:
            return None
        return f"recipe {path} needs raw data, expected with --raw: {chosen.requires}"
    if Path(raw).exists():
        return None
    advice = f": {chosen.requires}" if chosen.requires else ""
    return f"recipe {path} got raw data at {raw}, which does not exist{advice}"


def _run(named: Path) -> types.ModuleType:
    path = find_file(named)
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    name = f"mstgraph_recipe_{place}_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise UserError(f"recipe {path} cannot be loaded; expected a Python file (.py)")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        with users_code(f"recipe {path} cannot be loaded"):  # what is no recipe may be a program
            specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _fields(chosen: type[Recipe]) -> dict[str, Any]:
    """Return the type of each option by name."""
    if not dataclasses.is_dataclass(chosen):
        return {}
    with users_code(f"the types of the options of {chosen.__name__} cannot be read"):
        hints = get_type_hints(chosen)
    return {field.name: hints[field.name] for field in dataclasses.fields(chosen) if field.init}


def _convert_all(
    chosen: type[Recipe], path: Path, options: Mapping[str, str | object]
) -> dict[str, Any]:
    kinds = _fields(chosen)
    valid = [name for name in kinds if name != "raw"]
    values = {}
    for name, value in options.items():
        if name not in valid:
            raise UserError(f"recipe {path} has no option '{name}'{nearest(name, valid)}")
        try:
            values[name] = convert(value, kinds[name])
        except ValueError as error:
            raise UserError(
                f"option '{name}' of recipe {path} is {value!r}; expected {error}"
            ) from error
    return values


def convert(value: object, kind: Any) -> object:
    """Return ``value`` as the type that an option is declared with.

    Raises:
        ValueError: it is of another type, or text that does not say one; the message tells what
            was expected.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _convert_optional(value, arguments)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        return _convert_tuple(value, arguments)
    return _convert_text(value, kind) if isinstance(value, str) else _same_type(value, kind)


def _convert_optional(value: object, arguments: tuple[Any, ...]) -> object:
    kinds = [kind for kind in arguments if kind is not type(None)]
    if len(kinds) < len(arguments) and (value is None or value == "none"):
        return None
    for kind in kinds[:-1]:
        with contextlib.suppress(ValueError):
            return convert(value, kind)
    return convert(value, kinds[-1])


def _convert_tuple(value: object, arguments: tuple[Any, ...]) -> tuple[object, ...]:
    if isinstance(value, str):  # between texts an x is a letter
        between = "," if str in arguments else "x"
        items: object = [each.strip() for each in value.replace(",", between).split(between)]
    else:
        items = value
    if not isinstance(items, (list, tuple)):
        raise ValueError(f"a tuple, written {'left,right' if str in arguments else '96x128'}")
    kinds = (arguments[0],) * len(items) if arguments[-1] is Ellipsis else arguments
    if len(items) != len(kinds):
        raise ValueError(
            f"{len(kinds)} values, written {'x'.join(['96', '128', '3'][: len(kinds)])}"
        )
    return tuple(convert(item, kind) for item, kind in zip(items, kinds, strict=True))


def _convert_text(value: str, kind: Any) -> object:
    if kind is bool:
        if value.lower() not in ("true", "false"):
            raise ValueError("true or false")
        return value.lower() == "true"
    if kind in (str, Path):
        return kind(value)
    words = {int: "an integer", float: "a number"}
    if kind not in words:
        raise ValueError(f"a value of type {kind}, which cannot be written as text")
    try:
        return kind(value)
    except ValueError as error:
        raise ValueError(words[kind]) from error


def _same_type(value: object, kind: Any) -> object:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = get_origin(kind) or kind  # of list[str], list
    if not isinstance(plain, type):
        return value  # Any: what nobody says cannot be checked
    if not isinstance(value, plain) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"a value of type {plain.__name__}")
    return value
