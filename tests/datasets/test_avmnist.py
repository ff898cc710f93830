"""The recipe of AV-MNIST, on tiny files in the true formats, and its gin files."""

from __future__ import annotations

import gzip
import sys
import wave

import numpy as np
import pytest
from graph_files import run, teachers

from mstgraph.store.build.builder import build
from mstgraph.support.errors import UserError
from tools.student_check.formats import write_arrays

TRAIN, TEST = 12, 5


@pytest.fixture(scope="module")
def avmnist(load_file):
    """Return the recipe's module."""
    return load_file("avmnist")


@pytest.fixture
def arrays():
    """Return the six arrays by path, with the shapes that they are handed around with."""
    rng = np.random.default_rng(0)
    found = {}
    for part, count in (("train", TRAIN), ("test", TEST)):
        found[f"image/{part}_data"] = rng.normal(100, 40, (count, 784))
        found[f"audio/{part}_data"] = rng.random((count, 112, 112), np.float32)
        found[f"{part}_labels"] = (np.arange(count) % 10).astype(np.uint8)
    return found


def refusal(act):
    """Return the one sentence with which something is refused."""
    with pytest.raises(UserError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_arrays_follow_one_another(avmnist, arrays, tmp_path):
    """Training digits, then test digits, as they are but for the shape; the split is MNIST's."""
    recipe = avmnist.AVMNIST(raw=write_arrays(tmp_path, arrays))
    assert len(recipe) == TRAIN + TEST
    for index in (TRAIN + 1, 3):
        part, place = ("train", index) if index < TRAIN else ("test", index - TRAIN)
        sample = recipe.sample(index)
        image = arrays[f"image/{part}_data"][place].reshape(1, 28, 28).astype(np.float32)
        np.testing.assert_array_equal(sample["image"], image)
        np.testing.assert_array_equal(sample["audio"][0], arrays[f"audio/{part}_data"][place])
        assert sample["label"] == place % 10
        assert recipe.identifier(index) == f"{part} {place}"
    split = recipe.official_splits()["official"]
    assert [*split["train"]] == [*range(TRAIN)]
    assert [*split["test"]] == [*range(TRAIN, TRAIN + TEST)]
    assert len(recipe.raw_files()) == 6


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28)])
def test_bytes_stay_bytes(avmnist, arrays, tmp_path, shape):
    """uint8 images are stored as such, whatever of the known shapes they have."""
    for part in ("train", "test"):
        name = f"image/{part}_data"
        arrays[name] = arrays[name].clip(0, 255).astype(np.uint8).reshape(-1, *shape)
    recipe = avmnist.AVMNIST(raw=write_arrays(tmp_path / "raw", arrays))
    assert [item.dtype for item in recipe.modalities()] == ["uint8", "float32"]
    store = build(recipe, tmp_path / "store")
    expected = arrays["image/test_data"].reshape(-1, 1, 28, 28)
    np.testing.assert_array_equal(store.read("image", np.arange(TRAIN, TRAIN + TEST)), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image/test_data": np.zeros((5, 30, 30))}, "is 5×30×30; expected N×784 or N×28×28 or"),
        ({"audio/train_data": np.zeros((12, 112, 100))}, "is 12×112×100; expected N×112×112 or"),
        ({"image/train_data": np.zeros((11, 784))}, "the numbers of samples differ: 11 in"),
        ({"test_labels": np.array([0, 1, 2, 3, 10])}, "label 4 of"),
        ({"test_labels": np.array([0, 1, 2, 3, 0.5])}, "is 0.5; expected integers from 0 to 9"),
        ({"test_labels": np.zeros((5, 10))}, "is 5×10; expected N"),
        ({"audio/test_data": np.array(["a"])}, "holds <U1; expected one array of numbers"),
        ({"audio/test_data": np.array([{}])}, "cannot be read as a .npy file of numbers"),
    ],
)
def test_wrong_arrays_are_refused(avmnist, arrays, tmp_path, change, message):
    """Shapes, numbers of samples, labels and types that cannot be are refused by file."""
    recipe = avmnist.AVMNIST(raw=write_arrays(tmp_path, arrays | change))
    found = refusal(lambda: len(recipe))
    assert message in found
    assert str(tmp_path / next(iter(change))) in found


