from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sample_recipes import Maps, Vectors

from mstgraph.store.build.builder import build
from mstgraph.store.packed import packed_split
from mstgraph.store.reader import Store
from mstgraph.store.verification import verify


def _spoil(store: Store, needle: bytes) -> Store:
    """Flip one bit of every copy of ``needle`` (LMDB leaves old ones); return the store again."""
    path = store.path
    store.close()
    data = bytearray((path / "data.mdb").read_bytes())
    spoilt = bytearray(needle)
    spoilt[len(needle) // 2] ^= 1
    assert needle in data
    data = data.replace(needle, spoilt)
    (path / "data.mdb").write_bytes(data)
    return Store(path)


def test_sound_store_has_no_problems(store: Store) -> None:
    """Every record is visited, and progress is told to the end."""
    seen: list[tuple[int, int]] = []
    assert verify(store, lambda *done: seen.append(done)) == []
    assert seen == [(done, len(seen)) for done in range(1, len(seen) + 1)]
    records = sum(item.records for item in store.columns.values())
    assert len(seen) == records + 10 + 5 * 3 + 5 * 2  # identifiers, splits, statistics


def test_flipped_bit_is_found_and_named(tmp_path: Path) -> None:
    """Modality, record and samples are named, and nothing else is."""
    store = build(Maps(), tmp_path / "maps")
    spoilt = _spoil(store, Maps().sample(4)["depth"].tobytes()[:64])
    assert verify(spoilt) == [
        "modality 'depth', record 4 (samples 4 to 4) does not match its checksum"
    ]


def test_flipped_bit_in_a_record_of_many_samples_is_named_with_their_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several samples share a record: the range is told."""
    from mstgraph.store import layout

    monkeypatch.setattr(layout, "BLOCK_SAMPLES", 8)
    monkeypatch.setattr(layout, "RECORD_BYTES", 480)
    store = build(Vectors(), tmp_path / "vectors")
    spoilt = _spoil(store, Vectors().sample(19)["rgb"].tobytes())
    assert verify(spoilt) == [
        "modality 'rgb', record 2 (samples 16 to 23) does not match its checksum"
    ]


def test_spoilt_splits_and_statistics_are_found(store: Store) -> None:
    """A changed split would leak test samples: it is checked like the data."""
    spoilt = _spoil(store, store.statistics("rgb", "2").packed().tobytes())
    assert verify(spoilt) == [
        "statistics of modality 'rgb' on split '2' does not match its checksum"
    ]
    spoilt = _spoil(spoilt, packed_split(spoilt.split("3", "validation"), spoilt.length))
    assert "split '3', part 'validation', does not match its checksum" in verify(spoilt)


def test_edited_metadata_does_not_match_the_fingerprint(store: Store) -> None:
    """Declaring another scale or class by hand is found."""
    path = store.path / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["labels"]["classes"][0] = "lynx"
    path.write_text(json.dumps(metadata))
    store.close()
    assert verify(Store(store.path)) == [
        "the metadata or the list of checksums does not match the fingerprint"
    ]


def test_data_are_stored_as_they_are(store: Store) -> None:
    """The bytes of a record are those of the samples, so that any LMDB reader can use them."""
    value = store.environment.value("audio", (0).to_bytes(8, "big"))
    assert value is not None
    rows = np.frombuffer(value, "<f4").reshape(-1, 7)
    np.testing.assert_array_equal(rows[3], Vectors().sample(3)["audio"])
