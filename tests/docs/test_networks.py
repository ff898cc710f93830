"""The page on networks: its graphs are those that it says they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_graphs import ROOT

from mstgraph.derive.opening import open_experiment
from mstgraph.stages.node import Part

BLOCKS = re.findall(r"```gin\n(include.*?)```", (ROOT / "docs/networks.md").read_text(), re.DOTALL)
EXPECTED = (
    ("gyroscope", {"accelerometer": ("block3", "hidden"), "magnetometer": ("block3", "hidden")}),
    ("image", {"audio": ("block4", "hidden")}),
)


RECIPE = """
from mstgraph.store.recipe import Labels, Modality, Recipe


class Digits(Recipe):
    title = source = licence = synthetic = "nothing, of the shapes of digits seen and heard"

    def modalities(self):
        return Modality("image", "uint8", (1, 28, 28)), Modality("audio", "uint8", (1, 56, 56))

    def labels(self):
        return Labels("classification", tuple("0123456789"))

    def __len__(self):
        return 100

    def sample(self, index):
        raise NotImplementedError
"""


@pytest.mark.parametrize(("text", "expected"), [*zip(BLOCKS, EXPECTED, strict=True)])
def test_the_graphs_of_the_page(
    text: str, expected: tuple[str, dict[str, tuple[str, ...]]], tmp_path: Path
) -> None:
    """No layer is named in them: mask points and branches are those that the networks propose."""
    (tmp_path / "own.gin").write_text(text)
    target, masks = expected
    (tmp_path / "digits.py").write_text(RECIPE)  # the raw data of the second are not here
    recipe = [f"data.recipe = '{tmp_path}/digits.py'"] if target == "image" else []
    found = open_experiment([tmp_path / "own.gin"], recipe)
    points: dict[str, tuple[str, ...]] = {}
    for teacher in found.plan.teachers[target]:
        points[teacher.member] = (*points.get(teacher.member, ()), teacher.point)
    assert points == {"fused": ("fusion", "hidden"), **masks}
    depths = {
        name: branch.depth
        for name, branch in found.parts.build(Part("network", "fused"), "meta").branches.items()
    }
    if target == "image":  # each branch as the member that it names
        assert depths == {"image": 3, "audio": 4}
    else:
        assert set(depths.values()) == {2}