def test_missing_data_is_refused(avmnist, arrays, tmp_path):
    """Without data, and with one file of it missing, the message tells what is expected."""
    path = write_arrays(tmp_path / "raw", arrays)
    (path / "audio" / "test_data.npy").unlink()
    message = refusal(lambda: len(avmnist.AVMNIST(raw=path)))
    assert f"{path / 'audio' / 'test_data.npy'} does not exist" in message
    assert "name with --raw" in refusal(lambda: len(avmnist.AVMNIST()))
    assert "does not exist" in refusal(lambda: len(avmnist.AVMNIST(raw=tmp_path / "none")))
    assert "energy=0 of AVMNIST" in refusal(lambda: avmnist.AVMNIST(energy=0))


def write_idx(path, values, *, packed):
    """Write bytes as MNIST's files have them."""
    head = bytes((0, 0, 8, values.ndim)) + np.array(values.shape, ">i4").tobytes()
    content = head + values.astype(np.uint8).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    if packed:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)


def write_wave(path, values, rate=8000):
    """Write a mono WAV file of 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((np.asarray(values) * 32767).astype("<i2").tobytes())


@pytest.fixture
def images():
    """Return images [part][N, 28, 28] with a few strong directions of variance."""
    rng = np.random.default_rng(1)
    basis = rng.normal(size=(4, 784)) * np.array([[30], [18], [9], [4]])
    flat = [128 + rng.normal(size=(count, 4)) @ basis / 4 for count in (40, 10)]
    return [np.clip(part, 0, 255).astype(np.uint8).reshape(-1, 28, 28) for part in flat]


@pytest.fixture
def raw(images, tmp_path):
    """Return a folder of MNIST's files and five recordings of each digit, each of its own pitch."""
    for name, part, packed in (("train", images[0], True), ("t10k", images[1], False)):
        write_idx(tmp_path / "mnist" / f"{name}-images-idx3-ubyte", part, packed=packed)
        labels = np.arange(len(part)) % 10
        write_idx(tmp_path / "mnist" / f"{name}-labels-idx1-ubyte", labels, packed=not packed)
    time = np.arange(2400) / 8000
    for digit in range(10):
        for take in range(5):
            pitch = 300 + 250 * digit + 20 * take
            tone = 0.5 * np.sin(2 * np.pi * pitch * time)
            write_wave(tmp_path / "speech" / "ann" / f"{digit}_ann_{take}.wav", tone)
    return tmp_path


def test_images_lose_three_quarters_of_their_energy(avmnist, images, raw):
    """The kept components are those of the training images; the loss is at most what was asked."""
    recipe = avmnist.AVMNIST(raw=raw)
    flat = images[0].reshape(-1, 784).astype(np.float64)
    mean = flat.mean(0)
    _, values, directions = np.linalg.svd(flat - mean, full_matrices=False)
    share = np.cumsum(values**2) / (values**2).sum()
    count = int(np.argmax(share >= 0.25)) + 1
    basis = directions[:count]
    for part, first in ((0, 0), (1, 40)):
        rows = images[part].reshape(-1, 784) - mean
        expected = (rows @ basis.T @ basis + mean)[3].reshape(1, 28, 28)
        found = recipe._digits.read("image", part, 3)
        np.testing.assert_allclose(found.reshape(1, 28, 28), expected, atol=0.05)
        assert recipe._place(first + 3) == (part, 3)
    whole = avmnist.AVMNIST(raw=raw, energy=1.0)._digits.read("image", 0, 5)
    np.testing.assert_allclose(whole, images[0][5].ravel(), atol=0.05)


def test_recordings_of_the_test_part_are_its_own(avmnist, raw):
    """Four of five recordings of a digit serve the training images in turn, the fifth the rest."""
    digits = avmnist.AVMNIST(raw=raw)._digits
    used = [[], []]
    for part, targets in enumerate(digits.targets):
        for place in np.flatnonzero(targets == 7):
            occurrence = digits._occurrences[part][place]
            share = avmnist._share(digits._recordings[7], part)
            used[part].append(share[occurrence % len(share)].name)
    assert used[0] == [f"7_ann_{take}.wav" for take in (0, 1, 2, 3)]
    assert used[1] == ["7_ann_4.wav"]


def slaney(pitch):
    """Return a pitch on Slaney's mel scale: linear to 1 kHz, logarithmic above."""
    return pitch * 3 / 200 if pitch < 1000 else 15 + 27 * np.log(pitch / 1000) / np.log(6.4)


