"""Samples are added to a store without writing, moving or drawing anew what it holds."""

# ruff: noqa: D102, D103
from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from sample_recipes import Vectors

from mstgraph.store.build.builder import append, build
from mstgraph.store.build.shards import append as appending
from mstgraph.store.reader import Store
from mstgraph.store.recipe import Labels
from mstgraph.store.splits import PARTS
from mstgraph.store.staleness import other_raw_data
from mstgraph.store.verification import verify
from mstgraph.support.errors import UserError

pytestmark = pytest.mark.usefixtures("small_blocks")


@dataclass
class Listed(Vectors):
    """Samples by the numbers in a file, one a line; a second word is its part of the split."""

    length: int = 0

    @cached_property
    def rows(self) -> list[list[str]]:
        assert self.raw is not None
        return [line.split() for line in self.raw.read_text().splitlines()]

    def labels(self) -> Labels:
        return Labels("classification", ("cat", "dog", "owl"), unknown=-1)

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        number = int(self.rows[index][0])
        label = np.array(-1 if number % 5 == 4 else number % 3)
        return {**super().sample(number), "label": label}

    def identifier(self, index: int) -> str:
        return f"clip{self.rows[index][0]}"

    def official_splits(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        parts: dict[str, list[int]] = {}
        for place, row in enumerate(self.rows):
            for part in row[1:]:
                parts.setdefault(part, []).append(place)
        return {"own": parts} if parts else {}


def lines(numbers: Sequence[int], part: Callable[[int], str] = lambda number: "") -> str:
    return "".join(f"{number} {part(number)}\n" for number in numbers)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "list.txt"
    path.write_text(lines(range(22)))
    return path


def listed(raw: Path) -> Callable[[Mapping[str, object]], Listed]:
    return lambda options: Listed(raw=raw, seed=int(str(options["seed"])))


def rows(numbers: Sequence[int]) -> np.ndarray:
    return np.stack([Vectors().sample(number)["audio"] for number in numbers])


def parts(store: Store, split: str) -> list[str]:
    """Return the part of each sample."""
    found = [""] * store.length
    for part in PARTS:
        for index in store.split(split, part).tolist():
            found[index] = part
    return found


def files(path: Path) -> dict[int, int]:
    """Return what data files there are, and when they were written."""
    found = [file.stat() for file in path.rglob("data.mdb")]
    return {status.st_ino: status.st_mtime_ns for status in found}


@pytest.mark.parametrize("shards", [1, 2])
def test_new_samples_follow_those_that_are_there(tmp_path: Path, raw: Path, shards: int) -> None:
    """Of raw data that has grown, twice; the files of before stay the same files."""
    path = tmp_path / "store"
    before = build(Listed(raw=raw), path, shards=shards)
    for length in (30, 41):
        written, drawn = files(path), {name: parts(before, name) for name in map(str, range(5))}
        raw.write_text(lines(range(length)))
        read: list[tuple[int, int]] = []
        store = append(path, listed(raw), progress=lambda *told, read=read: read.append(told))
        assert read[0] == (before.length, length)  # nothing is read again
        assert written.items() <= files(path).items()
        assert store.length == length
        np.testing.assert_array_equal(store.read("audio", range(length)), rows(range(length)))
        assert [store.identifier(i) for i in range(length)] == [f"clip{i}" for i in range(length)]
        for name, earlier in drawn.items():
            assert parts(store, name)[: len(earlier)] == earlier
            counts = [len(store.split(name, part)) for part in PARTS]
            assert np.cumsum(counts).tolist() == [length * 6 // 10, length * 8 // 10, length]
            assert [*store.metadata["splits"][name].values()] == counts
        assert store.metadata["unlabelled"]["samples"] == sum(n % 5 == 4 for n in range(length))
        assert verify(store) == []
        before = store
    assert len(before.shards) == shards + 2
    assert [shard.get("appended", False) for shard in before.metadata["shards"]] == [
        *[False] * shards,
        True,
        True,
    ]
    assert sorted(os.listdir(path)) == ["metadata.json", "shards"]
    assert sorted(os.listdir(path / "shards" / "0000")) == ["data.mdb", "metadata.json"]


def test_statistics_are_those_of_the_whole_training_part(tmp_path: Path, raw: Path) -> None:
    """What is normalised by them would not fit otherwise."""
    build(Listed(raw=raw), tmp_path / "store")
    raw.write_text(lines(range(40)))
    store = append(tmp_path / "store", listed(raw))
    found = store.statistics("audio", "1")
    values = store.read("audio", store.split("1", "train")).astype(np.float64) * 2.0  # its scale
    np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, values.std(axis=0), rtol=1e-9)
    np.testing.assert_array_equal(found.maximum, values.max(axis=0))


def test_fingerprint_is_of_what_is_there(tmp_path: Path, raw: Path) -> None:
    """Another one than before, and the same wherever the same is appended to the same."""
    first = build(Listed(raw=raw), tmp_path / "store").fingerprint
    build(Listed(raw=raw), tmp_path / "other")
    raw.write_text(lines(range(30)))
    found = {append(tmp_path / name, listed(raw)).fingerprint for name in ("store", "other")}
    assert len(found | {first}) == 2
    assert append(tmp_path / "store", listed(raw)).fingerprint in found  # nothing is new


def test_other_raw_data_is_new_as_a_whole(tmp_path: Path, raw: Path) -> None:
    """Once: the same again adds nothing. A run looks for both."""
    build(Listed(raw=raw), tmp_path / "store")
    more = tmp_path / "more.txt"
    more.write_text(lines([90, 91]))
    for _ in range(2):
        store = append(tmp_path / "store", listed(more), all_new=True)
        numbers = [*range(22), 90, 91]
        np.testing.assert_array_equal(store.read("audio", range(24)), rows(numbers))
        assert len(store.shards) == 2
    assert other_raw_data(store.metadata["recipe"], raw) is None
    more.write_text(lines([90, 92]))
    assert "more.txt' has changed" in str(other_raw_data(store.metadata["recipe"], raw))


def test_a_split_that_comes_with_the_data_is_continued(tmp_path: Path, raw: Path) -> None:
    """Of samples that are stored nothing changes, of which a fifth was set aside either."""
    half = lambda number: "train" if number % 2 else "test"  # noqa: E731
    raw.write_text(lines(range(22), half))
    before = parts(build(Listed(raw=raw), tmp_path / "store"), "own")
    raw.write_text(lines(range(33), half))
    now = parts(append(tmp_path / "store", listed(raw)), "own")
    assert now[:22] == before
    assert {*now[23::2]} == {"train", "validation"}
    assert {*now[22::2]} == {"test"}
    raw.write_text(lines(range(40), lambda number: "test" if number < 30 else "train"))
    with pytest.raises(UserError, match="'own' has another part for sample 1 than when it was"):
        append(tmp_path / "store", listed(raw))
    raw.write_text(lines(range(40)))
    with pytest.raises(UserError, match=r"splits of no name now, and .* has 'own'"):
        append(tmp_path / "store", listed(raw))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lines([*range(1, 23), 50]), "sample 0 of the raw data is 'clip1', .* 'clip0'.*--all-new"),
        (lines(range(21)), "holds 22 samples, and the raw data 21; expected the same"),
    ],
)
def test_raw_data_of_which_other_samples_come_first(
    tmp_path: Path, raw: Path, content: str, message: str
) -> None:
    """Is refused in one sentence, and the store is that of before."""
    before = build(Listed(raw=raw), tmp_path / "store")
    raw.write_text(content)
    with pytest.raises(UserError, match=message):
        append(tmp_path / "store", listed(raw))
    assert Store(tmp_path / "store").metadata == before.metadata


