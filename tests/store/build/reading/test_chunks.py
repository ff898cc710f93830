"""A recipe whose raw data can only be gone through in order: once, chunk by chunk."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mstgraph.store.build.builder import build
from mstgraph.store.build.reading import in_order
from mstgraph.store.build.reading.chunks import Bounds
from mstgraph.store.load import load_recipe
from mstgraph.store.recipe import Recipe
from mstgraph.support.errors import UserError

pytestmark = pytest.mark.usefixtures("small_blocks")

RECIPE = """
import os, random
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from sample_recipes import Clips
from mstgraph.store import Chunk

SIZES = (3, 9, 1, 13, 16)

@dataclass
class Drawn(Clips):
    raw: Path
    apart: bool = False
    fail: str = ""

    def sample(self, index):
        if f"at{index}" == self.fail:
            raise ValueError("no such clip")
        audio = np.random.normal(size=(2, 1 + index % 7)).astype(np.float32)
        return {
            "rgb": np.random.randint(0, 256, (3, 4, 5)).astype(np.uint8),
            "audio": audio if index % 5 else None,
            "label": np.array(random.randrange(2)),
        }

    def chunks(self):
        return () if self.apart else [Chunk(n, self.reader(i)) for i, n in enumerate(SIZES)]

    def reader(self, number):
        def read():
            with (self.raw / "opened").open("a") as file:
                file.write(f"{number}\\n")
            first = sum(SIZES[:number])
            count = SIZES[number] + {f"short{number}": -1, f"long{number}": 1}.get(self.fail, 0)
            for index in range(first, first + count):
                yield self.sample(index)
        return read
"""


@pytest.fixture
def drawn(tmp_path: Path) -> Callable[..., Recipe]:
    """The recipe, loaded from its file with options."""
    (tmp_path / "drawn.py").write_text(RECIPE)
    (tmp_path / "raw").mkdir()
    return lambda **options: load_recipe(tmp_path / "drawn.py", tmp_path / "raw", options)


def _opened(tmp_path: Path) -> list[int]:
    """Return which chunks were opened since this was last asked, in no order."""
    file = tmp_path / "raw" / "opened"
    found = sorted(map(int, file.read_text().split())) if file.exists() else []
    file.unlink(missing_ok=True)
    return found


def _data(path: Path) -> bytes:
    return (path / "data.mdb").read_bytes()


def test_the_data_are_those_of_samples_that_are_read_one_by_one(
    tmp_path: Path, drawn: Callable[..., Recipe], counts: list[int]
) -> None:
    """Byte for byte, for any number of processes; each chunk is opened once."""
    expected = _data(build(drawn(apart=True), tmp_path / "apart").path)
    for jobs in (1, 2):
        assert _data(build(drawn(), tmp_path / str(jobs), jobs=jobs).path) == expected
        assert _opened(tmp_path) == [0, 1, 2, 3, 4]
    assert counts == [2]


def test_what_was_committed_is_not_opened_again(
    tmp_path: Path, drawn: Callable[..., Recipe]
) -> None:
    """But the chunk in whose middle a build stopped, which can only be read from its beginning."""
    whole = build(drawn(), tmp_path / "whole")
    with pytest.raises(UserError, match=r"sample 'clip19' of drawn cannot be read.*no such"):
        build(drawn(fail="at19"), tmp_path / "store")
    with pytest.raises(KeyboardInterrupt):
        build(drawn(), tmp_path / "other", progress=_interrupt)
    _opened(tmp_path)
    seen: list[int] = []
    store = build(drawn(), tmp_path / "other", progress=lambda done, _: seen.append(done))
    assert seen[0] == 16
    assert _opened(tmp_path) == [3, 4]
    assert store.fingerprint == whole.fingerprint


def _interrupt(done: int, total: int) -> None:
    if done == 18:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("fail", "jobs", "message"),
    [
        ("short1", 2, r"sample 'clip11' of drawn .*chunk 1 ends after 8 samples; expected 9"),
        ("long1", 1, r"sample 'clip11' of drawn .*chunk 1 goes on after 9 samples"),
    ],
)
def test_a_chunk_of_another_length(
    tmp_path: Path, drawn: Callable[..., Recipe], fail: str, message: str, jobs: int
) -> None:
    """Is told with the name of the sample: all that follow would be shifted."""
    with pytest.raises(UserError, match=message):
        build(drawn(fail=fail), tmp_path / "store", jobs=jobs)


def test_processes_take_over_where_a_chunk_begins(
    tmp_path: Path, drawn: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its middle it would be opened twice."""
    expected = _data(build(drawn(), tmp_path / "whole").path)
    _opened(tmp_path)
    for name, value in (("cores", lambda: 2), ("LOOK", 1e-6), ("PAYS", 1e-6)):
        monkeypatch.setattr(in_order, name, value)
    assert _data(build(drawn(), tmp_path / "store", jobs=None).path) == expected
    assert _opened(tmp_path) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("share", "most"), [(1.0, 2 * 4), (0.0, in_order.AHEAD)])
