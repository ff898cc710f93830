"""Gin files into a state of gin's, with the file and line of every binding kept.

Gin itself forgets where a binding came from, ignores bindings in scopes that nobody enters, and
lets a file include itself for ever. What stands here drives gin's own parser statement by
statement, so each of these becomes one sentence that names the place.
"""

from __future__ import annotations

import inspect
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gin
from gin import config_parser

from mstgraph.declare.configuration import COMMAND_LINE, Configuration
from mstgraph.declare.gin_state import configurables, find_configurable
from mstgraph.support.errors import UserError, in_words, nearest
from mstgraph.support.lookup import find_file

LONGEST_SHOWN = 200  # characters of a binding in a sentence


def parse(configuration: Configuration) -> None:
    """Parse a configuration's files and then its bindings into gin's state, and keep their places.

    Args:
        configuration: names both; it is entered.

    Raises:
        UserError: a file has a syntax error or includes itself, or a name is unknown.
    """
    for path in configuration.files:
        _parse_file(path, configuration, place="", stack=())
    for binding in configuration.bindings:
        shown = binding if len(binding) <= LONGEST_SHOWN else f"{binding[:LONGEST_SHOWN]}…"
        name = f"{COMMAND_LINE} '-p {shown}'"
        _parse_statements(binding, configuration, name=name, folder=None, stack=())


def _parse_file(
    path: Path, configuration: Configuration, place: str, stack: tuple[Path, ...]
) -> None:
    resolved = path.resolve()
    if resolved in stack:
        chain = " → ".join(_short(step) for step in (*stack[stack.index(resolved) :], resolved))
        raise UserError(f"{place}a gin file includes itself: {chain}; remove one of the includes")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{place}gin file '{path}' cannot be read: {error}") from error
    stack = (*stack, resolved)
    _parse_statements(text, configuration, name=str(path), folder=resolved.parent, stack=stack)


def _parse_statements(
    text: str,
    configuration: Configuration,
    name: str,
    folder: Path | None,
    stack: tuple[Path, ...],
) -> None:
    for statement, place in _statements(text, name):
        if isinstance(statement, config_parser.IncludeStatement):
            included = find_file(statement.filename, [folder] if folder else [], place)
            _parse_file(included, configuration, f"{place}: ", stack)
        elif isinstance(statement, config_parser.ImportStatement):
            configuration.code.refuse_if_forbidden(statement.module, place)
            with configuration.code.importing(statement.module, folder or Path.cwd(), place):
                _run_import(statement, place)
        elif isinstance(statement, config_parser.BlockDeclaration):
            _known_selector(statement.selector, place)
        else:
            _bind(statement, place, configuration)


def _statements(text: str, name: str) -> Iterator[tuple[Any, str]]:
    """Yield gin's statements with their places; turn its errors into sentences."""
    in_file = not name.startswith(COMMAND_LINE)
    delegate = gin.config.ParserDelegate()
    try:
        parser = config_parser.ConfigParser(text, delegate)
    except (SyntaxError, tokenize.TokenError) as error:
        raise _syntax_error(error, name) from error
    while True:
        try:
            statement = parser.parse_statement()
        except (SyntaxError, tokenize.TokenError) as error:
            raise _syntax_error(error, name) from error
        except (RecursionError, MemoryError) as error:
            line = parser.current_token.start[0]
            place = f"{name}:{line}" if in_file else name
            raise UserError(f"{place}: brackets are nested too deep to be read") from error
        except (ValueError, KeyError) as error:  # a reference to something unknown or ambiguous
            line = parser.current_token.start[0]
            raise _unknown_reference(error, f"{name}:{line}" if in_file else name) from error
        if statement is None:
            return
        yield statement, f"{name}:{statement.location.line_num}" if in_file else name


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _syntax_error(error: Exception, name: str) -> UserError:
    line = error.lineno if isinstance(error, SyntaxError) else error.args[1][0]
    message = error.msg if isinstance(error, SyntaxError) else error.args[0]
    message = str(message).strip().splitlines()[0].rstrip(".")
    place = name if name.startswith(COMMAND_LINE) else f"{name}:{line}"
    return UserError(
        f"{place}: gin cannot read this: {message}; expected 'scope/Name.parameter = value'"
    )


def _unknown_reference(error: Exception, place: str) -> UserError:
    if isinstance(error, KeyError):  # gin's own words list what it could be
        return UserError(f"{place}: {_ambiguous(error)}")
    name = str(error).split("'@")[-1].split("'")[0].split("@")[-1].rstrip("()'")
    name = name.split("/")[-1]
    return UserError(f"{place}: there is no configurable '@{name}'{nearest(name, configurables())}")


def _ambiguous(error: KeyError) -> str:
    words = str(error).splitlines()[0].strip('".')
    return f"{words}; write the module in front of the name"


def _run_import(statement: Any, place: str) -> None:
    try:
        gin.parse_config(statement.format())
    except ImportError as error:
        raise UserError(
            f"{place}: cannot import '{statement.module}': {str(error).splitlines()[0]}; expected "
            "a module beside the gin file, in the working directory or installed"
        ) from error
    except (Exception, SystemExit) as error:  # whatever the user's own module raises
        raise UserError(
            f"{place}: the module '{statement.module}' cannot be imported: {in_words(error)}"
        ) from error


def _known_selector(selector: str, place: str) -> tuple[str, Callable[..., Any]]:
    try:
        found = find_configurable(selector)
    except KeyError as error:
        raise UserError(f"{place}: {_ambiguous(error)}") from error
    if found is None:
        raise UserError(f"{place}: unknown name '{selector}'{nearest(selector, configurables())}")
    return found


def _bind(statement: Any, place: str, configuration: Configuration) -> None:
    scope, selector, parameter, value, _ = statement
    try:
        used = tuple(_macros_in(value))
    except RecursionError as error:
        raise UserError(f"{place}: brackets are nested too deep to be read") from error
    for name in used:
        configuration.macro_uses.setdefault(name, place)
    if not parameter:  # a macro: NAME = value
        key = f"{scope}/{selector}" if scope else selector
        configuration.macros_of[key] = used
        gin.bind_parameter((key, "gin.macro", "value"), value)
        configuration.macros[key] = place
        return
    full, wrapped = _known_selector(selector, place)
    _known_parameter(wrapped, selector, parameter, place)
    try:
        gin.bind_parameter((scope, full, parameter), value)
    except ValueError as error:
        raise UserError(f"{place}: {str(error).splitlines()[0]}") from error
    configuration.locations[scope, full, parameter] = place


def _macros_in(value: Any) -> Iterator[str]:
    """Yield the names of the macros (``%NAME``) in a bound value."""
    for reference in gin.config.iterate_references([value]):
        if reference.configurable.wrapped is gin.config.macro:
            yield "/".join(reference.scopes)


def _known_parameter(
    wrapped: Callable[..., Any], selector: str, parameter: str, place: str
) -> None:
    parameters = inspect.signature(wrapped).parameters
    names = [name for name, p in parameters.items() if p.kind is not p.VAR_KEYWORD]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if parameter not in names and not takes_any:
        raise UserError(
            f"{place}: '{selector}' has no parameter '{parameter}'{nearest(parameter, names)}"
        )
