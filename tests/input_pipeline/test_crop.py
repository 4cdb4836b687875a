import cv2
import numpy as np
import pytest

from oasjax import config_sections
from oasjax.datasets.skeletons import COCO, MPII, lower_body
from oasjax.errors import UserError
from oasjax.input_pipeline.crop import (
    GEOMETRIES,
    CropConfig,
    MapGrid,
    crop_config,
    crop_example,
    image_to_crop_matrix,
    padded_areas,
    random_scale_and_rotation,
    whole_picture_box,
)
from oasjax.input_pipeline.order import example_rng
from oasjax.input_pipeline.person_box import crop_box, half_body_box
from oasjax.ops.affine import apply_affine, invert


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


def test_a_plain_crop_of_the_whole_picture_at_its_own_size_is_the_picture():
    rng = np.random.default_rng(0)
    record = record_with_dots([(3, 4)], [-0.5, -0.5, 32, 32], (32, 32))
    record["image"] = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    example = crop_example(record, CropConfig((32, 32), padding=1.0), None)
    np.testing.assert_array_equal(example["image"], record["image"])
    np.testing.assert_allclose(example["keypoints"], [(3, 4)], atol=1e-5)


@pytest.mark.parametrize("epoch", range(8))
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_dots_land_where_the_keypoints_say_under_rotation_and_scale(geometry, epoch):
    points = [(80, 60), (110, 75), (95, 100)]
    record = record_with_dots(points, [60, 40, 70, 80])
    if geometry == "hourglass":  # as published, whose positions count from 1
        record["keypoints"] -= 1
    crop = CropConfig(
        (96, 128), geometry=geometry, rotation_deg=40.0, rotation_probability=1.0, scale_factor=0.25
    )
    example = crop_example(record, crop, example_rng(0, epoch, 4))
    # The crop of the hourglass is cut at whole pixels, half a pixel beside its joints.
    tolerance = 1.5 if geometry == "hourglass" else 0.15
    for keypoint in example["keypoints"]:
        found = centroid(example["image"], keypoint)
        np.testing.assert_allclose(found, keypoint, atol=tolerance)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_whole_picture_at_the_crops_size_comes_out_unchanged(geometry):
    rng = np.random.default_rng(0)
    record = record_with_dots([(3, 4)], [0, 0, 1, 1], (32, 24))
    record["image"] = rng.integers(0, 256, (32, 24, 3), dtype=np.uint8)
    crop = CropConfig((24, 32), padding=1.25, geometry=geometry)
    record["bbox_xywh"] = whole_picture_box((24, 32), crop).astype(np.float32)
    example = crop_example(record, crop, None)
    if geometry == "udp":
        np.testing.assert_allclose(example["keypoints"], [(3, 4)], atol=0.125)
    else:
        np.testing.assert_allclose(example["image"], record["image"], atol=1)
        shift = 1 if geometry == "hourglass" else 0  # published positions count from 1
        np.testing.assert_allclose(example["keypoints"] - shift, [(3, 4)], atol=1e-4)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("clip_boxes", [True, False])
def test_the_padded_area_is_that_of_the_box_that_was_cut(geometry, clip_boxes):
    record = record_with_dots([(3, 4)], [-20, 10, 81, 61], (100, 120))
    crop = CropConfig((48, 64), padding=1.5, geometry=geometry, clip_boxes=clip_boxes)
    example = crop_example(record, crop, None)
    width, height = (80, 80 * 64 / 48) if clip_boxes else (81, 81 * 64 / 48)
    areas = padded_areas(np.stack([example["crop_to_image"]] * 2), crop)
    np.testing.assert_allclose(areas, [1.5 * width * 1.5 * height] * 2, rtol=1e-5)
    corner = np.array([[0.0, 0.0]])
    left = apply_affine(corner, example["crop_to_image"].astype(np.float64))[0, 0]
    middle = (0 if clip_boxes else -20) + width / 2
    assert abs(left - (middle - 1.5 * width / 2)) <= 1.5 * width / 48


def test_without_clipping_the_matrix_is_that_of_the_box_alone():
    record = record_with_dots([(3, 4)], [-20, 10, 81, 61], (100, 120))
    for geometry in GEOMETRIES:
        crop = CropConfig((48, 64), geometry=geometry)
        matrix = image_to_crop_matrix(record["bbox_xywh"], crop)
        np.testing.assert_allclose(
            invert(matrix), crop_example(record, crop, None)["crop_to_image"], rtol=1e-5
        )


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


