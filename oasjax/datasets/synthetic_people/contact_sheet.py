"""Contact sheets: people enlarged, with their skeletons, and what hides which joint."""

from collections.abc import Mapping

import cv2
import numpy as np
from jaxtyping import UInt8

from oasjax.datasets.skeletons import MPII
from oasjax.datasets.synthetic_people.visibility import HIDDEN_BY

_MARGIN = 6
_PAPER, _INK = (250, 250, 250), (40, 40, 40)
# By index into HIDDEN_BY: white for joints in sight, one colour for each cause.
CAUSE_COLORS = ((255, 255, 255), (255, 214, 0), (255, 64, 200), (0, 225, 255))
_LEGEND = ("visible", "hidden by oneself", "by another person", "by an object")
_SHIFT = 4


def contact_sheet(
    arrays: Mapping[str, np.ndarray], columns: int, scale: int = 3
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw all people of `synthetic_arrays` in rows of `columns`, each `scale` times enlarged.

    A joint in sight is a filled disc, a hidden one a ring with a cross in the colour of its cause;
    bones to hidden joints are dashed. A legend stands below.
    """
    tiles = [
        draw_person({key: value[i] for key, value in arrays.items()}, scale)
        for i in range(len(arrays["image"]))
    ]
    side = len(tiles[0]) + _MARGIN
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * side + _MARGIN + 34, columns * side + _MARGIN, 3), _PAPER, np.uint8)
    for number, tile in enumerate(tiles):
        y, x = number // columns * side + _MARGIN, number % columns * side + _MARGIN
        sheet[y : y + len(tile), x : x + len(tile)] = tile
    _draw_legend(sheet[-34:])
    return sheet


def draw_person(record: Mapping[str, np.ndarray], scale: int) -> UInt8[np.ndarray, "h w 3"]:
    """One person's picture, enlarged, with the skeleton over it."""
    image = cv2.resize(
        np.ascontiguousarray(record["image"]), None, fx=scale, fy=scale,
        interpolation=cv2.INTER_CUBIC,
    )  # fmt: skip
    points = np.asarray(record["keypoints"], float) * scale + (scale - 1) / 2
    labelled, hidden_by = record["visibility"] > 0, record["hidden_by"]
    for a, b in MPII.limbs:
        if labelled[a] and labelled[b]:
            dashed = bool(hidden_by[a] > 0 or hidden_by[b] > 0)
            _draw_bone(image, points[a], points[b], dashed)
    for point, cause in zip(points[labelled], hidden_by[labelled].tolist(), strict=True):
        _draw_joint(image, point, cause)
    return image


def _draw_bone(image: UInt8[np.ndarray, "h w 3"], start: np.ndarray, end: np.ndarray, dashed: bool) -> None:
    dashes = max(int(np.hypot(*(end - start)) / 7), 1) if dashed else 1
    cuts = np.linspace(0, 1, 2 * dashes) if dashed else np.array([0.0, 1.0])
    for first, last in zip(cuts[::2], cuts[1::2], strict=True):
        ends = _fixed(start + (end - start) * first), _fixed(start + (end - start) * last)
        for ink, thickness in ((_INK, 3), ((255, 255, 255), 1)):
            cv2.line(image, ends[0], ends[1], ink, thickness, cv2.LINE_AA, _SHIFT)


def _draw_joint(image: UInt8[np.ndarray, "h w 3"], point: np.ndarray, cause: int) -> None:
    radius, color = 4, CAUSE_COLORS[cause]
    center = _fixed(point)
    if cause == HIDDEN_BY.index("nothing"):
        cv2.circle(image, center, radius * 16, _INK, -1, cv2.LINE_AA, _SHIFT)
        cv2.circle(image, center, int((radius - 1.4) * 16), color, -1, cv2.LINE_AA, _SHIFT)
        return
    arm = 3.4
    strokes = [(point + np.array(d) * arm, point - np.array(d) * arm) for d in ((1, 1), (1, -1))]
    for ink, thickness in ((_INK, 5), (color, 2)):
        cv2.circle(image, center, (radius + 2) * 16, ink, thickness, cv2.LINE_AA, _SHIFT)
        for first, last in strokes:
            cv2.line(image, _fixed(first), _fixed(last), ink, thickness, cv2.LINE_AA, _SHIFT)


def _draw_legend(strip: UInt8[np.ndarray, "h w 3"]) -> None:
    x = 20
    for cause, text in enumerate(_LEGEND):
        _draw_joint(strip, np.array([x, 17.0]), cause)
        cv2.putText(strip, text, (x + 14, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
        x += 40 + cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]


def _fixed(point: np.ndarray) -> tuple[int, int]:
    x, y = np.rint(point * (1 << _SHIFT)).astype(int).tolist()
    return x, y
