"""Renderer: one person of interest with others and objects around, as a data set record.

The world is painted from back to front: background, people behind, the person of interest part by
part, then people and objects in front. Every stroke is written to a second picture that remembers
which part was painted last, so visibility follows from the depth order in which the picture itself
was made.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from statistics import NormalDist
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from oasjax.datasets.skeletons import MPII
from oasjax.datasets.synthetic_people.anatomy import (
    PARTS,
    Bodies,
    build_bodies,
    place,
)
from oasjax.datasets.synthetic_people.appearance import LOOKS, Appearance, dress_people
from oasjax.datasets.synthetic_people.background import paint_background
from oasjax.datasets.synthetic_people.canvas import (
    NOTHING,
    OTHER_PERSON,
    SUPERSAMPLING,
    Canvas,
    blank_canvas,
    picture_from_canvas,
)
from oasjax.datasets.synthetic_people.obstacles import paint_obstacle
from oasjax.datasets.synthetic_people.outlines import Face, Outlines, outline_bodies
from oasjax.datasets.synthetic_people.poses import sample_poses
from oasjax.datasets.synthetic_people.visibility import inside_canvas, joints_hidden_by

Record = dict[str, Any]
MIN_SIZE = 48

_HEAD = PARTS.index("head")
# What each part of a person leaves on the canvas: the person of interest its own number.
_MAIN_PARTS = tuple(range(1, len(PARTS) + 1))
_OTHER_PARTS = (OTHER_PERSON,) * len(PARTS)
_UNMARKED = (NOTHING,) * len(PARTS)
_UPPER_NECK, _HEAD_TOP = MPII.joints.index("upper_neck"), MPII.joints.index("head_top")
_EYE, _MOUTH = (25, 20, 25), (130, 40, 45)
_CHUNK = 50  # people per job of a worker process

# Chances of 0, 1, 2, ... people behind, people in front and objects in front.
_CROWDS = {
    "studio": ((0.70, 0.25, 0.05), (0.56, 0.36, 0.08), (0.40, 0.46, 0.14)),
    "street": ((0.35, 0.35, 0.30), (0.54, 0.36, 0.10), (0.36, 0.46, 0.18)),
}
_FINE_CANVAS = 320  # from this many canvas pixels on, texels are larger than picture pixels
_TRUNCATED = 0.05  # chance of a person who reaches beyond the picture


def render_person(seed: int, index: int, size: int = 128, look: str = "studio") -> Record:
    """Render person number `index` of the world `seed`; a pure function of its arguments.

    Args:
        seed: which world, 0 <= seed < 2**62.
        index: which person of it, 0 <= index < 2**63.
        size: width and height of the picture in pixels, at least 48. The same (seed, index, look)
            is the same scene at every size.
        look: "studio" (bright clothes, soft backgrounds, clean) or "street" (duller clothes,
            clutter, blur, colour cast and sensor noise).

    Returns:
        A record in picture pixels: image uint8 (size, size, 3) RGB; keypoints float32 (16, 2) in
        MPII order; visibility int8 (16,) with 0 outside of the picture, 1 hidden, 2 visible;
        hidden_by int8 (16,), an index into `visibility.HIDDEN_BY` (what is topmost at the joint);
        occlusion_known (all True); mask bool (size, size) of the person's visible pixels;
        bbox_xywh (4,) of the whole person, hidden parts included and not cut at the picture's
        edge; visible_bbox_xywh of the mask (zeros where nothing is seen); head_size, the distance
        from upper neck to head top, which is what MPII's 0.6 * diagonal of the head box stands
        for; area, the pixels that the person would cover without anything in front; example_id and
        image_id.

    Raises:
        ValueError: for a look, size, seed or index that does not exist.
    """
    _check(seed, index, size, look)
    rng = np.random.Generator(np.random.Philox(key=[2 * seed + LOOKS.index(look), index]))
    behind, in_front, objects = (_draw_count(rng, chances) for chances in _CROWDS[look])
    num_people = behind + 1 + in_front
    poses = sample_poses(rng, num_people)
    bodies = build_bodies(rng, poses)
    side = size * SUPERSAMPLING
    bodies = _arrange(rng, bodies, main=behind, side=side)
    appearance = dress_people(rng, num_people, look)
    outlines = outline_bodies(bodies, side)

    canvas = blank_canvas(size)
    background = paint_background(rng, size, look)
    canvas.color = cv2.resize(background, (side, side), interpolation=cv2.INTER_LINEAR)
    for person in range(behind + 1):
        part_ids = _MAIN_PARTS if person == behind else _UNMARKED
        paint_person(canvas, outlines, appearance, person, part_ids)
    area = np.count_nonzero(canvas.part_ids) / SUPERSAMPLING**2
    # Front people and objects interleave at random.
    strokes = np.array([True] * in_front + [False] * objects)
    next_person = behind + 1
    for is_person in rng.permutation(strokes):
        if is_person:
            paint_person(canvas, outlines, appearance, next_person, _OTHER_PARTS)
            next_person += 1
        else:
            paint_obstacle(rng, canvas, look)

    mask = person_mask(canvas)
    joints = bodies.joints[behind, :, :2]
    hidden_by = joints_hidden_by(joints, canvas.part_ids)
    inside = inside_canvas(joints, canvas.part_ids)
    keypoints = picture_from_canvas(joints)
    return {
        "image": _develop(rng, canvas, look),
        "keypoints": keypoints.astype(np.float32),
        "visibility": np.where(inside, np.where(hidden_by > 0, 1, 2), 0).astype(np.int8),
        "hidden_by": hidden_by,
        "occlusion_known": np.ones(len(joints), bool),
        "mask": mask,
        "bbox_xywh": _full_box(outlines.boxes_xyxy[behind]),
        "visible_bbox_xywh": _mask_box(mask),
        "head_size": np.float32(np.hypot(*(keypoints[_HEAD_TOP] - keypoints[_UPPER_NECK]))),
        "area": np.float32(area),
        "example_id": np.int64(index),
        "image_id": f"{look}-{seed}-{index}",
    }


def synthetic_arrays(
    seed: int,
    num: int,
    size: int = 128,
    look: str = "studio",
    num_processes: int = 1,
    start: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """Render people `start` to `start + num` of a world; every record entry gains a leading axis
    `num`.

    The result does not depend on `num_processes`. More than one process starts fresh interpreters
    (spawn: forking a process that runs JAX is unsafe), so a script that asks for them needs the
    usual `if __name__ == "__main__":` guard.

    Args:
        seed, size, look: as for `render_person`.
        num: how many people, at least 1.
        num_processes: 1 renders in this process.
        start: index of the first person; train and held-out people can be two ranges of one world.
        progress: called with (rendered, num) now and then.
    """
    if num < 1:
        raise ValueError(f"num must be at least 1, got {num}")
    _check(seed, start, size, look)
    jobs = [
        (seed, first, min(first + _CHUNK, start + num), size, look)
        for first in range(start, start + num, _CHUNK)
    ]
    records: list[Record] = []

    def collect(chunk: list[Record]) -> None:
        records.extend(chunk)
        if progress is not None:
            progress(len(records), num)

    if num_processes <= 1 or len(jobs) == 1:
        for job in jobs:
            collect(_render_range(job))
    else:
        workers = min(num_processes, len(jobs))
        with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
            for chunk in pool.map(_render_range, jobs):
                collect(chunk)
    return {key: np.stack([record[key] for record in records]) for key in records[0]}


def paint_person(
    canvas: Canvas,
    outlines: Outlines,
    appearance: Appearance,
    person: int,
    part_ids: Sequence[int],
) -> None:
    """Paint one of the people, farthest part first; each part is marked by its `part_ids`."""
    shapes, textures = outlines.shapes, appearance.textures[person]
    bounds = shapes.bounds[person].tolist()
    corners, maps = shapes.corners[person], shapes.texture_from_local[person]
    smooth = len(canvas.part_ids) > _FINE_CANVAS
    for part in outlines.order[person].tolist():
        canvas.paint(bounds[part], corners[part], maps[part], textures[part], part_ids[part], smooth)
        if part == _HEAD:
            _paint_face(canvas, outlines.faces[person], appearance.face[person], smooth)


def person_mask(canvas: Canvas) -> Bool[np.ndarray, "s s"]:
    """Picture pixels of which the person of interest covers at least half."""
    seen = ((canvas.part_ids - np.uint8(1)) < len(PARTS)).view(np.uint8) * np.uint8(255)
    size = len(canvas.part_ids) // SUPERSAMPLING
    return cv2.resize(seen, (size, size), interpolation=cv2.INTER_AREA) >= 127


def _check(seed: int, index: int, size: int, look: str) -> None:
    if look not in LOOKS:
        raise ValueError(f"look must be one of {', '.join(LOOKS)}, got {look!r}")
    if size < MIN_SIZE:
        raise ValueError(f"size must be at least {MIN_SIZE} pixels, got {size}")
    if not 0 <= seed < 2**62 or not 0 <= index < 2**63:
        raise ValueError(f"seed must lie in [0, 2**62) and index in [0, 2**63), got {seed}, {index}")


def _draw_count(rng: np.random.Generator, chances: tuple[float, ...]) -> int:
    return int(np.searchsorted(np.cumsum(chances[:-1]), rng.random(), side="right"))


def _arrange(rng: np.random.Generator, bodies: Bodies, main: int, side: int) -> Bodies:
    """Put the main person into the middle of a canvas of `side` pixels, the others around."""
    num_people = len(bodies.joints)
    reach = bodies.limb_ends[main, ..., :2].reshape(-1, 2)
    low, high = reach.min(0) - 0.03, reach.max(0) + 0.03
    draw = rng.random((num_people, 4))
    fill = 0.72 + 0.16 * draw[main, 0]
    if rng.random() < _TRUNCATED:
        fill = 1.0 + 0.35 * draw[main, 0]
    scale = fill * side / (high - low).max()
    center = (side - 1) / 2 + (draw[main, 1:3] - 0.5) * 0.07 * side
    offset = center - scale * (low + high) / 2

    # Who stands in front is nearer to the camera: larger, and lower in the picture.
    in_front = np.arange(num_people) > main
    scales = scale * np.where(in_front, 0.95 + 0.35 * draw[:, 0], 0.75 + 0.25 * draw[:, 0])
    sideways = np.where(draw[:, 1] < 0.5, -1, 1) * (0.10 + 0.34 * draw[:, 2]) * side
    down = np.where(in_front, 0.20 * draw[:, 3] - 0.04, 0.06 - 0.16 * draw[:, 3]) * side
    offsets = center + np.stack([sideways, down], axis=1)
    scales[main], offsets[main] = scale, offset
    return place(bodies, scales, offsets)


def _paint_face(canvas: Canvas, features: Face, texture: UInt8[np.ndarray, "l w 3"], smooth: bool) -> None:
    skin = features.skin
    if skin is None:
        return
    bounds = skin.bounds.tolist()
    canvas.paint(bounds, skin.corners, skin.texture_from_local, texture, NOTHING, smooth)
    radius = features.eye_radius
    for x, y in features.eyes.tolist():
        center = round(x * 16), round(y * 16)
        cv2.circle(canvas.color, center, round(radius * 16), _EYE, -1, cv2.LINE_AA, 4)
    if len(features.mouth) > 1:
        points = np.rint(features.mouth * 16).astype(np.int32)
        thickness = max(1, round(0.7 * radius))
        cv2.polylines(canvas.color, [points], False, _MOUTH, thickness, cv2.LINE_AA, 4)


def _develop(rng: np.random.Generator, canvas: Canvas, look: str) -> UInt8[np.ndarray, "s s 3"]:
    """Reduce the canvas to the picture and let the camera leave its traces."""
    size = len(canvas.color) // SUPERSAMPLING
    image = cv2.resize(canvas.color, (size, size), interpolation=cv2.INTER_AREA)
    if look == "studio":
        return _add_noise(rng, image, rng.uniform(0.5, 3.0))
    blur = rng.uniform(0.0, 1.1) * size / 128
    if blur > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    gain = rng.uniform(0.75, 1.1) * rng.uniform(0.88, 1.1, 3)
    levels = np.clip(np.arange(256)[:, None] * gain + rng.uniform(0, 22), 0, 255).astype(np.uint8)
    image = cv2.LUT(image, levels[None])
    return _add_noise(rng, image, rng.uniform(3.0, 13.0))


def _add_noise(
    rng: np.random.Generator, image: UInt8[np.ndarray, "s s 3"], sigma: float
) -> UInt8[np.ndarray, "s s 3"]:
    """Gaussian sensor noise; a random byte per value picks a quantile, which is fast."""
    levels = np.rint(_normal_quantiles() * sigma).astype(np.int16)
    draw = np.frombuffer(rng.bytes(image.size), np.uint8).reshape(image.shape)
    return cv2.add(image, cv2.LUT(draw, levels), dtype=cv2.CV_8U)


@lru_cache(maxsize=1)
def _normal_quantiles() -> Float[np.ndarray, "256"]:
    return np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)])


def _full_box(box_xyxy: Float[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
    """From canvas to picture pixels, xywh; pixels at its edges count whole, as in `_mask_box`."""
    low, high = picture_from_canvas(box_xyxy.reshape(2, 2))
    low, high = np.floor(low) - 0.5, np.ceil(high) + 0.5
    return np.concatenate([low, high - low]).astype(np.float32)


def _mask_box(mask: Bool[np.ndarray, "s s"]) -> Float[np.ndarray, "4"]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return np.zeros(4, np.float32)
    x, y = columns[0] - 0.5, rows[0] - 0.5
    return np.array([x, y, columns[-1] + 0.5 - x, rows[-1] + 0.5 - y], np.float32)


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _render_range(job: tuple[int, int, int, int, str]) -> list[Record]:
    seed, first, last, size, look = job
    return [render_person(seed, index, size, look) for index in range(first, last)]
