"""The siamese pair: what its branches share, and what enters which target."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.augmentation import colour, flip, siamese
from oasjax.codecs import occlusion_map
from oasjax.codecs.codec import make_codec
from oasjax.datasets.skeletons import MPII, flip_permutation

PATCHES = {
    "min_patches": 1,
    "max_patches": 1,
    "min_side": 0.3,
    "max_side": 0.3,
    "jitter": 0.0,
    "round_probability": 0.5,
    "kinds": {"flat": 1.0, "other": 0.0},
}


def codec_of(name: str = "subpixel", stride: int = 4):
    target = {"codec": name, "sigma_cells": 1.0, "blur_kernel": 11}
    return make_codec(target, stride=stride, input_size_wh=(64, 64))


SETTINGS = {
    "codec": codec_of(),
    "flip_permutation": flip_permutation(MPII),
    "flip_probability": 0.5,
    "colour_jitter": 0.2,
    "patches": PATCHES,
    "normalization": "imagenet",
}


def preparation(**changes):
    """Compiled `(key, batch) -> pair`."""
    return jax.jit(partial(siamese.prepare, **SETTINGS | changes))


PREPARE = preparation()


def batch_of(size: int = 8, known: bool = True) -> dict[str, jnp.ndarray]:
    random = np.random.default_rng(0)
    visibility = np.full((size, 16), 2, np.int8)
    visibility[:, 3] = 1 if known else 2
    visibility[:, 9] = 0
    keypoints = random.uniform(4, 60, size=(size, 16, 2)).astype(np.float32)
    keypoints[:, 9] = np.nan  # an unlabelled joint may hold anything
    return {
        "image": jnp.asarray(random.integers(0, 256, (size, 64, 64, 3)), jnp.uint8),
        "keypoints": jnp.asarray(keypoints),
        "visibility": jnp.asarray(visibility),
        "occlusion_known": jnp.full((size, 16), known),
    }


def test_the_branches_differ_in_the_pasted_pixels_alone():
    pair = PREPARE(jax.random.key(0), batch_of())
    differs = (pair.occluded.images != pair.clean.images).any(-1).mean((1, 2))
    # One patch of .3 x .3 of the crop, a rectangle or an ellipse, perhaps cut by the border.
    assert (differs > 0.01).all() and (differs < 0.12).all()


def test_nothing_differs_without_patches():
    prepare = preparation(patches=PATCHES | {"min_patches": 0, "max_patches": 0})
    pair = prepare(jax.random.key(0), batch_of())
    for occluded, clean in zip(pair.occluded, pair.clean, strict=True):
        np.testing.assert_array_equal(occluded, clean)


def test_joints_under_a_patch_enter_the_occluded_target_but_not_the_clean_one():
    pair = PREPARE(jax.random.key(0), batch_of())
    assert (pair.occluded.occlusion_map >= pair.clean.occlusion_map).all()
    newly_occluded = (pair.occluded.occlusion_classes - pair.clean.occlusion_classes)[..., 1]
    assert newly_occluded.sum() > 8 and newly_occluded.min() == 0
    assert (pair.occluded.occlusion_map.sum() - pair.clean.occlusion_map.sum()) > 8


def test_joints_of_unknown_occlusion_count_only_where_a_patch_was_pasted():
    pair = PREPARE(jax.random.key(0), batch_of(known=False))
    np.testing.assert_array_equal(pair.clean.occlusion_weight, 0.0)
    np.testing.assert_array_equal(pair.clean.occlusion_map, 0.0)
    np.testing.assert_array_equal(pair.occluded.occlusion_weight, 1.0)
    assert (pair.occluded.occlusion_map.max((1, 2, 3)) > 0.5).all()


def test_an_occlusion_that_is_not_known_is_not_believed():
    heatmaps = jnp.ones((1, 2, 2, 2))
    visibility = jnp.asarray([[1, 2]], jnp.int8)
    unknown = jnp.zeros((1, 2), bool)
    target, weight, classes = siamese.occlusion_targets(heatmaps, visibility, unknown, unknown)
    assert not target.any() and not weight.any() and not classes.any()
    target, weight, classes = siamese.occlusion_targets(heatmaps, visibility, ~unknown, unknown)
    assert target.all() and weight.all()
    np.testing.assert_array_equal(classes, [[[0, 1, 0], [0, 0, 1]]])


def test_the_classes_are_not_labelled_occluded_and_visible_and_a_patch_occludes():
    """Not labelled, occluded, visible, visible; then three joints whose occlusion is not known."""
    visibility = jnp.asarray([[0, 1, 2, 2, 0, 2, 2]], jnp.int8)
    known = jnp.asarray([[True, True, True, True, False, False, False]])
    pasted = jnp.asarray([[True, False, False, True, True, False, True]])
    none, first, second, third = [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]
    *_, classes = siamese.occlusion_targets(jnp.ones((1, 2, 2, 7)), visibility, known, jnp.zeros_like(pasted))
    np.testing.assert_array_equal(classes, [[first, second, third, third, none, none, none]])
    *_, classes = siamese.occlusion_targets(jnp.ones((1, 2, 2, 7)), visibility, known, pasted)
    np.testing.assert_array_equal(classes, [[first, second, third, second, none, none, second]])


def test_targets_follow_the_mirrored_picture():
    """A white dot is drawn at each joint: wherever the flip takes it, its heatmap peaks there."""
    keypoints = jnp.asarray([[[8.0 * (j % 4) + 5, 12.0 * (j // 4) + 5] for j in range(16)]])
    image = np.zeros((1, 64, 64, 3), np.uint8)
    x, y = np.asarray(keypoints[0], int).T
    image[0, y, x] = 255
    batch = {
        "image": jnp.asarray(image),
        "keypoints": keypoints,
        "visibility": jnp.full((1, 16), 2, jnp.int8),
        "occlusion_known": jnp.ones((1, 16), bool),
    }
    prepare = preparation(flip_probability=1.0, codec=codec_of(stride=1), colour_jitter=0.0)
    pair = prepare(jax.random.key(0), batch)
    for joint in range(16):
        row, column = np.unravel_index(np.argmax(pair.heatmaps[0, :, :, joint]), (64, 64))
        assert pair.clean.images[0, row, column, 0] > 1  # the dot, normalised
    # Mirrored at x = 31.5, and named after the other side.
    right_wrist = np.unravel_index(np.argmax(pair.heatmaps[0, :, :, 10]), (64, 64))
    left = keypoints[0, 15]
    assert right_wrist == (int(left[1]), 63 - int(left[0]))


def test_a_joint_outside_the_crop_has_no_weight_and_no_target():
    batch = batch_of(2)
    batch["keypoints"] = batch["keypoints"].at[:, 0].set(jnp.asarray([-5.0, 10.0]))
    batch["keypoints"] = batch["keypoints"].at[:, 5].set(jnp.asarray([70.0, 10.0]))
    pair = PREPARE(jax.random.key(0), batch)
    np.testing.assert_array_equal(pair.joint_weight[:, [0, 5, 9]], 0.0)
    np.testing.assert_array_equal(pair.clean.occlusion_classes[:, [0, 5, 9]], [[[1, 0, 0]] * 3] * 2)
    assert not pair.heatmaps[..., 0].any()
    assert jnp.isfinite(pair.heatmaps).all()


def test_flipping_twice_is_the_identity():
    batch, every = batch_of(), jnp.ones(8, bool)
    permutation = flip_permutation(MPII)
    twice = flip.flip_images(flip.flip_images(batch["image"], every), every)
    np.testing.assert_array_equal(twice, batch["image"])
    once = flip.flip_keypoints(batch["keypoints"], every, 64, permutation)
    back = flip.flip_keypoints(once, every, 64, permutation)
    np.testing.assert_allclose(back, batch["keypoints"], atol=1e-5)


HRNET = preparation(normalization="none", codec=codec_of("hrnet"))


def test_the_normalization_is_the_wanted_one():
    ours, theirs = PREPARE(jax.random.key(0), batch_of()), HRNET(jax.random.key(0), batch_of())
    assert 0 <= theirs.clean.images.min() < theirs.occluded.images.max() <= 1
    np.testing.assert_allclose(
        ours.clean.images, colour.normalize(theirs.clean.images, "imagenet"), atol=1e-5
    )


def batch_with_a_hip_beside_the_crop() -> dict[str, jnp.ndarray]:
    """Joint 3, which is occluded and becomes joint 2 in a mirrored crop."""
    batch = batch_of()
    batch["keypoints"] = batch["keypoints"].at[:, 3].set(jnp.asarray([-3.0, 30.0]))
    return batch


def test_the_codec_says_which_joints_have_a_target():
    """By HRNet's convention a joint beside the crop has one where its Gaussian reaches inside."""
    batch = batch_with_a_hip_beside_the_crop()
    ours, theirs = PREPARE(jax.random.key(0), batch), HRNET(jax.random.key(0), batch)
    np.testing.assert_array_equal(ours.joint_weight[:, [2, 3]].sum(1), 1.0)
    np.testing.assert_array_equal(ours.clean.occlusion_map, 0.0)
    np.testing.assert_array_equal(theirs.joint_weight[:, [2, 3]], 1.0)
    assert (theirs.clean.occlusion_map[:, 8, [0, 15]].max((1, 2)) > 0.1).all()


