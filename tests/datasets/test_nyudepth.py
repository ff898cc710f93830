"""The recipe of NYU-Depth-V2, on tiny files in the true formats."""

import sys

import numpy as np
import pytest

from mstgraph.recipes import indoor
from mstgraph.support.errors import UserError
from tools.student_check.formats import write_mat

h5py = pytest.importorskip("h5py")
image = pytest.importorskip("PIL.Image")

N, HEIGHT, WIDTH = 3, 12, 16


@pytest.fixture(scope="module")
def nyudepth(load_file):
    """Return the recipe's module."""
    return load_file("nyudepth")


@pytest.fixture
def arrays():
    """Return upright content without symmetry: rgb [N,H,W,3], depth and raw label [N,H,W]."""
    rng = np.random.default_rng(0)
    return {
        "rgb": rng.integers(0, 256, (N, HEIGHT, WIDTH, 3), np.uint8),
        "depth": rng.integers(500, 9000, (N, HEIGHT, WIDTH)) / np.float32(1000),
        "label": rng.integers(0, 41, (N, HEIGHT, WIDTH), np.uint8),
    }


def write_folder(path, arrays, names=("a", "c", "b"), suffix="png"):
    """Write rgb/, depth/ and label40/."""
    for name in ("rgb", "depth", "label40"):
        (path / name).mkdir(parents=True)
    for index, name in enumerate(names):
        image.fromarray(arrays["rgb"][index]).save(path / "rgb" / f"{name}.{suffix}")
        millimetres = np.rint(arrays["depth"][index] * 1000).astype(np.uint16)
        image.fromarray(millimetres).save(path / "depth" / f"{name}.png")
        label = arrays["label"][index].astype(np.uint8)
        image.fromarray(label).save(path / "label40" / f"{name}.png")
    return path


def check_content(sample, arrays, index):
    """Compare with what was written, pixel by pixel."""
    np.testing.assert_array_equal(sample["rgb"], arrays["rgb"][index].transpose(2, 0, 1))
    np.testing.assert_array_equal(sample["depth"][0], np.rint(arrays["depth"][index] * 1000))
    np.testing.assert_array_equal(sample["label"], arrays["label"][index])
    np.testing.assert_array_equal((sample["normals"] != 0).any(0), sample["depth"][0] > 0)


def refusal(recipe, act):
    """Return the one sentence with which an act on a recipe is refused."""
    with pytest.raises(UserError) as caught:
        act(recipe)
    message = str(caught.value)
    assert "\n" not in message
    assert str(recipe.raw) in message
    return message


def test_labels40_layout(nyudepth, arrays, tmp_path):
    """Maps come upright, as they were before their axes were swapped."""
    recipe = nyudepth.NYUDepth(raw=write_mat(tmp_path / "a.mat", arrays))
    assert len(recipe) == N
    for index in (2, 0, 1):
        check_content(recipe.sample(index), arrays, index)
    for modality in recipe.modalities():
        assert recipe.sample(0)[modality.name].dtype == modality.dtype
        assert recipe.sample(0)[modality.name].shape == modality.shape
    assert recipe.labels().shape == (HEIGHT, WIDTH)
    assert len(recipe.labels().classes) == 41
    assert recipe.raw_files() == (tmp_path / "a.mat",)
    assert recipe.official_splits() == {}


