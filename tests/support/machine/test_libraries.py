"""Libraries that not everybody needs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mstgraph.support.errors import UserError
from mstgraph.support.machine.libraries import extra


def test_a_module_of_an_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is imported; missing or broken, the message says what to do."""
    assert extra("json", "json") is __import__("json")
    monkeypatch.setitem(sys.modules, "colour", None)
    with pytest.raises(UserError, match=r"needs colour: pip install 'mstgraph\[raw\]'"):
        extra("colour.maps", "mstgraph[raw]")
    with pytest.raises(UserError, match="needs colour: pip install colour"):
        extra("colour", "colour")
    (tmp_path / "built_for_another.py").write_text("raise RuntimeError('wrong torch\\nmore')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=r"importing it fails: wrong torch$"):
        extra("built_for_another", "x")
