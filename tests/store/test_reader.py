from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
from pathlib import Path

import lmdb
import numpy as np
import pytest
from sample_recipes import Maps, Vectors, column

from mstgraph.store.build.builder import build
from mstgraph.store.mapped import gather
from mstgraph.store.reader import Store, open_store
from mstgraph.store.recipe import Modality
from mstgraph.support.errors import UserError

ORDER = [39, 0, 7, 8, 8, 21, 3]


def test_store_describes_itself(store: Store) -> None:
    """Everything that a run needs to know is there without the recipe."""
    assert store.length == len(store) == 40
    assert store.modalities["audio"] == Modality("audio", "float32", (7,), 2.0, "Pa")
    assert list(store.modalities) == ["rgb", "audio"]
    assert store.labels_spec == Vectors().labels()
    assert store.bytes_per_sample("rgb") == 60
    described = json.loads(json.dumps(store.describe()))
    assert described["recipe"]["class"] == "Vectors"
    assert described["recipe"]["options"] == {"length": 40, "seed": 0}
    assert described["synthetic"] == "random numbers"
    assert described["splits"]["0"] == {"train": 24, "validation": 8, "test": 8}


@pytest.mark.parametrize("indices", [ORDER, [5], [], list(range(40)), list(range(39, -1, -1))])
def test_batches_hold_the_recipes_samples_in_the_order_asked_for(
    store: Store, indices: list[int]
) -> None:
    """Records, blocks and repeated samples do not show."""
    assert store.columns["rgb"].records > 2
    for name in ("rgb", "audio"):
        found = store.read(name, indices)
        assert found.dtype == store.modalities[name].dtype
        np.testing.assert_array_equal(found, column(Vectors(), name)[np.array(indices, int)])
    assert store.read_labels(indices).dtype == np.int64
    assert store.read_labels(indices).tolist() == [index % 3 for index in indices]
    assert [store.identifier(index) for index in indices] == [f"clip{i:03d}" for i in indices]


@pytest.mark.parametrize(("pieces", "row_bytes"), [(0, 1), (0, 10**9), (10**9, 0)])
def test_every_way_of_gathering_reads_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch, pieces: int, row_bytes: int
) -> None:
    """Row by row, record by record and by pieces are three speeds of one result."""
    monkeypatch.setattr(gather, "PIECES", pieces)
    monkeypatch.setattr(gather, "ROW_BYTES", row_bytes)
    for name in ("rgb", "audio"):
        np.testing.assert_array_equal(store.read(name, ORDER), column(Vectors(), name)[ORDER])


