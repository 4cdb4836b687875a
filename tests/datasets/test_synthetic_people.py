"""The renderer of synthetic people: purity, occlusion by depth order, boxes, left and right."""

import importlib.util

import cv2
import numpy as np
import pytest

from oasjax.datasets.skeletons import MPII
from oasjax.datasets.synthetic_people import (
    HIDDEN_BY,
    LOOKS,
    contact_sheet,
    occlusion_statistics,
    render_person,
    synthetic_arrays,
)
from oasjax.datasets.synthetic_people.anatomy import PARTS, Bodies, build_bodies, place
from oasjax.datasets.synthetic_people.appearance import dress_people
from oasjax.datasets.synthetic_people.canvas import (
    NOTHING,
    OBJECT,
    OTHER_PERSON,
    Canvas,
    blank_canvas,
    prepare_shapes,
)
from oasjax.datasets.synthetic_people.outlines import outline_bodies
from oasjax.datasets.synthetic_people.poses import LIMB_ANGLES, TRUNK_ANGLES, Poses, sample_poses
from oasjax.datasets.synthetic_people.renderer import paint_person, person_mask
from oasjax.datasets.synthetic_people.visibility import joints_hidden_by, parts_of_joint

SIDE = 256
JOINT = {name: index for index, name in enumerate(MPII.joints)}


@pytest.fixture(scope="module", params=LOOKS)
def people(request):
    return synthetic_arrays(seed=5, num=300, size=64, look=request.param)


def one_pose(yaw_deg: float, **limb_angles_deg: float) -> Poses:
    """A person who stands straight but for some limb angles, the same on both sides."""
    limbs = np.zeros((1, len(LIMB_ANGLES), 2))
    for name, angle in ({"shoulder_abduction": 20.0} | limb_angles_deg).items():
        limbs[0, LIMB_ANGLES.index(name)] = np.deg2rad(angle)
    zero = np.zeros(1)
    return Poses(np.zeros((1, len(TRUNK_ANGLES))), limbs, np.deg2rad([yaw_deg]), zero, zero)


