"""Samples are added to a store without writing, moving or drawing anew what it holds."""

# ruff: noqa: D103
from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from sample_recipes import Listed, Vectors, lines, listed

from mstgraph.store import metadata
from mstgraph.store.build.builder import append, build
from mstgraph.store.build.shards import append as appending
from mstgraph.store.reader import Store
from mstgraph.store.recipe import Labels
from mstgraph.store.splits import PARTS
from mstgraph.store.staleness import other_raw_data
from mstgraph.store.verification import verify
from mstgraph.support.errors import UserError

pytestmark = pytest.mark.usefixtures("small_blocks")


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
    """Once: the same again adds nothing. A run looks for both, as long as they are there."""
    build(Listed(raw=raw), tmp_path / "store")
    more = tmp_path / "disk" / "more.txt"
    more.parent.mkdir()
    more.write_text(lines([90, 91]))
    for _ in range(2):
        store = append(tmp_path / "store", listed(more), all_new=True)
        numbers = [*range(22), 90, 91]
        np.testing.assert_array_equal(store.read("audio", range(24)), rows(numbers))
        assert len(store.shards) == 2
    assert other_raw_data(store.metadata["recipe"], raw) is None
    more.write_text(lines([90, 92]))
    assert "more.txt' has changed" in str(other_raw_data(store.metadata["recipe"], raw))
    more.unlink()
    assert "more.txt' is not there" in str(other_raw_data(store.metadata["recipe"], raw))
    more.parent.rmdir()
    assert other_raw_data(store.metadata["recipe"], raw) is None


def test_all_new_samples_of_one_part_that_have_labels(tmp_path: Path, raw: Path) -> None:
    """More for training is what is added most; and that all are known is no other data set."""

    class Known(Listed):
        def labels(self) -> Labels:
            known = self.raw is not None and self.raw.name == "more.txt"
            return Labels("classification", ("cat", "dog", "owl"), unknown=None if known else -1)

    raw.write_text(lines(range(22), lambda number: PARTS[number % 3]))
    before = parts(build(Known(raw=raw), tmp_path / "store"), "own")
    more = tmp_path / "more.txt"
    more.write_text(lines([60, 61, 62, 63, 65, 66], lambda number: "train"))
    store = append(tmp_path / "store", lambda options: Known(raw=more), all_new=True)
    assert parts(store, "own")[:22] == before
    assert {*parts(store, "own")[22:]} == {"train", "validation"}
    assert store.labels_spec.unknown == -1


def test_the_fingerprint_is_the_same_for_any_number_of_shards(tmp_path: Path, raw: Path) -> None:
    """As before samples were appended: what was trained on the one is reused with the other."""
    paths = [build(Listed(raw=raw), tmp_path / str(n), shards=n).path for n in (1, 3)]
    raw.write_text(lines(range(25)))
    found = [append(path, listed(raw)) for path in paths]
    assert found[0].fingerprint == found[1].fingerprint
    assert [len(store.shards) for store in found] == [2, 4]


def test_a_shard_is_not_appended_to(tmp_path: Path, raw: Path) -> None:
    """The store around it could not be opened any more."""
    store = build(Listed(raw=raw), tmp_path / "store", shards=2)
    raw.write_text(lines(range(30)))
    with pytest.raises(UserError, match=r"0000 is a shard of the store .*store; expected that"):
        append(store.path / "shards" / "0000", listed(raw))
    assert verify(Store(store.path)) == []


def test_a_store_that_is_opened_while_samples_are_appended(
    tmp_path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is that of before or after; one whose data was not read yet says that it was replaced."""
    path = tmp_path / "store"
    build(Listed(raw=raw), path)
    early = Store(path)
    raw.write_text(lines(range(30)))
    read, done = metadata.read_json, []

    def late(*given: object) -> object:
        found = read(*given)
        if not done:
            done.append(True)
            append(path, listed(raw))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(metadata, "read_json", late)
        assert Store(path).length == 30
    with pytest.raises(UserError, match="was replaced by another while in use"):
        early.read_labels([0])
    with pytest.raises(UserError, match="cannot be opened as a store"):
        early.opened()


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
    raw.write_text(lines(range(36), lambda n: half(n) if n < 33 else "validation"))
    now = parts(append(tmp_path / "store", listed(raw)), "own")  # which was not told before
    assert (now[:22], now[33:]) == (before, ["validation"] * 3)
    raw.write_text(lines(range(40), lambda number: "test" if number < 30 else "train"))
    with pytest.raises(UserError, match="'own' has another part for sample 1 than when it was"):
        append(tmp_path / "store", listed(raw))
    raw.write_text(lines(range(40)))
    with pytest.raises(UserError, match=r"splits of no name now, and .* has 'own'"):
        append(tmp_path / "store", listed(raw))


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


@pytest.mark.parametrize(("name", "file"), [("0001", "mine.txt"), ("0000", "data.mdb")])
def test_what_is_somebodys_stays(tmp_path: Path, raw: Path, name: str, file: str) -> None:
    """A folder that is called as a shard would be is not removed, and the store is as it was."""
    path = build(Listed(raw=raw), tmp_path / "store").path
    mine = path / "shards" / name / file
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    raw.write_text(lines(range(30)))
    with pytest.raises(UserError, match=f"{name} .* expected that you move it"):
        append(path, listed(raw))
    assert mine.read_text() == "mine"
    assert Store(path).read_labels([21]).tolist() == [0]
    mine.unlink()
    assert append(path, listed(raw)).length == 30


def test_nothing_is_written_through_links(tmp_path: Path, raw: Path) -> None:
    """A store that came from elsewhere may point anywhere."""
    build(Listed(raw=raw), tmp_path / "store")
    raw.write_text(lines(range(30)))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "store" / "shards").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is a link"):
        append(tmp_path / "store", listed(raw))
    assert not os.listdir(tmp_path / "elsewhere")
