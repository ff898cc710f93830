"""The recipe of AV-Digits, on tiny files in the true format (random values), and its gin files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from graph_files import call, teachers

from mstgraph.store.build.builder import build
from mstgraph.support.errors import UserError

COUNT = 12


@pytest.fixture(scope="module")
def avdigits(load_file):
    """Return the recipe's module."""
    return load_file("avdigits")


@pytest.fixture
def arrays():
    """Return the arrays of a file, of random values."""
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (COUNT, 1, 28, 28), np.uint8),
        "audio": rng.integers(0, 256, (COUNT, 1, 56, 56), np.uint8),
        "label": np.arange(COUNT) % 10,
        "speaker": (np.arange(COUNT) % 6).astype(np.int8),
        "split": np.array([0, 0, 2, 1] * 3, np.int8),
    }


@pytest.fixture
def write(tmp_path):
    """Return a function that writes arrays to a file and returns its path."""

    def write_file(arrays):
        path = tmp_path / "avdigits.npz"
        np.savez_compressed(path, **arrays)
        return path

    return write_file


def refusal(recipe):
    """Return the one sentence with which a recipe's data is refused."""
    with pytest.raises(UserError) as caught:
        len(recipe)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_samples_are_those_of_the_file(avdigits, arrays, write, tmp_path):
    """Bit for bit, bytes as bytes, image first."""
    store = build(avdigits.AVDigits(raw=write(arrays)), tmp_path / "store")
    order = np.random.RandomState(0).permutation(COUNT)
    assert list(store.modalities) == ["image", "audio"]
    for name in store.modalities:
        found = store.read(name, order)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, arrays[name][order])
    np.testing.assert_array_equal(store.read_labels(order), arrays["label"][order])
    assert "CC BY-SA 3.0" in store.metadata["licence"]


def test_the_files_own_split(avdigits, arrays, write):
    """Codes 0, 1 and 2 are training, validation and test; the numbered groups stay beside it."""
    recipe = avdigits.AVDigits(raw=write(arrays))
    expected = {"train": [0, 1, 4, 5, 8, 9], "validation": [3, 7, 11], "test": [2, 6, 10]}
    assert recipe.official_splits() == {"official": expected}


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("image", np.zeros((COUNT, 1, 28, 28)), "is float64, 12×1×28×28; expected uint8, N×1×28"),
        ("audio", np.zeros((COUNT, 1, 112, 112), np.uint8), "expected uint8, N×1×56×56"),
        ("audio", np.zeros((COUNT - 1, 1, 56, 56), np.uint8), "the numbers of samples differ: 12"),
        ("label", np.arange(COUNT), "'label' 10 of"),
        ("label", np.zeros(COUNT), "is float64, 12; expected integers, N"),
        ("split", np.full(COUNT, 3), "is 3; expected 0 to 2"),
        ("split", np.array([{}] * COUNT), "cannot be read as an .npz file of numbers"),
    ],
)
def test_wrong_arrays_are_refused(avdigits, arrays, write, name, values, message):
    """Shapes, types and codes that cannot be are refused, naming the file."""
    path = write(arrays | {name: values})
    found = refusal(avdigits.AVDigits(raw=path))
    assert message in found
    assert str(path) in found


def test_missing_data_is_refused(avdigits, arrays, write, tmp_path):
    """Without data, with a part of it missing, or with another file, it is told what is wanted."""
    assert "name with --raw the file avdigits.npz" in refusal(avdigits.AVDigits())
    assert "does not exist" in refusal(avdigits.AVDigits(raw=tmp_path / "none"))
    assert "cannot be read as" in refusal(avdigits.AVDigits(raw=tmp_path))
    del arrays["split"]
    assert "split is not a file in the archive" in refusal(avdigits.AVDigits(raw=write(arrays)))
    text, single = tmp_path / "text.npz", tmp_path / "single.npy"
    text.write_text("no archive")
    np.save(single, np.zeros(3))
    for path in (text, single):
        assert f"{path} cannot be read as" in refusal(avdigits.AVDigits(raw=path))


@pytest.mark.parametrize(
    ("student", "teacher", "delta", "points"),
    [("image", "audio", 2, ("conv2", "conv3")), ("audio", "image", 1, ("conv3", "hidden1"))],
)
def test_a_students_teachers(student, teacher, delta, points, arrays, write, tmp_path):
    """The fused network at two mask points, then the other modality's network at two."""
    fused = [(0, "fused", point) for point in ("fusion", "hidden1")]
    expected = [*fused, *((delta, teacher, point) for point in points)]
    store = f"data.store = '{tmp_path / 'no-store'}'"
    assert teachers(f"avdigits_{student}.gin", write(arrays), store) == expected


def test_networks_take_the_smaller_spectrograms(arrays, write, tmp_path):
    """Those of AV-MNIST; the classifier of the audio network sees 128 maps of 7×7."""
    bindings = [f"data.raw = '{write(arrays)}'", f"data.store = '{tmp_path / 'no-store'}'"]
    document = json.loads(call("show", "avdigits_audio.gin", bindings, "--json"))
    found = {member["name"]: member["parameters"] for member in document["members"]}
    convolutions = sum(9 * a * b + b for a, b in ((1, 32), (32, 64), (64, 128)))
    audio = convolutions + 128 * 7 * 7 * 10 + 10
    assert found == {"audio": audio, "image": 61_706, "fused": 1_809_752}
