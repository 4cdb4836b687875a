"""A network that compiles at once, and random input for it: shared by the tests of the task."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from oasjax.augmentation.siamese import Branch, SiamesePair
from oasjax.models.layers import Conv, ConvBlock


class TwoStacks(nn.Module):
    """Stands in for a backbone: two convolutions, smooth and quick to compile."""

    stride = 4
    num_stacks = 2

    @nn.compact
    def __call__(self, images, train, head):
        x = ConvBlock(8, 5, stride=4, relu=False)(images, train)
        first = head(0, jnp.tanh(x))
        return [first, head(1, jnp.tanh(x + Conv(8, 1)(first.heatmaps)))]


def siamese_pair(size: int = 2, dtype=jnp.float32) -> SiamesePair:
    """Random inputs and targets of a 32x32 pair at stride 4."""
    random = np.random.default_rng(0)

    def array(*shape):
        return jnp.asarray(random.uniform(size=shape), dtype)

    def branch():
        classes = np.eye(4, 3)[random.integers(0, 4, (size, 16))]  # a row of zeros does not count
        return Branch(
            array(size, 32, 32, 3), array(size, 8, 8, 1), jnp.ones(size, dtype), jnp.asarray(classes, dtype)
        )

    return SiamesePair(
        occluded=branch(),
        clean=branch(),
        heatmaps=array(size, 8, 8, 16),
        joint_weight=jnp.asarray(random.integers(0, 2, (size, 16)), dtype),
    )


def variables_of(task, dtype=jnp.float32):
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), task.init(0))