def test_official_layout_maps_894_classes(nyudepth, arrays, tmp_path):
    """Raw labels count from 1; 0 stays unlabelled. The expected classes are the published ones."""
    published = {0: 0, 21: 1, 11: 2, 3: 3, 157: 4, 5: 5, 83: 6, 28: 8, 59: 9, 4: 22, 122: 19}
    published |= {1: 40, 2: 40, 8: 38, 12: 39, 55: 37, 331: 31, 874: 38, 892: 39, 893: 40, 894: 40}
    raw = np.zeros((N, HEIGHT, WIDTH), np.uint16)
    expected = np.zeros((N, HEIGHT, WIDTH), int)
    for place, (label, forty) in enumerate(published.items()):
        raw[:, place // WIDTH, place % WIDTH] = label
        expected[:, place // WIDTH, place % WIDTH] = forty
    path = write_mat(tmp_path / "a.mat", arrays | {"label": raw}, "labels")
    recipe = nyudepth.NYUDepth(raw=path)
    np.testing.assert_array_equal(recipe.sample(1)["label"], expected[1])


def test_every_class_has_raw_labels(nyudepth, arrays, tmp_path):
    """Over all 894 raw labels: one for each of 1…37, 68 and 82 for the next, the rest 40."""
    label = np.arange(1, 897).reshape(28, 32)
    label[label > 894] = 0
    content = {
        "rgb": np.zeros((1, 28, 32, 3), np.uint8),
        "depth": np.ones((1, 28, 32), np.float32),
        "label": label[None].astype(np.uint16),
    }
    recipe = nyudepth.NYUDepth(raw=write_mat(tmp_path / "a.mat", content, "labels"))
    counts = np.bincount(recipe.sample(0)["label"].ravel(), minlength=41)
    np.testing.assert_array_equal(counts, [2, *[1] * 37, 68, 82, 894 - 37 - 68 - 82])


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_folder_layout(nyudepth, arrays, tmp_path, suffix):
    """Samples are sorted by stem; depth and labels are exact, and colour unless it is JPEG."""
    recipe = nyudepth.NYUDepth(raw=write_folder(tmp_path / "set", arrays, suffix=suffix))
    assert [recipe.identifier(index) for index in range(len(recipe))] == ["a", "b", "c"]
    sample = recipe.sample(1)  # "b", written third
    if suffix == "jpg":
        assert sample["rgb"].shape == (3, HEIGHT, WIDTH)
        sample = dict(sample) | {"rgb": arrays["rgb"][2].transpose(2, 0, 1)}
    check_content(sample, arrays, 2)
    assert len(recipe.raw_files()) == 3 * N


def test_missing_depth_stays_missing(nyudepth, arrays, tmp_path):
    """Depth 0 is stored as 0, with no normal."""
    arrays["depth"][0, 3:6, 4:7] = 0
    sample = nyudepth.NYUDepth(raw=write_mat(tmp_path / "a.mat", arrays)).sample(0)
    assert not sample["depth"][0, 3:6, 4:7].any()
    assert not sample["normals"][:, 3:6, 4:7].any()


def test_normals_of_a_floor(nyudepth, arrays, tmp_path):
    """A floor below the camera has normals that point up: y is down, so (0, -127, 0)."""
    rows = np.arange(HEIGHT) - ((253.736166 - 0.5) * HEIGHT / 480 - 0.5)
    slope = rows / (519.469611 * HEIGHT / 480)
    depth = np.where(slope > 0.05, 1.2 / np.where(slope > 0.05, slope, 1), 0)[:, None]
    arrays["depth"][1] = depth
    sample = nyudepth.NYUDepth(raw=write_mat(tmp_path / "a.mat", arrays)).sample(1)
    floor = np.broadcast_to(depth > 0, (HEIGHT, WIDTH))
    assert floor.sum() > 50
    assert (np.abs(sample["normals"][:, floor] - [[0], [-127], [0]]) <= 1).all()


def test_size_averages_colour_and_takes_nearest_of_the_rest(nyudepth, arrays, tmp_path):
    """At half the size a colour is the mean of four, depth and label are those of one of them."""
    recipe = nyudepth.NYUDepth(raw=write_mat(tmp_path / "a.mat", arrays), size=(6, 8))
    sample = recipe.sample(0)
    assert recipe.modalities()[0].shape == (3, 6, 8)
    blocks = arrays["rgb"][0].reshape(6, 2, 8, 2, 3).mean((1, 3)).transpose(2, 0, 1)
    assert np.abs(sample["rgb"] - blocks).max() <= 1  # two passes, each rounded
    np.testing.assert_array_equal(sample["label"], arrays["label"][0][1::2, 1::2])
    millimetres = np.rint(arrays["depth"][0] * 1000)
    np.testing.assert_array_equal(sample["depth"][0], millimetres[1::2, 1::2])


@pytest.mark.parametrize("size", [None, (5, 8)])
def test_a_picture_is_read_as_a_sample_is(nyudepth, arrays, tmp_path, size):
    """What a student is shown in use is what the store would hold; no raw data is needed then."""
    raw = write_folder(tmp_path / "raw", arrays)
    built, bare = nyudepth.NYUDepth(raw=raw, size=size), nyudepth.NYUDepth()
    sample = built.sample(1)
    for modality in built.modalities():
        picture = raw / ("rgb" if modality.name == "rgb" else "depth") / "b.png"
        for given in (picture, str(picture)):
            item = bare.item(modality, given)
            np.testing.assert_array_equal(item, sample[modality.name])
            assert item.dtype == modality.dtype


def test_split_in_the_file(nyudepth, arrays, tmp_path):
    """Numbers from 1, in a column as MATLAB has them, become indices from 0."""
    more = {"trainNdxs": np.array([[3], [1]]), "testNdxs": np.array([[2]])}
    recipe = nyudepth.NYUDepth(raw=write_mat(tmp_path / "a.mat", arrays, **more))
    assert recipe.official_splits() == {"official": {"train": [0, 2], "test": [1]}}


@pytest.mark.parametrize("version", [5, 7.3])
def test_split_beside_the_file(nyudepth, arrays, tmp_path, version):
    """splits.mat beside the file gives the split, as MATLAB v5 (its true format) or HDF5."""
    recipe = nyudepth.NYUDepth(raw=write_mat(tmp_path / "a.mat", arrays))
    content = {"trainNdxs": np.array([[3], [1]]), "testNdxs": np.array([[2]])}
    if version == 5:
        savemat = pytest.importorskip("scipy.io").savemat
        savemat(tmp_path / "splits.mat", content, do_compression=True)
    else:
        with h5py.File(tmp_path / "splits.mat", "w") as file:
            file.update(content)
    assert recipe.official_splits() == {"official": {"train": [0, 2], "test": [1]}}
    assert recipe.raw_files() == (tmp_path / "a.mat", tmp_path / "splits.mat")


def test_split_of_a_folder(nyudepth, arrays, tmp_path):
    """train.txt and test.txt list stems."""
    path = write_folder(tmp_path / "set", arrays)
    (path / "train.txt").write_text("c\na\n\n")
    recipe = nyudepth.NYUDepth(raw=path)
    assert recipe.official_splits() == {}
    (path / "test.txt").write_text("b\n")
    assert recipe.official_splits() == {"official": {"train": [2, 0], "test": [1]}}
    assert path / "test.txt" in recipe.raw_files()
    (path / "test.txt").write_text("d\n")
    assert "'d'" in refusal(recipe, lambda r: r.official_splits())
    (path / "test.txt").write_text("a\n")
    assert "twice" in refusal(recipe, lambda r: r.official_splits())


@pytest.mark.parametrize("train", [[0, 1], [1, 2], [1, 4]])
def test_impossible_split(nyudepth, arrays, tmp_path, train):
    """Numbers outside 1…N, or in both parts, are refused."""
    more = {"trainNdxs": np.array(train), "testNdxs": np.array([2])}
    recipe = nyudepth.NYUDepth(raw=write_mat(tmp_path / "a.mat", arrays, **more))
    assert "from 1 to 3" in refusal(recipe, lambda r: r.official_splits())


def test_a_damaged_split_is_named(nyudepth, arrays, tmp_path):
    """Not by what the library says alone; and a share of a frame is no frame."""
    recipe = nyudepth.NYUDepth(raw=write_mat(tmp_path / "a.mat", arrays))
    (tmp_path / "splits.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    pytest.importorskip("scipy.io")
    with pytest.raises(UserError, match=r"splits\.mat cannot be read as a MATLAB file: "):
        recipe.official_splits()
    more = {"trainNdxs": np.array([1.5]), "testNdxs": np.array([2.0])}
    recipe = nyudepth.NYUDepth(raw=write_mat(tmp_path / "b.mat", arrays, **more))
    assert "must be whole numbers" in refusal(recipe, lambda r: r.official_splits())


def test_raw_is_needed(nyudepth, tmp_path):
    """Without raw data, or where it is not, the message tells how to get them."""
    with pytest.raises(UserError, match=r"download nyu_depth_v2_labeled\.mat"):
        len(nyudepth.NYUDepth())
    recipe = nyudepth.NYUDepth(raw=tmp_path / "none.mat")
    assert "does not exist" in refusal(recipe, len)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"MATLAB 5.0 MAT-file, Platform: PCWIN" + b" " * 200, "MATLAB v5"),
        (b"not a matrix at all", "not an HDF5 file"),
        (b"", "not an HDF5 file"),
        (b"MATLAB 7.3 MAT-file, Platform" + b" " * 200, "truncated"),
    ],
)
def test_foreign_file(nyudepth, tmp_path, content, expected):
    """A file that is no HDF5 is refused and said to be what it is."""
    (tmp_path / "a.mat").write_bytes(content)
    assert expected in refusal(nyudepth.NYUDepth(raw=tmp_path / "a.mat"), len)


