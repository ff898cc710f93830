"""Classes, intrinsics and normals that recipes of indoor scenes share."""

import numpy as np
import pytest

from mstgraph.recipes import indoor


def plane(normal, distance, height, width):
    """Return depth of the plane normal·X = -distance and the normal, by intersecting rays."""
    normal = np.array(normal, float) / np.linalg.norm(normal)
    camera = indoor.Intrinsics.kinect(height, width)
    depth = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            x = (column - camera.centre_x) / camera.focal_x
            y = (row - camera.centre_y) / camera.focal_y
            slope = normal @ (x, y, 1)
            depth[row, column] = -distance / slope if slope < -0.02 else 0
    return depth, normal, camera


def degrees(normals, expected):
    """Return the angle between each normal and the expected one."""
    return np.degrees(np.arccos(np.clip(np.tensordot(expected, normals, 1), -1, 1)))


def test_classes_are_the_forty_and_unlabelled():
    """Index 0 is unlabelled and ignored; well-known classes have their usual numbers."""
    assert len(indoor.CLASSES) == len(set(indoor.CLASSES)) == 41
    known = {0: "unlabelled", 1: "wall", 2: "floor", 4: "bed", 5: "chair", 11: "picture"}
    known |= {20: "floor mat", 22: "ceiling", 32: "night stand", 38: "otherstructure"}
    known |= {40: "otherprop"}
    assert {index: indoor.CLASSES[index] for index in known} == known
    assert indoor.labels(2, 3).ignored == 0
    assert indoor.labels(2, 3).shape == (2, 3)


@pytest.mark.parametrize("normal", [(0, 0, -1), (0, -1, 0), (0.3, -0.9, -0.3), (0.7, 0, -0.7)])
@pytest.mark.parametrize("size", [(24, 32), (120, 160)])
def test_normals_are_exact_on_a_plane(normal, size):
    """On an analytic plane the normal is found to a tenth of a degree wherever depth is."""
    depth, normal, camera = plane(normal, 1.5, *size)
    normals = indoor.normals_from_depth(depth, camera)
    seen = depth > 0
    assert seen.mean() > 0.3
    assert degrees(normals[:, seen], normal).max() < 0.1
    np.testing.assert_array_equal(normals[:, ~seen], 0)


def test_normals_stay_sharp_at_an_edge_between_objects():
    """Next to a jump in depth, normals are still those of either surface."""
    near, first, camera = plane((0.3, 0, -1), 1.0, 48, 64)
    far, second, _ = plane((0, -0.4, -1), 2.5, 48, 64)
    normals = indoor.normals_from_depth(np.where(np.arange(64) < 32, near, far), camera)
    assert degrees(normals[..., :32], first).max() < 3
    assert degrees(normals[..., 32:], second).max() < 3


def test_normals_are_zero_where_depth_is_missing():
    """Holes have no normal, a lonely pixel has none either, and holes do not disturb others."""
    depth, normal, camera = plane((0.2, -0.2, -1), 1.5, 48, 64)
    holes = np.random.default_rng(0).random(depth.shape) < 0.3
    normals = indoor.normals_from_depth(np.where(holes, 0, depth), camera)
    np.testing.assert_array_equal(normals[:, holes], 0)
    assert degrees(normals[:, ~holes], normal).max() < 0.1
    lonely = np.zeros_like(depth)
    lonely[20, 20] = 1
    assert not indoor.normals_from_depth(lonely, camera).any()


def test_kinect_intrinsics_scale_with_the_size():
    """The same point is seen at the same fraction of the image at any size."""
    full, small = indoor.Intrinsics.kinect(480, 640), indoor.Intrinsics.kinect(120, 160)
    assert full.centre_x == pytest.approx(324.582449)  # the toolbox counts pixels from 1
    assert (small.centre_x + 0.5) / 160 == pytest.approx((full.centre_x + 0.5) / 640)
    assert (small.centre_y + 0.5) / 120 == pytest.approx((full.centre_y + 0.5) / 480)
    assert small.focal_x * 4 == pytest.approx(full.focal_x)


def test_stored_sample_fits_its_modalities():
    """Metres become millimetres and unit vectors 127ths, in the declared types and shapes."""
    depth = np.array([[0.0, 1.2344], [65.535, 0.0006]])
    normals = np.zeros((3, 2, 2))
    normals[:, 0, 1] = (0, -1, 0)
    sample = indoor.stored(np.full((3, 2, 2), 9, np.uint8), depth, normals, np.eye(2, dtype=int))
    np.testing.assert_array_equal(sample["depth"], [[[0, 1234], [65535, 1]]])
    np.testing.assert_array_equal(sample["normals"][:, 0, 1], [0, -127, 0])
    for modality in indoor.modalities(2, 2):
        assert sample[modality.name].dtype == modality.dtype
        assert sample[modality.name].shape == modality.shape