def painted(poses: Poses) -> tuple[Canvas, Bodies]:
    """One person of interest alone on a canvas."""
    rng = np.random.default_rng(0)
    bodies = place(build_bodies(rng, poses), np.array([200.0]), np.array([[127.5, 127.5]]))
    canvas = blank_canvas(SIDE // 2)
    outlines = outline_bodies(bodies, SIDE)
    part_ids = range(1, len(PARTS) + 1)
    paint_person(canvas, outlines, dress_people(rng, 1, "studio"), 0, part_ids)
    return canvas, bodies


def cover(canvas: Canvas, center: np.ndarray, part_id: int) -> None:
    square = center + 8.0 * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    shape = prepare_shapes(square[None], np.array([[1.0, 0, 0], [0, 1, 0]]), SIDE)
    texture = np.full((4, 4, 3), 90, np.uint8)
    canvas.paint(
        shape.bounds.tolist(),
        shape.corners,
        shape.texture_from_local,
        texture,
        part_id,
        smooth=False,
    )


def hidden(canvas: Canvas, bodies: Bodies) -> dict[str, str]:
    causes = joints_hidden_by(bodies.joints[0, :, :2], canvas.part_ids)
    return {name: HIDDEN_BY[cause] for name, cause in zip(MPII.joints, causes, strict=True) if cause}


def test_nothing_of_a_person_who_faces_us_alone_is_hidden():
    assert hidden(*painted(one_pose(yaw_deg=0))) == {}


@pytest.mark.parametrize(("part_id", "cause"), [(OBJECT, "object"), (OTHER_PERSON, "person")])
def test_a_joint_is_hidden_by_what_lies_over_it_and_its_neighbours_are_not(part_id, cause):
    canvas, bodies = painted(one_pose(yaw_deg=0))
    cover(canvas, bodies.joints[0, JOINT["left_wrist"], :2], part_id)
    assert hidden(canvas, bodies) == {"left_wrist": cause}


def test_what_is_painted_before_a_person_hides_nothing():
    canvas, bodies = painted(one_pose(yaw_deg=0))
    before = canvas.part_ids.copy()
    cover(canvas, bodies.joints[0, JOINT["left_wrist"], :2], NOTHING)
    np.testing.assert_array_equal(canvas.part_ids, before)


def test_bent_arms_are_seen_from_the_front_and_hidden_by_the_body_from_behind():
    bent = {
        "shoulder_flexion": 25.0,
        "shoulder_abduction": 0.0,
        "elbow_flexion": 95.0,
        "elbow_inward": 20.0,
    }
    front, back = (hidden(*painted(one_pose(yaw, **bent))) for yaw in (0.0, 180.0))
    assert not {"left_wrist", "right_wrist"} & set(front)
    assert back["left_wrist"] == back["right_wrist"] == "self"


def test_from_one_side_the_other_side_is_hidden():
    for yaw, far, near in ((90.0, "left", "right"), (-90.0, "right", "left")):
        # Facing the right edge of the picture, a person shows us the right side.
        causes = hidden(*painted(one_pose(yaw, shoulder_flexion=50.0)))
        assert causes.get(f"{far}_hip") == causes.get(f"{far}_shoulder") == "self"
        assert f"{near}_hip" not in causes and f"{near}_shoulder" not in causes


def test_left_is_right_on_the_screen_exactly_when_a_person_faces_us():
    for yaw, sign in ((0.0, 1), (180.0, -1)):
        _, bodies = painted(one_pose(yaw))
        x = bodies.joints[0, :, 0]
        for joint in ("shoulder", "elbow", "wrist", "hip"):
            assert sign * (x[JOINT[f"left_{joint}"]] - x[JOINT[f"right_{joint}"]]) > 0


def test_neither_side_is_favoured():
    poses = sample_poses(np.random.default_rng(0), 2000)
    forward = poses.trunk_angle("stride") > np.deg2rad(10)
    backward = poses.trunk_angle("stride") < -np.deg2rad(10)
    assert 0.8 < forward.sum() / backward.sum() < 1.25
    left, right = poses.limbs.mean(0).T
    np.testing.assert_allclose(left, right, atol=np.deg2rad(3))


def test_every_part_belongs_to_the_side_of_its_joint():
    for joint in MPII.joints:
        side = joint.split("_")[0]
        for part in parts_of_joint(joint):
            assert part in PARTS
            assert side not in ("left", "right") or part.startswith(side)


def test_clothes_are_warm_on_the_left_and_cool_on_the_right(people):
    images, keypoints = people["image"], np.rint(people["keypoints"]).astype(int)
    for side, warm in (("left", True), ("right", False)):
        index = JOINT[f"{side}_shoulder"]
        seen = np.flatnonzero(people["visibility"][:, index] == 2)
        x, y = keypoints[seen, index].T
        # The median of nine pixels, against noise and the texture's paler threads.
        smooth = np.stack([cv2.medianBlur(images[i], 3) for i in seen])
        is_warm = smooth[np.arange(len(seen)), y, x].argmax(-1) == 0
        assert (is_warm == warm).mean() > 0.9


def test_a_person_is_a_function_of_seed_index_size_and_look():
    first, again = (render_person(3, 8, 64, "street") for _ in range(2))
    for key in first:
        np.testing.assert_array_equal(first[key], again[key], err_msg=key)
    for other in (
        render_person(4, 8, 64, "street"),
        render_person(3, 9, 64, "street"),
        render_person(3, 8, 64, "studio"),
    ):
        assert (first["image"] != other["image"]).any()
        assert (first["keypoints"] != other["keypoints"]).any()


def test_the_scene_is_the_same_at_every_size():
    small, large = (render_person(2, 6, size) for size in (48, 200))
    np.testing.assert_allclose((small["keypoints"] + 0.5) / 48, (large["keypoints"] + 0.5) / 200, atol=1e-5)
    reduced = cv2.resize(large["image"], (48, 48), interpolation=cv2.INTER_AREA)
    assert np.abs(reduced.astype(float) - small["image"]).mean() < 12


def test_the_number_of_processes_does_not_matter():
    options = {"seed": 1, "num": 55, "size": 48, "look": "studio", "start": 10}
    calls = []
    alone = synthetic_arrays(**options, progress=lambda done, num: calls.append((done, num)))
    together = synthetic_arrays(**options, num_processes=2)
    assert alone.keys() == together.keys()
    for key in alone:
        np.testing.assert_array_equal(alone[key], together[key], err_msg=key)
    assert calls == [(50, 55), (55, 55)]
    assert alone["example_id"].tolist() == list(range(10, 65))
    assert alone["image"].shape == (55, 48, 48, 3) and alone["mask"].shape == (55, 48, 48)


def test_records_have_the_documented_types():
    record = render_person(0, 0, 64)
    expected = {
        "image": ((64, 64, 3), np.uint8), "keypoints": ((16, 2), np.float32),
        "visibility": ((16,), np.int8), "hidden_by": ((16,), np.int8),
        "occlusion_known": ((16,), np.bool_), "mask": ((64, 64), np.bool_),
        "bbox_xywh": ((4,), np.float32), "visible_bbox_xywh": ((4,), np.float32),
        "head_size": ((), np.float32), "area": ((), np.float32), "example_id": ((), np.int64),
    }  # fmt: skip
    assert set(record) == {*expected, "image_id"}
    for key, (shape, dtype) in expected.items():
        assert (record[key].shape, record[key].dtype) == (shape, dtype), key


def test_every_cause_hides_enough_and_not_too_much(people):
    statistics = occlusion_statistics(people)
    assert 0.20 < statistics["hidden"] < 0.35
    for cause in ("self", "person", "object"):
        assert statistics[f"hidden_by_{cause}"] > 0.04
    assert statistics["outside_image"] < 0.03


def test_visibility_agrees_with_the_mask(people):
    labelled = people["visibility"] > 0
    np.testing.assert_array_equal(people["visibility"] == 1, people["hidden_by"] > 0)
    x, y = np.clip(np.rint(people["keypoints"]).astype(int), 0, 63).transpose(2, 0, 1)
    person = np.arange(len(x))[:, None]
    masks = people["mask"].astype(np.uint8)
    square = np.ones((3, 3), np.uint8)
    # A mask pixel is a majority of finer ones; at an edge it may differ from the joint's own.
    grown = np.stack([cv2.dilate(mask, square) for mask in masks])[person, y, x] > 0
    shrunk = np.stack([cv2.erode(mask, square) for mask in masks])[person, y, x] > 0
    on_person = (people["hidden_by"] < 2) & labelled
    assert grown[on_person].mean() > 0.995
    assert not shrunk[(people["hidden_by"] >= 2) & labelled].any()


def test_boxes_contain_the_mask_and_the_joints(people):
    for i in range(100):
        full, visible = people["bbox_xywh"][i], people["visible_bbox_xywh"][i]
        joints = people["keypoints"][i]
        assert (joints >= full[:2]).all() and (joints <= full[:2] + full[2:]).all()
        if not people["mask"][i].any():
            assert (visible == 0).all()
            continue
        rows, columns = np.nonzero(people["mask"][i])
        low, high = [columns.min() - 0.5, rows.min() - 0.5], [columns.max() + 0.5, rows.max() + 0.5]
        np.testing.assert_array_equal(visible, [*low, *np.subtract(high, low)])
        assert (visible[:2] >= full[:2]).all()
        assert (visible[:2] + visible[2:] <= full[:2] + full[2:]).all()
        assert people["mask"][i].sum() <= people["area"][i] + 0.05 * full[2] * full[3]


def test_head_size_is_the_length_of_the_head_segment(people):
    head = people["keypoints"][:, JOINT["head_top"]] - people["keypoints"][:, JOINT["upper_neck"]]
    np.testing.assert_allclose(people["head_size"], np.linalg.norm(head, axis=1), rtol=1e-5)
    assert people["head_size"].min() > 3


def test_mask_is_what_is_left_of_the_person():
    canvas, bodies = painted(one_pose(yaw_deg=0))
    whole = person_mask(canvas)
    cover(canvas, bodies.joints[0, JOINT["pelvis"], :2], OBJECT)
    left = person_mask(canvas)
    assert not (left & ~whole).any()
    # The square of 17 canvas pixels that lies wholly on the trunk.
    assert 60 <= (whole & ~left).sum() <= 85


def test_joints_outside_of_the_picture_are_not_labelled():
    people = synthetic_arrays(seed=5, num=120, size=48)
    outside = ((people["keypoints"] < -0.5) | (people["keypoints"] > 47.5)).any(-1)
    assert outside.any()
    np.testing.assert_array_equal(people["visibility"] == 0, outside)
    assert (people["hidden_by"][outside] == 0).all()


def test_statistics_count_each_cause_among_labelled_joints():
    arrays = {
        "visibility": np.array([[2, 1, 1, 0], [2, 2, 1, 1]]),
        "hidden_by": np.array([[0, 1, 2, 0], [0, 0, 3, 3]]),
    }
    statistics = occlusion_statistics(arrays)
    expected = {
        "num_people": 2, "hidden": 4 / 7, "hidden_by_self": 1 / 7, "hidden_by_person": 1 / 7,
        "hidden_by_object": 2 / 7, "outside_image": 1 / 8,
    }  # fmt: skip
    assert statistics == pytest.approx(expected)


def test_a_contact_sheet_shows_everybody(people):
    some = {key: value[:5] for key, value in people.items()}
    sheet = contact_sheet(some, columns=3, scale=2)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == 3 * (2 * 64 + 6) + 6
    assert sheet.shape[0] > 2 * 2 * 64
    before = sheet.copy()
    some["visibility"] = np.zeros_like(some["visibility"])
    assert (contact_sheet(some, columns=3, scale=2) != before).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"look": "indoor"}, "studio, street"),
        ({"size": 47}, "at least 48"),
        ({"seed": -1}, "seed"),
        ({"index": -1}, "index"),
    ],
)
def test_impossible_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_person(**({"seed": 0, "index": 0} | arguments))