def test_truncated_file(nyudepth, arrays, tmp_path):
    """A file cut short is refused at once."""
    path = write_mat(tmp_path / "a.mat", arrays)
    path.write_bytes(path.read_bytes()[:-500])
    assert "truncated" in refusal(nyudepth.NYUDepth(raw=path), len)


def test_damaged_sample(nyudepth, arrays, tmp_path):
    """A chunk that cannot be read is refused with the sample's number."""
    path = tmp_path / "a.mat"
    with h5py.File(path, "w") as file:
        content = arrays["rgb"].transpose(0, 3, 2, 1)
        images = file.create_dataset(
            "images", data=content, chunks=(1, *content.shape[1:]), fletcher32=True
        )
        offset = images.id.get_chunk_info(1).byte_offset
        file["depths"] = arrays["depth"].transpose(0, 2, 1)
        file["labels40"] = arrays["label"].transpose(0, 2, 1)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"damage" * 5)
    recipe = nyudepth.NYUDepth(raw=path)
    check_content(recipe.sample(0), arrays, 0)
    assert "sample '1'" in refusal(recipe, lambda r: r.sample(1))


@pytest.mark.parametrize("name", ["images", "depths", "labels40"])
def test_missing_dataset(nyudepth, arrays, tmp_path, name):
    """A dataset that is missing, or a group in its place, is named with what was found."""
    path = write_mat(tmp_path / "a.mat", arrays)
    with h5py.File(path, "r+") as file:
        del file[name]
        file.create_group(name if name != "labels40" else "other")
    missing = name if name != "labels40" else "labels"
    message = refusal(nyudepth.NYUDepth(raw=path), len)
    assert f"no dataset '{missing}'" in message
    assert "found" in message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rgb": np.zeros((2, HEIGHT, WIDTH, 3), np.uint8)}, "2 images, 3 depths and 3 labels"),
        ({"rgb": np.zeros((N, HEIGHT, WIDTH, 4), np.uint8)}, "3×4×16×12"),
        ({"rgb": np.zeros((N, HEIGHT, WIDTH, 3), np.float32)}, "expected uint8"),
        ({"depth": np.ones((N, HEIGHT, WIDTH), np.int16)}, "a float type"),
        ({"label": np.ones((N, HEIGHT, WIDTH), np.float32)}, "an integer type"),
    ],
)
def test_wrong_arrays(nyudepth, arrays, tmp_path, change, expected):
    """Numbers of samples, shapes and types that cannot be are refused on opening."""
    path = write_mat(tmp_path / "a.mat", arrays | change)
    assert expected in refusal(nyudepth.NYUDepth(raw=path), len)


