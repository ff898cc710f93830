"""What preparing and appending show on a terminal."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from mstgraph.report import preparation
from mstgraph.support.errors import UserError


def test_a_path_with_brackets_is_shown_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are no markup, which would end in a traceback where it is none of rich's."""
    shown = StringIO()
    console = Console(file=shown, force_terminal=True, width=400)
    monkeypatch.setattr(preparation, "standard_console", lambda progress: console)
    with pytest.raises(UserError, match="there is no store at"):
        preparation.append(tmp_path / "a[/b]", "recipe.py")
    assert "a[/b]" in shown.getvalue()
