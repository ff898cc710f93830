"""The settings of runs side by side, from the configurations that they left."""

from __future__ import annotations

from collections.abc import Sequence

from mstgraph.look.records import Records

ABSENT = "—"


def settings(text: str) -> dict[str, str]:
    r"""Return name → value as written, of a configuration as runs leave it.

    >>> settings("# CI\nCI.epochs = 3\nmember.masks = ('a',\n     'b')\n")
    {'CI.epochs': '3', 'member.masks': "('a', 'b')"}
    """
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if not line.strip() or line.startswith(("#", "import ", "include ")):
            continue
        if not line[0].isspace() and " = " in line:
            name, _, value = line.partition(" = ")
            found[name] = value.removesuffix("\\").strip()
        elif name:
            found[name] = f"{found[name]} {line.removesuffix(chr(92)).strip()}".strip()
    return found


def differences(runs: Sequence[Records]) -> dict[str, list[str]]:
    """Return setting → its value in each run, for those that are not the same in all."""
    own = [settings(run.config) for run in runs]
    names = sorted({name for one in own for name in one})
    rows = {name: [one.get(name, ABSENT) for one in own] for name in names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}