@pytest.mark.parametrize(
    ("part", "value", "expected"),
    [
        ("depth", np.nan, "not finite"),
        ("depth", np.inf, "not finite"),
        ("depth", -1, "expected metres between 0"),
        ("depth", 900, "expected metres between 0"),
        ("label", 41, "label 41; expected 0 (unlabelled) to 40"),
    ],
)
def test_impossible_values(nyudepth, arrays, tmp_path, part, value, expected):
    """A depth or a label that cannot be is refused with the sample's number; others are read."""
    arrays[part][1, 2, 3] = value
    recipe = nyudepth.NYUDepth(raw=write_mat(tmp_path / "a.mat", arrays))
    check_content(recipe.sample(0), arrays, 0)
    message = refusal(recipe, lambda r: r.sample(1))
    assert expected in message
    assert "sample '1'" in message


def test_impossible_raw_label(nyudepth, arrays, tmp_path):
    """A raw label above 894 is refused."""
    label = arrays["label"].astype(np.uint16)
    label[2, 0, 0] = 895
    path = write_mat(tmp_path / "a.mat", arrays | {"label": label}, "labels")
    message = refusal(nyudepth.NYUDepth(raw=path), lambda r: r.sample(2))
    assert "895" in message
    assert "to 894" in message


def test_sizes_that_differ_in_a_sample(nyudepth, arrays, tmp_path):
    """Parts of different sizes are refused, in a file and in a folder, with the sample's name."""
    other = arrays | {"depth": arrays["depth"][:, :, :8]}
    recipe = nyudepth.NYUDepth(raw=write_mat(tmp_path / "a.mat", other))
    message = refusal(recipe, lambda r: r.sample(0))
    assert "depth 12×8" in message
    path = write_folder(tmp_path / "set", arrays)
    image.fromarray(arrays["label"][0][:5]).save(path / "label40" / "b.png")
    message = refusal(nyudepth.NYUDepth(raw=path), lambda r: r.sample(1))
    assert "'b'" in message
    assert "labels 5×16" in message