def test_a_box_beyond_its_picture_is_refused_where_boxes_are_clipped():
    record, clipped = record_with_dots([(5, 5)], [300, 5, 10, 10]), CropConfig((32, 32), clip_boxes=True)
    crop_example(record, CropConfig((32, 32)), None)
    with pytest.raises(UserError, match=r"dots\.png \(example 4\) .* picture \(200 x 160\) it has no area"):
        crop_example(record, clipped, None)
    with pytest.raises(UserError, match="it has no area"):
        crop_example({**record, "bbox_xywh": np.float32([5, 5, 1, 1])}, clipped, None)
    crop_example({**record, "bbox_xywh": np.float32([5, 5, 1, 2])}, clipped, None)


def whole_person():
    rng = np.random.default_rng(3)
    return record_with_dots(rng.uniform(20, 140, (MPII.num_joints, 2)), [10, 10, 140, 140])


def test_half_bodies_are_cut_as_often_as_asked_and_mostly_the_upper_half():
    record = whole_person()
    crop = CropConfig((32, 32), half_body_probability=0.3, lower_body=lower_body(MPII))
    labelled = record["visibility"] > 0
    halves = {
        upper: half_body_box(record["keypoints"], labelled, crop.lower_body, (32, 32), upper=upper)
        for upper in (True, False)
    }
    centers = {
        "whole": crop_box(record["bbox_xywh"], (32, 32), 1.25)[0],
        "upper": halves[True][0],
        "lower": halves[False][0],
    }
    counts = dict.fromkeys(centers, 0)
    for epoch in range(1000):
        to_image = crop_example(record, crop, example_rng(0, epoch, 0))["crop_to_image"]
        [middle] = apply_affine(np.array([[15.5, 15.5]]), to_image.astype(np.float64))
        [name] = [name for name, center in centers.items() if np.abs(center - middle).max() < 1e-3]
        counts[name] += 1
    assert 0.26 < 1 - counts["whole"] / 1000 < 0.34
    assert 0.6 < counts["upper"] / (counts["upper"] + counts["lower"]) < 0.78


def test_half_bodies_leave_rotation_and_scale_as_they_were():
    record = whole_person()
    plain = CropConfig((32, 32), rotation_deg=30.0, scale_factor=0.25)
    halves = CropConfig(
        (32, 32), rotation_deg=30.0, scale_factor=0.25, half_body_probability=1.0, lower_body=lower_body(MPII)
    )
    for epoch in range(10):
        a, b = (crop_example(record, crop, example_rng(0, epoch, 0)) for crop in (plain, halves))
        drawn_first = random_scale_and_rotation(halves, example_rng(0, epoch, 0))
        to_crop = image_to_crop_matrix(record["bbox_xywh"], plain, *drawn_first)
        np.testing.assert_allclose(a["crop_to_image"], invert(to_crop), rtol=1e-5)
        linear_a, linear_b = a["crop_to_image"][:, :2], b["crop_to_image"][:, :2]
        # The boxes differ in size, the turn does not.
        np.testing.assert_allclose(
            linear_a / np.linalg.norm(linear_a), linear_b / np.linalg.norm(linear_b), atol=1e-5
        )
        assert (a["crop_to_image"] != b["crop_to_image"]).any()


