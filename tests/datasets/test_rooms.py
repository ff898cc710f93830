"""The synthetic rooms."""

import hashlib

import numpy as np
import pytest

from mstgraph.recipes import indoor
from mstgraph.support.errors import UserError

ROOMS = 150


@pytest.fixture(scope="module")
def rooms(load_file):
    """Return the recipe's module."""
    return load_file("rooms")


@pytest.fixture(scope="module")
def samples(rooms):
    """Return some rooms, drawn once."""
    recipe = rooms.Rooms(samples=ROOMS, seed=3)
    return [recipe.sample(index) for index in range(ROOMS)]


def features(samples, modality, names):
    """Return one row of a modality's means and deviations per region, and the region's class."""
    rows, targets = [], []
    for sample in samples:
        values = sample[modality].astype(float)
        for target, name in enumerate(names):
            here = (sample["label"] == indoor.CLASSES.index(name)) & (sample["depth"][0] > 0)
            if here.sum() >= 40:
                seen = values[:, here]
                rows.append(np.r_[seen.mean(1), seen.std(1)])
                targets.append(target)
    return np.array(rows), np.array(targets)


def balanced_accuracy(rows, targets):
    """Fit a linear least-squares classifier on even rows; return the mean recall on odd ones."""
    rows = np.c_[(rows - rows.mean(0)) / (rows.std(0) + 1e-9), np.ones(len(rows))]
    train, test = slice(0, None, 2), slice(1, None, 2)
    count = np.bincount(targets[train])[targets[train]]
    weight = np.sqrt(1 / count)[:, None]
    goal = np.eye(targets.max() + 1)[targets[train]]
    fit = np.linalg.lstsq(rows[train] * weight, goal * weight, rcond=None)[0]
    found = (rows[test] @ fit).argmax(1)
    return np.mean([(found == t)[targets[test] == t].mean() for t in np.unique(targets)])


def test_samples_fit_what_is_declared(rooms, samples):
    """Types, shapes and ranges are those that the recipe declares."""
    recipe = rooms.Rooms()
    assert len(recipe) == 240
    assert recipe.synthetic == "synthetic rooms"
    assert [m.name for m in recipe.modalities()] == ["rgb", "depth", "normals"]
    for sample in samples[:20]:
        for modality in recipe.modalities():
            assert sample[modality.name].dtype == modality.dtype
            assert sample[modality.name].shape == modality.shape
        assert sample["label"].shape == recipe.labels().shape
        assert sample["depth"].max() < 8000
        length = np.linalg.norm(sample["normals"] / 127, axis=0)
        np.testing.assert_array_equal(length == 0, sample["depth"][0] == 0)
        assert np.abs(length[length > 0] - 1).max() < 0.01
        assert 40 < sample["rgb"].mean() < 220
        assert sample["rgb"].std() > 10


def test_labels_are_the_named_classes(rooms, samples):
    """Each class that the file names occurs and no other; few pixels are unlabelled."""
    labels = np.stack([sample["label"] for sample in samples])
    named = {"unlabelled", "wall", "floor", "ceiling", "floor mat"}
    named |= {*rooms.HUNG, *rooms.STANDING, *rooms.FURNITURE}
    assert {indoor.CLASSES[index] for index in np.unique(labels)} == named
    share = np.bincount(labels.ravel(), minlength=41) / labels.size
    assert 0.01 < share[0] < 0.08
    assert share[share > 0].min() > 0.008


def test_a_room_depends_on_seed_and_index_alone(rooms):
    """Read in any order and from any recipe of that seed, a room is the same; others differ."""
    first, second = rooms.Rooms(seed=5), rooms.Rooms(seed=5, samples=9)
    expected = [first.sample(index) for index in (0, 7)]
    for index, sample in zip((7, 0), expected[::-1], strict=True):
        for name, array in second.sample(index).items():
            np.testing.assert_array_equal(array, sample[name])
    other = rooms.Rooms(seed=6).sample(0)
    for name, array in other.items():
        assert (array != expected[0][name]).any()
        assert (expected[1][name] != expected[0][name]).any()


def test_normals_agree_with_depth(rooms):
    """Normals fitted to the noise-free depth are the rendered ones inside surfaces."""
    camera = indoor.Intrinsics.kinect(64, 96)
    for index in range(10):
        view = rooms.cast(rooms.furnish(np.random.default_rng([0, index])), 64, 96)
        fitted = indoor.normals_from_depth(view.depth, camera)
        code = (view.solid * 8 + np.abs(view.normals).argmax(0))[..., None]
        code = np.concatenate([code, np.rint(view.normals * 50).transpose(1, 2, 0)], 2)
        blocks = np.lib.stride_tricks.sliding_window_view(code, (7, 7), (0, 1))
        inside = (blocks == blocks[..., :1, :1]).all((2, 3, 4))
        assert inside.mean() > 0.3
        cosine = (fitted * view.normals).sum(0)[3:-3, 3:-3][inside]
        assert cosine.min() > 0.9999


