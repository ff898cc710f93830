"""A store in shards is, to whoever reads it, the store in one file."""

# ruff: noqa: D102
from __future__ import annotations

import errno
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from picture_recipe import Pictures
from sample_recipes import Maps, Vectors, column

from mstgraph.store import reader
from mstgraph.store.build import publishing
from mstgraph.store.build.asking import asked
from mstgraph.store.build.builder import build
from mstgraph.store.build.shards import prepared
from mstgraph.store.layout import OF_SHARDS
from mstgraph.store.reader import Store
from mstgraph.store.recipe import Modality, Recipe
from mstgraph.store.verification import verify
from mstgraph.support.errors import UserError

pytestmark = pytest.mark.usefixtures("small_blocks")

ORDER = [39, 0, 7, 8, 8, 21, 3, 20, 38]


class Partly(Vectors):
    """Vectors whose sound some samples lack, and of which others have less."""

    def modalities(self) -> tuple[Modality, ...]:
        rgb, _ = super().modalities()
        return rgb, Modality("audio", "float32", (2, 7), 2.0, optional=True, varying=True)

    def sample(self, index: int) -> dict[str, np.ndarray]:
        found = dict(super().sample(index))
        sound = found.pop("audio")
        if index % 3 == 1:
            return found
        return {**found, "audio": np.stack([sound, sound + 1])[:, : 1 + index % 7]}


def _same(found: Store, expected: Store) -> None:
    """Compare all that a run reads."""
    assert found.length == expected.length
    everything = np.random.default_rng(0).permutation(found.length)
    for name in expected.modalities:
        np.testing.assert_array_equal(found.read(name, everything), expected.read(name, everything))
        for split in expected.metadata["splits"]:
            own, other = found.statistics(name, split), expected.statistics(name, split)
            np.testing.assert_allclose(own.packed(), other.packed(), rtol=1e-13)
    np.testing.assert_array_equal(found.read_labels(everything), expected.read_labels(everything))
    lengths, others = found.read_lengths(everything), expected.read_lengths(everything)
    assert lengths.keys() == others.keys()
    for name, own in lengths.items():
        np.testing.assert_array_equal(own, others[name])
    for split, parts in expected.metadata["splits"].items():
        for part in parts:
            np.testing.assert_array_equal(found.split(split, part), expected.split(split, part))
    assert [*map(found.identifier, range(found.length))] == [
        *map(expected.identifier, range(found.length))
    ]
    for key in ("splits", "unlabelled", "presence", "recipe", "identity", "fingerprint"):
        assert found.metadata.get(key) == expected.metadata.get(key), key


def _partly() -> Recipe:
    made = Partly(length=42)
    made.splits = {"cv": {"train": range(2, 30), "test": range(30, 42)}}
    return made


@pytest.mark.parametrize(("made", "shards"), [(_partly(), 3), (Pictures(), 2)])
def test_everything_is_read_as_from_one_file(tmp_path: Path, made: Recipe, shards: int) -> None:
    """Samples, labels, lengths, names, splits, statistics, fingerprint: for any number of them.

    Of arrays, and of pictures that are kept as files.
    """
    whole = build(made, tmp_path / "whole")
    store = build(made, tmp_path / "store", shards=shards)
    assert store.metadata["format_version"] == OF_SHARDS
    assert len(store.shards) == shards
    _same(store, whole)
    assert verify(store) == []
    _same(pickle.loads(pickle.dumps(store)), whole)


def test_no_block_of_samples_is_cut(tmp_path: Path) -> None:
    """Nor records of the largest samples, as long as there are enough of them."""
    job = asked(Vectors(length=42), tmp_path, 1)
    sizes = {count: [len(piece) for piece in prepared.cut(job, count)] for count in (1, 3, 5, 100)}
    assert sizes == {1: [42], 3: [16, 16, 10], 5: [8, 8, 8, 8, 10], 100: [*[4] * 10, 2]}