def test_another_recipe_or_other_options(tmp_path: Path, raw: Path) -> None:
    """What was stored by others would not be comparable; what is no store is said to be none."""
    build(Listed(raw=raw), tmp_path / "store")
    with pytest.raises(UserError, match="by another recipe than sample_recipes"):
        append(tmp_path / "store", lambda options: Vectors())
    with pytest.raises(UserError, match="by other options: length = 0, seed = 0; expected"):
        append(tmp_path / "store", lambda options: Listed(raw=raw, seed=1))
    with pytest.raises(UserError, match="there is no store at"):
        append(tmp_path / "nothing", listed(raw))
    assert not (tmp_path / "nothing").exists()


def test_another_class_among_the_new_samples(tmp_path: Path, raw: Path) -> None:
    """Networks have an output for each: another store is asked for."""
    build(Listed(raw=raw), tmp_path / "store")

    class More(Listed):
        def labels(self) -> Labels:
            return Labels("classification", ("cat", "dog", "owl", "yak"), unknown=-1)

    More.__name__ = "Listed"
    raw.write_text(lines(range(30)))
    with pytest.raises(UserError, match=r"labels .* owl, yak\).* those of .* owl\)"):
        append(tmp_path / "store", lambda options: More(raw=raw))


def test_prepare_says_that_samples_can_be_added(tmp_path: Path, raw: Path) -> None:
    """In one sentence; and knows the store once they are."""
    path = tmp_path / "store"
    build(Listed(raw=raw), path)
    raw.write_text(lines(range(30)))
    with pytest.raises(UserError, match=r"has 30 now; `mstgraph store append .*store RECIPE"):
        build(Listed(raw=raw), path)
    store = append(path, listed(raw))
    assert build(Listed(raw=raw), path).fingerprint == store.fingerprint


