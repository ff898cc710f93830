"""A plan is shown without what only others need, and nothing is looked at twice."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import training_worlds as small
from tiny_graphs import ROOT

from mstgraph.networks.mlp import MLP

pytest_plugins = ("training_fixtures",)

OTHERS = (
    "torch._dynamo",
    "sympy",
    "scipy",
    "tensorboardX",
    "mstgraph.run.execute",
    "mstgraph.advice",
    "mstgraph.benchmark",
)
CODE = f"""
import sys
from mstgraph.cli import main
main(standalone_mode=False)
print([name for name in {OTHERS} if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize("file", ["mfeat_zer", "nyudepth_rgb"])
def test_show_imports_neither_a_compiler_nor_what_it_does_not_show(file: str) -> None:
    """They take longer than all that is asked of them."""
    command = [sys.executable, "-c", CODE, "show", f"gin/{file}.gin"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines()[-1] == "[]"


def test_a_run_builds_networks_without_numbers_once(
    monkeypatch: pytest.MonkeyPatch, workspace: Path
) -> None:
    """However many stages ask what is constant or where a network can be cut."""
    looked: Counter[str] = Counter()
    plain = MLP.__init__

    def counted(
        self: MLP, inputs: Mapping[str, tuple[int, ...]], *given: Any, **kwargs: Any
    ) -> None:
        plain(self, inputs, *given, **kwargs)
        if next(self.parameters()).is_meta:
            looked.update(inputs.keys())

    monkeypatch.setattr(MLP, "__init__", counted)
    experiment = small.mfeat()
    small.run(experiment, workspace / "run")
    assert any(member.masks for member in experiment.plan.graph.members.values())
    assert set(looked.values()) == {1}
