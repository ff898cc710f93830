"""Gin files, recipes and tables as nobody means them: each is taken, or refused in a sentence."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import mstgraph
from tools.fault_check.flips import fault_of
from tools.fault_check.trial import forked
from tools.fault_check.world import GIN, HELPER, RECIPE

VALUES = [
    *("None", "True", "-1", "0", "1e300", "-1e-300", "2.5", "99999999999999999999", "nan", "1j"),
    *("''", "'left'", "'nothing'", "'../..'", "'é'", "b'x'", "'left/right'"),
    *("()", "(1,)", "('left', 'left')", "(None,)", "{}", "{'a': 1}", "[]", "[[]]"),
    *("@MLP", "@nothing", "%nothing", "@KL()", "@left/Member()", "@data()"),
]
PIECES = (*"()[]{}'\"=@%/.,:#\n\t \\", "include", "import os", "é", "\0", "graph.", "= =", "\ufeff")
TABLE = "x,y,label,split\n" + "".join(
    f"{row % 7}.5,{row},{'abc'[row % 3]},{('train', 'val', 'test')[row // 3 % 3]}\n"
    for row in range(36)
)
FIELDS = ("", "nan", "inf", "1e39", "-1", "é", '"', "x", "label", "=1+1", "a.png", "../a.npy")
LINES = ("raise ValueError('mine')", "assert False", "1 / 0", "return None", "import nothing")


def trials(moments: random.Random) -> Iterator[tuple[str, str]]:
    """Yield (what was changed, what is wrong with what came of it; empty for nothing)."""
    while True:
        way = moments.choices((_gin, _recipe, _table), (6, 3, 2))[0]
        yield way(moments)


def _gin(moments: random.Random) -> tuple[str, str]:
    """Load changed gin files and derive their plan."""
    text = _changed(GIN, moments)
    Path("changed.gin").write_text(text, encoding="utf-8", newline="")

    def act() -> str:
        return str(mstgraph.load("changed.gin", notice=lambda said: None))[:0]

    return _what(GIN, text), fault_of(forked(act, Path("said"), seconds=30), "")


def _recipe(moments: random.Random) -> tuple[str, str]:
    """Prepare a store with a changed recipe, or with a changed module that it imports."""
    shutil.rmtree("changed", ignore_errors=True)
    Path("changed").mkdir()
    texts = {"pairs.py": RECIPE, "fault_helper.py": HELPER}
    name = moments.choice([*texts, "pairs.py"])
    text = _changed_code(texts[name], moments)
    for file, unchanged in texts.items():
        written = text if file == name else unchanged
        Path("changed", file).write_text(written, encoding="utf-8", newline="")

    def act() -> str:
        mstgraph.prepare("changed/pairs.py", "changed/store", raw="raw.txt", progress=False)
        return ""

    outcome = forked(act, Path("said"), seconds=30)
    return _what(texts[name], text), fault_of(outcome, "")


def _table(moments: random.Random) -> tuple[str, str]:
    """Begin with a changed table as data of one's own, and prepare it."""
    shutil.rmtree("own", ignore_errors=True)
    lines = TABLE.split("\n")
    for _ in range(moments.randint(1, 3)):
        at = moments.choice((0, moments.randrange(len(lines))))
        fields = lines[at].split(",")
        fields[moments.randrange(len(fields))] = moments.choice(FIELDS)
        lines[at] = ",".join(fields) if moments.random() < 0.6 else _spoilt(lines[at], moments)
    text = "\n".join(lines)
    Path("own.csv").write_text(text, encoding="utf-8", newline="")

    def act() -> str:
        mstgraph.new("own", "own.csv")
        mstgraph.prepare("own/recipe.py", "own/store", raw="own.csv", progress=False)
        return ""

    return _what(TABLE, text), fault_of(forked(act, Path("said"), seconds=30), "")


def _changed(text: str, moments: random.Random) -> str:
    """Change a gin file in one to three places: a value, a name, a line, a character."""
    for _ in range(moments.randint(1, 3)):
        lines = text.split("\n")
        at = moments.randrange(len(lines))
        way = moments.randrange(6)
        if way <= 1 and "=" in lines[at]:
            lines[at] = f"{lines[at].partition('=')[0]}= {moments.choice(VALUES)}"
        elif way == 2:
            lines[at] = lines[moments.randrange(len(lines))]
        elif way == 3:
            lines[at] = _renamed(lines[at], moments)
        else:
            lines[at] = _spoilt(lines[at], moments)
        text = "\n".join(lines)
    return text


def _changed_code(text: str, moments: random.Random) -> str:
    """Change a module in one or two places, by what is still Python more often than not."""
    for _ in range(moments.randint(1, 2)):
        lines = text.split("\n")
        at = moments.randrange(len(lines))
        way, indent = moments.randrange(5), re.match(r" *", lines[at])
        assert indent is not None
        if way == 0:
            lines.insert(at, indent[0] + moments.choice(LINES))
        elif way == 1:
            numbers = list(re.finditer(r"\b\d+(\.\d+)?\b", lines[at]))
            if numbers:
                found = moments.choice(numbers)
                value = moments.choice(("-1", "0", "1e9", "None", "'x'", "2.5", "float('nan')"))
                lines[at] = lines[at][: found.start()] + value + lines[at][found.end() :]
        elif way == 2:
            del lines[at]
        elif way == 3:
            lines[at] = _renamed(lines[at], moments)
        else:
            lines[at] = _spoilt(lines[at], moments)
        text = "\n".join(lines)
    return text


def _renamed(line: str, moments: random.Random) -> str:
    """Leave a letter of a word out."""
    words = list(re.finditer(r"[A-Za-z_]{2,}", line))
    if not words:
        return line
    word = moments.choice(words)
    at = moments.randrange(word.start(), word.end())
    return line[:at] + line[at + 1 :]


def _spoilt(line: str, moments: random.Random) -> str:
    """Put a piece somewhere, or take a character away."""
    at = moments.randrange(len(line) + 1)
    if moments.random() < 0.4:
        return line[:at] + line[at + 1 :]
    return line[:at] + moments.choice(PIECES) + line[at:]


def _what(before: str, after: str) -> str:
    """Return the lines that were changed, for a person."""
    known = set(before.split("\n"))
    changed = [line for line in after.split("\n") if line not in known]
    missing = [line for line in before.split("\n") if line not in set(after.split("\n"))]
    return f"{changed!r} in place of {missing!r}"
