"""What a person writes, and means."""

from __future__ import annotations

from dataclasses import dataclass

from mstgraph.support.text import take_tuples_of_one


@dataclass(frozen=True)
class Options:
    """Options of which one is a tuple."""

    names: tuple[str, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        """As settings do."""
        take_tuples_of_one(self)


def test_a_forgotten_comma_is_put_back() -> None:
    """A string where a tuple is wanted is a tuple of one; all else stays."""
    assert Options("rgb", "rgb") == Options(("rgb",), "rgb")
    assert Options(("rgb", "depth")).names == ("rgb", "depth")
