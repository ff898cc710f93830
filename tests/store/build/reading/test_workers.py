"""However many processes read a recipe, the store is the same, and none of them is left behind."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mstgraph.store.build.builder import build
from mstgraph.store.build.reading import in_order, workers
from mstgraph.store.load import load_recipe
from mstgraph.store.recipe import Recipe
from mstgraph.support.errors import RunError, UserError

pytestmark = pytest.mark.usefixtures("small_blocks")

RECIPE = """
import os, random, signal
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
import numpy as np
from sample_recipes import Clips

class Kind(Enum):
    HIGH = 100.0

@dataclass
class Drawn(Clips):
    raw: Path
    kind: Kind = Kind.HIGH
    fail: str = ""

    def __post_init__(self):
        self.file = self.raw.open("rb")  # its position is moved by every sample
        self.offset = random.random()

    def sample(self, index):
        for rule in filter(None, self.fail.split(",")):
            if f"at{index}" == rule:
                raise ValueError("no such clip")
            if f"kill{index}" == rule:
                os.kill(os.getpid(), signal.SIGKILL)
        self.file.seek(60 * index)
        audio = np.random.normal(size=(2, 1 + index % 7)).astype(np.float32)
        return {
            "rgb": np.frombuffer(self.file.read(60), np.uint8).reshape(3, 4, 5),
            "audio": audio + np.float32(self.kind.value + self.offset) if index % 5 else None,
            "label": np.array(random.randrange(2)),
        }
"""


@pytest.fixture
def drawn(tmp_path: Path) -> Callable[..., Recipe]:
    """The recipe, loaded from its file with options."""
    (tmp_path / "drawn.py").write_text(RECIPE)
    (tmp_path / "raw").write_bytes(bytes(i * i % 251 for i in range(60 * 42)))
    return lambda **options: load_recipe(tmp_path / "drawn.py", tmp_path / "raw", options)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen]:
    """The processes that are started."""
    found: list[subprocess.Popen] = []

    class Noted(subprocess.Popen):
        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, **named)
            found.append(self)

    monkeypatch.setattr(workers.subprocess, "Popen", Noted)
    return found


def _gone(started: list[subprocess.Popen]) -> bool:
    return all(process.poll() is not None for process in started)


def test_the_files_are_the_same_whatever_the_number(
    tmp_path: Path, drawn: Callable[..., Recipe], started: list[subprocess.Popen]
) -> None:
    """Bit for bit: of open files, drawn numbers, absent and varying modalities, names."""
    files = []
    for jobs in (1, 2, 3):
        store = build(drawn(), tmp_path / str(jobs), jobs=jobs)
        files.append([(store.path / name).read_bytes() for name in ("metadata.json", "data.mdb")])
    assert files[0] == files[1] == files[2]
    assert len(started) == 5
    assert _gone(started)


def test_no_more_processes_are_started_than_have_something_to_do(
    tmp_path: Path, drawn: Callable[..., Recipe], started: list[subprocess.Popen]
) -> None:
    """Whatever number is asked for: a large one would take the machine down."""
    build(drawn(), tmp_path / "store", jobs=5000)
    assert len(started) <= 3 * 4  # three blocks of four samples at a time
    assert _gone(started)


def test_the_first_mistake_in_order_is_told_and_the_rest_continued(
    tmp_path: Path, drawn: Callable[..., Recipe], started: list[subprocess.Popen]
) -> None:
    """A later sample may fail earlier; what was committed before is not read again."""
    for jobs in (1, 2):
        seen: list[int] = []
        for _ in range(2):
            seen.clear()
            with pytest.raises(UserError, match=r"'clip10' of drawn .*no such clip"):
                build(
                    drawn(fail="at10,at13"),
                    tmp_path / str(jobs),
                    jobs=jobs,
                    progress=lambda done, _, seen=seen: seen.append(done),
                )
        assert seen[0] == 8
    assert _gone(started)


def test_interrupted_processes_are_gone_and_one_continues(
    tmp_path: Path, drawn: Callable[..., Recipe], started: list[subprocess.Popen]
) -> None:
    """Ctrl-C reaches this process, wherever it is; the same store comes of it."""

    def interrupt(done: int, _: int) -> None:
        if done > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(drawn(), tmp_path / "store", jobs=2, progress=interrupt)
    assert len(started) == 2
    assert _gone(started)
    continued = build(drawn(), tmp_path / "store")
    assert continued.fingerprint == build(drawn(), tmp_path / "whole").fingerprint


def test_a_process_that_is_killed_is_told(tmp_path: Path, drawn: Callable[..., Recipe]) -> None:
    """As when memory runs out."""
    with pytest.raises(RunError, match=r"read samples 4 to 4 was ended by SIGKILL.*fewer --jobs"):
        build(drawn(fail="kill4"), tmp_path / "store", jobs=2)


def test_processes_take_over_where_one_is_slow(
    tmp_path: Path,
    drawn: Callable[..., Recipe],
    started: list[subprocess.Popen],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the middle of a block; a recipe that is read at once never starts any."""
    monkeypatch.setattr(in_order, "cores", lambda: 2)
    whole = build(drawn(), tmp_path / "whole", jobs=None)
    assert not started
    monkeypatch.setattr(in_order, "LOOK", 1e-6)
    monkeypatch.setattr(in_order, "PAYS", 1e-6)
    assert build(drawn(), tmp_path / "store", jobs=None).fingerprint == whole.fingerprint
    assert len(started) == 2


class Odd:
    """An option that cannot be pickled."""

    value = 1.0

    def __str__(self) -> str:
        return "odd"

    def __reduce__(self) -> str:
        raise TypeError("no other process understands this")


def test_options_that_no_other_process_understands(
    tmp_path: Path,
    drawn: Callable[..., Recipe],
    started: list[subprocess.Popen],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Are refused where processes are asked for, and read here where they are not."""
    monkeypatch.setattr(in_order, "LOOK", 0.0)
    monkeypatch.setattr(in_order, "PAYS", 0.0)
    recipe = drawn()
    recipe.kind = Odd()
    with pytest.raises(UserError, match=r"cannot be handed to other processes; .* --jobs 1"):
        build(recipe, tmp_path / "store", jobs=2)
    assert build(recipe, tmp_path / "store", jobs=None).length == 42
    assert not started
