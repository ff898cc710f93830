"""A plan is shown without torch's compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tiny_graphs import ROOT

CODE = """
import sys
from mstgraph.cli import main
main(standalone_mode=False)
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize("file", ["mfeat_zer", "nyudepth_rgb"])
def test_show_imports_no_compiler(file: str) -> None:
    """Neither torch._dynamo nor sympy, which take longer than all that is asked of them."""
    command = [sys.executable, "-c", CODE, "show", f"gin/{file}.gin"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines()[-1] == "[]"
