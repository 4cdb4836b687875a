"""Colours before the network sees them."""

import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.augmentation import colour


@pytest.mark.parametrize(
    ("name", "black", "white"),
    [
        ("imagenet", [-2.1179, -2.0357, -1.8044], [2.2489, 2.4286, 2.6400]),
        ("hourglass", [-0.4404, -0.4440, -0.4327], [0.5596, 0.5560, 0.5673]),
        ("none", [0, 0, 0], [1, 1, 1]),
    ],
)
def test_black_and_white_in_each_published_normalization(name, black, white):
    images = colour.to_float(jnp.asarray([0, 255], jnp.uint8)[:, None, None, None] * jnp.ones(3, jnp.uint8))
    normalized = colour.normalize(images, name)
    np.testing.assert_allclose(normalized[:, 0, 0], [black, white], atol=1e-4)
    assert normalized.dtype == jnp.float32


def test_an_unknown_normalization_is_named():
    with pytest.raises(ValueError, match="normalization is 'vgg'.*hourglass.*imagenet.*none"):
        colour.normalize(jnp.zeros((1, 1, 1, 3)), "vgg")