def test_depth_is_noisy_around_the_surfaces(rooms):
    """Stored depth is the rendered one, but for noise of a few millimetres and missing pixels."""
    sample = rooms.Rooms().sample(4)
    view = rooms.cast(rooms.furnish(np.random.default_rng([0, 4])), 64, 96)
    seen = sample["depth"][0] > 0
    assert 0.97 < seen.mean() < 1
    error = sample["depth"][0][seen] / 1000 - view.depth[seen]
    assert abs(error.mean()) < 0.002
    assert 0.002 < error.std() < 0.03


def test_floor_is_below_and_ceiling_above(samples):
    """In camera coordinates (y down) the floor's normals point up, the ceiling's down."""
    label = np.stack([sample["label"] for sample in samples])
    upward = -np.stack([sample["normals"][1] for sample in samples]) / 127.0
    seen = np.stack([sample["depth"][0] > 0 for sample in samples])
    assert upward[(label == 2) & seen].min() > 0.7
    assert upward[(label == 22) & seen].max() < -0.7
    assert np.abs(upward[(label == 1) & seen]).max() < 0.7


@pytest.mark.parametrize("group", ["HUNG", "STANDING"])
def test_panels_differ_by_colour_alone(rooms, samples, group):
    """A linear classifier of regions tells them apart by colour, by geometry no better than luck.

    Their sizes and places come from one distribution.
    """
    names = getattr(rooms, group)
    luck = 1 / len(names)
    assert balanced_accuracy(*features(samples, "rgb", names)) > 0.9
    for modality in ("depth", "normals"):
        assert balanced_accuracy(*features(samples, modality, names)) < luck + 0.2
    drawn = [rooms.furnish(np.random.default_rng([1, index])).panels for index in range(600)]
    panels = [panel for of_one in drawn for panel in of_one]
    for name in names:
        sizes = [p.high - p.low for p in panels if p.label == indoor.CLASSES.index(name)]
        everyone = [p.high - p.low for p in panels if indoor.CLASSES[p.label] in names]
        error = 4 * np.std(everyone, 0) / np.sqrt(len(sizes))
        assert (np.abs(np.mean(sizes, 0) - np.mean(everyone, 0)) < error).all()


def test_depth_does_not_see_panels(rooms):
    """Without its panels a room gives the same depth and normals, and another colour."""
    room = rooms.furnish(np.random.default_rng([0, 1]))
    with_panels = rooms.cast(room, 64, 96)
    assert len(room.panels) > 1
    room.panels.clear()
    without = rooms.cast(room, 64, 96)
    np.testing.assert_array_equal(with_panels.depth, without.depth)
    np.testing.assert_array_equal(with_panels.normals, without.normals)
    np.testing.assert_array_equal(with_panels.solid, without.solid)
    assert (with_panels.rgb != without.rgb).any()


def test_furniture_differs_by_geometry_alone(rooms, samples):
    """Colours tell furniture apart no better than luck; size and height in space nearly always."""
    luck = 1 / len(rooms.FURNITURE)
    assert balanced_accuracy(*features(samples, "rgb", rooms.FURNITURE)) < luck + 0.15
    rows, targets = [], []
    for index in range(200):
        room = rooms.furnish(np.random.default_rng([2, index]))
        for number, (label, _) in enumerate(room.pieces):
            boxes = [b for b, o in zip(room.boxes, room.owners, strict=True) if o == number]
            low, high = np.min(boxes, 0)[0], np.max(boxes, 0)[1]
            rows.append(np.r_[np.sort((high - low)[:2]), high[2], len(boxes)])
            targets.append(rooms.FURNITURE.index(indoor.CLASSES[label]))
    assert balanced_accuracy(np.array(rows), np.array(targets)) > 0.9


def test_furniture_stands_in_the_room_and_apart(rooms):
    """Boxes of furniture lie within the room, off the camera, and pieces do not meet."""
    for index in range(50):
        room = rooms.furnish(np.random.default_rng([4, index]))
        for box, owner in zip(room.boxes, room.owners, strict=True):
            assert (box[0] < box[1]).all()
            assert (box[0] > -1e-9).all()
            assert (box[1] < room.extent + 1e-9).all()
            assert ((room.camera[:2] < box[0, :2]) | (room.camera[:2] > box[1, :2])).any()
            for other, its in zip(room.boxes, room.owners, strict=True):
                apart = (box[0] >= other[1]) | (other[0] >= box[1])
                assert owner == its or apart.any()