def test_sizes_that_differ_between_samples(nyudepth, arrays, tmp_path):
    """Without a size to store at, all samples must be as large as the first."""
    path = write_folder(tmp_path / "set", arrays)
    half = {name: array[:, ::2, ::2] for name, array in arrays.items()}
    image.fromarray(half["rgb"][0]).save(path / "rgb" / "b.png")
    image.fromarray(np.rint(half["depth"][0] * 1000).astype(np.uint16)).save(
        path / "depth" / "b.png"
    )
    image.fromarray(half["label"][0]).save(path / "label40" / "b.png")
    message = refusal(nyudepth.NYUDepth(raw=path), lambda r: r.sample(1))
    assert "'b'" in message
    assert "6×8" in message
    assert nyudepth.NYUDepth(raw=path, size=(6, 8)).sample(1)["rgb"].shape == (3, 6, 8)


@pytest.mark.parametrize("name", ["rgb", "depth", "label40"])
def test_missing_counterpart(nyudepth, arrays, tmp_path, name):
    """A sample with a part missing is refused with the file's name."""
    path = write_folder(tmp_path / "set", arrays)
    (path / name / "c.png").unlink()
    message = refusal(nyudepth.NYUDepth(raw=path), len)
    assert "c.png" in message
    assert str(path / name) in message


def test_incomplete_folders(nyudepth, arrays, tmp_path):
    """A missing or empty folder and two images of one stem are refused."""
    (tmp_path / "rgb").mkdir()
    assert "no folder depth/" in refusal(nyudepth.NYUDepth(raw=tmp_path), len)
    for name in ("depth", "label40"):
        (tmp_path / name).mkdir()
    assert "no images" in refusal(nyudepth.NYUDepth(raw=tmp_path), len)
    path = write_folder(tmp_path / "set", arrays)
    (path / "rgb" / "a.jpg").touch()
    assert "two images of sample 'a'" in refusal(nyudepth.NYUDepth(raw=path), len)


def test_unreadable_or_wrong_images(nyudepth, arrays, tmp_path):
    """A damaged image, an 8-bit depth and a coloured label image are refused by file name."""
    path = write_folder(tmp_path / "set", arrays)
    whole = (path / "rgb" / "b.png").read_bytes()
    for content in (b"nonsense", whole[: len(whole) // 2]):
        (path / "rgb" / "b.png").write_bytes(content)
        message = refusal(nyudepth.NYUDepth(raw=path), lambda r: r.sample(1))
        assert str(path / "rgb" / "b.png") in message
    image.fromarray(arrays["label"][0]).save(path / "depth" / "c.png")
    message = refusal(nyudepth.NYUDepth(raw=path), lambda r: r.sample(2))
    assert "16-bit grey PNG" in message
    image.fromarray(arrays["rgb"][0]).save(path / "label40" / "a.png")
    assert "8-bit PNG" in refusal(nyudepth.NYUDepth(raw=path), lambda r: r.sample(0))


def test_package_for_raw_data_is_named(nyudepth, arrays, tmp_path, monkeypatch):
    """Without h5py the message says what to install."""
    path = write_mat(tmp_path / "a.mat", arrays)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"h5py: pip install 'mstgraph\[raw\]'"):
        len(nyudepth.NYUDepth(raw=path))


@pytest.mark.parametrize("size", [(0, 8), (8,)])
def test_impossible_size(nyudepth, size):
    """A size that is none is refused."""
    with pytest.raises(UserError, match="size"):
        nyudepth.NYUDepth(size=size)


def test_classes_are_shared_with_other_indoor_recipes(nyudepth, arrays, tmp_path):
    """Labels and modalities are those of every indoor recipe, so that one graph runs on all."""
    recipe = nyudepth.NYUDepth(raw=write_mat(tmp_path / "a.mat", arrays))
    assert recipe.labels() == indoor.labels(HEIGHT, WIDTH)
    assert recipe.modalities() == indoor.modalities(HEIGHT, WIDTH)