def test_batches_of_one_shard_and_of_several(tmp_path: Path) -> None:
    """Into a given array, in any order, of no samples, of samples that are not there."""
    store = build(Vectors(), tmp_path / "store", shards=3)
    for order in (ORDER, [20], [], [39, 38], list(range(40))):
        out = np.empty((len(order), 7), np.float32)
        assert store.read("audio", order, out) is out
        np.testing.assert_array_equal(out, column(Vectors(), "audio")[np.array(order, int)])
        store.will_need("audio", order)
    with pytest.raises(IndexError, match="sample 40"):
        store.read("audio", [40])
    store.close()
    assert store.read_labels([25]).tolist() == [1]


def test_records_that_lie_as_in_one_file_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the largest samples; of a store of pictures that is nearly everything."""
    read: list[str] = []
    once = prepared.Whole.rows
    monkeypatch.setattr(
        prepared.Whole,
        "rows",
        lambda self, name, samples: (read.append(name), once(self, name, samples))[1],
    )
    whole = build(Vectors(), tmp_path / "whole")
    store = build(Vectors(), tmp_path / "store", shards=3)
    assert [len(shard) for shard in store.shards] == [8, 16, 16]
    assert store.fingerprint == whole.fingerprint
    assert "rgb" not in read
    assert "label" in read
    assert build(Maps(), tmp_path / "maps", shards=3).fingerprint == (
        build(Maps(), tmp_path / "one").fingerprint
    )


def test_read_ahead_is_decided_by_all_shards_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may fit into memory, and all not: it would drag in what no batch asks for."""
    store = build(Vectors(), tmp_path / "store", shards=3)
    for size, expected in ((store.metadata["data_bytes"], False), (2**40, True)):
        monkeypatch.setattr(reader.memory, "total", lambda size=size: size)
        assert [shard._readahead() for shard in store.shards] == [expected] * 3


def test_a_finished_shard_can_be_copied_while_the_next_is_built(tmp_path: Path) -> None:
    """It is whole, and is not touched again."""
    copied: list[Store] = []
    place = tmp_path / "store.partial" / "shards"

    def copy(done: int, total: int) -> None:
        assert total == 40
        if done == 30:
            assert sorted(os.listdir(place)) == ["0000", "0001", "0002.partial"]
            shutil.copytree(place / "0001", tmp_path / "copied")
            copied.append(Store(tmp_path / "copied"))

    store = build(Vectors(), tmp_path / "store", shards=3, progress=copy)
    assert verify(copied[0]) == []
    np.testing.assert_array_equal(copied[0].read("audio", [0]), store.read("audio", [8]))
    for name in ("data.mdb", "metadata.json"):
        theirs = (store.path / "shards" / "0001" / name).read_bytes()
        assert (tmp_path / "copied" / name).read_bytes() == theirs


@pytest.mark.parametrize("there", [False, True])
def test_stopped_anywhere_the_same_call_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """Whole shards are not read again; also in a folder that was there, which stays the same."""
    destination = tmp_path / "store"
    if there:
        destination.mkdir()
    recipe = Vectors()
    recipe.fail_at = 33
    with pytest.raises(KeyboardInterrupt):
        build(recipe, destination, shards=3)
    with pytest.raises(UserError, match="half"):
        Store(destination)
    recipe.fail_at = -1
    seen: list[int] = []
    replace, rename = os.replace, os.rename

    def fail(source: str | Path, target: str | Path) -> None:
        if Path(target) in (destination / "metadata.json", destination):
            raise KeyboardInterrupt
        (replace if there else rename)(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        patch.setattr(os, "rename", fail)
        with pytest.raises(KeyboardInterrupt):
            build(recipe, destination, shards=3, progress=lambda done, _: seen.append(done))
    assert seen[0] == 32
    recipe.fail_at = 0  # nothing is read any more
    store = build(recipe, destination, shards=3)
    assert store.fingerprint == build(Vectors(), tmp_path / "whole").fingerprint
    assert verify(store) == []
    assert sorted(os.listdir(store.path)) == ["metadata.json", "shards"]
    assert sorted(os.listdir(store.path / "shards" / "0002")) == ["data.mdb", "metadata.json"]


def test_a_finished_shard_that_is_damaged_is_built_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are not; what is somebody's stays there."""
    recipe, seen = Vectors(), []
    recipe.fail_at = 33
    with pytest.raises(KeyboardInterrupt):
        build(recipe, tmp_path / "store", shards=3)
    shard = tmp_path / "store.partial" / "shards" / "0001"
    os.truncate(shard / "data.mdb", 4096)
    (shard / "mine.txt").touch()
    recipe.fail_at = -1
    with pytest.raises(UserError, match=r"0001 holds 'mine.txt', .* expected that you move it"):
        build(recipe, tmp_path / "store", shards=3)
    (shard / "mine.txt").unlink()
    store = build(recipe, tmp_path / "store", shards=3, progress=lambda n, _: seen.append(n))
    assert seen[0] == 8
    assert "0001: what was written there is damaged" in caplog.text
    assert verify(store) == []


@pytest.mark.parametrize("shards", [1, 3])
def test_a_disk_that_is_full_from_the_first_byte_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    """Is told in one sentence, and the same call goes on."""

    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "write_json_durably", full)
        with pytest.raises(UserError, match=r"store.partial failed .* the disk is full"):
            build(Vectors(length=8), tmp_path / "store", shards=shards)
    assert build(Vectors(length=8), tmp_path / "store", shards=shards).length == 8


