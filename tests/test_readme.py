"""The commands of the README and of the guide, run one after the other, with smaller budgets."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from own_data import write_tar
from tiny_graphs import TYPIST

h5py = pytest.importorskip("h5py")

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ("graph", "methods", "unlabelled", "compare", "recipes", "runs")  # as somebody would read
PAGES = ("README.md", *(f"docs/{page}.md" for page in GUIDE))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NARROW = ("MLP.hidden = (24, 24)", "FusedMLP.hidden = (24, 24)", "data.batch_size = 256")
SMALLER = {
    "gin/nyudepth_rgb.gin": [
        *(f"{stage}.epochs = 1" for stage in ("Pretrain", "CI", "STA", "DKD")),
        *(f"{network}.width = 0.0625" for network in ("FuseNet", "FuseNetBranch")),
    ],
    "gin/mfeat_zer.gin": [
        *(f"{stage}.epochs = 1" for stage in ("Pretrain", "Distill", "CI", "STA", "DKD")),
        *NARROW,
    ],
    "gin/bench/quick.gin": [
        *(f"{stage}.epochs = 1" for stage in ("Pretrain", "Hint", "Distill", "CI", "STA", "DKD")),
        "bench.seeds = (0,)",
        "bench.students = (('zer', 'gin/mfeat_zer.gin'),)",
        *NARROW,
    ],
}
ON_ROOMS = (  # as long as no real data is prepared
    "mstgraph run gin/nyudepth_rgb.gin",
    "mstgraph show gin/nyudepth_rgb.gin",
    "mstgraph show gin/nyudepth_rgb_normals.gin",
)
FEWER = "data.options = {'samples': 24, 'size': (32, 64)}"  # of 600 rooms
INSTALLS = ("python3 -m venv", "pip install")  # what the continuous integration does


def blocks(language: str, pages: Sequence[str] = PAGES) -> list[str]:
    """Return the code blocks of a language."""
    texts = [(ROOT / page).read_text(encoding="utf-8") for page in pages]
    return [text for page in texts for found, text in BLOCK.findall(page) if found == language]


def commands() -> list[str]:
    """Return every shell command, installation left out."""
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]
    steps = [step for line in lines for step in line.split(" && ")]
    return [s for s in steps if not s.startswith((*INSTALLS, ".")) and not s.startswith("pytest")]


def smaller(command: str) -> list[str]:
    """Return the command's words, with bindings that make it short."""
    words = shlex.split(command)
    bindings = [FEWER] if command in ON_ROOMS else []
    if words[1] in ("run", "bench", "advise"):
        bindings += SMALLER.get(words[2], [])
    for binding in bindings:
        words[3:3] = ["-p", binding]
    return words


def write_nyu(path: Path, samples: int = 10) -> None:
    """Write a tiny file laid out as the official one: noise, labelled so by its name alone."""
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["images"] = random.integers(0, 255, (samples, 3, 128, 96), dtype=np.uint8)
        file["depths"] = random.uniform(1, 9, (samples, 128, 96)).astype(np.float32)
        file["labels"] = random.integers(0, 895, (samples, 128, 96), dtype=np.uint16)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the commands can be typed, with the files that the pages list."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("gin", "datasets", "tools"):
        (folder / name).symlink_to(ROOT / name)
    for text in blocks("python") + blocks("gin"):
        name = re.match(r"# ([\w/.]+)", text)
        if name and not (folder / name[1]).exists():
            (folder / name[1]).write_text(text, encoding="utf-8")
    return folder


def test_the_commands_run_in_their_order(clone: Path) -> None:
    """Whoever types them from top to bottom, page after page, gets no error."""
    write_nyu(clone / "nyu_depth_v2_labeled.mat")
    (clone / "tars").mkdir()
    for number in range(2):
        write_tar(clone / "tars" / f"{number}.tar", range(6))
    words = [smaller(command) for command in commands()]
    own = [w[1:] for w in words if w[0] == "mstgraph"]
    assert len(own) >= len(words) - 1, "what comes after them is typed after them"
    call(clone, "python", "-c", TYPIST, json.dumps(own))
    for other in (w for w in words if w[0] != "mstgraph"):
        call(clone, *other)


def call(folder: Path, program: str, *words: str) -> None:
    """Run a program of this environment."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / program), *words],
        cwd=folder,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{program} {shlex.join(words)}\n{done.stdout}\n{done.stderr}"


def test_gin_blocks_are_the_files_they_name(clone: Path) -> None:
    """A gin file that a page prints is the one in the repository, comments aside."""

    def statements(text: str) -> list[str]:
        lines = (re.sub(r"\s*#.*", "", line) for line in text.splitlines())
        return [re.sub(r"\s+", " ", line).strip() for line in lines if line.strip()]

    for mfeat in (blocks("gin", ["README.md"])[0], blocks("gin", ["docs/graph.md"])[0]):
        assert statements(mfeat) == statements((ROOT / "gin/mfeat_zer.gin").read_text())
    normals = next(block for block in blocks("gin") if "nyudepth_rgb_normals.gin" in block)
    assert statements(normals) == statements((ROOT / "gin/nyudepth_rgb_normals.gin").read_text())


def test_the_readme_has_the_two_commands() -> None:
    """One command sets up and runs the main job, the other sets up and passes the tests."""
    two = blocks("sh", ["README.md"])[:2]
    first, second = (line for block in two for line in block.splitlines())
    assert first.endswith("mstgraph run gin/nyudepth_rgb.gin")
    assert second.endswith("&& pytest -n 2")


def test_the_first_command_installs_what_the_others_of_the_readme_need() -> None:
    """Whoever never runs the tests can type the rest of the page all the same."""
    lines = [line for block in blocks("sh", ["README.md"]) for line in block.splitlines()]
    (extras,) = re.findall(r"-e '\.\[([\w,]+)\]'", lines[0])
    kinds = {"report": "report", "draw": "report", "export": "onnx"}  # command → extra
    words = [shlex.split(line)[1] for line in lines if line.startswith("mstgraph ")]
    assert {kinds[word] for word in words if word in kinds} <= set(extras.split(","))