def test_people_with_few_joints_are_always_shown_whole():
    record = whole_person()
    crop = CropConfig((32, 32), half_body_probability=1.0, lower_body=lower_body(MPII))
    record["visibility"][8:] = 0
    whole = crop_example(record, crop, None)["crop_to_image"]
    np.testing.assert_array_equal(crop_example(record, crop, example_rng(0, 0, 0))["crop_to_image"], whole)
    record["visibility"][8] = 1
    assert (crop_example(record, crop, example_rng(0, 0, 0))["crop_to_image"] != whole).any()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_each_scale_is_the_crop_with_that_padding_and_all_else_that_of_scale_1(geometry):
    record = whole_person()
    scales = (0.8, 1.0, 1.3)
    several = crop_example(record, CropConfig((48, 64), 1.25, geometry, scales=scales), None)
    assert several["image"].shape == (3, 64, 48, 3) and several["image"].dtype == np.uint8
    for image, scale in zip(several.pop("image"), scales, strict=True):
        alone = crop_example(record, CropConfig((48, 64), 1.25 * scale, geometry), None)
        np.testing.assert_allclose(image, alone["image"], atol=2)
    plain = crop_example(record, CropConfig((48, 64), 1.25, geometry), None)
    for key, value in several.items():
        np.testing.assert_array_equal(value, plain[key], err_msg=key)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_pseudo_label_lies_over_its_crop_under_rotation_and_scale(geometry):
    rng = np.random.default_rng(5)
    record = whole_person()
    # A smooth map over a turned region of the picture.
    label = cv2.GaussianBlur(rng.uniform(0, 1, (40, 30)).astype(np.float32), (0, 0), 2)
    to_image = np.array([[3.1, -0.6, 18.0], [0.5, 2.9, 9.0]])
    record |= {"occlusion_map": label.astype(np.float16), "occlusion_map_to_image": to_image}
    grid = MapGrid((12, 16), (4.05, 3.9), (1.5, -0.5))
    crop = CropConfig(
        (48, 64), geometry=geometry, rotation_deg=40.0, rotation_probability=1.0, scale_factor=0.25,
        occlusion_grid=grid,
    )  # fmt: skip
    for epoch in range(4):
        example = crop_example(record, crop, example_rng(0, epoch, 0))
        assert example["occlusion_map"].dtype == np.float32
        expected = np.zeros((16, 12))
        for y in range(16):
            for x in range(12):
                in_crop = np.array([[1.5 + 4.05 * x, -0.5 + 3.9 * y]])
                in_picture = apply_affine(in_crop, example["crop_to_image"].astype(np.float64))
                [(u, v)] = apply_affine(in_picture, invert(to_image))
                left, top = int(np.floor(u)), int(np.floor(v))
                for row, down in ((top, v - top), (top + 1, 1 - (v - top))):
                    for column, right in ((left, u - left), (left + 1, 1 - (u - left))):
                        if 0 <= row < 40 and 0 <= column < 30:
                            expected[y, x] += (1 - down) * (1 - right) * label[row, column]
        # OpenCV interpolates at 32nds of a cell.
        np.testing.assert_allclose(example["occlusion_map"], expected, atol=0.02)
        assert (expected == 0).any() and expected.max() > 0.3


def test_a_person_without_a_pseudo_label_has_nan_where_others_have_one():
    grid = MapGrid((8, 10), (4.0, 4.0), (1.5, 1.5))
    example = crop_example(whole_person(), CropConfig((32, 40), occlusion_grid=grid), None)
    assert example["occlusion_map"].shape == (10, 8) and np.isnan(example["occlusion_map"]).all()
    assert "occlusion_map" not in crop_example(whole_person(), CropConfig((32, 40)), None)


def data_section(**values):
    data = config_sections.data()
    data.update(
        {"rotation_deg": 30.0, "scale_factor": 0.25, "half_body_probability": 0.3, "clip_boxes": True}
        | values
    )
    return data


def test_the_config_says_how_people_are_cut():
    data = data_section(input_size_wh=(192, 256), geometry="hrnet", padding=1.5, rotation_probability=0.5)
    grid = MapGrid((48, 64), (4.0, 4.0), (0.0, 0.0))
    assert crop_config(data, training=True, skeleton=COCO, occlusion_grid=grid) == CropConfig(
        (192, 256), 1.5, "hrnet", True, 30.0, 0.5, 0.25, 0.3, (1.0,), grid, (11, 12, 13, 14, 15, 16)
    )
    plain = CropConfig((192, 256), 1.5, "hrnet", True, rotation_probability=0.5, scales=(0.8, 1.0))
    assert crop_config(data, scales=(0.8, 1)) == plain
    # As a model folder keeps it.
    assert crop_config({**data.to_dict(), "input_size_wh": [192, 256]}, scales=(0.8, 1)) == plain


def test_only_annotated_boxes_are_clipped():
    data = data_section(boxes_path="boxes.json")
    assert not crop_config(data).clip_boxes
    assert crop_config(data, training=True, skeleton=COCO).clip_boxes


def test_mistakes_in_the_config_are_told():
    with pytest.raises(UserError, match="geometry is 'center'; choose one of centre, hrnet, hourglass, udp"):
        crop_config(data_section(geometry="center"))
    for scales in ((), (1.0, 0.0)):
        with pytest.raises(UserError, match=r"config\.eval\.scales is .* above 0"):
            crop_config(data_section(), scales=scales)
    with pytest.raises(ValueError, match="half bodies need a skeleton"):
        crop_config(data_section(), training=True)
    with pytest.raises(KeyError, match="geometry"):
        crop_config({"padding": 1.25})
