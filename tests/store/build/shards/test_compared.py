"""A recipe is refused whose samples do not go with a store: one more or one less would be wrong."""

# ruff: noqa: D102
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_recipes import Listed, Vectors, lines, listed

from mstgraph.store.build.builder import append, build
from mstgraph.store.reader import Store
from mstgraph.store.recipe import Chunk, Labels, Modality
from mstgraph.support.errors import UserError

pytestmark = pytest.mark.usefixtures("small_blocks")


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
    assert not list(tmp_path.glob("store/**/build.lock"))


def test_another_recipe_or_other_options(tmp_path: Path, raw: Path) -> None:
    """What was stored by others would not be comparable; what is no store is said to be none."""
    build(Listed(raw=raw), tmp_path / "store")
    with pytest.raises(UserError, match="by another class than Vectors"):
        append(tmp_path / "store", lambda options: Vectors())
    with pytest.raises(UserError, match="by another recipe than test_compared"):
        append(tmp_path / "store", lambda options: Placed(raw=raw))
    with pytest.raises(UserError, match="by other options: length = 0, seed = 0; expected"):
        append(tmp_path / "store", lambda options: Listed(raw=raw, seed=1))
    with pytest.raises(UserError, match="there is no store at"):
        append(tmp_path / "nothing", listed(raw))
    assert not (tmp_path / "nothing").exists()


def test_another_class_among_the_new_samples(tmp_path: Path, raw: Path) -> None:
    """Networks have an output for each: another store is asked for."""

    class Classes(Listed):
        def labels(self) -> Labels:
            more = ("yak",) if len(self) > 22 else ()
            return Labels("classification", ("cat", "dog", "owl", *more), unknown=-1)

    build(Classes(raw=raw), tmp_path / "store")
    raw.write_text(lines(range(30)))
    with pytest.raises(UserError, match=r"classes of .* of .*store: 'yak' is new; expected"):
        append(tmp_path / "store", lambda options: Classes(raw=raw))


def test_samples_that_are_declared_in_another_way(tmp_path: Path, raw: Path) -> None:
    """By what the recipe reads: another size, another number for what is ignored."""

    class Other(Listed):
        wide, ignored = 7, -9

        def modalities(self) -> tuple[Modality, ...]:
            rgb, _ = super().modalities()
            return rgb, Modality("audio", "float32", (self.wide,), 2.0, "Pa")

        def labels(self) -> Labels:
            return replace(super().labels(), ignored=self.ignored)

    path = build(Other(raw=raw), tmp_path / "store").path
    raw.write_text(lines(range(30)))
    for name, value, said in (("ignored", -8, "labels"), ("wide", 8, "modalities")):
        recipe = Other(raw=raw)
        setattr(recipe, name, value)
        with pytest.raises(UserError, match=rf"the {said} of test vectors are .* prepare a store"):
            append(path, lambda options, recipe=recipe: recipe)


@pytest.mark.parametrize("encoded", [False, True])
def test_names_that_do_not_tell_samples_apart(tmp_path: Path, raw: Path, encoded: bool) -> None:
    """Where names are places, as lines of a table are, one put in between is found by its values.

    It would be stored twice otherwise; what differs by rounding is the same.
    """
    made = Placed if not encoded else PlacedPictures
    path = tmp_path / "store"
    before = build(made(raw=raw), path)
    raw.write_text(lines([*range(5), 70, *range(5, 22)]))
    with pytest.raises(UserError, match=r"sample '6' of the raw data is not the one that .*store"):
        append(path, lambda options: made(raw=raw))
    assert Store(path).metadata == before.metadata
    raw.write_text(lines(range(30)))
    recipe = made(raw=raw)
    recipe.changes = {0: {"audio": Vectors().sample(0)["audio"] * np.float32(1.000001)}}
    assert append(path, lambda options: recipe).length == 30


class Placed(Listed):
    """The same, named by their places."""

    def identifier(self, index: int) -> str:
        return str(index)


class PlacedPictures(Placed):
    """The same with a picture that is kept as a file, and that some lack."""

    def modalities(self) -> tuple[Modality, ...]:
        photo = Modality("photo", "uint8", (3, 4, 5), encoding="png", optional=True)
        return (*super().modalities(), photo)

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        found, file = dict(super().sample(index)), BytesIO()
        Image.fromarray(found["rgb"].transpose(1, 2, 0)).save(file, "png")
        return {**found, "photo": file.getvalue()} if index % 4 else found


def test_raw_data_that_is_called_by_another_path(tmp_path: Path, raw: Path) -> None:
    """Names in which its path stands are those of before: from another folder it is the same."""

    class Lines(Listed):
        def identifier(self, index: int) -> str:
            return f"line {index} of {self.raw}"

    path = tmp_path / "store"
    build(Lines(raw=raw), path)
    other = tmp_path / "moved" / raw.name
    other.parent.mkdir()
    other.write_text(lines(range(30)))
    assert append(path, lambda options: Lines(raw=other)).length == 30
    another = tmp_path / "another.txt"
    another.write_text(lines(range(40)))
    with pytest.raises(UserError, match=r"sample 0 of the raw data is 'line 0 of .*another.txt'"):
        append(path, lambda options: Lines(raw=another))


def test_raw_data_that_is_not_all_new(
    tmp_path: Path, raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Is refused if it begins with what is stored or was appended, and told of files it shares."""
    path = tmp_path / "store"
    build(Listed(raw=raw), path)
    more = tmp_path / "more.txt"
    for numbers, first in ((range(60, 72), 22), (range(22), 0)):
        more.write_text(lines(numbers))
        if first:
            append(path, listed(more), all_new=True)
        more.write_text(lines([*numbers, 80]))
        with pytest.raises(UserError, match=f"begins with samples .* holds from sample {first} on"):
            append(path, listed(more), all_new=True)
    assert Store(path).length == 34
    assert not caplog.records
    more.write_text(lines(range(3)))  # so few can be the same by chance
    assert append(path, listed(more), all_new=True).length == 37
    more.write_text(lines(range(90, 99)))
    recipe = Listed(raw=more)
    recipe.__dict__["raw_files"] = lambda: (more, raw)
    append(path, lambda options: recipe, all_new=True)
    assert "1 of the raw files, such as 'list.txt', are those of" in caplog.text


def test_one_sample_that_differs_is_enough(tmp_path: Path, raw: Path) -> None:
    """Of each shard: where samples are read in chunks, the next is a chunk away."""
    read: list[int] = []

    class Noted(Listed):
        def sample(self, index: int) -> Mapping[str, np.ndarray]:
            read.append(index)
            return super().sample(index)

    store = build(Noted(raw=raw), tmp_path / "store", shards=2)
    raw.write_text(lines(range(60, 70)))
    read.clear()
    append(store.path, lambda options: Noted(raw=raw), all_new=True)
    assert read == [0, 0, *range(10)]


def test_few_chunks_are_looked_at_as_well(tmp_path: Path, raw: Path) -> None:
    """Their beginnings alone are too few to tell samples that are alike from the same ones."""

    class Together(Listed):
        def chunks(self) -> list[Chunk]:
            return [Chunk(len(self), lambda: map(self.sample, range(len(self))))]

    build(Together(raw=raw), tmp_path / "store")
    raw.write_text(lines(range(30)))
    with pytest.raises(UserError, match="begins with samples"):
        append(tmp_path / "store", lambda options: Together(raw=raw), all_new=True)
