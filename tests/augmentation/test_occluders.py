"""Pasted occluders: geometry and bookkeeping."""

import jax
import jax.numpy as jnp
import numpy as np

from oasjax.augmentation import occluders

SETTINGS = {
    "min_patches": 2,
    "max_patches": 2,
    "min_side": 0.2,
    "max_side": 0.4,
    "jitter": 0.02,
    "round_probability": 0.5,
    "kinds": {"flat": 0.5, "other": 0.5},
}


def patches_of(**fields) -> occluders.Patches:
    """One patch on one image: a flat red rectangle, 8 wide and 4 high, about (10, 6)."""
    patch = {
        "center": jnp.asarray([[[10.0, 6.0]]]),
        "half_size": jnp.asarray([[[4.0, 2.0]]]),
        "active": jnp.asarray([[True]]),
        "round": jnp.asarray([[False]]),
        "flat": jnp.asarray([[True]]),
        "colour": jnp.asarray([[[1.0, 0.0, 0.0]]]),
        "source": jnp.asarray([[0]]),
        "shift": jnp.asarray([[[0, 0]]]),
    }
    return occluders.Patches(**(patch | fields))


def test_a_flat_rectangle_covers_exactly_its_pixels():
    images = jnp.full((1, 16, 20, 3), 0.5)
    pasted = occluders.paste(images, patches_of())
    changed = np.argwhere(np.asarray((pasted != images).any(-1))[0])
    assert (changed.min(0).tolist(), changed.max(0).tolist()) == ([4, 6], [8, 14])
    np.testing.assert_array_equal(pasted[0, 6, 10], [1.0, 0.0, 0.0])


def test_an_ellipse_leaves_the_corners_and_an_inactive_patch_everything():
    points = jnp.asarray([[[10.0, 6.0], [13.9, 7.9], [14.0, 6.0], [np.nan, 6.0], [15.0, 6.0]]])
    box = occluders.covered(patches_of(), points)[0, 0]
    disc = occluders.covered(patches_of(round=jnp.asarray([[True]])), points)[0, 0]
    np.testing.assert_array_equal(box, [True, True, True, False, False])
    np.testing.assert_array_equal(disc, [True, False, True, False, False])
    assert not occluders.covered(patches_of(active=jnp.asarray([[False]])), points).any()


def test_a_piece_of_another_image_is_that_image_shifted():
    images = jax.random.uniform(jax.random.key(0), (2, 16, 20, 3))
    single = patches_of(flat=jnp.asarray([[False]]), source=jnp.asarray([[1]]))
    single = single._replace(shift=jnp.asarray([[[3, 1]]]))
    both = jax.tree.map(lambda x: jnp.concatenate([x, x]), single)
    pasted = occluders.paste(images, both)
    np.testing.assert_array_equal(pasted[0, 6, 10], images[1, 5, 7])


def test_sampled_patches_lie_on_labelled_joints_and_keep_their_range():
    points = jnp.full((64, 4, 2), 30.0).at[:, 2].set(jnp.asarray([50.0, 20.0]))
    labelled = jnp.zeros((64, 4), bool).at[:, 2].set(True)
    drawn = occluders.sample_patches(jax.random.key(1), points, labelled, height=64, width=64, **SETTINGS)
    distance = jnp.linalg.norm(drawn.center - jnp.asarray([50.0, 20.0]), axis=-1)
    assert distance.max() < 6 * 0.02 * 64
    assert drawn.half_size.min() >= 0.1 * 64 and drawn.half_size.max() <= 0.2 * 64
    assert drawn.active.all()
    assert (drawn.source != jnp.arange(64)[:, None]).all()
    assert occluders.covered(drawn, points).any(1)[:, 2].mean() > 0.95


def test_an_image_without_labels_still_gets_finite_patches():
    drawn = occluders.sample_patches(
        jax.random.key(1),
        jnp.full((2, 4, 2), jnp.nan),
        jnp.zeros((2, 4), bool),
        height=32,
        width=48,
        **SETTINGS,
    )
    assert jnp.isfinite(drawn.center).all()