def test_records_on_pages_of_their_own_are_read_by_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors whose rows divide into pieces of a page are gathered by one take over the map."""
    from mstgraph.store import layout

    class Wide(Vectors):
        def modalities(self) -> tuple[Modality, ...]:
            return (Modality("wide", "float32", (768,)),)

        def sample(self, index: int) -> dict[str, np.ndarray]:
            return {"wide": np.full(768, index, np.float32), "label": np.array(0)}

    monkeypatch.setattr(layout, "BLOCK_SAMPLES", 4)
    monkeypatch.setattr(layout, "RECORD_BYTES", 8 * 3072)
    store = build(Wide(), tmp_path / "wide")
    assert store.columns["wide"].records == 5
    assert store.read("wide", ORDER)[:, 5].tolist() == ORDER
    assert store._gather("wide")._pieces is not None


def test_large_samples_are_records_of_their_own(tmp_path: Path) -> None:
    """Megabyte samples come back exactly; labels are stored in the narrowest type."""
    recipe = Maps()
    store = build(recipe, tmp_path / "maps")
    assert store.columns["rgb"].samples_per_record == 1
    np.testing.assert_array_equal(store.read("depth", [4, 1]), column(recipe, "depth")[[4, 1]])
    np.testing.assert_array_equal(store.read("rgb", [5]), column(recipe, "rgb")[[5]])
    assert store.read("rgb", []).shape == (0, 3, 480, 640)
    labels = store.read_labels([3, 0])
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, column(recipe, "label")[[3, 0]])


def test_batches_are_read_into_the_array_given(store: Store) -> None:
    """``out`` is filled and returned; one that does not fit is refused."""
    out = np.zeros((2, 7), np.float32)
    assert store.read("audio", [3, 4], out) is out
    np.testing.assert_array_equal(out, column(Vectors(), "audio")[3:5])
    for wrong in (np.zeros((3, 7), np.float32), np.zeros((2, 7)), np.zeros((2, 14), "f4")[:, ::2]):
        with pytest.raises(ValueError, match=r"expected float32 \(2, 7\), C-contiguous"):
            store.read("audio", [3, 4], wrong)


@pytest.mark.parametrize("indices", [[40], [-1], [0, 10**9], [[1]], [0.5]])
def test_samples_that_are_not_there_are_refused(store: Store, indices: list) -> None:
    """No wrap-around and no clipping: memory beyond the map is never touched."""
    with pytest.raises(IndexError, match="expected"):
        store.read("audio", indices)
    with pytest.raises(IndexError):
        store.read_labels(indices)


def test_unknown_names_are_answered_with_the_nearest(store: Store) -> None:
    """A misspelt modality, split or part gets a sentence."""
    with pytest.raises(UserError, match="no modality 'audoi'; did you mean 'audio'"):
        store.read("audoi", [0])
    with pytest.raises(UserError, match="no split '7'"):
        store.split("7", "train")
    with pytest.raises(UserError, match=r"unknown part 'tests'.*did you mean 'test'"):
        store.split("0", "tests")
    with pytest.raises(UserError, match="no modality 'label'"):
        store.statistics("label", "0")


def test_opening_reads_no_data(store: Store) -> None:
    """Metadata alone is enough to plan: LMDB is opened on the first read only."""
    fresh = Store(store.path)
    fresh.describe()
    assert fresh.bytes_per_sample("audio") == 28
    assert fresh._environment is None


def test_two_stores_on_one_path_read_side_by_side(store: Store) -> None:
    """LMDB allows one environment a process; stores share it, and one may close."""
    other = open_store(store.path)
    assert store.read_labels([4]).tolist() == other.read_labels([4]).tolist() == [1]
    store.close()
    assert other.read_labels([5]).tolist() == [2]
    assert store.read_labels([5]).tolist() == [2]


def _sum(store: Store) -> float:
    return float(store.read("audio", range(40)).sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_after_fork_and_spawn(store: Store, method: str) -> None:
    """A store that was already read travels to worker processes and is opened there anew."""
    expected = _sum(store)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(_sum, [store, store]) == [expected, expected]
    assert _sum(store) == expected


def test_forked_child_uses_the_store_it_inherited(store: Store) -> None:
    """Not pickled but inherited, views and all: the child opens the file for itself."""
    expected = _sum(store)
    child = os.fork()
    if not child:
        os._exit(0 if _sum(store) == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert _sum(store) == expected


def test_pickled_store_is_small_and_equal(store: Store) -> None:
    """Only the path travels."""
    store.read("rgb", [0])
    copied = pickle.dumps(store)
    assert len(copied) < 1000
    assert pickle.loads(copied).fingerprint == store.fingerprint


def test_read_only_directory_is_enough(store: Store) -> None:
    """No lock file is made beside the data."""
    store.path.chmod(0o555)
    try:
        store.read("rgb", [0])
        assert sorted(os.listdir(store.path)) == ["data.mdb", "metadata.json"]
    finally:
        store.path.chmod(0o755)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: shutil.rmtree(path), "there is no store at"),
        (lambda path: (path / "metadata.json").unlink(), "is no store: it holds no metadata.json"),
        (lambda path: (path / "metadata.json").write_text("{"), "cannot be read as JSON"),
        (lambda path: (path / "data.mdb").unlink(), "has 0 bytes"),
        (lambda path: os.truncate(path / "data.mdb", 4096), "4096 bytes, expected .* cut short"),
        (
            lambda path: (path / "metadata.json").write_text('{"format_version": 99}'),
            "format version 99; expected at most 4",
        ),
    ],
)
def test_what_is_no_whole_store_cannot_be_opened(store: Store, spoil, message: str) -> None:
    """Each state gets its own sentence; a truncated file never gets as far as the map."""
    spoil(store.path)
    with pytest.raises(UserError, match=message):
        Store(store.path)


def test_file_cut_short_after_opening_is_refused_before_the_map_is_touched(store: Store) -> None:
    """Reading past the end of a mapped file would kill the process."""
    fresh = Store(store.path)
    store.close()
    os.truncate(store.path / "data.mdb", 8192)
    with pytest.raises(UserError, match="cut short"):
        fresh.read("rgb", [0])


def test_store_replaced_since_opening_is_refused(store: Store, tmp_path: Path) -> None:
    """A worker never reads other data than the process that opened the store."""
    fresh = Store(store.path)
    store.close()
    shutil.rmtree(store.path)
    build(Vectors(seed=1), tmp_path / "vectors")
    with pytest.raises(UserError, match="was replaced by another"):
        fresh.read("rgb", [0])


def test_missing_record_is_reported(store: Store) -> None:
    """A record that is gone is named by its samples."""
    store.close()
    _delete(store.path, b"rgb", (1).to_bytes(8, "big"))
    _accept_size(store.path)
    with pytest.raises(UserError, match="samples 8 to 15 of 'rgb' is missing"):
        Store(store.path).read("rgb", [0])


def _delete(path: Path, database: bytes, key: bytes) -> None:
    with lmdb.open(str(path), max_dbs=1, lock=False) as environment:
        handle = environment.open_db(database)
        with environment.begin(write=True) as transaction:
            assert transaction.delete(key, db=handle)


def _accept_size(path: Path) -> None:
    metadata = json.loads((path / "metadata.json").read_text())
    metadata["data_bytes"] = (path / "data.mdb").stat().st_size
    (path / "metadata.json").write_text(json.dumps(metadata))
