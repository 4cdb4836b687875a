"""Artificial occluders, pasted inside the compiled step (OASNet, section 3.2; after Ke et al. 2018).

A patch is a box of whole pixels that lies inside the crop: a rectangle, the ellipse in it, or a cut-out
along its mask. What it shows is one of KINDS:

- `flat`: one colour;
- `other`: a piece of another crop of the batch;
- `background`: a piece of the same crop with as few joints as can be found;
- `joint`: the surroundings of a joint of the same crop, put on the background near by: a false twin;
- `cutout`: a person or an object; the pixels outside its mask stay as they are.

Pixels are found in whole numbers only, so `paste` and `hidden_joints` agree on each of them.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt8

from oasjax.ops.choices import check_choice

KINDS = ("flat", "other", "background", "joint", "cutout")
FLAT, OTHER, BACKGROUND, JOINT, CUTOUT = range(len(KINDS))

_CANDIDATES = 16  # positions among which one without joints is looked for
_TWIN_DISTANCE = (1.0, 2.5)  # of a false twin from its joint, in longer sides of the patch
_RADIUS = 2**15  # of an ellipse along both axes, so that it is drawn in whole numbers of 32 bits
_FAR_PX = 1e5  # beyond any crop


class Patches(NamedTuple):
    """Occluders of a batch, p patches for each image; a later one covers an earlier one. Pixels of the crop.

    Attributes:
        box_xywh: left, top, width and height; always inside the crop.
        active: patches that exist.
        kind: position in KINDS.
        round: ellipse instead of rectangle; of no meaning for cut-outs.
        colour: of the kind `flat`, in [0, 1].
        source: position in the batch of the crop that shows a piece.
        piece_xy: left and top of that piece; it is as large as the box.
        cutout: position in the bank of cut-outs; None where there is no bank.
    """

    box_xywh: Int[Array, "b p 4"]
    active: Bool[Array, "b p"]
    kind: Int[Array, "b p"]
    round: Bool[Array, "b p"]
    colour: Float[Array, "b p 3"]
    source: Int[Array, "b p"]
    piece_xy: Int[Array, "b p 2"]
    cutout: Int[Array, "b p"] | None


def check_settings(
    *,
    min_patches: int,
    max_patches: int,
    min_side: float,
    max_side: float,
    jitter: float,
    round_probability: float,
    kinds: Any,
) -> None:
    """Raise ValueError, naming the key, where `sample_patches` could not draw by these values."""
    if not 0 <= min_patches <= max_patches:
        raise ValueError(
            f"min_patches is {min_patches} and max_patches {max_patches}; they must be at least 0, in order"
        )
    if not 0 < min_side <= max_side <= 1:
        raise ValueError(
            f"min_side is {min_side} and max_side {max_side}; they are parts of the crop's shorter side, "
            "above 0, at most 1 and in order"
        )
    if not 0 <= jitter < math.inf:
        raise ValueError(f"jitter is {jitter}; it must be at least 0")
    if not 0 <= round_probability <= 1:
        raise ValueError(f"round_probability is {round_probability}; it must lie between 0 and 1")
    for name, frequency in kinds.items():
        check_choice("a key of kinds", name, KINDS)
        if not 0 <= frequency < math.inf:
            raise ValueError(f"kinds.{name} is {frequency}; a relative frequency must be at least 0")
    if max_patches > 0 and not any(kinds.values()):
        raise ValueError(
            "kinds are all 0; give one of them a relative frequency above 0, or set max_patches to 0"
        )


def sample_patches(
    key: PRNGKeyArray,
    keypoints_px: Float[Array, "b k 2"],
    labelled: Bool[Array, "b k"],
    *,
    height: int,
    width: int,
    min_patches: int,
    max_patches: int,
    min_side: float,
    max_side: float,
    jitter: float,
    round_probability: float,
    kinds: Any,
    num_cutouts: int = 0,
) -> Patches:
    """Draw `min_patches` to `max_patches` patches for each image (the number uniform).

    A batch of one image has no other crop: its patches `other` are `background`. So are patches `joint` of
    an image without labelled joints.

    Args:
        keypoints_px, labelled: joints, and which of them are known to lie where they say: these attract
            patches, and background is where they are not. Where an image has none, the patches fall
            anywhere.
        height, width: of the crops.
        min_side, max_side: range of the (uniform) sides as fractions of the crop's shorter side; of a
            cut-out the longer side.
        jitter: standard deviation of a patch's centre around its joint, same unit.
        round_probability: share of ellipses.
        kinds: mapping from names of KINDS to relative frequencies; what is not named does not occur.
        num_cutouts: size of the bank of cut-outs; 0 for none.

    Raises:
        ValueError: as of `check_settings`; cut-outs are wanted, but there are none.
    """
    check_settings(
        min_patches=min_patches,
        max_patches=max_patches,
        min_side=min_side,
        max_side=max_side,
        jitter=jitter,
        round_probability=round_probability,
        kinds=kinds,
    )
    frequencies = [float(kinds.get(name, 0.0)) for name in KINDS]
    if max_patches > 0 and frequencies[CUTOUT] > 0 and num_cutouts == 0:
        raise ValueError(f"kinds.cutout is {frequencies[CUTOUT]}, but there are no cut-outs to paste")
    batch = labelled.shape[0]
    shape = (batch, max_patches)
    keys = iter(jax.random.split(key, 12))
    extent = jnp.asarray([width, height])
    has_joints = labelled.any(-1)[:, None]

    kind = jax.random.categorical(next(keys), jnp.log(jnp.asarray(frequencies)), shape=shape)
    impossible = ((kind == OTHER) & (batch == 1)) | ((kind == JOINT) & ~has_joints)
    kind = jnp.where(impossible, BACKGROUND, kind)

    unit = float(min(height, width))
    sides = jax.random.uniform(next(keys), (*shape, 2), minval=min_side, maxval=max_side)
    size = jnp.maximum(jnp.round(sides * unit), 1).astype(int)
    size = jnp.where((kind == CUTOUT)[..., None], size[..., :1], size)

    weights = jnp.where(labelled | ~has_joints, 0.0, -jnp.inf)[:, None]
    joint = jax.random.categorical(next(keys), weights, shape=shape)
    joint_px = jnp.take_along_axis(keypoints_px, joint[..., None], axis=1)
    beside = joint_px + jitter * unit * jax.random.normal(next(keys), (*shape, 2))
    anywhere = jax.random.uniform(next(keys), (*shape, 2)) * extent
    box_xy = _box_about(jnp.where(has_joints[..., None], beside, anywhere), size, extent)

    end = (extent - size + 1)[:, :, None]
    pieces = jax.random.randint(next(keys), (*shape, _CANDIDATES, 2), 0, end)
    emptiest = _with_fewest_joints(pieces, size, keypoints_px, labelled)
    piece_xy = jnp.where((kind == BACKGROUND)[..., None], emptiest, pieces[:, :, 0])

    places = _places_near(next(keys), joint_px, size, extent)
    twin_xy = _with_fewest_joints(places, size, keypoints_px, labelled)
    is_twin = (kind == JOINT)[..., None]
    box_xy = jnp.where(is_twin, twin_xy, box_xy)
    piece_xy = jnp.where(is_twin, _box_about(joint_px, size, extent), piece_xy)

    number = jax.random.randint(next(keys), (batch, 1), min_patches, max_patches + 1)
    step = jax.random.randint(next(keys), shape, 1, max(batch, 2))
    own = jnp.arange(batch)[:, None]
    return Patches(
        box_xywh=jnp.concatenate([box_xy, size], axis=-1),
        active=jnp.arange(max_patches) < number,
        kind=kind,
        round=jax.random.bernoulli(next(keys), round_probability, shape),
        colour=jax.random.uniform(next(keys), (*shape, 3)),
        source=jnp.where(kind == OTHER, (own + step) % batch, own),
        piece_xy=piece_xy,
        cutout=jax.random.randint(next(keys), shape, 0, num_cutouts) if num_cutouts else None,
    )


def _box_about(
    center_px: Float[Array, "*b 2"], size: Int[Array, "*#b 2"], extent: Int[Array, "2"]
) -> Int[Array, "*b 2"]:
    """Left and top of a box about a point, moved so that it lies inside the crop."""
    low = jnp.nan_to_num(center_px) - (size - 1) / 2
    return jnp.clip(jnp.round(low), 0, extent - size).astype(int)


def _places_near(
    key: PRNGKeyArray, joint_px: Float[Array, "b p 2"], size: Int[Array, "b p 2"], extent: Int[Array, "2"]
) -> Int[Array, "b p c 2"]:
    """Left and top of boxes around a joint, at _TWIN_DISTANCE in any direction."""
    turn, way = jax.random.uniform(key, (2, *joint_px.shape[:2], _CANDIDATES))
    direction = jnp.stack([jnp.cos(2 * jnp.pi * turn), jnp.sin(2 * jnp.pi * turn)], axis=-1)
    nearest, farthest = _TWIN_DISTANCE
    distance = (nearest + (farthest - nearest) * way) * size.max(-1)[..., None]
    center = joint_px[:, :, None] + direction * distance[..., None]
    return _box_about(center, size[:, :, None], extent)


def _with_fewest_joints(
    places: Int[Array, "b p c 2"],
    size: Int[Array, "b p 2"],
    keypoints_px: Float[Array, "b k 2"],
    labelled: Bool[Array, "b k"],
) -> Int[Array, "b p 2"]:
    """Of several left and top corners the one whose box holds the fewest labelled joints."""
    offset = _pixel_under(keypoints_px)[:, None, None] - places[:, :, :, None]
    inside = ((offset >= 0) & (offset < size[:, :, None, None])).all(-1) & labelled[:, None, None]
    best = inside.sum(-1).argmin(-1)
    return jnp.take_along_axis(places, best[..., None, None], axis=2)[:, :, 0]


def _pixel_under(points_px: Float[Array, "*b 2"]) -> Int[Array, "*b 2"]:
    """The pixel that a point lies in; one outside of any crop for NaN."""
    points = jnp.nan_to_num(jnp.clip(points_px, -1.0, _FAR_PX), nan=-1.0)
    return jnp.floor(points + 0.5).astype(int)


def _cell(pixel: Int[Array, "*n"], first: Int[Array, ""], length: Int[Array, ""], cells: int) -> Array:
    """Of `cells` equal parts of a side, the one that holds a pixel's middle; meaningless beside the side."""
    return (2 * (pixel - first) + 1) * cells // (2 * length)


