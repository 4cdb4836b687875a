from dataclasses import replace

import cv2
import numpy as np
import pytest

from oasjax.datasets.skeletons import LSP, MPII
from oasjax.inference.drawing import (
    CENTRE_COLOUR,
    HEAT_COLOUR,
    LEFT_COLOUR,
    OUTLINE_COLOUR,
    RIGHT_COLOUR,
    draw_person,
    enlarge,
    enlarge_points,
    grid,
    hidden_joints,
    joint_colour,
    legend,
    limb_colour,
    occlusion_heat,
)

GREY = np.full((200, 300, 3), 90, np.uint8)


def only(**joints):
    """Keypoints of MPII that are all missing but the given ones."""
    keypoints = np.full((16, 2), np.nan)
    for name, place in joints.items():
        keypoints[MPII.joints.index(name)] = place
    return keypoints


def hidden(*names):
    return np.isin(MPII.joints, names)


def changed(picture):
    return np.argwhere((picture != GREY).any(axis=-1))  # rows of (y, x)


def test_a_visible_joint_is_a_disc_of_its_sides_colour_and_the_input_stays_as_it_was():
    before = GREY.copy()
    for name, colour in (
        ("left_wrist", LEFT_COLOUR),
        ("right_wrist", RIGHT_COLOUR),
        ("head_top", CENTRE_COLOUR),
    ):
        drawn = draw_person(GREY, only(**{name: (150.0, 80.0)}), hidden(), MPII)
        assert tuple(drawn[80, 150]) == colour
        np.testing.assert_allclose(changed(drawn).mean(axis=0), [80, 150], atol=0.5)
    np.testing.assert_array_equal(before, GREY)


def test_a_hidden_joint_is_hollow():
    drawn = draw_person(GREY, only(left_wrist=(150.0, 80.0)), hidden("left_wrist"), MPII)
    assert tuple(drawn[80, 150]) == OUTLINE_COLOUR
    ring = np.abs(drawn.astype(int) - LEFT_COLOUR).sum(axis=-1) < 90
    assert ring.any()
    np.testing.assert_allclose(np.argwhere(ring).mean(axis=0), [80, 150], atol=0.5)


def test_a_limb_with_a_hidden_end_is_dashed_and_a_visible_one_is_whole():
    keypoints = only(left_elbow=(50.0, 100.0), left_wrist=(250.0, 100.0))

    def share_of_limb(hidden_joints):
        row = draw_person(GREY, keypoints, hidden_joints, MPII)[100, 65:235]
        return (row == LEFT_COLOUR).all(axis=-1).mean()

    assert share_of_limb(hidden()) == 1.0
    assert 0.2 < share_of_limb(hidden("left_wrist")) < 0.8


def test_nan_joints_and_their_limbs_are_not_drawn():
    np.testing.assert_array_equal(draw_person(GREY, only(), hidden(), MPII), GREY)
    elbow_alone = draw_person(GREY, only(left_elbow=(50.0, 100.0)), hidden(), MPII)
    assert np.abs(changed(elbow_alone) - [100, 50]).max() < 20


@pytest.mark.parametrize("place", [(-500.0, 50.0), (1e12, -1e12), (299.9, 199.9), (-3.0, 203.0)])
@pytest.mark.parametrize("is_hidden", [False, True])
def test_joints_outside_the_picture_do_no_harm(place, is_hidden):
    keypoints = only(left_elbow=(150.0, 100.0), left_wrist=place)
    names = ("left_wrist",) if is_hidden else ()
    drawn = draw_person(GREY, keypoints, hidden(*names), MPII)
    assert drawn.shape == GREY.shape
    assert tuple(drawn[100, 150]) == LEFT_COLOUR


def test_the_box_is_drawn_where_it_is_and_a_broken_one_is_not():
    box = np.array([100.0, 50.0, 80.0, 60.0])
    edge = changed(draw_person(GREY, only(), hidden(), MPII, box))
    np.testing.assert_allclose(edge.min(axis=0), [50, 100], atol=3)
    np.testing.assert_allclose(edge.max(axis=0), [109, 179], atol=3)
    nothing = draw_person(GREY, only(), hidden(), MPII, np.array([np.nan, 0, 5, 5]))
    np.testing.assert_array_equal(nothing, GREY)


