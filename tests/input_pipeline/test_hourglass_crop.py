"""The crop of published hourglasses: cut at whole pixels and resized."""

import itertools

import numpy as np
import pytest

from oasjax.input_pipeline.hourglass_crop import cut_hourglass
from oasjax.ops.affine import apply_affine, hourglass_matrix


@pytest.mark.golden
def test_crops_are_those_of_bearpaw(golden_dir):
    golden = np.load(golden_dir / "prepost_hourglass" / "crop_norot.npz")
    image = np.ascontiguousarray(golden["image"].transpose(1, 2, 0))
    names = [key for key in golden if key.startswith("center")]
    assert names
    for name in names:
        number = name.removeprefix("center")
        expected = golden[f"crop{number}"].transpose(1, 2, 0) * 255
        side = 200 * float(golden[f"scale{number}"])
        height, width = expected.shape[:2]
        crop = cut_hourglass(image, golden[name], (side, side), (width, height))
        assert np.abs(crop - expected).max() <= 2


def dots(points, shape=(300, 340)):
    """Black picture with a soft white dot on each point."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    dot = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 3.0**2)) for px, py in points)
    return np.repeat((255 * np.minimum(dot, 1))[..., None], 3, -1).astype(np.uint8)


def centroid(image, near, radius=12):
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    weight = image[..., 0] * ((x - near[0]) ** 2 + (y - near[1]) ** 2 < radius**2)
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("angle", [0.0, 20.0, -35.0, 60.0, 170.0])
# Picture pixels per crop pixel: enlarged, nearly the same, reduced, shrunk before it is cut.
@pytest.mark.parametrize("side", [90.0, 130.0, 200.0, 290.0])
@pytest.mark.parametrize("size", [(128, 128), (96, 128), (128, 96)])
def test_dots_land_where_the_map_says_to_a_pixel(angle, side, size):
    center = np.array([165.3, 148.8])
    box_size = (side * size[0] / 128, side * size[1] / 128)
    points = center + np.array([[0.0, 0.0], [0.0, -0.35], [0.3, 0.1]]) * min(box_size)
    image = cut_hourglass(dots(points), center, box_size, size, angle)
    assert image.shape == (size[1], size[0], 3)
    # Half a pixel lies between the two frames, and all is cut at whole pixels of the picture.
    tolerance = 0.6 + max(1.0, 128 / side)
    for point in apply_affine(points, hourglass_matrix(center, box_size, size, angle)):
        assert np.linalg.norm(centroid(image, point) - point) < tolerance


def test_a_turned_crop_has_no_black_corners_where_the_picture_goes_on():
    image = np.full((300, 300, 3), 200, np.uint8)
    for width, height in ((64, 64), (48, 80), (80, 48)):
        box_size = float(width), float(height)
        crop = cut_hourglass(image, np.array([150.0, 150.0]), box_size, (width, height), 45.0)
        assert (crop > 190).mean() > 0.998


def test_a_box_of_the_crops_size_is_copied():
    image = np.random.default_rng(0).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    crop = cut_hourglass(image, np.array([26.0, 36.0]), (32.0, 32.0), (32, 32))
    np.testing.assert_array_equal(crop, image[20:52, 10:42])


@pytest.mark.parametrize("center", [(-200.0, 20.0), (20.0, -200.0), (400.0, 20.0), (20.0, 400.0)])
def test_beyond_the_picture_all_is_black(center):
    image = np.full((60, 70, 3), 200, np.uint8)
    for angle in (0.0, 30.0):
        assert not cut_hourglass(image, np.array(center), (64.0, 64.0), (32, 32), angle).any()


def test_boxes_much_larger_than_the_picture_and_smaller_than_a_pixel_are_cut():
    image = np.full((60, 70, 3), 200, np.uint8)
    for side in (4e4, 4e3, 3e3, 0.2, 1e-3):
        for angle, middle in itertools.product((0.0, 30.0), (30.0, 30.5)):
            crop = cut_hourglass(image, np.array([middle, 30.0]), (side, side), (32, 32), angle)
            assert crop.shape == (32, 32, 3)
            assert crop.any() == (side < 3e3)