def test_no_people_cannot_be_drawn():
    with pytest.raises(ValueError, match="num"):
        synthetic_arrays(seed=0, num=0)


@pytest.mark.filterwarnings("ignore")  # TFDS uses what others have deprecated.
@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed")
def test_the_builder_stores_what_the_renderer_draws(tmp_path):
    from oasjax.datasets.synthetic_people.synthetic_people_dataset_builder import Builder

    builder = Builder(
        look="street", seed=7, size=48, train_size=3, eval_size=2, data_dir=tmp_path,
        file_format="array_record",
    )  # fmt: skip
    assert builder.name == "synthetic_people"
    builder.download_and_prepare()
    for split, seed, num in (("train", 7, 3), ("eval", 8, 2)):
        assert builder.info.splits[split].num_examples == num
        for index, example in enumerate(builder.as_data_source(split)):
            person = render_person(seed, index, 48, "street")
            assert example.keys() == person.keys()
            assert example.pop("image_id").decode() == person["image_id"]
            for key in example:
                np.testing.assert_array_equal(example[key], person[key], err_msg=key)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed")
def test_the_builder_has_a_configuration_for_each_look(tmp_path):
    from oasjax.datasets.synthetic_people.synthetic_people_dataset_builder import Builder

    assert [config.name for config in Builder.BUILDER_CONFIGS] == list(LOOKS)
    street = Builder(config="street", data_dir=tmp_path)
    assert (street.builder_config.look, street.builder_config.train_size) == ("street", 2000)
    one, other = (Builder(seed=seed, data_dir=tmp_path) for seed in (1, 2))
    assert one.data_dir != other.data_dir
