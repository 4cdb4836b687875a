"""Padded, clipped and half-body boxes."""

import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.augmentation.flip import flip_flags, flip_keypoints
from oasjax.datasets.skeletons import COCO, MPII, flip_permutation, lower_body
from oasjax.input_pipeline.person_box import clip_box, crop_box, half_body_box

SQUARE = (64, 64)


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        ([10, 20, 30, 40], [10, 20, 29, 39]),
        ([90, 70, 30, 40], [90, 70, 9, 9]),
        # Moved in, as HRNet does it: the width stays that of the box less one.
        ([-10, -20, 30, 40], [0, 0, 29, 39]),
        ([5, 5, 1, 1], [5, 5, 0, 0]),
        ([120, 5, 10, 10], [120, 5, -21, 9]),
    ],
)
def test_a_box_is_clipped_by_the_rule_of_hrnet(box, clipped):
    np.testing.assert_array_equal(clip_box(np.float32(box), (100, 80)), clipped)


def halves(joints_above, joints_below):
    """A person with so many joints of MPII labelled, (centre, size) of each half."""
    joints = np.random.default_rng(0).uniform(0, 100, (MPII.num_joints, 2)).astype(np.float32)
    labelled = np.zeros(MPII.num_joints, np.bool_)
    labelled[7 : 7 + joints_above] = True
    labelled[:joints_below] = True
    boxes = [half_body_box(joints, labelled, lower_body(MPII), SQUARE, upper=u) for u in (True, False)]
    return joints[7 : 7 + joints_above], joints[:joints_below], boxes


def assert_about(box, points):
    center, size = box
    np.testing.assert_allclose(center, points.mean(0), rtol=1e-6)
    np.testing.assert_allclose(size, [1.5 * np.ptp(points, axis=0).max()] * 2, rtol=1e-6)


def test_half_a_body_is_the_box_of_its_joints_and_a_half_more_about_their_mean():
    above, below, (upper, lower) = halves(5, 4)
    assert_about(upper, above)
    assert_about(lower, below)


def test_a_half_with_too_few_joints_gives_way_to_the_other():
    above, below, (upper, lower) = halves(2, 4)
    assert_about(upper, below)
    assert_about(lower, below)
    above, below, (upper, lower) = halves(3, 3)
    assert_about(upper, above)
    assert_about(lower, below)
    above, below, (upper, lower) = halves(3, 2)
    assert_about(upper, above)
    assert_about(lower, above)
    above, below, (upper, lower) = halves(2, 2)
    assert_about(upper, above)
    assert_about(lower, above)


@pytest.mark.parametrize("counts", [(1, 2), (0, 0), (0, 2)])
def test_with_fewer_joints_there_is_no_half(counts):
    assert halves(*counts)[2] == [None, None]


def test_joints_in_one_place_make_no_box():
    joints, labelled = np.full((16, 2), 7, np.float32), np.ones(16, np.bool_)
    assert half_body_box(joints, labelled, lower_body(MPII), SQUARE, upper=True) is None


@pytest.mark.golden
def test_halves_are_those_of_half_body_transform(golden_dir):
    golden = np.load(golden_dir / "prepost_hrnet" / "joints_flip_half_body.npz")
    assert golden["joints"].shape[1] == COCO.num_joints
    for half, upper in (("upper", True), ("lower", False)):
        scales = golden[f"half_{half}_scale"]
        # The crop of that run is not in the file; its aspect is that of the boxes.
        aspect = round(float(scales[0, 0] / scales[0, 1]), 6)
        input_size = (round(aspect * 3840), 3840)
        for n, joints in enumerate(golden["joints"].astype(np.float32)):
            labelled = golden["joints_vis"][n, :, 0] > 0
            center, size = half_body_box(joints[:, :2], labelled, lower_body(COCO), input_size, upper=upper)
            np.testing.assert_allclose(center, golden[f"half_{half}_center"][n], rtol=1e-5)
            np.testing.assert_allclose(np.array(size) / 200, scales[n], rtol=1e-5)


@pytest.mark.golden
def test_mirrored_joints_are_those_of_fliplr_joints(golden_dir):
    golden = np.load(golden_dir / "prepost_hrnet" / "joints_flip_half_body.npz")
    permutation = flip_permutation(COCO)
    flipped = jnp.ones(1, bool)
    for n, width in enumerate(golden["width"].tolist()):
        joints, visible = (jnp.asarray(golden[key][n][None], jnp.float32) for key in ("joints", "joints_vis"))
        points = flip_keypoints(joints[..., :2], flipped, width, permutation)
        flags = flip_flags(visible[..., 0], flipped, permutation)
        np.testing.assert_array_equal(flags[0], golden["flip_vis"][n, :, 0])
        # HRNet sets joints without a label to 0.
        points = np.where(np.asarray(flags)[0, :, None] > 0, points[0], 0)
        np.testing.assert_allclose(points, golden["flip_joints"][n, :, :2], rtol=1e-5, atol=1e-4)


def test_a_box_grows_to_the_aspect_of_the_crop_and_by_the_padding():
    center, size = crop_box(np.float32([10, 20, 40, 20]), SQUARE, 1.25)
    assert center.tolist() == [30, 30]
    assert size == (50, 50)
    # 3:4 crop, tall box: 20 wide would be enough, the width becomes 80 * 3 / 4.
    assert crop_box(np.float32([0, 0, 20, 80]), (48, 64), 1.0)[1] == (60, 80)
