"""Stores in which samples lack a modality, or have less of one: kept, counted, read, checked."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mstgraph.store.build.builder import build
from mstgraph.store.presence import having, pattern_counts
from mstgraph.store.reader import Store
from mstgraph.store.recipe import Labels, Modality, Recipe
from mstgraph.store.verification import verify
from mstgraph.support.errors import UserError

LENGTH = 30


@dataclass
class Partly(Recipe):
    """Sound of any length, a picture that every third sample lacks, touch that all have."""

    optional: bool = True

    title = "partly there"
    source = "drawn at random"
    licence = "none"
    synthetic = "random numbers"

    def modalities(self) -> tuple[Modality, ...]:
        """One that varies, one that is optional, one that is neither."""
        return (
            Modality("sound", "float32", (2, 5), varying=True),
            Modality("picture", "uint8", (3, 2, 2), optional=self.optional),
            Modality("touch", "float32", (4,)),
        )

    def labels(self) -> Labels:
        """Two classes; the picture of the second is never there in samples of ``without``."""
        return Labels("classification", ("a", "b"))

    def __len__(self) -> int:
        return LENGTH

    def sample(self, index: int) -> dict:
        """Depends on the index alone."""
        draw = np.random.default_rng(index)
        found = {
            "sound": draw.normal(size=(2, 1 + index % 5)).astype(np.float32),
            "picture": draw.integers(0, 255, (3, 2, 2)).astype(np.uint8),
            "touch": draw.normal(size=4).astype(np.float32),
            "label": np.array(index % 2),
        }
        if index % 3 == 0:
            found["picture"] = None
        elif index % 3 == 1 and index > 15:
            del found["picture"]
        return found


def there(index: int) -> bool:
    """Whether a sample has a picture."""
    return index % 3 == 2 or (index % 3 == 1 and index <= 15)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of it."""
    return build(Partly(), tmp_path_factory.mktemp("partly") / "store")


def test_what_is_there_is_kept_and_the_rest_is_zero(store: Store) -> None:
    """Lengths of what varies, 0 of what lacks; no word of what all samples have."""
    ids = np.array([16, 3, 2, 9])
    lengths = store.read_lengths(ids)
    assert lengths.keys() == {"sound", "picture"}
    np.testing.assert_array_equal(lengths["sound"], ids % 5 + 1)
    np.testing.assert_array_equal(lengths["picture"], [2 * there(i) for i in ids])
    sound, picture = store.read("sound", ids), store.read("picture", ids)
    for row, index in enumerate(ids.tolist()):
        sample = Partly().sample(index)
        length = index % 5 + 1
        np.testing.assert_array_equal(sound[row, :, :length], sample["sound"])
        assert not sound[row, :, length:].any()
        expected = sample["picture"] if there(index) else np.zeros((3, 2, 2))
        np.testing.assert_array_equal(picture[row], expected)
    assert not verify(store)
    assert store.modalities["sound"].varying
    assert store.modalities["picture"].optional


def test_statistics_are_of_what_is_there(store: Store) -> None:
    """Neither zeros in the place of a picture nor padding enter mean, deviation or range."""
    train = store.split("0", "train")
    for name in ("sound", "picture"):
        samples = [Partly().sample(i)[name] for i in train if name == "sound" or there(i)]
        values = np.concatenate([s.reshape(len(s), -1) for s in samples], 1).astype(float)
        found = store.statistics(name, "0")
        np.testing.assert_allclose(found.mean, values.mean(1))
        np.testing.assert_allclose(found.std, values.std(1))
        np.testing.assert_allclose(found.minimum, values.min(1))


def test_patterns_are_counted(store: Store) -> None:
    """For all samples, for each part of each split, and of each class in training."""
    presence = store.metadata["presence"]
    count = sum(map(there, range(LENGTH)))
    assert presence["samples"] == {
        "sound + picture + touch": count,
        "sound + touch": LENGTH - count,
    }
    test = presence["splits"]["2"]["test"]
    assert having(test, "picture") == sum(map(there, store.split("2", "test").tolist()))
    assert having(test, "touch") == len(store.split("2", "test"))
    assert presence["classes"]["0"] == {}