def test_a_joint_beside_the_crop_attracts_no_patch():
    batch = batch_with_a_hip_beside_the_crop()
    batch["visibility"] = jnp.zeros_like(batch["visibility"]).at[:, 3].set(1)
    pair = HRNET(jax.random.key(0), batch)
    differs = (pair.occluded.images != pair.clean.images).any((1, 3))
    assert not (differs[:, 0] | differs[:, -1]).all()


def test_pseudo_labels_follow_the_mirror_and_patches_are_added_to_them():
    """Maps of the first four people: 0.9 in the left upper cell, 0.3 elsewhere."""
    batch = batch_of(known=False)
    batch["keypoints"] = batch["keypoints"].at[:, 6].set(jnp.asarray([8.0, 30.0]))
    maps = np.full((8, 16, 16), np.nan, np.float32)
    maps[:4] = 0.3
    maps[:4, 0, 0] = 0.9
    pair = PREPARE(jax.random.key(0), batch | {"occlusion_map": jnp.asarray(maps)})

    flipped = np.asarray(pair.heatmaps[..., 6].max(1).argmax(-1) > 8)
    assert 0 < flipped[:4].sum() < 4
    expected = np.where(flipped[:, None, None], maps[:, :, ::-1], maps)[..., None]
    np.testing.assert_array_equal(pair.clean.occlusion_map[:4], expected[:4])
    # No joint's occlusion is known, so all that counts are maps and patches.
    np.testing.assert_array_equal(pair.clean.occlusion_map[4:], 0.0)
    np.testing.assert_array_equal(pair.clean.occlusion_weight, [1.0] * 4 + [0.0] * 4)
    np.testing.assert_array_equal(pair.occluded.occlusion_weight, 1.0)
    pasted = occlusion_map.encode(pair.heatmaps, pair.occluded.occlusion_classes[..., 1] > 0)
    assert (pasted.max((1, 2, 3)) > 0.5).all()
    np.testing.assert_allclose(pair.occluded.occlusion_map[:4], np.maximum(expected, pasted)[:4], atol=1e-6)
    np.testing.assert_allclose(pair.occluded.occlusion_map[4:], pasted[4:], atol=1e-6)


