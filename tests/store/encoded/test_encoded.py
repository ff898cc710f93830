"""Samples stored as files: a recipe that stores arrays comes to the same, bit for bit."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from picture_recipe import Pictures, file

from mstgraph.data.feed import Pool
from mstgraph.store import layout
from mstgraph.store.build.builder import build
from mstgraph.store.encoded.records import joined, place
from mstgraph.store.reader import Store
from mstgraph.store.recipe import Modality
from mstgraph.store.verification import verify
from mstgraph.support.errors import UserError


@pytest.fixture(autouse=True)
def _several_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "BLOCK_SAMPLES", 4)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """One of files and one of arrays."""
    folder = tmp_path_factory.mktemp("pictures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "BLOCK_SAMPLES", 4)
        return build(Pictures(), folder / "files"), build(Pictures(False), folder / "arrays")


def test_what_is_decoded_is_what_would_have_been_stored(stores: tuple[Store, Store]) -> None:
    """Samples, labels, what is absent, the statistics that normalise, what messages say."""
    files, arrays = stores
    order = np.random.default_rng(0).permutation(22)
    for name in files.modalities:
        np.testing.assert_array_equal(files.read(name, order), arrays.read(name, order))
        for split in ("0", "4"):
            found, expected = (s.statistics(name, split).packed() for s in stores)
            np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(files.read_labels(order), arrays.read_labels(order))
    np.testing.assert_array_equal(
        files.read_lengths(order)["grey"], arrays.read_lengths(order)["grey"]
    )
    assert files.identifier(21) == "21.jpg"
    assert verify(files) == []
    assert files.fingerprint != arrays.fingerprint


def test_the_bytes_of_the_files_are_kept(stores: tuple[Store, Store]) -> None:
    """As they were, so that a store of JPEGs is as large as they are."""
    records = [value for _, value in stores[0].environment.items("photo")]
    assert b"".join(records).count(file(7, "JPEG", "RGB")) == 1
    size = sum(len(file(index, "JPEG", "RGB")) + 8 for index in range(22))
    assert sum(map(len, records)) == size


@pytest.mark.parametrize("budget", [0, 1 << 20])
def test_batches_are_the_same(stores: tuple[Store, Store], budget: int) -> None:
    """Decoded ahead in threads, or once where it stays on the device."""
    batches = []
    for store in stores:
        feed = Pool(store, "1", "cpu", "standard", budget).feed("train", ("photo", "grey"))
        batches.append([*feed.epoch(5)])
    for (found, labels, _), (expected, wanted, _) in zip(*batches, strict=True):
        assert (labels == wanted).all()
        for name, values in found.items():
            assert (values == expected[name]).all()


def test_processes_come_to_the_same_files(tmp_path: Path, stores: tuple[Store, Store]) -> None:
    """Files travel as they are."""
    store = build(Pictures(), tmp_path / "two", jobs=2)
    for name in ("data.mdb", "metadata.json"):
        assert (store.path / name).read_bytes() == (stores[0].path / name).read_bytes()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("kind", "'5.jpg', modality 'photo', cannot be read: it is no JPEG file$"),
        ("cut", "'5.jpg', modality 'photo', cannot be read"),
        ("size", r"'5.jpg', modality 'depth': expected shape 1×7×9, found 1×7×8"),
        ("deep", "'depth', is of mode 'L'; expected a 16-bit grey PNG"),
        ("array", "'photo': expected the bytes of a JPEG file, found an object of type ndarray"),
        ("empty", "'photo': expected the bytes of a JPEG file, found nothing"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path, wrong: str, told: str) -> None:
    """When the store is prepared, not in the middle of a run."""
    with pytest.raises(UserError, match=told):
        build(Pictures(wrong=wrong), tmp_path / "store")


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (Modality("photo", "uint8", (3, 6, 8), encoding="jpg"), "did you mean 'jpeg'"),
        (Modality("photo", "uint8", (2, 6, 8), encoding="jpeg"), r"expected uint8 \[3 or 1,"),
        (Modality("photo", "uint16", (1, 6, 8), encoding="jpeg"), r"expected uint8 \[3 or 1,"),
        (Modality("photo", "float32", (7,), encoding="png"), r"or uint16 \[1, height, width\]"),
        (Modality("photo", "uint8", (2, 9), encoding="flac"), r"float32 \[channels, samples\]"),
    ],
)
def test_an_encoding_asks_for_type_and_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, item: Modality, told: str
) -> None:
    """What is declared is refused before any sample is read."""
    monkeypatch.setattr(Pictures, "modalities", lambda self: (item,))
    with pytest.raises(UserError, match=told):
        build(Pictures(), tmp_path / "store")


def test_recordings_need_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence says which."""
    sound = Modality("photo", "int16", (1, 9), encoding="flac")
    monkeypatch.setattr(Pictures, "modalities", lambda self: (sound,))
    monkeypatch.setattr(
        Pictures, "sample", lambda self, index: {"photo": b"fLaC", "label": np.array(0)}
    )
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(UserError, match=r"needs soundfile: pip install 'mstgraph\[audio\]'"):
        build(Pictures(), tmp_path / "store")


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_recordings_are_their_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    """FLAC loses nothing; lengths differ."""
    soundfile = pytest.importorskip("soundfile")
    signals = [
        np.random.default_rng(index).integers(-9000, 9000, (30 + index, 2)).astype(np.int16)
        for index in range(22)
    ]

    def sample(self: Pictures, index: int) -> Mapping[str, object]:
        out = io.BytesIO()
        soundfile.write(out, signals[index], 8000, format="FLAC")
        return {"sound": out.getvalue(), "label": np.array(index % 2)}

    sound = Modality("sound", dtype, (2, 60), varying=True, encoding="flac")
    monkeypatch.setattr(Pictures, "modalities", lambda self: (sound,))
    monkeypatch.setattr(Pictures, "sample", sample)
    store = build(Pictures(), tmp_path / "store")
    found = store.read("sound", [3, 20])
    for row, index in enumerate((3, 20)):
        expected = signals[index].T / (1 if dtype == "int16" else 32768)
        np.testing.assert_array_equal(found[row, :, : 30 + index], expected)
        assert not found[row, :, 30 + index :].any()
    assert store.read_lengths([3, 20])["sound"].tolist() == [33, 50]


def test_a_damaged_record_is_told(tmp_path: Path) -> None:
    """Before anything of it is decoded."""
    path = build(Pictures(), tmp_path / "store").path / "data.mdb"
    data = bytearray(path.read_bytes())
    data[data.index(file(9, "JPEG", "RGB")) + 400] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="samples 8 to 11 of 'photo' does not match its checksum"):
        Store(path.parent).read("photo", [9])


def test_the_place_of_a_file_is_checked() -> None:
    """A head that makes no sense, though its checksum is right, leads nowhere else."""
    record = joined([b"abc", b"", b"de"])
    whole = memoryview(record)
    files = [bytes(whole[slice(*place(whole, 3, row))]) for row in range(3)]
    assert files == [b"abc", b"", b"de"]
    for wrong in (record[:-1], record[:20], record[:16] + b"\xff" * 8 + record[24:]):
        with pytest.raises(ValueError, match="record"):
            place(memoryview(wrong), 3, 2)