def test_a_mistake_in_a_new_sample_leaves_the_store_of_before(tmp_path: Path, raw: Path) -> None:
    """The first in order is told; once it is mended, the same call goes on."""
    path = tmp_path / "store"
    before = build(Listed(raw=raw), path)
    raw.write_text(lines(range(40)))

    def broken(options: Mapping[str, object]) -> Listed:
        recipe = Listed(raw=raw)
        recipe.changes = {33: {"audio": np.zeros(3, np.float32)}}
        return recipe

    with pytest.raises(UserError, match="sample 'clip33', modality 'audio': expected shape 7"):
        append(path, broken)
    assert Store(path).metadata == before.metadata
    assert Store(path).read_labels([21]).tolist() == [0]
    seen: list[int] = []
    assert append(path, listed(raw), progress=lambda done, _: seen.append(done)).length == 40
    assert seen[0] == 30


def test_raw_data_that_changes_between_two_attempts(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard that was finished of other raw data is not taken in."""
    build(Listed(raw=raw), tmp_path / "store")
    raw.write_text(lines(range(30)))
    with monkeypatch.context() as patch:
        patch.setattr(appending, "_take_in", _stop)
        with pytest.raises(KeyboardInterrupt):
            append(tmp_path / "store", listed(raw))
    raw.write_text(lines([*range(22), *range(60, 70)]))
    store = append(tmp_path / "store", listed(raw))
    np.testing.assert_array_equal(store.read("audio", range(22, 32)), rows(range(60, 70)))


def _stop(*given: object, **named: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("shards", "links"), [(2, True), (1, True), (1, False)])
def test_killed_at_any_moment_the_store_opens_or_the_same_call_goes_on(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch, shards: int, links: bool
) -> None:
    """At each rename, second name and removal; also where a file can have one name alone.

    The new shard is whole by then: how that is built is `test_builder.py`'s.
    """
    before = build(Listed(raw=raw), tmp_path / "before", shards=shards)
    grown = tmp_path / "grown.txt"
    grown.write_text(lines(range(30)))
    with monkeypatch.context() as patch:
        patch.setattr(appending, "_take_in", _stop)
        with pytest.raises(KeyboardInterrupt):
            append(before.path, listed(grown))
    for steps in range(100):
        path = shutil.copytree(before.path, tmp_path / str(steps))
        died = _die_after(steps, monkeypatch, links, lambda path=path: append(path, listed(grown)))
        said = ""
        try:
            assert Store(path).read_labels([21]).tolist() == [0]
        except UserError as error:
            said = str(error)
        assert not said or (not links and "same `mstgraph store append` command" in said)
        store = append(path, listed(grown))
        np.testing.assert_array_equal(store.read("audio", range(30)), rows(range(30)))
        assert verify(store) == []
        assert sorted(os.listdir(path)) == ["metadata.json", "shards"]
        if not died:
            break
    assert 4 < steps < 99


def _die_after(
    steps: int, monkeypatch: pytest.MonkeyPatch, links: bool, act: Callable[[], object]
) -> bool:
    """Do something until the disk was changed so many times; say whether that was not all."""
    left = [steps]

    def counted(change: Callable[..., None]) -> Callable[..., None]:
        def changed(*given: object, **named: object) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            if change is link and not links:
                raise OSError("a file has one name here")
            change(*given, **named)

        return changed

    link = os.link
    with monkeypatch.context() as patch:
        for home, name in ((os, "link"), (os, "replace"), (os, "rename"), (Path, "unlink")):
            patch.setattr(home, name, counted(getattr(home, name)))
        try:
            act()
        except KeyboardInterrupt:
            return True
    return False


def test_two_at_once_are_refused(tmp_path: Path, raw: Path) -> None:
    """The second would build the same shard."""
    build(Listed(raw=raw), tmp_path / "store")
    raw.write_text(lines(range(30)))

    def again(done: int, total: int) -> None:
        if done == 25:
            with pytest.raises(UserError, match=r"another process is building .*shards; wait"):
                append(tmp_path / "store", listed(raw))

    assert append(tmp_path / "store", listed(raw), progress=again).length == 30


def test_nothing_is_written_through_links(tmp_path: Path, raw: Path) -> None:
    """A store that came from elsewhere may point anywhere."""
    build(Listed(raw=raw), tmp_path / "store")
    raw.write_text(lines(range(30)))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store" / "shards").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is a link"):
        append(tmp_path / "store", listed(raw))
    assert not os.listdir(tmp_path / "elsewhere")
