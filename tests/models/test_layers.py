"""Convolution and batch norm against numbers worked out otherwise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.models.layers import BatchNorm, Conv, max_pool, upsample


def direct_convolution(x, kernel, stride, dilation):
    """Sum over taps of the zero-padded input, by index arithmetic alone."""
    size = kernel.shape[0]
    pad = dilation * (size - 1) // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height = (padded.shape[1] - dilation * (size - 1) - 1) // stride + 1
    width = (padded.shape[2] - dilation * (size - 1) - 1) // stride + 1
    y = np.zeros((x.shape[0], height, width, kernel.shape[3]))
    for row in range(height):
        for column in range(width):
            top, left = row * stride, column * stride
            window = padded[
                :,
                top : top + dilation * size : dilation,
                left : left + dilation * size : dilation,
            ][:, :size, :size]
            y[:, row, column] = np.einsum("byxi,yxio->bo", window, kernel)
    return y


@pytest.mark.parametrize("size, stride, dilation", [(1, 1, 1), (3, 1, 1), (3, 2, 1), (3, 1, 2), (7, 2, 1)])
def test_convolution_pads_like_the_published_networks(size, stride, dilation):
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 8, 6, 3)).astype(np.float32)
    kernel = random.normal(size=(size, size, 3, 4)).astype(np.float32)
    module = Conv(4, size, stride=stride, dilation=dilation, use_bias=False)
    y = module.apply({"params": {"kernel": kernel}}, jnp.asarray(x))
    np.testing.assert_allclose(y, direct_convolution(x, kernel, stride, dilation), atol=2e-5)


def test_batch_norm_keeps_the_unbiased_variance_and_normalises_with_the_biased_one():
    x = np.random.default_rng(0).normal(3.0, 2.0, size=(2, 3, 4, 5)).astype(np.float32)
    variables = {
        "params": {"scale": jnp.full(5, 2.0), "bias": jnp.full(5, 1.0)},
        "batch_stats": {"mean": jnp.zeros(5), "var": jnp.ones(5)},
    }
    y, updates = BatchNorm().apply(variables, jnp.asarray(x), True, mutable=["batch_stats"])
    mean, biased = x.mean((0, 1, 2)), x.var((0, 1, 2))
    np.testing.assert_allclose(y, 2 * (x - mean) / np.sqrt(biased + 1e-5) + 1, atol=2e-5)
    kept = updates["batch_stats"]
    np.testing.assert_allclose(kept["mean"], 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(kept["var"], 0.9 + 0.1 * biased * 24 / 23, rtol=1e-5)
    evaluated = BatchNorm().apply({**variables, "batch_stats": kept}, jnp.asarray(x), False)
    expected = 2 * (x - kept["mean"]) / np.sqrt(kept["var"] + 1e-5) + 1
    np.testing.assert_allclose(evaluated, expected, atol=2e-5)


def test_batch_norm_of_bfloat16_takes_its_statistics_in_float32():
    x = (1000 + jnp.arange(64.0)).reshape(1, 8, 8, 1).astype(jnp.bfloat16)
    variables = {
        "params": {"scale": jnp.ones(1), "bias": jnp.zeros(1)},
        "batch_stats": {"mean": jnp.zeros(1), "var": jnp.ones(1)},
    }
    y, _ = BatchNorm().apply(variables, x, True, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    wide = x.astype(jnp.float32)
    np.testing.assert_allclose(y.astype(jnp.float32), (wide - wide.mean()) / wide.std(), atol=0.02)


def test_pooling_and_upsampling_by_hand():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(max_pool(x)[0, :, :, 0], [[5, 7], [13, 15]])
    up = upsample(max_pool(x))[0, :, :, 0]
    np.testing.assert_array_equal(up[:2], [[5, 5, 7, 7]] * 2)
    assert jax.eval_shape(upsample, x).shape == (1, 8, 8, 1)