def test_a_pseudo_label_replaces_what_the_data_say_and_its_absence_does_not():
    labels, nothing = jnp.full((2, 1, 1, 1), 0.8), jnp.zeros((2, 1, 1, 1))
    pseudo = jnp.asarray([0.1, np.nan])[:, None, None, None]
    target, weight = siamese.with_pseudo_labels(labels, jnp.zeros(2), pseudo, nothing)
    np.testing.assert_allclose(target.ravel(), [0.1, 0.8])
    np.testing.assert_array_equal(weight, [1.0, 0.0])


def test_patches_show_cutouts_of_the_bank():
    """A bank of one red square, as large as a patch gets: those pixels are red, and no others change."""
    red = np.zeros((1, 8, 8, 4), np.uint8)
    red[..., [0, 3]] = 255
    patches = PATCHES | {"kinds": {"cutout": 1.0}, "cutouts": "instances.json"}
    pair = preparation(patches=patches, cutouts=red, normalization="none")(jax.random.key(0), batch_of())
    differs = (pair.occluded.images != pair.clean.images).any(-1)
    np.testing.assert_array_equal(differs.sum((1, 2)), 19**2)
    np.testing.assert_array_equal(pair.occluded.images[differs], np.broadcast_to([1, 0, 0], (8 * 19**2, 3)))
    assert (pair.occluded.occlusion_map.sum() - pair.clean.occlusion_map.sum()) > 8


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_key_gives_the_same_pair(seed):
    first, second = (PREPARE(jax.random.key(seed), batch_of()) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, second)
    other = PREPARE(jax.random.key(seed + 1), batch_of())
    assert (other.occluded.images != first.occluded.images).any()