def _draw(
    patch: Patches, x: Int[Array, "*#n"], y: Int[Array, "*#n"], cutouts: UInt8[Array, "c s s 4"] | None
) -> tuple[Bool[Array, "*n"], Float[Array, "*#n 3"]]:
    """Which pixels one patch draws, and the colours of the kinds `flat` and `cutout`.

    Args:
        patch: fields without the axes b and p.
        x, y: pixels; they broadcast.
        cutouts: the bank that the patch was drawn for.
    """
    left, top, width, height = patch.box_xywh
    inside = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)
    # Far from the box these overflow, where nothing is drawn.
    across = jnp.abs(2 * (x - left) + 1 - width) * _RADIUS // width
    down = jnp.abs(2 * (y - top) + 1 - height) * _RADIUS // height
    shape = (across**2 + down**2 <= _RADIUS**2) | ~patch.round
    colour = jnp.broadcast_to(patch.colour, (*(1,) * jnp.ndim(inside), 3))
    if patch.cutout is not None:
        if cutouts is None:
            raise ValueError("cutouts is None, but the patches were drawn for a bank of cut-outs")
        side = cutouts.shape[1]
        texel = cutouts[patch.cutout, _cell(y, top, height, side), _cell(x, left, width, side)]
        is_cutout = patch.kind == CUTOUT
        shape = jnp.where(is_cutout, texel[..., 3] >= 128, shape)
        colour = jnp.where(is_cutout, texel[..., :3] / jnp.float32(255), colour)
    return inside & shape & patch.active, colour


