"""Pasted occluders: what is drawn, where, and which joints it hides."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from oasjax.augmentation import occluders
from oasjax.augmentation.occluders import BACKGROUND, CUTOUT, FLAT, JOINT, KINDS, OTHER, Patches

BATCH, JOINTS, HEIGHT, WIDTH = 64, 6, 48, 40
SETTINGS = {
    "min_patches": 1,
    "max_patches": 3,
    "min_side": 0.2,
    "max_side": 0.4,
    "jitter": 0.02,
    "round_probability": 0.5,
    "kinds": {"flat": 0.1, "other": 0.2, "background": 0.2, "joint": 0.2, "cutout": 0.3},
}


def sampler(**changes):
    """Compiled `(key, points, labelled) -> patches`."""
    values = {"height": HEIGHT, "width": WIDTH, **SETTINGS, **changes}
    return jax.jit(partial(occluders.sample_patches, **values))


SAMPLE = sampler(num_cutouts=4)
PASTE = jax.jit(occluders.paste)
HIDDEN = jax.jit(occluders.hidden_joints)


# Cut-outs of 8 x 8 random pixels.
BANK = jnp.asarray(np.random.default_rng(9).integers(0, 256, (4, 8, 8, 4)), jnp.uint8)


def joints(seed: int = 0) -> tuple[jax.Array, jax.Array]:
    """Joints inside of the crops; of each image the last is not labelled, of the first image none is."""
    points = np.random.default_rng(seed).uniform(0, [WIDTH - 1, HEIGHT - 1], (BATCH, JOINTS, 2))
    labelled = np.ones((BATCH, JOINTS), bool)
    labelled[:, -1] = labelled[0] = False
    points[:, -1] = np.nan
    return jnp.asarray(points, jnp.float32), jnp.asarray(labelled)


def images_that_tell_their_pixels() -> jax.Array:
    """The colour of a pixel is (image, row, column): what is pasted tells where it comes from."""
    return jnp.stack(jnp.meshgrid(*map(jnp.arange, (BATCH, HEIGHT, WIDTH)), indexing="ij"), -1).astype(float)


def draw_slowly(images: np.ndarray, patches: Patches, cutouts: np.ndarray) -> np.ndarray:
    """`paste` pixel by pixel; the definition of what patches look like."""
    pasted = images.copy()
    for image, p in np.argwhere(patches.active):
        left, top, width, height = patches.box_xywh[image, p]
        for row in range(height):
            for column in range(width):
                kind, target = patches.kind[image, p], (image, top + row, left + column)
                across, down = (2 * column + 1 - width) * height, (2 * row + 1 - height) * width
                in_ellipse = across**2 + down**2 <= (width * height) ** 2
                if kind == CUTOUT:
                    texel_xy = int((column + 0.5) / width * 8), int((row + 0.5) / height * 8)
                    texel = cutouts[patches.cutout[image, p], texel_xy[1], texel_xy[0]]
                    if texel[3] >= 128:
                        pasted[target] = texel[:3] / 255
                elif in_ellipse or not patches.round[image, p]:
                    x, y = patches.piece_xy[image, p]
                    piece = images[patches.source[image, p], y + row, x + column]
                    pasted[target] = patches.colour[image, p] if kind == FLAT else piece
    return pasted


def one_patch(**fields) -> Patches:
    """One patch on one image: a flat red rectangle, 9 wide and 5 high, about (10, 6)."""
    patch = {
        "box_xywh": [6, 4, 9, 5],
        "active": True,
        "kind": FLAT,
        "round": False,
        "colour": [1.0, 0.0, 0.0],
        "source": 0,
        "piece_xy": [0, 0],
    }
    arrays = {name: jnp.asarray(value)[None, None] for name, value in (patch | fields).items()}
    return Patches(**{"cutout": None} | arrays)


def boxes_overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    return (high > low).all(-1)


def num_inside(box_xywh: np.ndarray, points: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """How many labelled joints of its image each box (b, p) holds."""
    pixels = np.floor(points[:, None] + 0.5)
    low, size = box_xywh[:, :, None, :2], box_xywh[:, :, None, 2:]
    return (((pixels >= low) & (pixels < low + size)).all(-1) & labelled[:, None]).sum(-1)


def test_a_flat_rectangle_covers_exactly_its_pixels():
    images = jnp.full((1, 16, 20, 3), 0.5)
    pasted = PASTE(images, one_patch())
    changed = np.argwhere(np.asarray((pasted != images).any(-1))[0])
    assert (changed.min(0).tolist(), changed.max(0).tolist()) == ([4, 6], [8, 14])
    assert len(changed) == 9 * 5
    np.testing.assert_array_equal(pasted[0, 6, 10], [1.0, 0.0, 0.0])


def test_a_joint_is_hidden_if_its_pixel_is_drawn():
    points = jnp.asarray([[[10.0, 6.0], [5.5, 3.5], [14.49, 8.49], [14.5, 6.0], [np.nan, 6.0], [6.0, -4.0]]])
    np.testing.assert_array_equal(HIDDEN(one_patch(), points)[0, 0], [True, True, True, False, False, False])
    assert not HIDDEN(one_patch(active=False), points).any()


def test_an_ellipse_touches_its_sides_and_leaves_the_corners():
    points = jnp.asarray([[[10.0, 6.0], [6.0, 6.0], [14.0, 6.0], [10.0, 4.0], [10.0, 8.0], [6.0, 4.0]]])
    hidden = HIDDEN(one_patch(round=True), points)
    np.testing.assert_array_equal(hidden[0, 0], [True, True, True, True, True, False])


def test_of_a_cutout_the_mask_alone_is_drawn():
    """A bank of one picture whose right upper quarter is all there is, scaled to a box of 6 x 6."""
    cutouts = np.zeros((1, 4, 4, 4), np.uint8)
    cutouts[0, :2, 2:] = [0, 0, 255, 128]
    cutouts[0, 2:, :2] = [255, 255, 255, 127]
    patch = one_patch(box_xywh=[2, 3, 6, 6], kind=CUTOUT, round=True, cutout=0)
    images = jnp.full((1, 16, 20, 3), 0.5)
    pasted = np.asarray(PASTE(images, patch, jnp.asarray(cutouts)))
    expected = np.full((16, 20, 3), 0.5)
    expected[3:6, 5:8] = [0, 0, 1]
    np.testing.assert_array_equal(pasted[0], expected)
    points = jnp.asarray([[[5.0, 3.0], [7.4, 5.4], [4.4, 3.0], [3.0, 7.0]]])
    hidden = HIDDEN(patch, points, jnp.asarray(cutouts))
    np.testing.assert_array_equal(hidden[0, 0], [True, True, False, False])


def test_drawing_all_kinds_over_each_other_equals_drawing_pixel_by_pixel():
    points, labelled = joints()
    patches = SAMPLE(jax.random.key(0), points, labelled)
    images = images_that_tell_their_pixels()
    expected = draw_slowly(np.asarray(images), jax.tree.map(np.asarray, patches), np.asarray(BANK))
    np.testing.assert_allclose(PASTE(images, patches, BANK), expected, atol=1e-6)


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)
def test_hidden_joints_are_those_whose_pixel_a_patch_paints(kind):
    """Each patch alone, over pictures without two pixels alike; joints also outside of the crop, and NaN."""
    random = np.random.default_rng(1)
    points = random.uniform(-4, [WIDTH + 3, HEIGHT + 3], (BATCH, JOINTS, 2)).astype(np.float32)
    points[:, 0] = np.floor(points[:, 0]) + 0.5  # between pixels
    points[:, 1, random.integers(2)] = np.nan
    patches = SAMPLE(jax.random.key(kind), *joints())
    images = images_that_tell_their_pixels() + 2  # no colour of a flat patch or of a cut-out
    hidden = np.asarray(HIDDEN(patches, jnp.asarray(points), BANK))

    x, y = np.floor(np.nan_to_num(points, nan=-9.0) + 0.5).astype(int).transpose(2, 0, 1)
    on_crop = (x >= 0) & (x < WIDTH) & (y >= 0) & (y < HEIGHT)
    row = np.arange(BATCH)[:, None]
    for p in range(SETTINGS["max_patches"]):
        alone = (jnp.arange(SETTINGS["max_patches"]) == p) & (patches.kind == kind) & patches.active
        painted = np.asarray((PASTE(images, patches._replace(active=alone), BANK) != images).any(-1))
        under = painted[row, np.clip(y, 0, HEIGHT - 1), np.clip(x, 0, WIDTH - 1)] & on_crop
        np.testing.assert_array_equal(hidden[:, p] & np.asarray(alone)[:, p, None], under)
    assert (hidden & (np.asarray(patches.kind) == kind)[..., None]).any()


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 48)),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    kind=st.sampled_from([FLAT, OTHER, CUTOUT]),
    is_round=st.booleans(),
    points=hnp.arrays(np.float32, (8, 2), elements=st.floats(-2, 50, width=32)),
)
def test_any_box_hides_what_it_paints(size, place, kind, is_round, points):
    width, height = size
    left, top = int(place[0] * (WIDTH - width)), int(place[1] * (HEIGHT - height))
    patch = one_patch(box_xywh=[left, top, width, height], kind=kind, round=is_round, source=1, cutout=2)
    images = jnp.stack([jnp.full((HEIGHT, WIDTH, 3), 2.0), jnp.full((HEIGHT, WIDTH, 3), 3.0)])
    both = jax.tree.map(lambda field: jnp.concatenate([field, field]), patch)
    painted = np.asarray((PASTE(images, both, BANK)[0] != 2.0).any(-1))
    hidden = HIDDEN(patch, jnp.asarray(points)[None], BANK)[0, 0]
    pixels = np.floor(points + np.float32(0.5)).astype(int)
    on_crop = (pixels >= 0).all(-1) & (pixels < [WIDTH, HEIGHT]).all(-1)
    x, y = np.clip(pixels, 0, [WIDTH - 1, HEIGHT - 1]).T
    np.testing.assert_array_equal(hidden, painted[y, x] & on_crop)


def test_numbers_sizes_shapes_and_kinds_keep_their_ranges_and_frequencies():
    points, labelled = joints()
    draws = [SAMPLE(jax.random.key(seed), points, labelled) for seed in range(40)]
    patches = jax.tree.map(lambda *fields: np.concatenate(fields), *draws)
    number = patches.active.sum(1)
    frequencies = np.bincount(number, minlength=4) / len(number)
    np.testing.assert_allclose(frequencies, [0, 1 / 3, 1 / 3, 1 / 3], atol=0.04)
    assert (patches.active == (np.arange(3) < number[:, None])).all()

    left, top, width, height = np.moveaxis(patches.box_xywh, -1, 0)
    for side in (width, height):
        assert (side.min(), side.max()) == (0.2 * WIDTH, 0.4 * WIDTH)
    assert (width[patches.kind == CUTOUT] == height[patches.kind == CUTOUT]).all()
    for first, side, length in ((left, width, WIDTH), (top, height, HEIGHT)):
        assert first.min() >= 0 and (first + side).max() <= length
    piece_end = patches.piece_xy + patches.box_xywh[..., 2:]
    assert patches.piece_xy.min() >= 0 and (piece_end <= [WIDTH, HEIGHT]).all()

    assert abs(patches.round.mean() - 0.5) < 0.02
    assert patches.colour.min() >= 0 and patches.colour.max() <= 1
    assert set(np.unique(patches.cutout)) == {0, 1, 2, 3}
    # Of the first image no joint is labelled: its patches `joint` are `background`.
    kind = patches.kind.reshape(40, BATCH, 3)[:, 1:]
    frequencies = np.bincount(kind.ravel(), minlength=len(KINDS)) / kind.size
    np.testing.assert_allclose(frequencies, list(SETTINGS["kinds"].values()), atol=0.02)


def test_patches_lie_on_labelled_joints_within_the_jitter():
    points = jnp.full((BATCH, JOINTS, 2), 10.0).at[:, 2].set(jnp.asarray([24.0, 30.0]))
    labelled = jnp.zeros((BATCH, JOINTS), bool).at[:, 2].set(True)
    patches = jax.tree.map(np.asarray, SAMPLE(jax.random.key(1), points, labelled))
    center = patches.box_xywh[..., :2] + (patches.box_xywh[..., 2:] - 1) / 2
    off = np.abs(center - [24.0, 30.0])[patches.kind != JOINT]
    assert 1 < off.max() <= 6 * 0.02 * WIDTH + 0.5  # half a pixel is rounding


def test_a_patch_at_the_border_is_moved_inside_and_still_hides_its_joint():
    points = jnp.broadcast_to(jnp.asarray([39.4, 47.4]), (BATCH, JOINTS, 2))
    patches = SAMPLE(jax.random.key(1), points, jnp.ones((BATCH, JOINTS), bool))
    is_box = (patches.kind < JOINT) & ~patches.round & patches.active
    hidden = HIDDEN(patches, points, BANK).all(-1)
    assert is_box.sum() > 20 and (hidden | ~is_box).all()


def test_pieces_of_other_crops_are_of_others_and_pieces_of_the_background_show_no_joint():
    points, labelled = joints()
    patches = jax.tree.map(np.asarray, SAMPLE(jax.random.key(2), points, labelled))
    own = np.broadcast_to(np.arange(BATCH)[:, None], (BATCH, 3))
    np.testing.assert_array_equal(patches.source != own, patches.kind == OTHER)
    assert len(set((patches.source - own)[patches.kind == OTHER] % BATCH)) > 10

    piece = np.concatenate([patches.piece_xy, patches.box_xywh[..., 2:]], -1)
    shown = num_inside(piece, np.asarray(points), np.asarray(labelled))
    assert not shown[patches.kind == BACKGROUND].any()
    assert shown[patches.kind == OTHER].any()


def test_the_background_is_where_the_fewest_joints_are():
    """Joints on every second pixel, labelled on the left: what is found lies on the right if it can."""
    grid = np.stack(np.meshgrid(np.arange(0, WIDTH, 2), np.arange(0, HEIGHT, 2)), -1).reshape(1, -1, 2)
    points = jnp.asarray(np.repeat(grid, BATCH, 0), jnp.float32)
    sample = sampler(kinds={"background": 1.0}, min_side=0.3, max_side=0.3)
    patches = sample(jax.random.key(0), points, points[..., 0] < 24)
    assert (np.asarray(patches.piece_xy[..., 0]) >= 24).mean() > 0.75


def test_a_false_twin_shows_its_joint_and_stands_on_the_background_near_by():
    points = jnp.full((BATCH, JOINTS, 2), jnp.nan).at[:, 3].set(jnp.asarray([20.0, 24.0]))
    labelled = jnp.zeros((BATCH, JOINTS), bool).at[:, 3].set(True)
    patches = jax.tree.map(np.asarray, SAMPLE(jax.random.key(3), points, labelled))
    twin = patches.kind == JOINT
    size = patches.box_xywh[..., 2:]
    piece_center = patches.piece_xy + (size - 1) / 2
    np.testing.assert_allclose(piece_center[twin], np.broadcast_to([20, 24], (twin.sum(), 2)), atol=0.5)
    assert not num_inside(patches.box_xywh, np.asarray(points), np.asarray(labelled))[twin].any()
    away = np.linalg.norm(patches.box_xywh[..., :2] - patches.piece_xy, axis=-1) / size.max(-1)
    assert away[twin].max() < 2.6
    pieces = np.concatenate([patches.piece_xy, size], -1)
    assert boxes_overlap(patches.box_xywh, pieces)[twin].mean() < 0.3


def test_an_image_without_labelled_joints_gets_patches_anywhere():
    points = jnp.full((BATCH, JOINTS, 2), jnp.nan)
    patches = jax.tree.map(np.asarray, SAMPLE(jax.random.key(4), points, jnp.zeros((BATCH, JOINTS), bool)))
    assert not (patches.kind == JOINT).any()
    assert patches.box_xywh[..., :2].std((0, 1)).min() > 5


def test_a_batch_of_one_takes_pieces_of_itself_that_show_no_joint():
    points, labelled = (array[1:2] for array in joints())
    patches = sampler(kinds={"other": 1.0})(jax.random.key(0), points, labelled)
    assert (patches.kind == BACKGROUND).all() and not patches.source.any()


def test_the_same_key_gives_the_same_patches():
    first, second, other = (SAMPLE(jax.random.key(seed), *joints()) for seed in (5, 5, 6))
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert (first.box_xywh != other.box_xywh).any()


def test_without_patches_nothing_is_computed():
    none = SETTINGS | {"min_patches": 0, "max_patches": 0, "kinds": dict.fromkeys(KINDS, 0.0)}
    points, labelled = joints()

    def occlude(images, key):
        patches = occluders.sample_patches(key, points, labelled, height=HEIGHT, width=WIDTH, **none)
        return occluders.paste(images, patches), occluders.hidden_joints(patches, points).any(1)

    images = images_that_tell_their_pixels()
    compiled = jax.jit(occlude).lower(images, jax.random.key(0)).compile()
    assert compiled.cost_analysis().get("flops", 0) == 0
    pasted, hidden = compiled(images, jax.random.key(0))
    np.testing.assert_array_equal(pasted, images)
    assert hidden.shape == (BATCH, JOINTS) and not hidden.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_patches": -1}, "min_patches is -1"),
        ({"min_patches": 4}, "min_patches is 4 and max_patches 3"),
        ({"min_side": 0.0}, "min_side is 0.0"),
        ({"min_side": 0.5}, "min_side is 0.5 and max_side 0.4"),
        ({"max_side": 1.5}, "max_side 1.5"),
        ({"max_side": float("nan")}, "max_side nan"),
        ({"jitter": -0.1}, "jitter is -0.1"),
        ({"round_probability": 1.1}, "round_probability is 1.1"),
        ({"kinds": {"flat": -1.0}}, "kinds.flat is -1.0"),
        ({"kinds": {"flat": float("inf")}}, "kinds.flat is inf"),
        ({"kinds": {"flat": 0.0, "other": 0.0}}, "kinds are all 0"),
        ({"kinds": {"flat": 1.0, "fog": 1.0}}, "kinds is 'fog'.*background.*cutout.*flat"),
        ({"kinds": {"cutout": 0.5}}, "kinds.cutout is 0.5, but there are no cut-outs"),
    ],
)
def test_settings_that_cannot_be_drawn_by_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        sampler(**change)(jax.random.key(0), *joints())


def test_a_bank_that_was_forgotten_is_asked_for():
    patches = SAMPLE(jax.random.key(0), *joints())
    with pytest.raises(ValueError, match="cutouts is None"):
        PASTE(images_that_tell_their_pixels(), patches)
