"""What all codecs owe: targets that their own predictions read back, in pixels of the crop."""

from functools import cache
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from oasjax.codecs import heatmap, udp
from oasjax.codecs.codec import CODECS, make_codec

WIDTH, HEIGHT, STRIDE = 128, 160, 4
TARGET = {"sigma_cells": 2.0, "blur_kernel": 11}
NAMES = sorted(CODECS)

# How far a joint read back from its own target may be off. Gaussians at whole cells cost half a cell.
ROUND_TRIP_PX = {"subpixel": 0.01, "dark": 0.01, "udp": 0.01, "hrnet": 2.001, "hourglass": 2.001}
# Where the maps of the mirrored crop come to lie: the published code leaves a pixel over.
LEFT_OVER_PX = {"subpixel": 0.0, "udp": 0.0, "hrnet": 1.0, "hourglass": 1.0, "dark": 1.0}


@cache
def compiled(name: str) -> SimpleNamespace:
    """A codec and its functions, each compiled once for a shape."""
    codec = make_codec({"codec": name, **TARGET}, stride=STRIDE, input_size_wh=(WIDTH, HEIGHT))
    return SimpleNamespace(
        codec=codec,
        encode=jax.jit(codec.encode),
        decode=jax.jit(codec.decode),
        mirror=jax.jit(codec.mirror),
        to_cells=jax.jit(codec.to_cells),
    )


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param


def inner_points() -> np.ndarray:
    """(2, 30, 2): joints more than a blurred Gaussian's reach from the border."""
    rng = np.random.default_rng(0)
    return rng.uniform(48, (WIDTH - 48, HEIGHT - 48), (2, 30, 2)).astype(np.float32)


ALL = jnp.ones((2, 30), bool)


