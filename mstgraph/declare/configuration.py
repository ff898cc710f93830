"""What was loaded from gin files, and where each binding stands."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mstgraph.declare.gin_state import GinState, fresh_state, full_selector
from mstgraph.declare.user_imports import UserCode
from mstgraph.support import lookup
from mstgraph.support.errors import UserError

GRAPH = "mstgraph.graph"
COMMAND_LINE = "command line"


@dataclass
class Configuration:
    """What was loaded, and where each binding stands.

    Attributes:
        files: the gin files given by the user, in order.
        bindings: the bindings given on the command line.
        locations: (scope, full selector, parameter) → "file:line".
        macros: name → "file:line".
        macro_uses: name → "file:line" of the first binding that uses it.
        macros_of: name → the macros that its value uses.
        code: the user's own modules that gin files import.
        state: gin's state with all of this, to be entered while anything of it is called.
    """

    files: tuple[Path, ...] = ()
    bindings: tuple[str, ...] = ()
    locations: dict[tuple[str, str, str], str] = field(default_factory=dict)
    macros: dict[str, str] = field(default_factory=dict)
    macro_uses: dict[str, str] = field(default_factory=dict)
    macros_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    code: UserCode = field(default_factory=UserCode, init=False, repr=False)
    state: GinState = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.state = fresh_state(self.code)

    def entered(self) -> AbstractContextManager[None]:
        """Put what was loaded in the place of gin's state, and that back on leaving.

        Whatever calls a configurable enters it: outside, the same call finds other bindings or
        none. It may be entered while it, or another configuration, is.
        """
        return self.state.entered()

    def __deepcopy__(self, memo: Mapping[int, Any]) -> Configuration:
        """Return itself: a copied student is configured by what configured the first."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave gin's state behind: it holds classes of modules that another process lacks."""
        return Configuration, (self.files, self.bindings)

    def where(self, selector: str | Callable[..., Any], parameter: str, scope: str = "") -> str:
        """Return the place of a binding, or of the member's declaration if it has none."""
        place = self.exactly_where(selector, parameter, scope)
        for candidate in (("", GRAPH, scope), ("", GRAPH, parameter)):
            place = place or self.locations.get(candidate)
        return place or (str(self.files[0]) if self.files else COMMAND_LINE)

    def exactly_where(
        self, selector: str | Callable[..., Any], parameter: str, scope: str = ""
    ) -> str | None:
        """Return the place of the binding that holds in a scope, or None if there is none."""
        full = full_selector(selector)
        own = self.locations.get((scope, full, parameter))  # one in the scope wins
        return own or self.locations.get(("", full, parameter))

    def place_of_option(self, constructor: Callable[..., Any], scope: str, text: str) -> str | None:
        """Return the place of the binding that a message names, ``Conv2d.kernel``, if any."""
        named = [
            option
            for option in inspect.signature(constructor).parameters
            if f"{constructor.__name__}.{option}" in text
        ]
        places = (self.exactly_where(constructor, option, scope) for option in named)
        return next(filter(None, places), None)

    def refuse_given(self, constructor: Callable[..., Any], count: int, scope: str) -> None:
        """Refuse bindings of the first ``count`` parameters: the caller gives them, and wins."""
        for parameter in list(inspect.signature(constructor).parameters)[:count]:
            if place := self.exactly_where(constructor, parameter, scope):
                name = f"{constructor.__name__}.{parameter}"
                raise UserError(f"{place}: {name} follows from the data and the graph; remove it")

    def on_command_line(self, selector: str, parameter: str) -> bool:
        """Say whether a binding came from the command line."""
        return self.from_command_line(self.where(selector, parameter))

    @staticmethod
    def from_command_line(place: str) -> bool:
        """Say whether a place is the command line."""
        return place.startswith(COMMAND_LINE)


def find_file(name: str, place: str, configuration: Configuration) -> Path:
    """Return a file that a gin file names (`mstgraph.support.lookup`).

    It is looked for beside and above the gin file that names it, and then the one that was given.

    Args:
        name: what the gin file says.
        place: where it says so: "file:line", or the command line.
        configuration: knows the given gin file.

    Raises:
        UserError: it is nowhere to be found.
    """
    naming = Path(place.rpartition(":")[0])
    beside = [file.parent for file in (naming, *configuration.files[:1]) if file.is_file()]
    return lookup.find_file(name, beside, place)


def find_folder(name: str, configuration: Configuration) -> Path | None:
    """Return a folder that the given gin file names; None if it is nowhere."""
    return lookup.find_folder(name, [file.parent for file in configuration.files[:1]])
