"""Accuracy on heatmaps, against the published codes and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.codecs.heatmap_accuracy import hourglass_accuracy, hrnet_accuracy


def peaks_at(*cells: tuple[int, int], height: int = 20, width: int = 20) -> jax.Array:
    """(1, h, w, k): one bright cell (x, y) a joint."""
    maps = np.zeros((1, height, width, len(cells)), np.float32)
    for joint, (x, y) in enumerate(cells):
        maps[0, y, x, joint] = 1.0
    return jnp.asarray(maps)


def test_a_joint_is_found_within_half_a_tenth_of_the_map():
    target = peaks_at((9, 9), (9, 9), (9, 9), height=40, width=40)  # half a tenth: 2 cells
    predicted = peaks_at((10, 10), (9, 11), (12, 9), height=40, width=40)
    for accuracy in (hrnet_accuracy, hourglass_accuracy):
        found = accuracy(predicted, target)
        np.testing.assert_array_equal(found.joints, [1, 0, 0])  # exactly 2 cells off is not near enough
        np.testing.assert_allclose(found.mean, 1 / 3)


def test_targets_at_the_border_do_not_count():
    target = peaks_at((1, 9), (0, 9), (2, 9), (9, 0))
    np.testing.assert_array_equal(hrnet_accuracy(target, target).has_targets, [False, False, True, False])
    found = hourglass_accuracy(target, target)
    np.testing.assert_array_equal(found.has_targets, [True, False, True, False])
    np.testing.assert_array_equal(found.joints, [1, 0, 1, 0])
    np.testing.assert_allclose(found.mean, 1.0)


def test_only_hrnets_takes_the_height_for_the_width():
    target = peaks_at((9, 9), (9, 9), height=40, width=20)
    predicted = peaks_at((10, 9), (9, 10), height=40, width=20)  # a tenth: 4 cells across, 2 down, there
    np.testing.assert_array_equal(hrnet_accuracy(predicted, target).joints, [1, 0])
    np.testing.assert_array_equal(hourglass_accuracy(predicted, target).joints, [0, 0])


def test_without_any_target_the_mean_is_zero():
    empty = jnp.zeros((3, 8, 8, 4))
    for accuracy in (hrnet_accuracy, hourglass_accuracy):
        found = jax.jit(accuracy)(empty, empty)
        assert found.mean == 0.0 and not found.joints.any() and not found.has_targets.any()


def nhwc(maps: np.ndarray) -> jax.Array:
    return jnp.asarray(np.moveaxis(maps, 1, -1))


@pytest.mark.golden
def test_it_is_that_of_hrnet(golden_dir):
    with np.load(golden_dir / "prepost_hrnet/heatmap_accuracy.npz") as file:
        case = dict(file)
    output, target = nhwc(case["output"]), nhwc(case["target"])
    # acc_64x48: of the same maps cut to 48 columns
    cuts = [name.removeprefix("acc") for name in case if name.startswith("acc")]
    for suffix in cuts:
        width = int(suffix.partition("x")[2] or output.shape[2])
        found = jax.jit(hrnet_accuracy)(output[:, :, :width], target[:, :, :width])
        joints = np.where(found.has_targets, found.joints, -1)
        np.testing.assert_allclose(joints, case[f"acc{suffix}"][1:], rtol=1e-6)
        np.testing.assert_allclose(found.mean, case[f"avg_acc{suffix}"], rtol=1e-6)
        assert found.has_targets.sum() == case[f"cnt{suffix}"]


@pytest.mark.golden
def test_it_is_that_of_the_hourglass_code(golden_dir):
    with np.load(golden_dir / "prepost_hourglass/accuracy.npz") as file:
        case = dict(file)
    joints = case["idxs_1based"] - 1
    output, target = (nhwc(case[name])[..., joints] for name in ("output", "target"))
    found = jax.jit(hourglass_accuracy)(output, target)
    np.testing.assert_allclose(np.where(found.has_targets, found.joints, -1), case["acc"][1:], rtol=1e-6)
    np.testing.assert_allclose(found.mean, case["acc"][0], rtol=1e-6)