def test_a_joint_is_read_back_from_its_target(name):
    points = inner_points()
    maps, drawn = compiled(name).encode(points, ALL)
    assert maps.shape == (2, HEIGHT // STRIDE, WIDTH // STRIDE, 30)
    assert drawn.all()
    decoded, scores = compiled(name).decode(maps)
    assert np.abs(decoded - points).max() < ROUND_TRIP_PX[name]
    assert (scores > 0.8).all() and (scores <= 1).all()


def test_the_error_of_whole_cells_is_spread_evenly_about_zero():
    for name in ("hrnet", "hourglass"):
        points = inner_points()
        decoded, _ = compiled(name).decode(compiled(name).encode(points, ALL)[0])
        assert abs(np.mean(decoded - points)) < 0.3


def test_the_grid_tells_where_cells_lie(name):
    codec = compiled(name).codec
    cells = np.array([[0.0, 0.0], [7.0, 11.0], [7.5, 11.25]], np.float32)
    pixels = np.asarray(codec.first_cell_px) + np.asarray(codec.pitch_px) * cells
    np.testing.assert_allclose(codec.to_cells(jnp.asarray(pixels, jnp.float32)), cells, atol=1e-5)
    # A map with one bright cell is read at that cell's pixel.
    width, height = codec.map_size_wh
    maps = jnp.zeros((2, height, width, 30)).at[:, 11, 7].set(1.0)
    decoded, _ = compiled(name).decode(maps)
    np.testing.assert_allclose(decoded[0, 0], pixels[1], atol=1e-4)


def test_the_tables_of_grids():
    grids = {name: (compiled(name).codec.first_cell_px, compiled(name).codec.pitch_px) for name in NAMES}
    assert grids == {
        "subpixel": ((1.5, 1.5), (4.0, 4.0)),
        "hrnet": ((0.0, 0.0), (4.0, 4.0)),
        "dark": ((0.0, 0.0), (4.0, 4.0)),
        "hourglass": ((2.0, 2.0), (4.0, 4.0)),
        "udp": ((0.0, 0.0), (127 / 31, 159 / 39)),
    }
    assert [name for name in NAMES if compiled(name).codec.whole_pixels] == ["hourglass"]


def test_our_cells_tile_the_crop():
    corners = jnp.asarray([[-0.5, -0.5], [WIDTH - 0.5, HEIGHT - 0.5]])
    np.testing.assert_allclose(compiled("subpixel").to_cells(corners), [[-0.5, -0.5], [31.5, 39.5]])


def test_maps_of_the_mirrored_crop_turned_back_are_those_of_the_crop(name):
    """Up to what the convention leaves over: the maps of joints so many pixels further right."""
    points = inner_points()
    mirrored = points * [-1, 1] + [WIDTH - 1, 0]
    maps = compiled(name).mirror(compiled(name).encode(mirrored.astype(np.float32), ALL)[0])
    moved = points + np.float32([LEFT_OVER_PX[name], 0])
    np.testing.assert_allclose(maps, compiled(name).encode(moved, ALL)[0], atol=1e-5)


def test_a_map_of_one_channel_is_mirrored_as_well(name):
    turned = compiled(name).mirror(jnp.arange(4.0).reshape(1, 1, 4, 1))[0, 0, :, 0]
    moved = name in ("hrnet", "dark")
    np.testing.assert_array_equal(turned, [3, 3, 2, 1] if moved else [3, 2, 1, 0])


def test_joints_without_a_label_or_with_wild_coordinates_leave_no_trace(name):
    points, labelled = inner_points(), np.ones((2, 30), bool)
    for joint, wild in enumerate([np.nan, np.inf, -np.inf, 1e9, -1e9, 1e30]):
        points[0, joint] = wild
        points[1, joint, joint % 2] = wild
    labelled[:, 6:9] = False
    points[:, 6] = np.nan
    points[:, 7] = -1e30
    maps, drawn = compiled(name).encode(points, labelled)
    np.testing.assert_array_equal(drawn, np.arange(30)[None].repeat(2, 0) > 8)
    assert not maps[..., :9].any()
    assert jnp.isfinite(maps).all() and maps[..., 9:].any((1, 2)).all()


def test_joints_on_the_border_of_the_crop_count_and_stay_near(name):
    corners = np.array([[0, 0], [WIDTH - 1, 0], [0, HEIGHT - 1], [WIDTH - 1, HEIGHT - 1]], np.float32)
    sides = np.array([[WIDTH / 2, 0], [WIDTH - 1, 70], [70, HEIGHT - 1], [0, 70]], np.float32)
    points = inner_points()
    points[:, :8] = np.concatenate([corners, sides])
    maps, drawn = compiled(name).encode(points, ALL)
    assert drawn.all()
    decoded, scores = compiled(name).decode(maps)
    assert np.abs(decoded - points)[:, :8].max() < 1.5 * STRIDE
    assert (scores > 0.5).all()


def test_how_far_outside_of_the_crop_a_joint_still_counts():
    """With windows of 6 sigma + 1 cells: while one reaches the maps, or ends just before their first cell."""
    points = inner_points()
    # Pixel x at which the joint no longer counts; one pixel further in it does.
    bounds = {"subpixel": -1.0, "hrnet": -34.0, "dark": -28.5, "udp": -35.0, "hourglass": -32.0}
    for name, bound in bounds.items():
        points[0, :2] = [[bound, 80.0], [bound + 1.0, 80.0]]
        _, drawn = compiled(name).encode(points, ALL)
        np.testing.assert_array_equal(drawn[0, :2], [False, True], err_msg=name)


NOTHING_PX = {
    "subpixel": (1.5, 1.5),  # the first of equal cells
    "hrnet": (0.0, 0.0),  # cell (0, 0)
    "hourglass": (-2.0, -2.0),  # cell (-1, -1) for this and the next two
    "dark": (-4.0, -4.0),
    "udp": (-127 / 31, -159 / 39),
}


@pytest.mark.parametrize("level", [0.0, -0.5])
def test_maps_without_a_positive_value_are_read_at_a_fixed_place(name, level):
    width, height = compiled(name).codec.map_size_wh
    decoded, scores = compiled(name).decode(jnp.full((2, height, width, 30), level))
    np.testing.assert_allclose(decoded, np.broadcast_to(NOTHING_PX[name], (2, 30, 2)), rtol=1e-6)
    np.testing.assert_array_equal(scores, level)


def test_flat_and_noisy_maps_are_read_at_finite_places(name):
    width, height = compiled(name).codec.map_size_wh
    noise = np.random.default_rng(1).normal(size=(2, height, width, 30)).astype(np.float32)
    noise[0, ..., :10] = 0.7
    noise[0, ..., 10:20] *= 1e-20
    noise[1, ..., :10] *= 1e6
    decoded, scores = compiled(name).decode(noise)
    assert jnp.isfinite(decoded).all() and jnp.isfinite(scores).all()


def test_any_batch_shape_and_vmap_give_the_same(name):
    codec, points = compiled(name).codec, jnp.asarray(inner_points())
    maps, drawn = compiled(name).encode(points, ALL)
    mapped = jax.jit(jax.vmap(codec.encode))(points, ALL)
    np.testing.assert_allclose(mapped[0], maps, atol=1e-6)
    np.testing.assert_array_equal(mapped[1], drawn)
    decoded, scores = compiled(name).decode(maps)
    again = jax.jit(jax.vmap(codec.decode))(maps)
    np.testing.assert_allclose(again[0], decoded, atol=1e-4)
    np.testing.assert_allclose(again[1], scores)
    single, _ = compiled(name).decode(maps[0])
    np.testing.assert_allclose(single, decoded[0], atol=1e-4)


def test_maps_of_half_the_width_are_read_in_float32(name):
    maps, _ = compiled(name).encode(inner_points(), ALL)
    half = maps.astype(jnp.bfloat16)
    decoded, scores = compiled(name).decode(half)
    assert decoded.dtype == scores.dtype == jnp.float32
    expected, _ = compiled(name).decode(half.astype(jnp.float32))
    np.testing.assert_allclose(decoded, expected, atol=1e-4)
    maps, _ = compiled(name).encode(inner_points().astype(jnp.bfloat16), ALL)
    assert maps.dtype == jnp.float32


def test_an_unknown_codec_is_named_with_the_choices():
    with pytest.raises(ValueError, match="codec is 'simcc'.*dark.*hourglass.*hrnet.*subpixel.*udp"):
        make_codec({"codec": "simcc", **TARGET}, stride=4, input_size_wh=(64, 64))


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan])
def test_a_sigma_that_is_not_above_zero_is_refused(sigma):
    with pytest.raises(ValueError, match="sigma_cells is .*above 0"):
        make_codec(TARGET | {"codec": "hrnet", "sigma_cells": sigma}, stride=4, input_size_wh=(64, 64))


