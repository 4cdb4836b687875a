"""Contact sheets of annotated people: who they are, how they are labelled, what is hidden."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from oasjax.datasets.skeletons import Skeleton
from oasjax.errors import UserError
from oasjax.inference.drawing import OUTLINE_COLOUR, draw_person, grid, legend
from oasjax.input_pipeline.decode import read_image

TILE_PX = 320
# The crop is so much larger than box and joints together: one sees who stands around.
CONTEXT = 1.25
_MAX_CAPTION = 46


def person_tiles(
    people: Sequence[dict[str, Any]], skeleton: Skeleton, num: int, seed: int, split: str
) -> tuple[list[UInt8[np.ndarray, "t t 3"]], list[str]]:
    """Pictures and captions of `num` people chosen at random; fewer where there are no more.

    Args:
        people: records of `read_people`, or with the picture itself as `image`.
        skeleton: their joints.
        num: how many, at least 1.
        seed: of the choice.
        split: stands in the captions.
    """
    # More than `num` of them: others stand in for people whose pictures do not open.
    order = np.random.default_rng(seed).permutation(len(people))
    tiles: list[np.ndarray] = []
    captions: list[str] = []
    for index in order:
        if len(tiles) == num:
            break
        person = people[index]
        try:
            picture = person["image"] if "image" in person else read_image(person["image_path"])
        except UserError:  # told of by the check of the pictures
            continue
        tiles.append(draw_annotated_person(picture, person, skeleton))
        captions.append(_caption(person, split))
    return tiles, captions


def people_sheet(
    tiles: Sequence[UInt8[np.ndarray, "t t 3"]], captions: Sequence[str], columns: int = 6
) -> UInt8[np.ndarray, "h w 3"]:
    """Tiles in rows, captions beneath, a legend at the foot. Raises ValueError without a tile."""
    sheet = grid(tiles, captions, columns=columns)
    return np.concatenate([sheet, legend(sheet.shape[1], unknown=True)])


def draw_annotated_person(
    picture: UInt8[np.ndarray, "h w 3"], person: dict[str, Any], skeleton: Skeleton, tile_px: int = TILE_PX
) -> UInt8[np.ndarray, "t t 3"]:
    """A square crop about one person with box and skeleton; joints that are not labelled are absent.

    Args:
        picture: RGB, the whole picture.
        person: `keypoints`, `visibility`, `occlusion_known` and `bbox_xywh` in its pixels.
        skeleton: the joints.
        tile_px: side of the result; where the crop reaches beyond the picture it is dark.
    """
    labelled = person["visibility"] > 0
    keypoints = np.where(labelled[:, None], person["keypoints"], np.nan).astype(np.float64)
    bbox_xywh = np.asarray(person["bbox_xywh"], np.float64)
    left, top, side = crop_square(picture.shape[:2], keypoints, bbox_xywh)
    scale = tile_px / side
    return draw_person(
        _cut(picture, left, top, side, tile_px),
        _into_tile(keypoints, left, top, scale),
        person["visibility"] == 1,
        skeleton,
        np.concatenate([_into_tile(bbox_xywh[None, :2], left, top, scale)[0], bbox_xywh[2:] * scale]),
        labelled & ~np.asarray(person["occlusion_known"], bool),
    )


def crop_square(
    size_hw: tuple[int, int], keypoints: Float[np.ndarray, "k 2"], bbox_xywh: Float[np.ndarray, "4"]
) -> tuple[int, int, int]:
    """Left, top and side in whole pixels of the square that shows box and joints with context.

    It is moved to show as much of the picture as it can. Joints far outside of it (more than its
    size away) are not followed.
    """
    height, width = size_hw
    corners = np.concatenate([bbox_xywh[None, :2], bbox_xywh[None, :2] + bbox_xywh[2:], keypoints])
    corners = corners[np.isfinite(corners).all(-1)]
    if not len(corners):
        corners = np.array([[0, 0], [width, height]], np.float64)
    corners = np.clip(corners, (-width, -height), (2 * width, 2 * height))
    low, high = corners.min(0), corners.max(0)
    side = max(16, int(np.ceil((high - low).max() * CONTEXT)))
    start = np.floor((low + high) / 2 - side / 2).astype(int)
    room = np.array([width, height]) - side
    start = np.clip(start, np.minimum(room, 0), np.maximum(room, 0))
    start = np.clip(start, np.ceil(high - side).astype(int), np.floor(low).astype(int))
    return int(start[0]), int(start[1]), side


def _cut(
    picture: UInt8[np.ndarray, "h w 3"], left: int, top: int, side: int, tile_px: int
) -> UInt8[np.ndarray, "t t 3"]:
    square = np.full((side, side, 3), OUTLINE_COLOUR, np.uint8)
    height, width = picture.shape[:2]
    x0, y0 = max(left, 0), max(top, 0)
    part = picture[y0 : max(min(top + side, height), y0), x0 : max(min(left + side, width), x0)]
    square[y0 - top : y0 - top + part.shape[0], x0 - left : x0 - left + part.shape[1]] = part
    method = cv2.INTER_AREA if side > tile_px else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (tile_px, tile_px), interpolation=method), np.uint8)


def _into_tile(
    points: Float[np.ndarray, "n 2"], left: int, top: int, scale: float
) -> Float[np.ndarray, "n 2"]:
    """Pixel centres at integers on both sides."""
    return (points - (left, top) + 0.5) * scale - 0.5


def _caption(person: dict[str, Any], split: str) -> str:
    number = int(person.get("person_number", -1))
    tail = f"  person {number if number >= 0 else int(person['example_id'])}"
    name, room = str(person["image_id"]), _MAX_CAPTION - len(split) - len(tail) - 2
    return f"{split}  {name if len(name) <= room else '...' + name[3 - room :]}{tail}"
