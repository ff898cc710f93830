"""What is tuned: ``'DKD.k = 1..4'``, a setting's name and the values that it may take.

Values are texts of gin, so that a range of numbers and a choice of losses are the same thing to
all who train.
"""

from __future__ import annotations

import io
import math
import re
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from mstgraph.support.errors import UserError, nearest

DIGITS = 4  # significant ones of a real number: what is shown is what is trained with
EXPECTED = "'Name.parameter = a..b', 'log(a, b)', 'uniform(a, b)' or 'choice(x, y, …)'"
_NAME = re.compile(r"\s*([\w./]+)\s*=\s*(.*?)\s*", re.DOTALL)
_WHOLE = re.compile(r"(-?\d+)\s*\.\.\s*(-?\d+)")
_CALL = re.compile(r"(\w+)\s*\((.*)\)", re.DOTALL)
Scale = Literal["log", "uniform"]


@dataclass(frozen=True)
class Whole:
    """Whole numbers from the lowest to the highest.

    Attributes:
        low: the lowest.
        high: the highest, itself one of them.
    """

    low: int
    high: int

    @property
    def probes(self) -> tuple[str, ...]:
        """Values that are valid if all are: both ends."""
        return str(self.low), str(self.high)

    @property
    def size(self) -> float:
        """How many values there are."""
        return self.high - self.low + 1


@dataclass(frozen=True)
class Real:
    """Real numbers of an interval, each as likely as the others, or each order of magnitude.

    Attributes:
        low: the lowest.
        high: the highest.
        scale: ``'uniform'``, or ``'log'``.
    """

    low: float
    high: float
    scale: Scale

    @property
    def probes(self) -> tuple[str, ...]:
        """Values that are valid if all are: both ends."""
        return self.text(self.low), self.text(self.high)

    @property
    def size(self) -> float:
        """How many values there are."""
        return math.inf

    def text(self, value: float) -> str:
        """Return a number as gin reads it, no longer than a person would write it."""
        return repr(min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high))


@dataclass(frozen=True)
class Choice:
    """Values that are named one by one.

    Attributes:
        values: texts of gin: ``('@KL()', '@DIST()')``.
    """

    values: tuple[str, ...]

    @property
    def probes(self) -> tuple[str, ...]:
        """All of them."""
        return self.values

    @property
    def size(self) -> float:
        """How many values there are."""
        return len(self.values)


Values = Whole | Real | Choice


@dataclass(frozen=True)
class Setting:
    """A setting that is tuned.

    Attributes:
        name: as gin binds it, ``"DKD.k"``, ``"depth/KL.temperature"`` or a macro.
        values: what it may be.
        written: as it was given.
    """

    name: str
    values: Values
    written: str

    @property
    def place(self) -> str:
        """Where a sentence says that it stands."""
        return f"command line '-s {self.written}'"

    def binding(self, value: str) -> str:
        """Return the binding that gives it a value."""
        return f"{self.name} = {value}"


def parse_settings(texts: Sequence[str]) -> tuple[Setting, ...]:
    """Return the settings that texts name.

    Raises:
        UserError: there is none, one is named twice, or one has no value to choose.
    """
    settings = tuple(map(parse_setting, texts))
    if not settings:
        raise UserError(f"nothing is to be tuned; expected -s with {EXPECTED}")
    names = [setting.name for setting in settings]
    for setting in settings:
        if names.count(setting.name) > 1:
            raise UserError(f"{setting.place}: '{setting.name}' is tuned twice; expected it once")
    return settings


def parse_setting(text: str) -> Setting:
    """Return the setting that a text names, with its values.

    >>> parse_setting("KL.temperature = log(1, 10)").values
    Real(low=1.0, high=10.0, scale='log')

    Raises:
        UserError: it is of another form, its range is upside down, or there is nothing to choose.
    """
    place = f"command line '-s {text}'"
    found = _NAME.fullmatch(text)
    if not found:
        raise UserError(f"{place}: this names no setting; expected {EXPECTED}")
    name, said = found.groups()
    return Setting(name, _values(said, place), text)


def _values(said: str, place: str) -> Values:
    if whole := _WHOLE.fullmatch(said):
        low, high = map(int, whole.groups())
        _refuse_upside_down(low, high, place)
        return Whole(low, high)
    called = _CALL.fullmatch(said)
    if not called:
        hint = "; one value is -p" if said and ".." not in said else ""
        raise UserError(f"{place}: '{said}' is no range of values; expected {EXPECTED}{hint}")
    kind, arguments = called.groups()
    values = tuple(_arguments(arguments, place))
    if kind == "choice":
        return _choice(values, place)
    if kind in get_args(Scale):
        return _real(cast(Scale, kind), values, place)
    known = ("choice", *get_args(Scale))
    raise UserError(f"{place}: there is no '{kind}(…)'{nearest(kind, known)}")


def _choice(values: tuple[str, ...], place: str) -> Choice:
    if len(set(values)) < 2:
        count = "one value" if values else "none"
        raise UserError(f"{place}: choice(…) has {count}; expected two different ones or more")
    return Choice(tuple(dict.fromkeys(values)))


def _real(kind: Scale, values: tuple[str, ...], place: str) -> Real:
    try:
        low, high = map(float, values)
    except ValueError as error:
        raise UserError(
            f"{place}: {kind}({', '.join(values)}) is no interval; expected {kind}(a, b) with two "
            "numbers"
        ) from error
    _refuse_upside_down(low, high, place)
    if kind == "log" and low <= 0:
        raise UserError(f"{place}: log({', '.join(values)}) begins at {low:g}, expected above 0")
    return Real(low, high, kind)


def _refuse_upside_down(low: float, high: float, place: str) -> None:
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UserError(f"{place}: a range has two ends; expected numbers that are finite")
    if not low < high:
        hint = "upside down" if low > high else "a single value, which is -p"
        raise UserError(f"{place}: from {low:g} to {high:g} is {hint}; expected a lower end first")


def _arguments(text: str, place: str) -> Iterator[str]:
    """Yield what stands between the commas that are in no bracket and no string."""
    try:
        tokens = [*tokenize.generate_tokens(io.StringIO(text.replace("\n", " ")).readline)]
    except (tokenize.TokenError, SyntaxError) as error:
        raise UserError(f"{place}: brackets or quotes do not close; expected {EXPECTED}") from error
    depth, begin = 0, 0
    for token in tokens:
        mark = token.string if token.type == tokenize.OP else ""
        depth += (mark in ("(", "[", "{")) - (mark in (")", "]", "}"))
        comma = mark == "," and depth == 0
        if comma or token.type == tokenize.ENDMARKER:
            end = token.start[1] if comma else len(text)
            if piece := text[begin:end].strip():
                yield piece
            elif comma:
                raise UserError(f"{place}: there is nothing before a comma; expected a value")
            begin = end + 1