def test_another_number_of_shards_starts_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And says so; a store that is whole is returned as it is, in however many files."""
    recipe = Vectors()
    recipe.fail_at = 33
    for shards in (3, 2, 1):
        with pytest.raises(KeyboardInterrupt):
            build(recipe, tmp_path / "store", shards=shards)
    assert ["the number of shards" in record.message for record in caplog.records] == [True] * 2
    recipe.fail_at = -1
    store = build(recipe, tmp_path / "store")
    assert build(recipe, tmp_path / "store", shards=2).shards == store.shards == ()


def test_the_same_bytes_for_every_number_of_processes(tmp_path: Path, counts: list[int]) -> None:
    """Several processes read each shard."""
    files = []
    for jobs in (1, 2):
        path = build(Vectors(), tmp_path / str(jobs), jobs=jobs, shards=2).path
        files.append([file.read_bytes() for file in sorted(path.rglob("*.*"))])
    assert files[0] == files[1]
    assert counts == [2, 2]


def _edit(path: Path) -> None:
    path.write_text(path.read_text().replace('"cat"', '"lynx"'))


def _swap(path: Path) -> None:
    (path / "0000").rename(path / "x")
    (path / "0001").rename(path / "0000")
    (path / "x").rename(path / "0001")


def _nest(path: Path) -> None:
    shutil.rmtree(path / "0000")
    (path / "0000").symlink_to(path.parent)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: shutil.rmtree(path / "0001"), "there is no store at .*0001"),
        (lambda path: os.truncate(path / "0001" / "data.mdb", 4096), "cut short"),
        (lambda path: _edit(path.parent / "metadata.json"), "not as it was written"),
        (_swap, "not the store that .*metadata.json speaks of"),
        (_nest, "consists of shards"),
    ],
)
def test_what_is_not_whole_cannot_be_opened(tmp_path: Path, spoil, message: str) -> None:
    """One sentence each, whichever shard it is."""
    store = build(Vectors(length=36), tmp_path / "store", shards=2)
    store.close()
    spoil(store.path / "shards")
    with pytest.raises(UserError, match=message):
        Store(store.path)


def test_a_flipped_bit_is_found_in_its_shard(tmp_path: Path) -> None:
    """When it is read, and when all is verified."""
    store = build(Vectors(), tmp_path / "store", shards=2)
    store.close()
    data = store.path / "shards" / "0001" / "data.mdb"
    content, needle = data.read_bytes(), Vectors().sample(30)["rgb"].tobytes()
    assert needle in content
    data.write_bytes(content.replace(needle, bytes(60)))
    assert [problem.partition("(")[0] for problem in verify(Store(store.path))] == [
        "shard 0001: modality 'rgb', record 1 "
    ]
    with pytest.raises(UserError, match="'rgb' does not match its checksum"):
        Store(store.path).read("rgb", [30])
