"""Canvas: colours and, beside them, which part was painted last at every pixel."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int32, UInt8

SUPERSAMPLING = 2  # canvas pixels per picture pixel: edges are smoothed by the final reduction
SUBPIXEL_BITS = 4  # fractional bits of polygon corners

NOTHING = 0  # background, and whoever stands behind the person of interest
OTHER_PERSON = 254
OBJECT = 255


@dataclass(frozen=True)
class Shapes:
    """Unions of m convex polygons with a texture on them, ready for painting.

    Attributes:
        bounds: (left, top, right, bottom) of each union within the canvas, in whole canvas pixels;
            the last two are exclusive. An empty range means that nothing of it is on the canvas.
        corners: relative to (left, top), in fixed point with SUBPIXEL_BITS fractional bits.
        texture_from_local: affine map from pixels relative to (left, top) to texture (column, row).
    """

    bounds: Int32[np.ndarray, "*b 4"]
    corners: Int32[np.ndarray, "*b m n 2"]
    texture_from_local: Float[np.ndarray, "*b 2 3"]


@dataclass
class Canvas:
    """A picture in the making, painted from back to front.

    Attributes:
        color: RGB, SUPERSAMPLING times finer than the picture.
        part_ids: what was painted last: NOTHING, OTHER_PERSON, OBJECT, or 1 + index of a part of
            the person of interest in `anatomy.PARTS`.
    """

    color: UInt8[np.ndarray, "h w 3"]
    part_ids: UInt8[np.ndarray, "h w"]

    def paint(
        self,
        bounds: list[int],
        corners: Int32[np.ndarray, "m n 2"],
        texture_from_local: Float[np.ndarray, "2 3"],
        texture: UInt8[np.ndarray, "l w 3"],
        part_id: int,
        smooth: bool,
    ) -> None:
        """Cover one union of polygons (an element of Shapes) with a texture.

        With the part NOTHING the colours change and what is known to lie there stays. `smooth`
        blends
        neighbouring texels: slower, and to be seen only where a texel is larger than a picture
            pixel.
        """
        x0, y0, x1, y1 = bounds
        if x1 <= x0 or y1 <= y0:
            return
        inside = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for polygon in corners:
            cv2.fillConvexPoly(inside, polygon, 255, cv2.LINE_8, SUBPIXEL_BITS)
        interpolation = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
        cloth = cv2.warpAffine(
            texture, texture_from_local, (x1 - x0, y1 - y0),
            flags=interpolation | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        cv2.copyTo(cloth, inside, self.color[y0:y1, x0:x1])
        if part_id == NOTHING:
            return
        parts = self.part_ids[y0:y1, x0:x1]
        for polygon in corners:
            # The same call on the same corners: colours and parts agree at every pixel.
            cv2.fillConvexPoly(parts, polygon, part_id, cv2.LINE_8, SUBPIXEL_BITS)


def blank_canvas(size: int) -> Canvas:
    """An empty canvas for a square picture of `size` pixels."""
    side = size * SUPERSAMPLING
    return Canvas(np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.uint8))


def prepare_shapes(
    polygons: Float[np.ndarray, "*b m n 2"],
    texture_from_canvas: Float[np.ndarray, "*b 2 3"],
    side: int,
) -> Shapes:
    """Round polygons (canvas pixels) to fixed point; cut their bounds to a canvas of `side`."""
    corners = np.rint(polygons * (1 << SUBPIXEL_BITS)).astype(np.int32)
    low = np.maximum(corners.min(axis=(-3, -2)) >> SUBPIXEL_BITS, 0)
    high = np.minimum((corners.max(axis=(-3, -2)) >> SUBPIXEL_BITS) + 2, side)
    corners -= (low << SUBPIXEL_BITS)[..., None, None, :]
    local = texture_from_canvas.copy()
    local[..., 2] += (local[..., :2] @ low[..., None])[..., 0]
    return Shapes(np.concatenate([low, high], axis=-1), corners, local)


def picture_from_canvas(points: Float[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
    """Canvas pixels to picture pixels; both have pixel centres at integers."""
    return (points - (SUPERSAMPLING - 1) / 2) / SUPERSAMPLING
