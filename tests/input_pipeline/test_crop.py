import cv2
import numpy as np
import pytest

from oasjax.errors import UserError
from oasjax.input_pipeline.crop import CropConfig, crop_box, crop_example, random_scale_and_rotation
from oasjax.input_pipeline.order import example_rng
from oasjax.ops.affine import apply_affine


def record_with_dots(points, bbox_xywh, shape=(160, 200)):
    """Black picture with a soft white dot on each point."""
    image = np.zeros((*shape, 3), np.uint8)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for px, py in points:
        dot = 255 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 2.0**2))
        image = np.maximum(image, dot[..., None].astype(np.uint8))
    num = len(points)
    return {
        "image": image,
        "keypoints": np.float32(points),
        "visibility": np.full(num, 2, np.int8),
        "occlusion_known": np.ones(num, np.bool_),
        "bbox_xywh": np.float32(bbox_xywh),
        "head_size": np.float32(np.nan),
        "area": np.float32(1),
        "example_id": 4,
        "image_id": "dots.png",
    }


def centroid(image, near, radius=10):
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    weight = image[..., 0] * ((x - near[0]) ** 2 + (y - near[1]) ** 2 < radius**2)
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def test_a_box_grows_to_the_aspect_of_the_crop_and_by_the_padding():
    center, size = crop_box(np.float32([10, 20, 40, 20]), (64, 64), 1.25)
    assert center.tolist() == [30, 30]
    assert size == (50, 50)
    # 3:4 crop, tall box: 20 wide would be enough, the width becomes 80 * 3 / 4.
    assert crop_box(np.float32([0, 0, 20, 80]), (48, 64), 1.0)[1] == (60, 80)


def test_a_plain_crop_of_the_whole_picture_at_its_own_size_is_the_picture():
    rng = np.random.default_rng(0)
    record = record_with_dots([(3, 4)], [-0.5, -0.5, 32, 32], (32, 32))
    record["image"] = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    example = crop_example(record, CropConfig((32, 32), padding=1.0), None)
    np.testing.assert_array_equal(example["image"], record["image"])
    np.testing.assert_allclose(example["keypoints"], [(3, 4)], atol=1e-5)


@pytest.mark.parametrize("epoch", range(8))
def test_dots_land_where_the_keypoints_say_under_rotation_and_scale(epoch):
    points = [(80, 60), (110, 75), (95, 100)]
    record = record_with_dots(points, [60, 40, 70, 80])
    crop = CropConfig((96, 128), rotation_deg=40.0, rotation_probability=1.0, scale_factor=0.25)
    example = crop_example(record, crop, example_rng(0, epoch, 4))
    for keypoint in example["keypoints"]:
        found = centroid(example["image"], keypoint)
        np.testing.assert_allclose(found, keypoint, atol=0.15)


def test_crop_to_image_brings_keypoints_back_to_the_picture():
    rng = np.random.default_rng(1)
    points = rng.uniform(-50, 4000, (16, 2))
    record = record_with_dots(points[:0], [1500, 900, 700, 1800])
    record["keypoints"] = points.astype(np.float32)
    crop = CropConfig((128, 128), rotation_deg=30.0, scale_factor=0.3)
    for epoch in range(20):
        example = crop_example(record, crop, example_rng(0, epoch, 0))
        back = apply_affine(example["keypoints"].astype(np.float64), example["crop_to_image"])
        np.testing.assert_allclose(back, record["keypoints"], atol=1e-3)
        np.testing.assert_array_equal(example["image_keypoints"], record["keypoints"])


def test_the_crop_equals_remapping_each_pixel_by_crop_to_image():
    rng = np.random.default_rng(2)
    record = record_with_dots([(20, 20)], [10, 5, 60, 50], (80, 90))
    record["image"] = cv2.GaussianBlur(rng.integers(0, 256, (80, 90, 3), dtype=np.uint8), (0, 0), 2)
    crop = CropConfig((64, 48), rotation_deg=30.0, rotation_probability=1.0, scale_factor=0.2)
    example = crop_example(record, crop, example_rng(0, 0, 0))
    grid = np.stack(np.meshgrid(np.arange(64), np.arange(48)), -1).astype(np.float64)
    where = apply_affine(grid.reshape(-1, 2), example["crop_to_image"]).astype(np.float32)
    where = where.reshape(48, 64, 2)
    # The independent route: per-pixel coordinates instead of one matrix.
    expected = cv2.remap(record["image"], where[..., 0], where[..., 1], cv2.INTER_LINEAR)
    assert np.abs(example["image"].astype(int) - expected).max() <= 2


def test_outside_the_picture_the_crop_is_black():
    record = record_with_dots([(1, 1)], [-40, 0, 40, 40], (40, 40))
    record["image"] = np.full((40, 40, 3), 200, np.uint8)
    example = crop_example(record, CropConfig((32, 32), padding=1.0), None)
    assert (example["image"][:, :30] == 0).all()


def test_joints_outside_the_picture_and_without_label_pass_through():
    record = record_with_dots([(-500, 9000), (20, 20)], [0, 0, 40, 40])
    record["visibility"] = np.int8([0, 2])
    example = crop_example(record, CropConfig((32, 32)), None)
    assert example["visibility"].tolist() == [0, 2]
    assert np.isfinite(example["keypoints"]).all()


def test_random_draws_keep_to_their_limits_and_half_of_them_turn():
    crop = CropConfig((8, 8), rotation_deg=10.0, rotation_probability=0.5, scale_factor=0.25)
    draws = np.array([random_scale_and_rotation(crop, example_rng(0, 0, i)) for i in range(2000)])
    scale, rotation = draws.T
    assert scale.min() == 0.75 and scale.max() == 1.25
    assert abs(rotation).max() == 20
    assert 0.45 < (rotation != 0).mean() < 0.55
    assert abs(rotation.mean()) < 1 and abs(scale.mean() - 1) < 0.02


def test_without_a_generator_nothing_is_random():
    record = record_with_dots([(30, 30)], [10, 10, 40, 40])
    shaken = crop_example(record, CropConfig((32, 32), rotation_deg=45.0, scale_factor=0.5), None)
    plain = crop_example(record, CropConfig((32, 32)), None)
    np.testing.assert_array_equal(shaken["image"], plain["image"])


@pytest.mark.parametrize("box", [[5, 5, 0, 10], [5, 5, 10, -1], [np.nan, 5, 10, 10], [0, 0, np.inf, 1]])
def test_a_box_without_area_is_refused_by_name(box):
    record = record_with_dots([(5, 5)], box)
    with pytest.raises(UserError, match=r"dots\.png \(example 4\)"):
        crop_example(record, CropConfig((32, 32)), None)


def test_an_unreadable_picture_is_called_what_its_source_calls_it():
    record = {**record_with_dots([(5, 5)], [0, 0, 9, 9]), "image": b"<html></html>"}
    with pytest.raises(UserError, match=r"^dots\.png is not a JPEG"):
        crop_example(record, CropConfig((32, 32)), None)
    with pytest.raises(UserError, match=r"^/data/dots\.png is not a JPEG"):
        crop_example({**record, "picture": "/data/dots.png"}, CropConfig((32, 32)), None)