def test_other_sizes(rooms):
    """The size option changes the maps and shows the same room."""
    small, large = rooms.Rooms(size=(32, 32)).sample(0), rooms.Rooms(size=(96, 96)).sample(0)
    assert small["rgb"].shape == (3, 32, 32)
    middle = large["depth"][0, 1::3, 1::3].astype(int)  # the same rays
    both = (middle > 0) & (small["depth"][0] > 0)
    assert np.median(np.abs(middle - small["depth"][0])[both]) < 30


def test_a_dark_room_changes_colour_alone(rooms):
    """Little light leaves depth, normals and labels, and the colour camera's noise as it was."""
    bright, dark = rooms.Rooms().sample(2), rooms.Rooms(light=0.2).sample(2)
    for name in ("depth", "normals", "label"):
        np.testing.assert_array_equal(bright[name], dark[name])
    assert dark["rgb"].mean() == pytest.approx(0.2 * bright["rgb"].mean(), rel=0.02)
    noise = dark["rgb"] - 0.2 * bright["rgb"].astype(float)
    assert noise.std() == pytest.approx(255 * 0.025 * 0.8, rel=0.1)  # they drew the same noise


@pytest.mark.parametrize(
    "option", [{"samples": 0}, {"size": (0, 5)}, {"seed": -1}, {"light": 0.0}, {"light": 1.5}]
)
def test_impossible_options(rooms, option):
    """An option that gives no data set is refused by its name."""
    with pytest.raises(UserError, match=next(iter(option))):
        rooms.Rooms(**option)


def test_looks_tell_furniture_apart_by_colour(rooms):
    """With one look of each kind a linear classifier names furniture by colour, else it cannot."""
    kinds = [name for name in rooms.FURNITURE if name != "chair"]
    with_looks = [rooms.Rooms(seed=3, looks=1, panels=False).sample(i) for i in range(90)]
    without = [rooms.Rooms(seed=3, panels=False).sample(i) for i in range(90)]
    assert balanced_accuracy(*features(with_looks, "rgb", kinds)) > 0.8
    assert balanced_accuracy(*features(without, "rgb", kinds)) < 0.5


def test_a_look_is_the_same_in_every_room_but_for_its_shade(rooms):
    """Draws of a look differ in brightness alone; other kinds look different."""
    draws = [rooms.look(np.random.default_rng(i), "bed", 2) for i in (0, 1)]
    u, v = np.meshgrid(np.linspace(0, 2, 40), np.linspace(0, 2, 40))
    one, other = draws
    np.testing.assert_array_equal(one.pattern(u, v), other.pattern(u, v))
    unclipped = (one.first < 1) & (other.first < 1)
    ratio = one.first[unclipped] / other.first[unclipped]
    np.testing.assert_allclose(ratio, ratio[0])
    assert np.abs(one.first - rooms.look(np.random.default_rng(0), "sofa", 2).first).max() > 0.05


def test_without_panels_nothing_hangs_or_lies(rooms):
    """What only colour tells from the wall and the floor is left out; the rest stays."""
    labels = np.stack([rooms.Rooms(panels=False).sample(i)["label"] for i in range(60)])
    names = {indoor.CLASSES[index] for index in np.unique(labels)}
    assert names == {"unlabelled", "wall", "floor", "ceiling", *rooms.FURNITURE}


def test_a_level_camera_sees_every_floor_under_one_angle(rooms):
    """The floor's normal is one vector in all rooms; without ``level`` it varies."""
    spread = {}
    for level in (True, False):
        views = [rooms.Rooms(level=level).sample(i) for i in range(12)]
        floors = [v["normals"][:, (v["label"] == 2) & (v["depth"][0] > 0)][:, 0] for v in views]
        spread[level] = np.std(np.array(floors) / 127, axis=0).max()
    assert spread[True] < 0.01 < 0.04 < spread[False]


def test_options_leave_the_plain_rooms_as_they_are(rooms):
    """Rooms without the options are those of before the options were there: a digest of two."""
    text = b"".join(a.tobytes() for i in (0, 5) for a in rooms.Rooms().sample(i).values())
    assert hashlib.sha256(text).hexdigest()[:16] == "8869e802fe89e7f0"


def test_the_split_is_in_the_order_of_drawing(rooms):
    """Of twelve rooms eight train, one validates and three test; none twice."""
    (split,) = rooms.Rooms(samples=24).official_splits().values()
    assert [len(split[part]) for part in ("train", "validation", "test")] == [16, 2, 6]
    assert [i for part in split.values() for i in part] == list(range(24))
    assert not rooms.Rooms(samples=5).official_splits()
