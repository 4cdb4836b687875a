"""Eqs. 7 to 10: mask, the five losses, and the whole of L_mimic against the reference numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from oasjax.losses import mimic
from oasjax.losses.mimic import KINDS, mimic_loss, natural_mask
from oasjax.models.critic import Critic
from oasjax.ops.sinkhorn import sinkhorn_loss

# The two softmax kinds over both axes; the names are those of the reference numbers.
VARIANTS = {
    "l2": ("l2", {}),
    "cosine": ("cosine", {}),
    "kl_channel": ("kl", {"axis": "channel"}),
    "kl_space": ("kl", {"axis": "space"}),
    "js_channel": ("js", {"axis": "channel"}),
    "js_space": ("js", {"axis": "space"}),
    "ot": ("ot", {}),
}
ALL_VARIANTS = pytest.mark.parametrize("variant", VARIANTS)


def branches(batch: int = 3, dtype=np.float32) -> tuple[jax.Array, jax.Array]:
    """Features (batch, 2, 3, 5): more positions than channels."""
    random = np.random.default_rng(0)
    clean = random.normal(size=(batch, 2, 3, 5)).astype(dtype)
    return jnp.asarray(clean), jnp.asarray(clean + 0.3 * random.normal(size=clean.shape), dtype)


def of_variant(variant: str, **options):
    kind, own = VARIANTS[variant]
    return lambda clean, occluded, mask: mimic_loss(clean, occluded, mask, kind=kind, **own, **options)


ONES = jnp.ones((3, 2, 3, 1))


def test_the_soft_mask_is_one_minus_the_map_and_a_threshold_makes_it_binary():
    occlusion_map = jnp.asarray([-0.5, 0.0, 0.25, 0.5, 1.5]).reshape(1, 1, 5, 1)
    np.testing.assert_allclose(natural_mask(occlusion_map).ravel(), [1, 1, 0.75, 0.5, 0])
    np.testing.assert_allclose(natural_mask(occlusion_map, 0.5).ravel(), [1, 1, 1, 0, 0])


def test_l2_and_cosine_by_hand():
    clean = jnp.asarray([[3.0, 4.0], [0.0, 0.0]]).reshape(1, 1, 2, 2)
    occluded = jnp.asarray([[4.0, 3.0], [1.0, 0.0]]).reshape(1, 1, 2, 2)
    np.testing.assert_allclose(mimic.l2(clean, occluded, reduction="sum"), [3.0])
    np.testing.assert_allclose(mimic.l2(clean, occluded), [0.75])
    # The second location has no direction in one branch: it counts 0, and still counts as a location.
    np.testing.assert_allclose(mimic.cosine(clean, occluded, reduction="sum"), [1 - 24 / 25], rtol=1e-5)
    np.testing.assert_allclose(mimic.cosine(clean, occluded), [(1 - 24 / 25) / 2], rtol=1e-5)


@pytest.mark.parametrize("axis", ["channel", "space"])
def test_kl_and_js_are_those_of_the_softmax_distributions(axis):
    clean, occluded = branches()
    axes = -1 if axis == "channel" else (1, 2)
    p, q = (scipy.special.softmax(np.asarray(f, np.float64), axes) for f in (clean, occluded))
    middle = (p + q) / 2
    divergence = scipy.special.rel_entr(p, q).sum((1, 2, 3))
    symmetric = (scipy.special.rel_entr(p, middle) + scipy.special.rel_entr(q, middle)).sum((1, 2, 3)) / 2
    for loss, expected in ((mimic.kl, divergence), (mimic.js, symmetric)):
        np.testing.assert_allclose(loss(clean, occluded, axis=axis, reduction="sum"), expected, rtol=1e-4)
        np.testing.assert_allclose(loss(clean, occluded, axis=axis), expected / 30, rtol=1e-4)


def test_the_transported_points_are_channels_and_images_never_mix():
    clean, occluded = branches()
    expected = [
        sinkhorn_loss(c.reshape(6, 5).T, o.reshape(6, 5).T, epsilon=0.1, num_iters=5)
        for c, o in zip(clean, occluded, strict=True)
    ]
    np.testing.assert_allclose(mimic.optimal_transport(clean, occluded), expected, rtol=1e-6)
    ones = mimic.optimal_transport(clean, occluded, reduction="sum")
    np.testing.assert_allclose(ones, 5 * np.asarray(expected), rtol=1e-6)


@ALL_VARIANTS
def test_nothing_passes_through_masked_cells(variant):
    clean, occluded = branches()
    mask = ONES.at[:, 1, 1].set(0.0)
    gradients = jax.grad(of_variant(variant), argnums=(0, 1))(clean, occluded, mask)
    for gradient in gradients:
        assert not gradient[:, 1, 1].any() and gradient[:, 0].any()


@ALL_VARIANTS
def test_a_wholly_masked_image_is_left_out_of_the_mean_and_gets_no_gradient(variant):
    clean, occluded = branches()
    mask, live = ONES.at[1].set(0.0), jnp.asarray([0, 2])
    with jax.debug_nans(True):
        value, gradients = jax.value_and_grad(of_variant(variant), argnums=(0, 1))(clean, occluded, mask)
    alone = of_variant(variant)(clean[live], occluded[live], mask[live])
    np.testing.assert_allclose(value, alone, rtol=1e-6)
    for gradient in gradients:
        assert not gradient[1].any() and gradient[0].any()


@ALL_VARIANTS
def test_masked_and_all_zero_inputs_never_make_a_nan(variant):
    clean, occluded = branches()
    zeros = jnp.zeros_like(clean)
    loss = jax.value_and_grad(of_variant(variant), argnums=(0, 1))
    with jax.debug_nans(True):
        for a, b, mask in ((zeros, zeros, ONES), (zeros, occluded, ONES), (clean, occluded, 0 * ONES)):
            value, gradients = loss(a, b, mask)
            assert jnp.isfinite(value) and all(jnp.isfinite(g).all() for g in gradients)
    assert value == 0.0


@ALL_VARIANTS
def test_detach_stops_the_gradient_of_the_clean_side_alone(variant):
    clean, occluded = branches()
    attached = jax.grad(of_variant(variant), argnums=(0, 1))(clean, occluded, ONES)
    detached = jax.grad(of_variant(variant, detach=True), argnums=(0, 1))(clean, occluded, ONES)
    assert attached[0].any() and not detached[0].any()
    np.testing.assert_allclose(attached[1], detached[1], rtol=1e-6)


def test_with_detach_the_critic_still_learns_from_the_detached_side():
    clean, occluded = branches()
    critic = Critic()
    kernel = critic.init(jax.random.key(0), clean)

    def loss(for_clean, for_occluded, detach):
        def d(features):
            # Two copies of the critic: the gradient through each side is seen apart.
            return critic.apply(for_clean if features is masked_clean else for_occluded, features)

        masked_clean = jax.lax.stop_gradient(clean) if detach else clean
        x, y = d(masked_clean), d(occluded)
        return mimic_loss(x, y, jnp.ones((3, 1, 2, 1)), kind="ot")

    whole = jax.grad(
        lambda kernel: mimic_loss(
            clean, occluded, ONES, kind="ot", detach=True, critic=lambda f: critic.apply(kernel, f)
        )
    )(kernel)
    both = jax.grad(loss, argnums=(0, 1))(kernel, kernel, True)
    total = jax.tree.map(jnp.add, *both)
    assert both[0]["params"]["conv"]["kernel"].any()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), whole, total)


def test_bfloat16_features_make_a_float32_loss_close_to_the_wide_one():
    clean, occluded = branches()
    for variant in VARIANTS:
        wide = of_variant(variant)(clean, occluded, ONES)
        narrow = of_variant(variant)(clean.astype(jnp.bfloat16), occluded.astype(jnp.bfloat16), ONES)
        assert narrow.dtype == jnp.float32
        np.testing.assert_allclose(narrow, wide, rtol=0.1)


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "l1"},
        {"kind": "l2", "reduction": "average"},
        {"kind": "kl", "axis": "batch"},
        {"kind": "ot", "reduction": "average"},
        {"kind": "ot", "domain": "linear"},
        {"kind": "ot", "plan_grad": "none"},
        {"kind": "ot", "dead_rows": "delete"},
        {"kind": "ot", "num_iters": 0},
    ],
)
def test_an_unknown_choice_is_named(options):
    clean, occluded = branches()
    name, value = list(options.items())[-1]
    with pytest.raises(ValueError, match=f"{name} is '?{value}"):
        mimic_loss(clean, occluded, ONES, **options)


def test_every_kind_is_tested_here():
    assert {kind for kind, _ in VARIANTS.values()} == set(KINDS)


def nhwc(array: np.ndarray, dtype) -> jax.Array:
    return jnp.asarray(np.moveaxis(array, 1, -1), dtype)


def assert_gradient(ours: jax.Array, theirs: np.ndarray, relative: float, floor: float) -> None:
    worst = np.abs(np.asarray(ours) - theirs).max()
    assert worst <= max(relative * np.abs(theirs).max(), floor), worst / np.abs(theirs).max()


# Type, and how far loss and gradients may be off (as stated beside the reference numbers).
PRECISIONS = pytest.mark.parametrize(
    ("dtype", "loss_error", "gradient_error", "floor"),
    [("float64", 1e-10, 1e-9, 1e-14), ("float32", 1e-5, 1e-4, 1e-6)],
)


@pytest.fixture(scope="module")
def pipeline(golden_dir) -> dict[str, np.ndarray]:
    """Mask, critic and losses of three images, made in NCHW."""
    with np.load(golden_dir / "ot" / "pipeline.npz") as file:
        return dict(file)


@pytest.mark.golden
@PRECISIONS
def test_transport_with_mask_and_critic_equals_the_reference_numbers(
    pipeline, dtype, loss_error, gradient_error, floor
):
    settings = sorted(key.removeprefix("loss_") for key in pipeline if key.startswith("loss_eps"))
    assert settings
    with jax.enable_x64(True):
        clean, occluded, mask = (nhwc(pipeline[key], dtype) for key in ("F_clean", "F_occ", "mask"))
        kernel = jnp.asarray(np.transpose(pipeline["critic_kernel_oihw"], (2, 3, 1, 0)), dtype)
        critic = Critic()

        def loss(clean, occluded, kernel, epsilon, num_iters):
            return mimic_loss(
                clean,
                occluded,
                mask,
                kind="ot",
                critic=lambda f: critic.apply({"params": {"conv": {"kernel": kernel}}}, f),
                epsilon=epsilon,
                num_iters=num_iters,
            )

        gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)), static_argnums=(3, 4))
        for setting in settings:
            epsilon, num_iters = setting.removeprefix("eps").split("_R")
            value, gradients = gradient(clean, occluded, kernel, float(epsilon), int(num_iters))
            assert abs(float(value) - pipeline[f"loss_{setting}"]) < loss_error
            for ours, key in zip(gradients, ("dF_clean", "dF_occ", "dkernel"), strict=True):
                theirs = pipeline[f"{key}_{setting}"]
                axes = (2, 3, 1, 0) if key == "dkernel" else (0, 2, 3, 1)
                assert_gradient(ours, np.transpose(theirs, axes), gradient_error, floor)


@pytest.mark.golden
@PRECISIONS
@pytest.mark.parametrize("variant", ["l2", "cosine", "kl_channel", "kl_space"])
def test_other_losses_equal_the_reference_numbers(
    pipeline, dtype, loss_error, gradient_error, floor, variant
):
    with jax.enable_x64(True):
        clean, occluded, mask = (nhwc(pipeline[key], dtype) for key in ("F_clean", "F_occ", "mask"))
        loss = of_variant(variant, reduction="sum")
        value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(clean, occluded, mask)
        expected = float(pipeline[f"{variant}_loss"])
        assert abs(float(value) - expected) < loss_error * max(1.0, expected)
        for ours, key in zip(gradients, ("dF_clean", "dF_occ"), strict=True):
            theirs = np.moveaxis(pipeline[f"{variant}_{key}"], 1, -1)
            assert_gradient(ours, theirs, gradient_error, floor)