def test_a_joint_of_unknown_occlusion_is_a_square_even_where_it_is_marked_hidden():
    unknown = hidden("left_wrist")
    drawn = draw_person(GREY, only(left_wrist=(150.0, 80.0)), unknown, MPII, unknown=unknown)
    (top, left), (bottom, right) = changed(drawn).min(axis=0), changed(drawn).max(axis=0)
    filled = (drawn[top : bottom + 1, left : right + 1] != 90).any(-1)
    assert filled.mean() > 0.95 and bottom - top == right - left
    assert tuple(drawn[80, 150]) == LEFT_COLOUR


def test_sides_are_known_by_other_spellings_of_a_joint_too():
    skeleton = replace(LSP, joints=("RAnkle", "wrist_l", *LSP.joints[2:]))
    assert (joint_colour(skeleton, 0), joint_colour(skeleton, 1)) == (RIGHT_COLOUR, LEFT_COLOUR)


def test_limbs_between_two_sides_are_neutral():
    right_hip, left_hip, neck, right_shoulder = 2, 3, 12, 8
    assert limb_colour(LSP, right_hip, left_hip) == CENTRE_COLOUR
    assert limb_colour(LSP, right_shoulder, neck) == RIGHT_COLOUR


def test_enlarged_points_meet_the_enlarged_pixels():
    picture = np.zeros((64, 48, 3), np.uint8)
    picture[10, 20] = 255
    big, factor = enlarge(picture, 384)
    assert big.shape == (384, 288, 3) and factor == 6
    x, y = enlarge_points(np.array([[20.0, 10.0]]), factor)[0]
    weights = big[..., 0].astype(float)
    ys, xs = np.mgrid[: big.shape[0], : big.shape[1]]
    np.testing.assert_allclose(
        [(weights * xs).sum() / weights.sum(), (weights * ys).sum() / weights.sum()], [x, y]
    )
    same, factor = enlarge(GREY, 100)
    assert factor == 1 and same is not GREY
    np.testing.assert_array_equal(same, GREY)


def test_heat_reddens_where_the_map_is_high_and_takes_any_map_size():
    occlusion_map = np.zeros((20, 30), np.float32)
    occlusion_map[5:8, 10:13] = 7.0  # clipped to 1
    occlusion_map[15, 25] = np.nan
    heat = occlusion_heat(GREY, occlusion_map, strength=1.0)
    assert heat.shape == GREY.shape
    assert tuple(heat[64, 114]) == HEAT_COLOUR
    red = cv2.cvtColor(heat, cv2.COLOR_RGB2HSV)[..., 1] > 60
    np.testing.assert_allclose(np.argwhere(red).mean(axis=0), [64.5, 114.5], atol=1)


def test_grid_places_pictures_in_rows_with_captions():
    pictures = [np.full((40, 50, 3), value, np.uint8) for value in (200, 150, 100)]
    sheet = grid(pictures, ["one", "two", "three"], columns=2, gap_px=4)
    assert sheet.shape == (2 * (40 + 22 + 4) + 4, 2 * 54 + 4, 3)
    assert (sheet[10, 10] == 200).all() and (sheet[10, 70] == 150).all()
    assert (sheet[4 + 66 + 10, 10] == 100).all()
    assert (sheet[46:66, 4:54].max() > 200) and grid(pictures, columns=3, gap_px=4).shape[0] == 48
    with pytest.raises(ValueError, match="at least one"):
        grid([])
    with pytest.raises(ValueError, match="2 captions"):
        grid(pictures, ["a", "b"])


def test_joints_are_hidden_above_one_half_and_none_is_where_nothing_is_predicted():
    np.testing.assert_array_equal(
        hidden_joints(np.array([0.0, 0.5, 0.51, 1.0]), 4), [False, False, True, True]
    )
    np.testing.assert_array_equal(hidden_joints(None, 3), [False] * 3)


def test_a_legend_without_occlusion_explains_the_sides_alone():
    full, sides = legend(800), legend(800, occlusion=False)
    for colour, is_there in ((RIGHT_COLOUR, True), (LEFT_COLOUR, True), (CENTRE_COLOUR, False)):
        assert (full == colour).all(-1).any()
        assert (sides == colour).all(-1).any() == is_there
    assert legend(100, occlusion=False).shape == (26, 100, 3)


def test_a_legend_explains_unknown_joints_when_asked_to():
    without, strip = legend(800), legend(800, unknown=True)
    assert strip.shape == without.shape and (strip[:, 640:] != without[:, 640:]).any()
    assert legend(300, unknown=True).shape == (78, 300, 3)


@pytest.mark.parametrize("width", [40, 200, 800])
def test_legend_is_as_wide_as_asked(width):
    strip = legend(width)
    assert strip.shape[1] == width and strip.dtype == np.uint8
    assert strip.shape[0] == (26 if width >= 400 else 52)