def test_so_much_is_read_ahead_that_each_process_has_a_chunk(
    drawn: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, share: float, most: int
) -> None:
    """As far as memory goes: a chunk is one process's, and blocks are written in their order."""
    from mstgraph.store.build.asking import asked
    from mstgraph.store.build.reading.blocks import Samples

    job = asked(drawn(), Path("nowhere"), 2)
    samples = Samples(job.recipe, job.declared, job.columns)
    monkeypatch.setattr(in_order, "SHARE", share)
    parts = in_order._Parts(samples, [range(first, first + 4) for first in range(0, 40, 4)])
    assert parts.ahead(2) == most
    # No more processes than there are chunks.
    assert parts.at_once([range(2, 8), range(8, 13)]) == 3
    assert parts.of(range(0, 16)) == [range(0, 3), range(3, 12), range(12, 13), range(13, 16)]


def test_bounds() -> None:
    """Which chunk a sample is in, and where those begin and end."""
    bounds = Bounds([3, 9, 1])
    assert (bounds.starts, bounds.stops) == ([0, 3, 12], [3, 12, 13])
    assert [bounds.chunk_of(index) for index in (0, 2, 3, 11, 12)] == [0, 0, 1, 1, 2]
    assert bounds.cut(range(4, 4)) == []


BRIEF = """
from mstgraph.store import Chunk, Labels, Modality, Recipe
class Brief(Recipe):
    title, source, licence = "brief", "none", "none"
    def modalities(self):
        return (Modality("x", "int64", (1,)),)
    def labels(self):
        return Labels("classification", ("a", "b"))
    def chunks(self):
        return {chunks}
"""


def test_neither_length_nor_sample_need_be_defined(tmp_path: Path) -> None:
    """The chunks say both."""
    one = "lambda: [{'x': [7], 'label': n % 2} for n in range(4)]"
    (tmp_path / "r.py").write_text(BRIEF.format(chunks=f"[Chunk(4, {one}), Chunk(4, {one})]"))
    store = build(load_recipe(tmp_path / "r.py"), tmp_path / "store")
    assert store.read_labels(range(8)).tolist() == [0, 1] * 4
    np.testing.assert_array_equal(store.read("x", range(8)), np.full((8, 1), 7))


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ("[Chunk(0, list)]", r"samples in chunks\(\) of the recipe Brief\[0\] is 0; expected at"),
        ("[3]", r"chunks\(\) of the recipe Brief\[0\] is 3, of type int; expected Chunk"),
        ("1 / 0", r"chunks\(\) of the recipe Brief fails: ZeroDivisionError"),
        ("[Chunk(9, list)]", r"brief cannot be read: ValueError: chunk 0 ends after 0 samples"),
        ("[Chunk(9, 3)]", r"brief cannot be read: TypeError"),
        ("()", r"brief has 0 samples"),
    ],
)
def test_chunks_that_make_no_sense(tmp_path: Path, chunks: str, message: str) -> None:
    """One sentence each, before or at the first sample."""
    (tmp_path / "r.py").write_text(BRIEF.format(chunks=chunks))
    with pytest.raises(UserError, match=message):
        build(load_recipe(tmp_path / "r.py"), tmp_path / "store")


def test_chunks_and_length_that_contradict_each_other(tmp_path: Path) -> None:
    """A length may be said as well, and must be that of the chunks."""
    (tmp_path / "r.py").write_text(
        BRIEF.format(chunks="[Chunk(9, list)]") + "    def __len__(self):\n        return 8\n"
    )
    with pytest.raises(UserError, match="hold 9 samples, and its length is 8; expected the same"):
        build(load_recipe(tmp_path / "r.py"), tmp_path / "store")


def test_a_class_that_no_other_process_finds_is_read_here(
    tmp_path: Path, drawn: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that a function made; where processes are asked for, it is refused."""
    recipe = drawn()

    class Own(type(recipe)):  # type: ignore[misc]
        """Not at the top of its file."""

    own = Own(recipe.raw)
    for name, value in (("cores", lambda: 2), ("LOOK", 0.0), ("PAYS", 0.0)):
        monkeypatch.setattr(in_order, name, value)
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(UserError, match=r"cannot be handed to other processes; .* at the top of"):
        build(own, tmp_path / "store", jobs=2)
    assert build(own, tmp_path / "store", jobs=None).length == 42
