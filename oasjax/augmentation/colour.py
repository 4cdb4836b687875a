"""Colour on the device: jitter in training, normalisation always."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

from oasjax.ops.choices import check_choice

# Mean and standard deviation by channel (RGB) of images in [0, 1], as the published weights want them:
# ImageNet's for HRNet, bearpaw/pytorch-pose's for its hourglass, none for princeton-vl's.
NORMALIZATIONS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "hourglass": ((0.4404, 0.4440, 0.4327), (1.0, 1.0, 1.0)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


def to_float(images: UInt8[Array, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
    """[0, 255] -> [0, 1]."""
    return images.astype(jnp.float32) / 255.0


def jitter(key: PRNGKeyArray, images: Float[Array, "b h w 3"], strength: float) -> Float[Array, "b h w 3"]:
    """Scale each channel of each image by U(1 - strength, 1 + strength) (0.2 in the hourglass protocol)."""
    shape = (images.shape[0], 1, 1, 3)
    factor = jax.random.uniform(key, shape, images.dtype, 1.0 - strength, 1.0 + strength)
    return jnp.clip(images * factor, 0.0, 1.0)


def normalize(images: Float[Array, "*b h w 3"], name: str) -> Float[Array, "*b h w 3"]:
    """Subtract the mean of NORMALIZATIONS[name] and divide by its standard deviation, per channel.

    Raises ValueError for an unknown name.
    """
    check_choice("normalization", name, NORMALIZATIONS)
    mean, std = (jnp.asarray(values, images.dtype) for values in NORMALIZATIONS[name])
    return (images - mean) / std
