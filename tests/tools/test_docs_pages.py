"""The documentation: built without a warning, and no setting is left out."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_graphs import ROOT

pytest.importorskip("mkdocs")

from mstgraph.declare.gin_state import configurables
from mstgraph.declare.load import register
from tools.docs_pages import GIVEN, ROOMS, settings_page


def test_every_setting_has_a_row_with_its_meaning() -> None:
    """Of everything that a gin file may name, each parameter that a user may bind."""
    register()
    page = settings_page()
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    for name, made in configurables().items():
        room = made.__module__.split(".")[1]
        if room not in ROOMS:
            continue
        assert f"\n### {name}\n" in page
        for parameter in inspect.signature(made).parameters.values():
            if parameter.name in GIVEN.get(room, ()) or (
                parameter.kind > 1 and parameter.kind != 3
            ):
                continue
            row = rows.get(f"{name}.{parameter.name}", "")
            assert row, f"{name}.{parameter.name} has no row"
            assert not row.endswith("|  |"), f"{name}.{parameter.name} has no meaning"


def test_the_pages_are_built_without_a_warning(tmp_path: Path) -> None:
    """Every link leads somewhere, every name of the Python page exists; no network is used."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "DKD.k" in (tmp_path / "settings.html").read_text(encoding="utf-8")
    outside = [p for p in tmp_path.glob("*.html") if 'src="http' in p.read_text(encoding="utf-8")]
    assert not outside, f"{outside} ask the network"
