"""What recipes share to read raw data: every failure is one sentence."""

from __future__ import annotations

import sys
import types
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mstgraph.recipes import raw
from mstgraph.support.errors import UserError


def test_a_function_that_an_option_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """``module:function``; anything else is refused with the option's name."""
    module = types.ModuleType("features")
    module.read = len  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "features", module)
    assert raw.function("features:read", "reader") is len
    for name, told in (
        ("features", "option 'reader' is 'features'; expected module:function"),
        (":read", "expected module:function"),
        ("features:", "expected module:function"),
        ("fetures:read", "the module 'fetures', which cannot be imported"),
        ("features:red", "no function 'red'; did you mean 'read'"),
    ):
        with pytest.raises(UserError, match=told):
            raw.function(name, "reader")


def test_arrays_are_opened_not_read(tmp_path: Path) -> None:
    """A sample's shape is checked, or the whole file's; bytes stay on the disk."""
    values = np.arange(24, dtype=np.int16).reshape(4, 2, 3)
    np.save(tmp_path / "a.npy", values)
    opened = raw.array(tmp_path / "a.npy", [(9,), (2, 3)])
    assert isinstance(opened, np.memmap)
    np.testing.assert_array_equal(opened, values)
    assert raw.array(tmp_path / "a.npy", [(4, 2, 3)], whole=True).shape == (4, 2, 3)
    with pytest.raises(UserError, match="is 4×2×3; expected N×9 or N×2×4"):
        raw.array(tmp_path / "a.npy", [(9,), (2, 4)])
    with pytest.raises(UserError, match=r"is 4×2×3; expected 2×3$"):
        raw.array(tmp_path / "a.npy", [(2, 3)], whole=True)


def test_foreign_files_are_no_arrays(tmp_path: Path) -> None:
    """Missing, damaged, pickled, archived and textual files are refused."""

    def told(name: str) -> str:
        with pytest.raises(UserError) as caught:
            raw.array(tmp_path / name, [()])
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert told("none.npy").endswith("none.npy does not exist")
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00")
    assert "cannot be read as a .npy file of numbers" in told("a.npy")
    np.save(tmp_path / "b.npy", np.array([{}]), allow_pickle=True)
    assert "cannot be read as a .npy file of numbers" in told("b.npy")
    np.save(tmp_path / "f.npy", np.zeros((2, 3)))
    damaged = (tmp_path / "f.npy").read_bytes().replace(b"}", b"{")
    (tmp_path / "f.npy").write_bytes(damaged)
    assert "cannot be read as a .npy file of numbers" in told("f.npy")
    np.savez(tmp_path / "c.npz", a=np.zeros(3))
    assert "holds an archive; expected one array of numbers" in told("c.npz")
    np.save(tmp_path / "d.npy", np.array(["x"]))
    assert "holds <U1" in told("d.npy")
    np.save(tmp_path / "e.npy", np.array(5))
    assert "is a single value; expected N" in told("e.npy")


def test_labels_are_checked(tmp_path: Path) -> None:
    """Whole numbers within the classes, of any type of number."""
    np.save(tmp_path / "a.npy", np.array([0.0, 2.0, 1.0]))
    found = raw.labels(tmp_path / "a.npy", 3)
    assert found.tolist() == [0, 2, 1]
    assert found.dtype == np.int64
    for wrong in (3, -1, 0.5, np.nan):
        np.save(tmp_path / "a.npy", np.array([0.0, wrong]))
        with pytest.raises(UserError, match=r"label 1 of .* expected integers from 0 to 2"):
            raw.labels(tmp_path / "a.npy", 3)


def test_types_to_store() -> None:
    """Bytes and half precision stay as they are; all else becomes float32."""
    kinds = {("u1", "u1"): "uint8", ("f2",): "float16", ("f8",): "float32", ("u1", "f4"): "float32"}
    for given, expected in kinds.items():
        assert raw.stored_type([np.zeros(1, kind) for kind in given]) == expected


def test_recordings_become_one_channel(tmp_path: Path) -> None:
    """Channels are averaged, and the rate is changed; a tone keeps its pitch."""
    pytest.importorskip("librosa")
    soundfile = pytest.importorskip("soundfile")
    tone = np.sin(2 * np.pi * 500 * np.arange(8000) / 8000)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, np.zeros(8000)], 1), 8000)
    found = raw.waveform(tmp_path / "a.wav", 16000)
    assert found.shape == (16000,)
    assert np.abs(np.fft.rfft(found)).argmax() == 500
    np.testing.assert_allclose(np.abs(found[2000:-2000]).max(), 0.5, atol=0.02)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content[:-100], r"a\.wav was cut: it has 1944 bytes, expected 2044"),
        (lambda content: content[:-4], r"a\.wav was cut: it has 2040 bytes, expected 2044"),
        (lambda content: b"", r"a\.wav cannot be read as a sound file"),
        (lambda content: b"no sound" * 9, r"a\.wav cannot be read as a sound file"),
        (None, r"a\.wav cannot be read: No such file"),
    ],
)
def test_damaged_recordings_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, told: str
) -> None:
    """One that was cut off would pass for a short one."""
    library = types.ModuleType("soundfile")

    def read(path: Path, **options: object) -> None:
        raise RuntimeError("unknown format")

    library.read = read  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "librosa", types.ModuleType("librosa"))
    monkeypatch.setitem(sys.modules, "soundfile", library)
    path = tmp_path / "a.wav"
    if change is not None:
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes(2000))
        path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=told):
        raw.waveform(path, 16000)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_recordings_of_any_width_are_as_loud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subtype: str
) -> None:
    """Full scale is one, in 8, 16, 24 and 32 bits and in floating numbers, of two channels."""
    soundfile = pytest.importorskip("soundfile")
    library = types.ModuleType("librosa")
    library.resample = lambda values, orig_sr, target_sr: values  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "librosa", library)
    tone = np.sin(np.arange(800) * 0.1)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, tone], 1), 8000, subtype)
    np.testing.assert_allclose(raw.waveform(tmp_path / "a.wav", 8000), tone, atol=0.01)


def test_an_archive_that_fills_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is unpacked: a file of a few bytes can hold any number of zeros."""
    path = tmp_path / "a.npz"
    np.savez_compressed(path, zeros=np.zeros(10**6))
    raw.refuse_bomb(path)
    monkeypatch.setattr("mstgraph.support.memory.total", lambda: 10**6)
    with pytest.raises(UserError, match=r"a\.npz unpacks to 8\.0 MB, more than the 1\.0 MB"):
        raw.refuse_bomb(path)
