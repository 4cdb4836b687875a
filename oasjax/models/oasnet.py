"""OASNet: a backbone, occlusion heads, erasing, reconstruction and joint heads (paper, Fig. 2)."""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from oasjax.models.erase_reconstruct import EraseReconstruct, Reconstruction, erase
from oasjax.models.layers import Conv
from oasjax.ops.choices import check_choice

# What predicts occlusion: a map (eq. 2), three classes a joint (eq. 1), or nothing.
OCCLUSION_HEADS = ("heatmap", "classification", "none")
# Of eq. 1: not labelled, labelled and occluded, labelled and visible.
NUM_CLASSES = 3


class HeadOutput(NamedTuple):
    """What the head of one stack gives, in the type of its features; `OASNetOutput` names the parts."""

    heatmaps: Float[Array, "b h w k"]
    occlusion_map: Float[Array, "b h w 1"] | None
    occlusion_logits: Float[Array, "b k 3"] | None
    features: Float[Array, "b h w c"]
    cleaned: Float[Array, "b h w c"]
    reconstructed: Float[Array, "b h w c"]


class OASNetOutput(NamedTuple):
    """What one pass gives; maps at heatmap resolution. Without a tensor's head it is None.

    Attributes:
        heatmaps: joint heatmaps of every stack.
        occlusion_maps: H_o, unbounded, of the stacks that have one: the last, or all.
        occlusion_logits: of the classes 0, 1, 2 of eq. 1, of the same stacks.
        features: F_J of the last stack, the backbone's.
        cleaned: F_c, F_J after erasing; F_J where nothing is erased.
        reconstructed: F^R, what feeds the last joint head and what the branches mimic; F_c where nothing is
            reconstructed.
    """

    heatmaps: Float[Array, "s b h w k"]
    occlusion_maps: Float[Array, "t b h w 1"] | None
    occlusion_logits: Float[Array, "t b k 3"] | None
    features: Float[Array, "b h w c"]
    cleaned: Float[Array, "b h w c"]
    reconstructed: Float[Array, "b h w c"]


class Head(nn.Module):
    """From a stack's features F_J to its joint heatmaps.

    The paper does not describe the layer behind eq. 1; here it is one linear layer on the features' mean over
    the map.
    """

    num_joints: int
    occlusion: str
    erase_reconstruct: EraseReconstruct
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, features: Float[Array, "b h w c"], train: bool) -> HeadOutput:
        options = self.erase_reconstruct
        occlusion_map = logits = None
        cleaned = features
        if self.occlusion == "heatmap":
            occlusion_map = Conv(1, 1, dtype=self.dtype, name="occlusion")(features)
            if options.erase:
                cleaned = erase(features, occlusion_map, options.clip_attention)
        elif self.occlusion == "classification":
            pooled = jnp.mean(features, axis=(1, 2), keepdims=True)
            layer = Conv(NUM_CLASSES * self.num_joints, 1, dtype=self.dtype, name="occlusion")
            logits = layer(pooled).reshape(-1, self.num_joints, NUM_CLASSES)
        reconstructed = cleaned
        if options.reconstruct:
            reconstruction = Reconstruction(
                width=options.width,
                stride=options.stride,
                reduce_kernel=options.reduce_kernel,
                restore_kernel=options.restore_kernel,
                dtype=self.dtype,
                name="reconstruction",
            )
            reconstructed = reconstruction(cleaned, train)
        heatmaps = Conv(self.num_joints, 1, dtype=self.dtype, name="joints")(reconstructed)
        return HeadOutput(heatmaps, occlusion_map, logits, features, cleaned, reconstructed)


class OASNet(nn.Module):
    """A backbone with a head `head{stack}` for each of its stacks.

    Raises ValueError for an unknown occlusion head, and for erasing without an occlusion map.

    Attributes:
        backbone: module `(images, train, head) -> [head(stack, features) for each stack]`, with `num_stacks`
            and a `stride`.
        num_joints: channels of the joint heads.
        occlusion_head: one of OCCLUSION_HEADS.
        erase_reconstruct: where and how; stacks without it have a joint head alone.
        dtype: compute type of the heads.
    """

    backbone: nn.Module
    num_joints: int
    occlusion_head: str = "heatmap"
    erase_reconstruct: EraseReconstruct = EraseReconstruct()
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        check_choice("occlusion_head", self.occlusion_head, OCCLUSION_HEADS)
        if self.erase_reconstruct.erase and self.occlusion_head != "heatmap":
            raise ValueError(
                f"erasing needs an occlusion map: with occlusion_head '{self.occlusion_head}' set"
                " erase_reconstruct.erase to False, or occlusion_head to 'heatmap'"
            )
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Float[Array, "b y x 3"], train: bool) -> OASNetOutput:
        last = self.backbone.num_stacks - 1
        if last < 0:
            raise ValueError(f"num_stacks is {last + 1}; it must be at least 1")
        plain = ("none", EraseReconstruct(erase=False, reconstruct=False))
        full = (self.occlusion_head, self.erase_reconstruct)
        heads = [
            Head(
                self.num_joints,
                *(full if stack == last or self.erase_reconstruct.every_stack else plain),
                dtype=self.dtype,
                name=f"head{stack}",
            )
            for stack in range(last + 1)
        ]
        outputs = self.backbone(images, train, lambda stack, features: heads[stack](features, train))
        final = outputs[-1]
        # Losses and decoding run in float32 whatever the features' type (or wider, in gradient checks).
        wide = jnp.promote_types(final.features.dtype, jnp.float32)

        def stacked(parts: list[Array | None]) -> Array | None:
            present = [part for part in parts if part is not None]
            return jnp.stack(present).astype(wide) if present else None

        return OASNetOutput(
            jnp.stack([output.heatmaps for output in outputs]).astype(wide),
            stacked([output.occlusion_map for output in outputs]),
            stacked([output.occlusion_logits for output in outputs]),
            final.features,
            final.cleaned,
            final.reconstructed,
        )
