"""What the trials of a folder have in common, so that no others come among them."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from mstgraph.benchmark.plan.dag import OpenCell
from mstgraph.support.disk.descriptions import read_description, write_description
from mstgraph.support.errors import UserError
from mstgraph.tuning.search import Search

SEARCH = "search.json"
_ADVICE = "choose another folder with --out"


class _Remembered(TypedDict):
    """What a folder's trials have in common; the student's hash says the rest."""

    files: list[str]
    given: list[str]
    settings: list[str]
    seeds: list[int]
    student: str


_WORDS = {
    "files": "gin files",
    "given": "bindings (-p)",
    "settings": "settings (-s)",
    "seeds": "seeds (--seeds)",
    "student": "gin text, code or data",
}


def remember(search: Search, base: OpenCell, folder: Path) -> None:
    """Write what a search is.

    Args:
        search: the search.
        base: the experiment as its gin files have it.
        folder: where its trials are.

    Raises:
        UserError: the trials that are there are those of another one.
    """
    now: _Remembered = {
        "files": list(search.files),
        "given": list(search.given),
        "settings": [setting.written for setting in search.settings],
        "seeds": list(search.seeds),
        "student": base.result,
    }
    file = folder / SEARCH
    if file.is_file():
        before = read_description(file, _Remembered, _ADVICE)
        for name, words in _WORDS.items():
            if before[name] != now[name]:  # type: ignore[literal-required]
                raise UserError(
                    f"'{folder}' holds trials of other {words}; expected the same as they had, or "
                    "another folder with --out"
                )
    write_description(file, now)
