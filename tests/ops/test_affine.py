"""Maps from pictures to crops, by four conventions."""

import numpy as np
import pytest

from oasjax.ops.affine import (
    apply_affine,
    compose,
    crop_matrix,
    hourglass_matrix,
    hrnet_matrix,
    invert,
    udp_matrix,
)

MATRICES = [crop_matrix, hrnet_matrix, hourglass_matrix, udp_matrix]
BOX = np.array([70.0, 40.0]), (90.0, 120.0)
SIZE = (96, 128)


@pytest.mark.golden
def test_hrnet_maps_are_those_of_get_affine_transform(golden_dir):
    golden = np.load(golden_dir / "prepost_hrnet" / "affine.npz")
    assert np.unique(golden["shift"], axis=0).shape[0] > 1
    for n, scale in enumerate(golden["scale"]):
        box_size = 200.0 * scale
        center = golden["center"][n] + box_size * golden["shift"][n]
        output_size = tuple(golden["output_size"][n].tolist())
        matrix = hrnet_matrix(center, tuple(box_size.tolist()), output_size, float(golden["rot"][n]))
        np.testing.assert_allclose(matrix, golden["trans"][n], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(invert(matrix), golden["trans_inv"][n], rtol=1e-9, atol=1e-7)
        points = golden["points"][n]
        np.testing.assert_allclose(
            apply_affine(points, matrix), golden["points_out"][n], rtol=1e-9, atol=1e-7
        )
        back = apply_affine(golden["points_out"][n], invert(matrix))
        np.testing.assert_allclose(back, golden["points_back"][n], rtol=1e-9, atol=1e-7)


@pytest.mark.golden
def test_hourglass_maps_are_those_of_get_transform(golden_dir):
    golden = np.load(golden_dir / "prepost_hourglass" / "transform.npz")
    for n, scale in enumerate(golden["scale"].tolist()):
        height, width = golden["res"][n].tolist()
        box = golden["center"][n], (200 * scale, 200 * scale), (width, height)
        matrix = hourglass_matrix(*box, float(golden["rot"][n]))
        np.testing.assert_allclose(matrix, golden["matrix"][n][:2], rtol=1e-9, atol=1e-9)
        # Points count from 1 there, and are cut to whole pixels.
        [forward] = apply_affine(golden["pt"][n][None] - 1, matrix).astype(int) + 1
        np.testing.assert_array_equal(forward, golden["fwd"][n])
        [inverse] = apply_affine(golden["pt"][n][None] % 64, invert(hourglass_matrix(*box))).astype(int) + 1
        np.testing.assert_array_equal(inverse, golden["inv"][n])


@pytest.mark.golden
def test_udp_maps_are_those_of_mmpose(golden_dir):
    golden = np.load(golden_dir / "codecs_udp_dark" / "warp.npz")
    for n, scale in enumerate(golden["scale"]):
        box = golden["center"][n].astype(np.float64), tuple(scale.tolist()), tuple(golden["size"][n].tolist())
        angle = float(golden["rot"][n])
        np.testing.assert_allclose(udp_matrix(*box, angle), golden["udp"][n], rtol=1e-5, atol=1e-5)
        # The plain map of mmpose, from three points as well, but others.
        plain = hrnet_matrix(*box, angle)
        np.testing.assert_allclose(plain, golden["warp"][n], rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(invert(plain), golden["warp_inv"][n], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("matrix_of", MATRICES)
@pytest.mark.parametrize("angle", [0.0, 37.0])
def test_the_middle_of_the_box_lands_where_the_convention_says(matrix_of, angle):
    center, size = BOX
    [middle] = apply_affine(center[None], matrix_of(center, size, SIZE, angle))
    past_the_middle = 0.5 if matrix_of in (hrnet_matrix, hourglass_matrix) else 0.0
    np.testing.assert_allclose(middle, (np.array(SIZE) - 1) / 2 + past_the_middle, atol=1e-4)


@pytest.mark.parametrize("matrix_of", MATRICES)
def test_a_point_right_of_the_middle_turns_clockwise_or_not_as_the_convention_says(matrix_of):
    center, size = BOX
    matrix = matrix_of(center, size, SIZE, 90.0)
    middle, right = apply_affine(np.stack([center, center + [10.0, 0.0]]), matrix)
    clockwise = matrix_of in (crop_matrix, udp_matrix)
    assert abs(right[0] - middle[0]) < 1e-4
    assert (right[1] > middle[1]) == clockwise


def test_the_outermost_pixels_of_a_udp_crop_are_the_edges_of_the_box():
    center, size = BOX
    corners = np.stack([center - np.array(size) / 2, center + np.array(size) / 2])
    np.testing.assert_allclose(
        apply_affine(corners, udp_matrix(center, size, SIZE)), [[0, 0], np.array(SIZE) - 1], atol=1e-9
    )


@pytest.mark.parametrize("matrix_of", MATRICES)
def test_without_rotation_conventions_show_the_same_within_half_a_pixel(matrix_of):
    center, size = BOX
    corners = center + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array(size) / 2
    ours, theirs = (apply_affine(corners, each(center, size, SIZE)) for each in (crop_matrix, matrix_of))
    assert np.abs(ours - theirs).max() <= 0.5 + 1e-4


def test_maps_compose_and_invert():
    first, second = (
        hrnet_matrix(*BOX, SIZE, 20.0),
        udp_matrix(np.array([9.0, -4.0]), (30.0, 70.0), SIZE, -50.0),
    )
    points = np.random.default_rng(0).uniform(-50, 200, (9, 2))
    expected = apply_affine(apply_affine(points, first), second)
    np.testing.assert_allclose(apply_affine(points, compose(second, first)), expected, atol=1e-9)
    np.testing.assert_allclose(compose(invert(first), first), np.eye(2, 3), atol=1e-9)