def test_spectrograms_show_the_pitch(avmnist, raw):
    """The digit fills 112 frames; the band of its pitch is the loudest; noise raises the floor."""
    pytest.importorskip("librosa")
    recipe = avmnist.AVMNIST(raw=raw)
    low, high = recipe.sample(0)["audio"][0], recipe.sample(9)["audio"][0]
    assert low.shape == (112, 112)
    assert low.dtype == np.float32
    loudest = [int(np.median(values[:, 10:100].argmax(0))) for values in (low, high)]
    mel = [slaney(pitch) for pitch in (300, 300 + 250 * 9)]
    np.testing.assert_allclose(loudest, np.array(mel) / slaney(8000) * 112, atol=2)
    np.testing.assert_array_equal(recipe.sample(0)["audio"][0], low)
    write_wave(raw / "noise" / "rain.wav", np.random.default_rng(0).uniform(-1, 1, 900))
    noisy = avmnist.AVMNIST(raw=raw, signal_to_noise=10.0)
    assert np.median(noisy.sample(0)["audio"]) > np.median(low) + 20
    assert len(noisy.raw_files()) == 4 + 50 + 1


def test_unreadable_recordings_are_refused(avmnist, raw):
    """A damaged or empty recording is named."""
    pytest.importorskip("librosa")
    (raw / "speech" / "ann" / "0_ann_0.wav").write_bytes(b"no sound at all")
    write_wave(raw / "speech" / "ann" / "1_ann_0.wav", [])
    recipe = avmnist.AVMNIST(raw=raw)
    assert "0_ann_0.wav cannot be read as a sound file" in refusal(lambda: recipe.sample(0))
    assert "1_ann_0.wav is empty" in refusal(lambda: recipe.sample(1))


def test_librosa_is_named_when_missing(avmnist, raw, monkeypatch):
    """Without librosa the message says what to install."""
    monkeypatch.setitem(sys.modules, "librosa", None)
    message = refusal(lambda: avmnist.AVMNIST(raw=raw).sample(0))
    assert "needs librosa: pip install 'mstgraph[audio]'" in message


def test_wrong_raw_files_are_refused(avmnist, raw):
    """Missing recordings and idx files that are none, or of another length, are named."""

    def told():
        recipe = avmnist.AVMNIST(raw=raw)
        return refusal(lambda: (len(recipe), recipe._digits.read("image", 0, 0)))

    (raw / "speech" / "ann" / "hello.wav").touch()
    assert "hello.wav does not begin with its digit" in told()
    (raw / "speech" / "ann" / "hello.wav").unlink()
    for take in range(5):
        (raw / "speech" / "ann" / f"4_ann_{take}.wav").unlink()
    assert "has no recording of the digit 4" in told()
    write_wave(raw / "speech" / "4.wav", [0.1])
    images = raw / "mnist" / "t10k-images-idx3-ubyte"
    write_idx(images, np.zeros((9, 28, 28)), packed=False)
    assert "holds 9×28×28 pixels; expected 10×28×28" in told()
    images.write_bytes(images.read_bytes()[:-1])
    assert "is truncated or longer than its head says" in told()
    images.write_bytes(b"other")
    assert "is no idx file of bytes with 3 axes" in told()
    packed = raw / "mnist" / "train-images-idx3-ubyte.gz"
    packed.write_bytes(b"no gzip")
    assert f"{packed} cannot be unpacked" in told()
    packed.unlink()
    assert "neither train-images-idx3-ubyte nor" in told()


@pytest.mark.parametrize(
    ("student", "auxiliary", "points"),
    [("image", "audio", ["conv2", "conv3"]), ("audio", "image", ["conv3", "hidden1"])],
)
def test_gin_files_derive_four_teachers(arrays, tmp_path, student, auxiliary, points):
    """Two of the fused member at the paper's mask points, two of the other modality."""
    found = teachers(f"avmnist_{student}.gin", write_arrays(tmp_path, arrays))
    fused = [(0, "fused", "fusion"), (0, "fused", "hidden1")]
    index = {"image": 1, "audio": 2}[auxiliary]
    assert found == [*fused, *((index, auxiliary, point) for point in points)]


def test_a_short_run_reaches_its_summary(arrays, tmp_path):
    """The whole graph trains on true-format arrays, two batches an epoch."""
    raw = write_arrays(tmp_path / "raw", arrays)
    bindings = ["data.batch_size = 5", "MaskNet.factor = 20", "data.split = 'official'"]
    summary = run("avmnist_image.gin", raw, tmp_path, *bindings)
    assert summary["data"]["title"] == "AV-MNIST"
    assert set(summary["students"]) == {"image"}
    assert len(summary["routing"]["image"]) == 4


def test_options_without_effect_are_refused(avmnist, arrays, tmp_path):
    """What is asked of raw files is not silently left undone on arrays."""
    recipe = avmnist.AVMNIST(raw=write_arrays(tmp_path, arrays), energy=0.5)
    assert "option 'energy' of AV-MNIST has no effect on preprocessed arrays" in refusal(
        lambda: len(recipe)
    )
