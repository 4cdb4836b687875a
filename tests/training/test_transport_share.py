"""What the transport costs beside the network that it trains."""

import jax
import jax.numpy as jnp
import pytest

from oasjax.cli.config_files import load_config
from oasjax.ops.sinkhorn import sinkhorn_loss
from oasjax.training.tasks import make_task


def flops(function, *arguments) -> float:
    """Of the program before optimization, as XLA's cost analysis counts them."""
    return jax.jit(function).lower(*arguments).cost_analysis()["flops"]


@pytest.fixture(scope="module")
def task():
    """A 2-stack hourglass of 256 channels on 256x256 pixels."""
    return make_task(
        load_config(
            "quickstart",
            [
                "--config.data.input_size_wh=(256,256)",
                "--config.model.hourglass.num_stacks=2",
                "--config.model.hourglass.depth=4",
                "--config.model.hourglass.features=256",
                "--config.model.hourglass.stem_features=64",
            ],
        )
    )


def test_cost_matrix_and_sinkhorn_are_at_most_one_percent_of_a_train_step(task):
    pairs = 2
    variables = task.init(0)
    batch = {
        "image": jax.ShapeDtypeStruct((pairs, 256, 256, 3), jnp.uint8),
        "keypoints": jax.ShapeDtypeStruct((pairs, 16, 2), jnp.float32),
        "visibility": jax.ShapeDtypeStruct((pairs, 16), jnp.int8),
        "occlusion_known": jax.ShapeDtypeStruct((pairs, 16), jnp.bool_),
    }

    def step(params, batch):
        return jax.grad(task.loss, has_aux=True)(
            params, variables["model_state"], batch, jax.random.key(0), 0
        )

    def transport(x, y):
        return jax.grad(lambda x, y: sinkhorn_loss(x, y, epsilon=0.1, num_iters=5).mean(), argnums=(0, 1))(
            x, y
        )

    def critic(params, clean, occluded):
        def apply(params, clean, occluded):
            return sum(task.mimic.critic.apply({"params": params}, f).sum() for f in (clean, occluded))

        return jax.grad(apply, argnums=(0, 1, 2))(params, clean, occluded)

    whole = flops(step, variables["params"], batch)
    points = jax.ShapeDtypeStruct((pairs, 256, 32 * 32), jnp.float32)
    maps = jax.ShapeDtypeStruct((pairs, 64, 64, 256), jnp.float32)
    share = flops(transport, points, points) / whole
    critic_share = flops(critic, variables["params"]["critic"], maps, maps) / whole
    print(f"step {whole:.3g} FLOP; cost and Sinkhorn {100 * share:.2f} %; critic {100 * critic_share:.1f} %")
    assert 0 < share <= 0.01
    assert 0.01 < critic_share < 0.1
