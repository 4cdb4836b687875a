"""Pictures of people: skeleton overlays, occlusion heat, grids with captions.

The reading is the same everywhere: the person's right side is orange, the left side blue, the
middle white; a visible joint is a filled disc, a hidden one a hollow ring; a limb with a hidden end
is dashed. A joint of which nobody knows whether it is hidden is a square.
Every function returns a new picture (uint8 RGB, (H, W, 3)) and leaves its input as it was.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from oasjax.datasets.skeletons import Skeleton, plain_name

RIGHT_COLOUR = (255, 133, 27)
LEFT_COLOUR = (46, 164, 255)
CENTRE_COLOUR = (245, 245, 245)
OUTLINE_COLOUR = (18, 20, 28)
BOX_COLOUR = (130, 240, 150)
HEAT_COLOUR = (255, 32, 110)

# An occlusion probability above this is drawn as hidden.
HIDDEN_THRESHOLD = 0.5
# Pixels narrower than this are enlarged before drawing, or the lines would swallow the person.
MIN_SIDE_PX = 384
# cv2 takes coordinates as fixed point with this many fractional bits.
_SHIFT = 4
# Wild predictions are pulled to this distance: far outside any picture, yet safe in fixed point.
_FAR_PX = 1e5


def hidden_joints(occlusion: Float[np.ndarray, "k"] | None, num_joints: int) -> Bool[np.ndarray, "k"]:
    """Joints to draw as hidden; none of them where a model predicts no occlusion."""
    if occlusion is None:
        return np.zeros(num_joints, bool)
    return occlusion > HIDDEN_THRESHOLD


def enlarge(
    picture: UInt8[np.ndarray, "h w 3"], min_side_px: int = MIN_SIDE_PX
) -> tuple[UInt8[np.ndarray, "h2 w2 3"], int]:
    """Enlarge a small picture by a whole factor so that its longer side reaches `min_side_px`.

    Returns:
        the picture (a copy also where the factor is 1) and the factor; see `enlarge_points`.
    """
    factor = max(1, round(min_side_px / max(picture.shape[:2])))
    if factor == 1:
        return picture.copy(), 1
    size_wh = (picture.shape[1] * factor, picture.shape[0] * factor)
    return cv2.resize(picture, size_wh, interpolation=cv2.INTER_CUBIC), factor


def enlarge_points(points: Float[np.ndarray, "*n 2"], factor: int) -> Float[np.ndarray, "*n 2"]:
    """Where points land when the picture is enlarged by `factor` (pixel centres at integers)."""
    return (points + 0.5) * factor - 0.5


def draw_person(
    picture: UInt8[np.ndarray, "h w 3"],
    keypoints: Float[np.ndarray, "k 2"],
    hidden: Bool[np.ndarray, "k"],
    skeleton: Skeleton,
    bbox_xywh: Float[np.ndarray, "4"] | None = None,
    unknown: Bool[np.ndarray, "k"] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw one skeleton.

    Args:
        picture: RGB.
        keypoints: joints in pixels of the picture; a NaN joint and its limbs are not drawn, a joint
            outside the picture is harmless.
        hidden: True draws the joint hollow and its limbs dashed.
        skeleton: limbs and, by the joints' names, sides.
        bbox_xywh: a box to draw as well.
        unknown: True draws the joint as a square, whatever `hidden` says.
    """
    canvas = picture.copy()
    drawn = np.isfinite(keypoints).all(axis=-1)
    points = np.clip(np.where(drawn[:, None], keypoints, 0.0), -_FAR_PX, _FAR_PX)
    thickness = _line_thickness(canvas.shape[:2], points[drawn])
    if bbox_xywh is not None and np.isfinite(bbox_xywh).all():
        _draw_box(canvas, np.clip(bbox_xywh, -_FAR_PX, _FAR_PX), max(1, round(thickness * 0.5)))
    limbs = [(a, b) for a, b in skeleton.limbs if drawn[a] and drawn[b]]
    # All outlines first: a limb drawn later must not cut a dark notch into an earlier one.
    for width, outline in ((thickness + 2 * _rim(thickness), True), (thickness, False)):
        for a, b in limbs:
            colour = OUTLINE_COLOUR if outline else limb_colour(skeleton, a, b)
            dashed = bool(hidden[a] or hidden[b])
            _draw_limb(canvas, points[a], points[b], colour, width, dashed, thickness)
    for joint in np.flatnonzero(drawn):
        colour = joint_colour(skeleton, int(joint))
        if unknown is not None and unknown[joint]:
            _draw_square(canvas, points[joint], colour, thickness)
        else:
            _draw_joint(canvas, points[joint], colour, thickness, bool(hidden[joint]))
    return canvas


