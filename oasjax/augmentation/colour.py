"""Colour on the device: jitter in training, normalisation always."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def to_float(images: UInt8[Array, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
    """[0, 255] -> [0, 1]."""
    return images.astype(jnp.float32) / 255.0


def jitter(key: PRNGKeyArray, images: Float[Array, "b h w 3"], strength: float) -> Float[Array, "b h w 3"]:
    """Scale each channel of each image by U(1 - strength, 1 + strength) (0.2 in the hourglass protocol)."""
    shape = (images.shape[0], 1, 1, 3)
    factor = jax.random.uniform(key, shape, images.dtype, 1.0 - strength, 1.0 + strength)
    return jnp.clip(images * factor, 0.0, 1.0)


def normalize(images: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
    """Subtract ImageNet's mean and divide by its standard deviation, per channel."""
    mean = jnp.asarray(IMAGENET_MEAN, images.dtype)
    return (images - mean) / jnp.asarray(IMAGENET_STD, images.dtype)