@pytest.mark.parametrize("kernel", [10, 0, -3])
def test_a_blur_kernel_without_a_middle_is_refused(kernel):
    with pytest.raises(ValueError, match=f"blur_kernel is {kernel}; it must be odd"):
        make_codec(TARGET | {"codec": "dark", "blur_kernel": kernel}, stride=4, input_size_wh=(64, 64))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(TypeCheckError):
        compiled("hrnet").codec.encode(jnp.zeros((1, 3, 2)), jnp.ones((1, 4), bool))


def test_a_ridge_is_climbed_by_udp_along_its_one_slope():
    """The map does not curve along x, so no step along x is asked for; DARK's equations have no solution."""
    width, height = compiled("udp").codec.map_size_wh
    row = jnp.exp(-((jnp.arange(height) - 20.3) ** 2) / 8)
    cells, _ = jax.jit(lambda maps: udp.decode(maps, blur_kernel=1))(
        jnp.broadcast_to(row[:, None, None], (height, width, 1))
    )
    np.testing.assert_allclose(cells, [[0.0, 20.3]], atol=1e-3)


@jax.jit
def bump(x: float, y: float) -> jax.Array:
    """(40, 32, 30): the same Gaussian for all joints."""
    points = jnp.broadcast_to(jnp.asarray([x, y], jnp.float32), (30, 2))
    return heatmap.encode(points, jnp.ones(30, bool), height=40, width=32, sigma_cells=2.0)


@pytest.mark.parametrize(("column", "row"), [(0, 0), (1, 1), (30, 38), (31, 39)])
def test_dark_leaves_a_peak_in_the_two_outermost_columns_or_rows_at_its_cell(column, row):
    decoded, _ = compiled("dark").decode(jnp.stack([bump(column + 0.3, 20.3), bump(16.3, row + 0.3)]))
    np.testing.assert_array_equal(decoded[0, 0], [4.0 * column, 80.0])
    np.testing.assert_array_equal(decoded[1, 0], [64.0, 4.0 * row])
    inside, _ = compiled("dark").decode(jnp.stack([bump(2.3, 20.3), bump(29.3, 20.3)]))
    assert (np.asarray(inside) % 4 != 0).all()


def test_dark_reads_a_faint_map_as_a_bright_one_and_udp_sees_nothing_below_a_thousandth():
    maps = jnp.stack([bump(15.3, 20.3), 1e-4 * bump(15.3, 20.3)])
    decoded, _ = compiled("dark").decode(maps)
    np.testing.assert_allclose(decoded[1], decoded[0], atol=1e-3)
    decoded, _ = compiled("udp").decode(maps)
    np.testing.assert_allclose(decoded[1, 0], [15 * 127 / 31, 20 * 159 / 39], rtol=1e-6)


def test_maps_below_zero_are_read_like_empty_ones_however_they_rise():
    for name in ("hrnet", "hourglass", "dark", "udp"):
        decoded, _ = compiled(name).decode(jnp.stack([bump(15.3, 20.3) - 1.5] * 2))
        np.testing.assert_allclose(decoded[0, 0], NOTHING_PX[name], rtol=1e-6)