def joint_colour(skeleton: Skeleton, joint: int) -> tuple[int, int, int]:
    """Colour of the side that the joint's name gives."""
    name = plain_name(skeleton.joints[joint])
    if name.startswith("right_"):
        return RIGHT_COLOUR
    return LEFT_COLOUR if name.startswith("left_") else CENTRE_COLOUR


def limb_colour(skeleton: Skeleton, a: int, b: int) -> tuple[int, int, int]:
    """Colour of a limb: that of its sided end; white where both sides or none meet."""
    sided = {joint_colour(skeleton, joint) for joint in (a, b)} - {CENTRE_COLOUR}
    return sided.pop() if len(sided) == 1 else CENTRE_COLOUR


def occlusion_heat(
    picture: UInt8[np.ndarray, "h w 3"],
    occlusion_map: Float[np.ndarray, "m n"],
    strength: float = 0.85,
) -> UInt8[np.ndarray, "h w 3"]:
    """Lay an occlusion map over the darkened grey picture: red where joints seem hidden.

    Args:
        picture: RGB.
        occlusion_map: values in [0, 1] (others are clipped, NaN counts as 0); its cells tile the
            picture, whatever its size.
        strength: share of the heat colour where the map is 1.
    """
    size_wh = (picture.shape[1], picture.shape[0])
    finite = np.nan_to_num(occlusion_map.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    heat = cv2.resize(np.clip(finite, 0.0, 1.0), size_wh, interpolation=cv2.INTER_LINEAR)
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    alpha = (strength * heat)[..., None]
    blended = 0.7 * grey * (1.0 - alpha) + alpha * np.array(HEAT_COLOUR, np.float32)
    return np.round(blended).astype(np.uint8)


def legend(width: int, occlusion: bool = True, unknown: bool = False) -> UInt8[np.ndarray, "h w 3"]:
    """A strip `width` pixels wide that explains the signs, in rows of two where it is narrow.

    Args:
        occlusion: explain visible and hidden joints as well.
        unknown: explain joints of unknown occlusion as well.
    """
    font = _font(14)
    entries = [("right", RIGHT_COLOUR), ("left", LEFT_COLOUR)]
    if occlusion:
        entries += [("visible", CENTRE_COLOUR), ("hidden", CENTRE_COLOUR)]
    if unknown:
        entries += [("unknown", CENTRE_COLOUR)]
    columns = len(entries) if width >= 120 * len(entries) - 80 else 2
    cell_width, row_height = max(1, width // columns), 26
    rows = -(-len(entries) // columns)
    strip = np.full((rows * row_height, width, 3), OUTLINE_COLOUR, np.uint8)
    for n, (text, colour) in enumerate(entries):
        left, middle = (n % columns) * cell_width + 10.0, (n // columns + 0.5) * row_height - 0.5
        start, end = np.array([left, middle]), np.array([left + 28.0, middle])
        _draw_limb(strip, start, end, colour, 3, text == "hidden", 3)
        if text == "unknown":
            _draw_square(strip, end, colour, 3)
        else:
            _draw_joint(strip, end, colour, 3, text == "hidden")
    image = Image.fromarray(strip)
    pen = ImageDraw.Draw(image)
    for n, (text, colour) in enumerate(entries):
        place = ((n % columns) * cell_width + 52, (n // columns + 0.5) * row_height)
        pen.text(place, text, fill=colour, font=font, anchor="lm")
    return np.asarray(image)


def grid(
    pictures: Sequence[UInt8[np.ndarray, "_h _w 3"]],
    captions: Sequence[str] | None = None,
    columns: int = 4,
    gap_px: int = 8,
) -> UInt8[np.ndarray, "h w 3"]:
    """Pictures side by side, each centred in a cell of the largest size, captions underneath.

    Raises:
        ValueError: without a picture, or where captions and pictures differ in number.
    """
    if not pictures:
        raise ValueError("a grid needs at least one picture")
    if captions is not None and len(captions) != len(pictures):
        raise ValueError(f"{len(captions)} captions for {len(pictures)} pictures")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    caption_px = 22 if captions else 0
    cell_height = max(picture.shape[0] for picture in pictures) + caption_px + gap_px
    cell_width = max(picture.shape[1] for picture in pictures) + gap_px
    size = (rows * cell_height + gap_px, columns * cell_width + gap_px, 3)
    canvas = np.full(size, OUTLINE_COLOUR, np.uint8)
    for n, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        top = (n // columns) * cell_height + gap_px
        left = (n % columns) * cell_width + gap_px + (cell_width - gap_px - width) // 2
        canvas[top : top + height, left : left + width] = picture
    if not captions:
        return canvas
    image = Image.fromarray(canvas)
    pen = ImageDraw.Draw(image)
    for n, caption in enumerate(captions):
        middle = (n % columns) * cell_width + gap_px + (cell_width - gap_px) / 2
        bottom = (n // columns + 1) * cell_height
        text_place = (middle, bottom - caption_px / 2)
        pen.text(text_place, caption, fill=CENTRE_COLOUR, font=_font(14), anchor="mm")
    return np.asarray(image)


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def _line_thickness(size_hw: tuple[int, int], points: Float[np.ndarray, "n 2"]) -> int:
    """About 1/90 of the person or, if that is smaller, 1/120 of the picture; at least 2 pixels.

    The person counts too, so that a small figure in a large picture is not buried.
    """
    picture_px = max(size_hw)
    person_px = float(np.ptp(points, axis=0).max()) if len(points) > 1 else picture_px
    return max(2, round(min(picture_px / 120, person_px / 90)))


def _rim(thickness: int) -> int:
    return max(1, round(thickness * 0.35))


def _fixed(point: Float[np.ndarray, "2"]) -> tuple[int, int]:
    x, y = np.round(point * (1 << _SHIFT)).astype(int)
    return int(x), int(y)


def _draw_limb(
    canvas: np.ndarray,
    start: Float[np.ndarray, "2"],
    end: Float[np.ndarray, "2"],
    colour: tuple[int, int, int],
    width: int,
    dashed: bool,
    unit: int,
) -> None:
    for a, b in _dashes(start, end, unit, canvas.shape) if dashed else [(start, end)]:
        cv2.line(canvas, _fixed(a), _fixed(b), colour, width, cv2.LINE_AA, _SHIFT)


def _dashes(
    start: Float[np.ndarray, "2"],
    end: Float[np.ndarray, "2"],
    unit: int,
    picture_shape: tuple[int, ...],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pieces of the segment, 2.5 line widths long with gaps of 3, as far as they may be seen."""
    length = float(np.linalg.norm(end - start))
    if length == 0.0:
        return []
    period, dash = 5.5 * unit, 2.5 * unit
    # Centred, so that both ends look alike.
    first = (length % period - dash) / 2 if length > period else max(0.0, (length - dash) / 2)
    at = np.arange(max(0.0, first), length, period)
    direction = (end - start) / length
    starts, ends = (
        start + at[:, None] * direction,
        start + np.minimum(at + dash, length)[:, None] * direction,
    )
    margin = period
    limit = np.array([picture_shape[1], picture_shape[0]]) + margin
    near = ((starts > -margin) & (starts < limit)).all(axis=-1)
    return list(zip(starts[near], ends[near], strict=True))


def _draw_joint(
    canvas: np.ndarray,
    point: Float[np.ndarray, "2"],
    colour: tuple[int, int, int],
    thickness: int,
    hidden: bool,
) -> None:
    radius, rim = 1.3 * thickness + 0.5, _rim(thickness)
    center = _fixed(point)

    def circle(radius_px: float, fill: tuple[int, int, int], width: int) -> None:
        fixed_radius = round(radius_px * (1 << _SHIFT))
        cv2.circle(canvas, center, fixed_radius, fill, width, cv2.LINE_AA, _SHIFT)

    if hidden:
        radius, ring = 1.3 * radius, max(1, round(thickness * 0.7))
        circle(radius + ring / 2 + rim, OUTLINE_COLOUR, cv2.FILLED)
        circle(radius, colour, ring)
    else:
        circle(radius + rim, OUTLINE_COLOUR, cv2.FILLED)
        circle(radius, colour, cv2.FILLED)


def _draw_square(
    canvas: np.ndarray, point: Float[np.ndarray, "2"], colour: tuple[int, int, int], thickness: int
) -> None:
    half, rim = 1.1 * thickness + 0.5, _rim(thickness)
    for half_px, fill in ((half + rim, OUTLINE_COLOUR), (half, colour)):
        cv2.rectangle(
            canvas, _fixed(point - half_px), _fixed(point + half_px), fill, cv2.FILLED, cv2.LINE_AA, _SHIFT
        )


def _draw_box(canvas: np.ndarray, bbox_xywh: Float[np.ndarray, "4"], thickness: int) -> None:
    left, top, width, height = bbox_xywh
    # The box covers whole pixels from left to left + width, their centres end one pixel earlier.
    corners = _fixed(np.array([left, top])), _fixed(np.array([left + width - 1, top + height - 1]))
    for colour, width_px in ((OUTLINE_COLOUR, thickness + 2), (BOX_COLOUR, thickness)):
        cv2.rectangle(canvas, *corners, colour, width_px, cv2.LINE_AA, _SHIFT)
