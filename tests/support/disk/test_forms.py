"""Plain data of a known form, and what is said of any other."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest

from mstgraph.support.disk.forms import FormError, check_form


class Inner(TypedDict):
    """A part of it."""

    name: str
    size: int


class _Always(TypedDict):
    inner: list[Inner]
    share: float
    missing: int | None


class Form(_Always, total=False):
    """The whole."""

    by_name: dict[str, Inner]
    anything: Any


GOOD = {"inner": [{"name": "a", "size": 1}], "share": 1, "missing": None}


@pytest.mark.parametrize(
    "more", [{}, {"by_name": {"é b": {"name": "", "size": 0}}}, {"anything": [1]}, {"unknown": 3}]
)
def test_what_is_of_the_form_passes(more: dict[str, Any]) -> None:
    """A whole number is a number, what is not needed may be missing, and more may be there."""
    check_form({**GOOD, **more}, Form)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], "it is a list, expected an object"),
        ({**GOOD, "share": True}, "share is True, expected a number"),
        ({**GOOD, "share": "0.5"}, "share is '0.5', expected a number"),
        ({**GOOD, "missing": 1.5}, "missing is 1.5, expected a whole number or null"),
        ({**GOOD, "inner": {}}, "inner is an object, expected a list"),
        ({**GOOD, "inner": [None]}, r"inner\[0\] is None, expected an object"),
        ({**GOOD, "inner": [{"name": "a"}]}, r"inner\[0\].size is missing"),
        ({**GOOD, "by_name": {"x": {"name": 1, "size": 1}}}, "by_name.x.name is 1, expected text"),
        ({"share": 1, "missing": None}, "inner is missing"),
        ({**GOOD, "share": "x" * 10_000}, r"share is 'x{39}…, expected a number"),
    ],
)
def test_what_is_not_is_named(value: Any, sentence: str) -> None:
    """Its place, what it is and what was expected, however long it is."""
    with pytest.raises(FormError, match=sentence):
        check_form(value, Form)