def test_a_class_without_a_modality_is_known(tmp_path: Path, monkeypatch: object) -> None:
    """By split, from the training part."""

    @dataclass
    class Without(Partly):
        def sample(self, index: int) -> dict:
            found = super().sample(index)
            return {**found, "picture": None} if index % 2 else found

    store = build(Without(), tmp_path / "without")
    assert store.metadata["presence"]["classes"]["1"] == {"picture": ["b"]}


def test_patterns_are_named_by_what_is_there() -> None:
    """The most complete first."""
    there = np.array([[0, 0], [1, 1], [0, 1], [1, 1]], bool)
    assert pattern_counts(("a", "b"), there) == {"a + b": 2, "b": 1, "nothing": 1}


def test_other_stores_say_nothing_of_it(tiny_store: Path) -> None:
    """No key, no column, the version of the content that they always had."""
    store = Store(tiny_store)
    assert store.read_lengths(np.array([0])) == {}
    assert store.metadata["content_version"] == 1
    assert not {"presence", "lengths"} & store.metadata.keys()
    assert all(
        item.keys().isdisjoint(("optional", "varying")) for item in store.metadata["modalities"]
    )


def test_its_content_is_of_another_version(store: Store) -> None:
    """Who knows nothing of it would take zeros for a picture."""
    assert store.metadata["content_version"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"picture": None}, "lacks 'picture'; expected"),
        ({"sound": np.zeros((2, 6), np.float32)}, "expected shape 2×5 or less"),
        ({"sound": np.zeros((2, 0), np.float32)}, "expected shape 2×5 or less"),
        ({"sound": np.zeros((1, 5), np.float32)}, "expected shape 2×5 or less"),
    ],
)
def test_undeclared_absence_is_an_error(tmp_path: Path, change: dict, message: str) -> None:
    """Nothing is filled in silently."""

    @dataclass
    class Faulty(Partly):
        def sample(self, index: int) -> dict:
            found = Partly.sample(self, index + 1 if index % 3 else 2) | change
            return {name: value for name, value in found.items() if value is not None}

    with pytest.raises(UserError, match=f"sample '0'.*{message}"):
        build(Faulty(optional=False), tmp_path / "faulty")


def test_a_sample_of_nothing_is_an_error(tmp_path: Path) -> None:
    """There is nothing to learn from."""

    @dataclass
    class Nothing(Partly):
        def modalities(self) -> tuple[Modality, ...]:
            return (Modality("picture", "uint8", (3, 2, 2), optional=True),)

        def sample(self, index: int) -> dict:
            return {"label": np.array(0)}

    with pytest.raises(UserError, match="sample '0' lacks every modality"):
        build(Nothing(), tmp_path / "nothing")


def test_damage_to_lengths_is_found(store: Store, tmp_path: Path) -> None:
    """Metadata that hides that samples lack something is no metadata of this store."""
    path = tmp_path / "copy"
    path.mkdir()
    (path / "data.mdb").symlink_to(store.path / "data.mdb")
    metadata = json.loads((store.path / "metadata.json").read_text())
    for item in metadata["modalities"]:
        item.pop("varying", None)
        item.pop("optional", None)
    (path / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(UserError, match="modalities that samples may lack is none"):
        Store(path)


def test_a_build_that_was_cut_short_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Lengths are written block by block with the samples: the same store, bit for bit."""
    from mstgraph.store import layout

    monkeypatch.setattr(layout, "BLOCK_SAMPLES", 7)
    whole = build(Partly(), tmp_path / "whole")
    sample = Partly.sample

    def failing(self: Partly, index: int) -> dict:
        if index == 16:
            raise OSError("cable")
        return sample(self, index)

    monkeypatch.setattr(Partly, "sample", failing)
    with pytest.raises(UserError, match="cable"):
        build(Partly(), tmp_path / "cut")
    monkeypatch.setattr(Partly, "sample", sample)
    with caplog.at_level(logging.INFO, "mstgraph"):
        cut = build(Partly(), tmp_path / "cut")
    assert "continuing the build" in caplog.text
    assert cut.fingerprint == whole.fingerprint
