"""The transport loss between two branches."""

import jax
import jax.numpy as jnp
import numpy as np

from oasjax.losses.mimic import optimal_transport_loss
from oasjax.ops.sinkhorn import sinkhorn_loss

SETTINGS = {"epsilon": 0.1, "num_iters": 5}


def branches(batch: int = 3) -> tuple[jnp.ndarray, jnp.ndarray]:
    random = np.random.default_rng(0)
    clean = random.normal(size=(batch, 2, 3, 5)).astype(np.float32)
    return jnp.asarray(clean), jnp.asarray(clean + 0.3 * random.normal(size=clean.shape), jnp.float32)


def test_the_points_are_channels_and_images_never_mix():
    clean, occluded = branches()
    expected = [
        sinkhorn_loss(c.reshape(6, 5).T, o.reshape(6, 5).T, **SETTINGS)
        for c, o in zip(clean, occluded, strict=True)
    ]
    loss = optimal_transport_loss(clean, occluded, **SETTINGS)
    np.testing.assert_allclose(loss, np.mean(expected), rtol=1e-6)


def test_a_wholly_masked_image_is_left_out_of_the_mean_and_gets_no_gradient():
    clean, occluded = branches()
    mask = jnp.ones((3, 1, 1, 1)).at[1].set(0.0)

    def loss(clean, occluded):
        return optimal_transport_loss(clean * mask, occluded * mask, **SETTINGS)

    with jax.debug_nans(True):
        value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(clean, occluded)
    live = jnp.asarray([0, 2])
    np.testing.assert_allclose(
        value, optimal_transport_loss(clean[live], occluded[live], **SETTINGS), rtol=1e-6
    )
    assert not gradients[0][1].any() and not gradients[1][1].any()
    assert gradients[0][0].any()


def test_a_batch_without_any_live_image_costs_nothing():
    zeros = jnp.zeros((2, 2, 2, 3))
    assert optimal_transport_loss(zeros, zeros, **SETTINGS) == 0.0