def hidden_joints(
    patches: Patches, points_px: Float[Array, "b k 2"], cutouts: UInt8[Array, "c s s 4"] | None = None
) -> Bool[Array, "b p k"]:
    """Which joints each patch hides: those in whose pixel `paste` draws it, be it covered by another or not.

    False for NaN and outside of the crop.
    """
    pixels = _pixel_under(points_px)

    def of_image(patches: Patches, pixels: Int[Array, "k 2"]) -> Bool[Array, "p k"]:
        return jax.vmap(lambda patch: _draw(patch, pixels[:, 0], pixels[:, 1], cutouts)[0])(patches)

    return jax.vmap(of_image)(patches, pixels)


def paste(
    images: Float[Array, "b h w 3"], patches: Patches, cutouts: UInt8[Array, "c s s 4"] | None = None
) -> Float[Array, "b h w 3"]:
    """Draw the patches over the images; pieces show images as they were before.

    Args:
        images: in [0, 1].
        patches: as `sample_patches` gives them for crops of this size.
        cutouts: the bank that they were drawn for: RGBA, opaque from 128.
    """
    batch, height, width, _ = images.shape
    if patches.active.shape[1] == 0:
        return images
    x, y = jnp.arange(width)[None], jnp.arange(height)[:, None]

    def pasted(own: Int[Array, ""], patches: Patches) -> Float[Array, "h w 3"]:
        # First where each pixel comes from, then one look at the images for all patches together.
        source, column, row = own, x, y
        painted, colours = jnp.zeros((height, width), bool), jnp.zeros(3, images.dtype)
        for p in range(patches.active.shape[0]):
            patch = jax.tree.map(lambda field, p=p: field[p], patches)
            drawn, colour = _draw(patch, x, y, cutouts)
            shift_x, shift_y = patch.piece_xy - patch.box_xywh[:2]
            source = jnp.where(drawn, patch.source, source)
            column = jnp.where(drawn, x + shift_x, column)
            row = jnp.where(drawn, y + shift_y, row)
            painted = jnp.where(drawn, (patch.kind == FLAT) | (patch.kind == CUTOUT), painted)
            colours = jnp.where(drawn[..., None], colour.astype(images.dtype), colours)
        return jnp.where(painted[..., None], colours, images[source, row, column])

    return jax.vmap(pasted)(jnp.arange(batch), patches)
