"""OASNet: a backbone, an occlusion head, erasing, reconstruction and the joint head (paper, Fig. 2)."""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from oasjax.models.erase_reconstruct import Reconstruction, erase
from oasjax.models.layers import Conv


class OASNetOutput(NamedTuple):
    """What one pass gives; everything at heatmap resolution.

    Attributes:
        heatmaps: joint heatmaps of every stack, the last one from the reconstructed features.
        occlusion_map: H_o, unbounded.
        features: F_J, the backbone's.
        cleaned: F_c, after erasing.
        reconstructed: F^R, what the branches mimic.
    """

    heatmaps: Float[Array, "s b h w k"]
    occlusion_map: Float[Array, "b h w 1"]
    features: Float[Array, "b h w c"]
    cleaned: Float[Array, "b h w c"]
    reconstructed: Float[Array, "b h w c"]


class OASNet(nn.Module):
    """Erasing and reconstruction appended at the end of a backbone.

    Attributes:
        backbone: module (images, train) -> (features, heatmaps of earlier stacks), with a `stride`.
        num_joints: channels of the joint head.
        dtype: compute type of the heads.
    """

    backbone: nn.Module
    num_joints: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: Float[Array, "b y x 3"], train: bool) -> OASNetOutput:
        features, heatmaps = self.backbone(images, train)
        occlusion_map = Conv(1, 1, dtype=self.dtype, name="occlusion_head")(features)
        cleaned = erase(features, occlusion_map)
        reconstructed = Reconstruction(self.dtype, name="reconstruction")(cleaned, train)
        heatmaps = [
            *heatmaps,
            Conv(self.num_joints, 1, dtype=self.dtype, name="joint_head")(reconstructed),
        ]
        # Losses and decoding run in float32 whatever the features' type (or wider, in gradient checks).
        wide = jnp.promote_types(features.dtype, jnp.float32)
        return OASNetOutput(
            jnp.stack(heatmaps).astype(wide),
            occlusion_map.astype(wide),
            features,
            cleaned,
            reconstructed,
        )
