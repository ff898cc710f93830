"""Values kept by sample, in memory and on disk."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from mstgraph.run.kept import InMemory, Kept, OnDisk, pick
from mstgraph.support.errors import UserError

CPU = torch.device("cpu")
SHAPES = {
    "map": ((2, 3), torch.float32),
    "index": ((4,), torch.int64),
    "flag": ((), torch.uint8),
    "wide": ((5,), torch.float64),
}
SAMPLES, BLOCK = 10, 4


def make(place: str, folder: Path, halved: bool = False) -> Kept:
    """An empty place for ten samples in blocks of four."""
    if place == "memory":
        return InMemory(SHAPES, SAMPLES, halved, CPU)
    return OnDisk(SHAPES, SAMPLES, halved, CPU, folder / "kept", BLOCK)


def values() -> dict[str, torch.Tensor]:
    """Something of each type."""
    generator = torch.Generator().manual_seed(0)
    return {
        "map": torch.randn(SAMPLES, 2, 3, generator=generator),
        "index": torch.randint(0, 10**6, (SAMPLES, 4), generator=generator),
        "flag": torch.arange(SAMPLES, dtype=torch.uint8),
        "wide": torch.randn(SAMPLES, 5, generator=generator, dtype=torch.float64),
    }


def fill(kept: Kept, blocks: range) -> None:
    """Write some blocks."""
    for block in blocks:
        first = block * BLOCK
        kept.write(block, first, {n: v[first : first + BLOCK] for n, v in values().items()})


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_what_is_read_is_what_was_written(place: str, tmp_path: Path) -> None:
    """Bit for bit, any samples in any order, in their own types."""
    kept = make(place, tmp_path)
    assert all(kept.missing(block) for block in range(3))
    fill(kept, range(3))
    kept.finish()
    positions = torch.tensor([9, 0, 5, 5, 3])
    read = kept.read(positions)
    for name, tensor in values().items():
        assert read[name].dtype == SHAPES[name][1]
        assert torch.equal(read[name], tensor[positions]), name
    kept.release()


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_halved_floats_are_rounded_to_float16(place: str, tmp_path: Path) -> None:
    """And handed out in their own type; integers are as they were."""
    kept = make(place, tmp_path, halved=True)
    fill(kept, range(3))
    kept.finish()
    read = kept.read(torch.arange(SAMPLES))
    assert torch.equal(read["map"], values()["map"].half().float())
    assert torch.equal(read["index"], values()["index"])
    kept.release()


def test_a_part_filled_value_on_disk_is_continued(tmp_path: Path) -> None:
    """Blocks that were committed are not missing in the next process."""
    kept = make("disk", tmp_path)
    fill(kept, range(2))
    del kept  # what a kill does
    again = make("disk", tmp_path)
    assert [again.missing(block) for block in range(3)] == [False, False, True]
    fill(again, range(2, 3))
    again.finish()
    assert torch.equal(again.read(torch.arange(SAMPLES))["map"], values()["map"])
    again.release()


def test_disk_is_given_back(tmp_path: Path) -> None:
    """The folder is gone, and the file is closed."""
    kept = make("disk", tmp_path)
    fill(kept, range(3))
    kept.finish()
    kept.read(torch.arange(3))
    kept.release()
    assert not (tmp_path / "kept").exists()
    open_files = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.exists()]
    assert not [name for name in open_files if str(tmp_path) in name]


@pytest.mark.parametrize("limit", [0, 40_000])
def test_a_full_disk_is_one_sentence(limit: int, tmp_path: Path) -> None:
    """LMDB has errors of its own for it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    big = {"map": ((64, 64), torch.float32)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(UserError, match="no space is left to write"):  # noqa: PT012
            kept = OnDisk(big, SAMPLES, False, CPU, tmp_path / "kept", BLOCK)
            kept.write(0, 0, {"map": torch.zeros(BLOCK, 64, 64)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_choice_reads_what_was_chosen() -> None:
    """Side by side in memory or each for itself, every sample gets the value that it chose."""
    shapes = {"logits": ((3,), torch.float32)}
    drawn = torch.randn(3, SAMPLES, 3)
    first = InMemory(shapes, SAMPLES, False, CPU, count=3)
    second = InMemory(shapes, SAMPLES, False, CPU, beside=first)
    beside = [first, second, InMemory(shapes, SAMPLES, False, CPU, beside=second)]
    apart = [InMemory(shapes, SAMPLES, False, CPU) for _ in range(3)]
    for together in (beside, apart):
        for kept, values_of_one in zip(together, drawn, strict=True):
            kept.write(0, 0, {"logits": values_of_one})
    positions, chosen = torch.tensor([7, 0, 7, 3]), torch.tensor([2, 1, 0, 1])
    expected = drawn[chosen, positions]
    assert torch.equal(pick(beside, "logits", positions, chosen), expected)
    assert torch.equal(pick(apart, "logits", positions, chosen), expected)
    later = pick(beside[1:], "logits", positions, torch.tensor([1, 0, 0, 1]))
    assert torch.equal(later, drawn[torch.tensor([2, 1, 1, 2]), positions])
    swapped = [beside[1], beside[0]]
    assert torch.equal(
        pick(swapped, "logits", positions, torch.tensor([0, 0, 1, 1])),
        drawn[torch.tensor([1, 1, 0, 0]), positions],
    )
