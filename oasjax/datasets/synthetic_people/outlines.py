"""Outlines: the polygons that the parts of a body fill in the picture, and how cloth lies on them.

Everything here is in canvas pixels. A texture is a small picture whose columns run across a part
and whose rows run along it; affine maps say which texel a canvas pixel shows.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Complex, Float, Int

from oasjax.datasets.skeletons import MPII
from oasjax.datasets.synthetic_people.anatomy import PARTS, TORSO_LEVELS, Bodies, part_depths
from oasjax.datasets.synthetic_people.canvas import Shapes, prepare_shapes

TEXTURE_LENGTH, TEXTURE_WIDTH = 32, 16

_UPPER_NECK, _HEAD_TOP = MPII.joints.index("upper_neck"), MPII.joints.index("head_top")
_PELVIS, _THORAX = MPII.joints.index("pelvis"), MPII.joints.index("thorax")

# A capsule's outline in the frame of its axis: how far along the axis (0 start, 1 end) each point
# stands, and its offset in radii, along + 1j * across. Limbs swell a little after their start.
_ARC = np.linspace(-np.pi / 2, np.pi / 2, 7)
_SIDE = np.array([0.75, 0.5, 0.25])
_CAPSULE_ALONG = np.concatenate([np.ones(7), _SIDE, np.zeros(7), _SIDE[::-1]])
_CAPSULE_OFFSET = np.concatenate([np.exp(1j * _ARC), np.full(3, 1j), -np.exp(1j * _ARC), np.full(3, -1j)])
_SWELLING = np.interp(_CAPSULE_ALONG, [0.0, 0.25, 0.5, 0.75, 1.0], [1.0, 1.06, 1.04, 1.0, 1.0])

_TORSO_REPEATS = np.array([3, 3, 2, 2, 2, 2])

_HEAD_CIRCLE = np.exp(2j * np.pi * np.arange(20) / 20)
_HEAD_WIDTH = 0.80  # of its length
_FACE_RADIUS = np.deg2rad(64.0)


def _normalised(vectors: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


# Points of a face on the unit sphere, in the head's axes (left, up, forward): the edge of the
# skin, both eyes, three points of the mouth.
_FACE_DIRECTION = _normalised(np.array([0.0, -0.30, 1.0]))
_FACE_COSINE = float(np.cos(_FACE_RADIUS))
_ROUND = np.linspace(0, 2 * np.pi, 18, endpoint=False)[:, None]
_FACE_POINTS = np.concatenate([
    _FACE_COSINE * _FACE_DIRECTION + np.sin(_FACE_RADIUS) * (
        np.cos(_ROUND) * [1.0, 0.0, 0.0] + np.sin(_ROUND) * _normalised(np.array([0.0, 1.0, 0.30]))
    ),
    _normalised(np.array([[0.40, 0.0, 1.0], [-0.40, 0.0, 1.0]])),
    _normalised(np.array([[0.24, -0.58, 1.0], [0.0, -0.66, 1.0], [-0.24, -0.58, 1.0]])),
])  # fmt: skip
_SKIN, _EYES, _MOUTH = slice(0, 18), slice(18, 20), slice(20, 23)
_RIM = np.concatenate([np.cos(_ROUND), np.sin(_ROUND), np.zeros_like(_ROUND)], axis=1)


@dataclass(frozen=True)
class Outlines:
    """What P people fill.

    Attributes:
        shapes: one polygon per part of PARTS; leading axes (P, part).
        order: indices into PARTS, farthest part first.
        boxes_xyxy: extent of each person in canvas pixels, not cut at the canvas.
        faces: one per person.
    """

    shapes: Shapes
    order: Int[np.ndarray, "p part"]
    boxes_xyxy: Float[np.ndarray, "p 4"]
    faces: list["Face"]


@dataclass(frozen=True)
class Face:
    """What of a face can be seen: the skin (None from behind), eyes and mouth (canvas pixels)."""

    skin: Shapes | None
    eyes: Float[np.ndarray, "e 2"]
    eye_radius: float
    mouth: Float[np.ndarray, "m 2"]


def outline_bodies(bodies: Bodies, side: int) -> Outlines:
    """Outlines of all parts on a canvas of `side` pixels; bodies come in canvas pixels."""
    head = _head_frames(bodies)
    limbs, limb_maps = _limbs(bodies)
    torsos, torso_maps = _torsos(bodies)
    heads, head_maps = _heads(head)
    polygons = np.concatenate([limbs, torsos, heads[:, None]], axis=1)
    maps = np.concatenate([limb_maps, torso_maps, head_maps[:, None]], axis=1)
    if len(PARTS) != maps.shape[1]:
        raise ValueError(f"outlined {maps.shape[1]} parts of {len(PARTS)}")
    corners = np.stack([polygons.real, polygons.imag], axis=-1)
    order = np.argsort(part_depths(bodies), axis=1, kind="stable")
    return Outlines(
        shapes=prepare_shapes(corners[:, :, None], maps, side),
        order=order,
        boxes_xyxy=np.concatenate([corners.min(axis=(1, 2)), corners.max(axis=(1, 2))], axis=-1),
        faces=_faces(bodies, head, head_maps, side),
    )


@dataclass(frozen=True)
class _HeadFrames:
    """Centre, upward direction (complex, canvas pixels) and half of the drawn length of P heads."""

    center: Complex[np.ndarray, "p"]
    up: Complex[np.ndarray, "p"]
    half_length: Float[np.ndarray, "p"]


def _head_frames(bodies: Bodies) -> _HeadFrames:
    neck, top = bodies.joints[:, _UPPER_NECK], bodies.joints[:, _HEAD_TOP]
    span = top - neck
    up = span[:, 0] + 1j * span[:, 1]
    up = up / np.maximum(np.abs(up), 1e-6)
    middle = (neck + top) / 2
    # 6 % longer than the annotated segment, so that head top and upper neck lie on the head;
    # measured in space, since a round head does not shorten when it nods towards the viewer.
    half_length = 0.53 * np.sqrt((span**2).sum(-1))
    return _HeadFrames(middle[:, 0] + 1j * middle[:, 1], up, half_length)


def _faces(bodies: Bodies, head: _HeadFrames, head_maps: Float[np.ndarray, "p 2 3"], side: int) -> list[Face]:
    """Faces are spherical caps on the heads, cut off where a head turns them away."""
    half_width = _HEAD_WIDTH * head.half_length

    def project(points: np.ndarray) -> np.ndarray:
        """Points (P, n, 3) of the unit sphere, to (P, n) in the picture: stretched along `up`."""
        flat = points[..., 0] + 1j * points[..., 1]
        up = head.up[:, None]
        along = (flat * up.conj()).real
        flat = flat + (1 / _HEAD_WIDTH - 1) * along * up
        return head.center[:, None] + half_width[:, None] * flat

    on_sphere = _FACE_POINTS @ bodies.head_axes
    # The rim of the visible half sphere bounds the face where it turns out of sight.
    on_rim = (_RIM @ (_FACE_DIRECTION @ bodies.head_axes)[:, :, None])[..., 0] > _FACE_COSINE
    rim = np.broadcast_to(_RIM, (len(head.center), *_RIM.shape))
    points = project(np.concatenate([on_sphere, rim], axis=1))
    points = np.stack([points.real, points.imag], axis=-1).astype(np.float32)
    nearness = on_sphere[..., 2]
    shown = np.concatenate([nearness[:, _SKIN] > 0, on_rim], axis=1)
    outline = np.concatenate([points[:, _SKIN], points[:, _MOUTH.stop :]], axis=1)
    faces = []
    for person, radius in enumerate((0.095 * head.half_length).tolist()):
        seen = outline[person, shown[person]]
        skin = None
        if len(seen) > 2:
            hull = cv2.convexHull(seen)[:, 0]
            skin = prepare_shapes(hull[None], head_maps[person], side)
        eyes = points[person, _EYES][nearness[person, _EYES] > 0.15]
        mouth = points[person, _MOUTH][nearness[person, _MOUTH] > 0.1]
        faces.append(Face(skin, eyes, radius, mouth))
    return faces


def _limbs(
    bodies: Bodies,
) -> tuple[Complex[np.ndarray, "p limb n"], Float[np.ndarray, "p limb 2 3"]]:
    """Tapered capsules."""
    ends = bodies.limb_ends[..., 0] + 1j * bodies.limb_ends[..., 1]
    start, span = ends[..., 0], ends[..., 1] - ends[..., 0]
    length = np.abs(span)
    # A limb that points at the viewer has no direction in the picture: any will do.
    unit = np.where(length > 1e-6, span / np.maximum(length, 1e-6), 1.0)
    radii = bodies.limb_radii
    along = _CAPSULE_ALONG
    radius = (radii[..., :1] * (1 - along) + radii[..., 1:] * along) * _SWELLING
    points = start[..., None] + span[..., None] * along + unit[..., None] * radius * _CAPSULE_OFFSET
    widest = radii.max(-1) * 1.06
    maps = _texture_maps(start - unit * radii[..., 0], unit, length + radii.sum(-1), widest)
    return points, maps


def _texture_maps(
    origin: np.ndarray, unit: np.ndarray, length: np.ndarray, half_width: np.ndarray
) -> Float[np.ndarray, "*p 2 3"]:
    """Maps to texels for parts that begin at `origin` and run along `unit` (complex numbers)."""
    across = (TEXTURE_WIDTH - 1) / (2 * half_width)
    down = (TEXTURE_LENGTH - 1) / length
    # Across is the normal i * unit; conj(unit) * (p - origin) has the distances along and across.
    column = np.stack([-unit.imag * across, unit.real * across], axis=-1)
    row = np.stack([unit.real * down, unit.imag * down], axis=-1)
    linear = np.stack([column, row], axis=-2)
    at = np.stack([origin.real, origin.imag], axis=-1)
    offset = -(linear @ at[..., None])
    offset[..., 0, 0] += (TEXTURE_WIDTH - 1) / 2
    return np.concatenate([linear, offset], axis=-1)


def _torsos(
    bodies: Bodies,
) -> tuple[Complex[np.ndarray, "p 2 n"], Float[np.ndarray, "p 2 2 3"]]:
    """Left and right half of each trunk, parted where its middle line is seen."""
    pelvis = bodies.joints[:, _PELVIS, 0] + 1j * bodies.joints[:, _PELVIS, 1]
    thorax = bodies.joints[:, _THORAX, 0] + 1j * bodies.joints[:, _THORAX, 1]
    span = thorax - pelvis
    length = np.maximum(np.abs(span), 1e-6)
    unit = span / length
    normal = np.stack([-unit.imag, unit.real], axis=-1)[:, None]
    left, forward = bodies.torso_axes[:, :, 0], bodies.torso_axes[:, :, 1]
    width, depth = bodies.torso_girth[..., 0], bodies.torso_girth[..., 1]
    left_across, forward_across = ((axis[..., :2] * normal).sum(-1) for axis in (left, forward))
    reach = np.hypot(width * left_across, depth * forward_across)
    # The seam is the front's middle line, or the back's where the back is seen.
    seen = np.where(forward[:, :, 2] >= 0, 1.0, -1.0)
    seam = seen * depth * forward_across
    seam = np.clip(seam, -reach, reach)
    side = np.where(left_across >= 0, 1.0, -1.0)

    spine = pelvis[:, None] + span[:, None] * TORSO_LEVELS
    turn = 1j * unit[:, None]
    left_edge = spine + turn * reach * side
    right_edge = spine - turn * reach * side
    middle = spine + turn * seam
    # Repeated corners bring both halves to the number of corners that all parts have.
    back = np.repeat(middle[:, ::-1], _TORSO_REPEATS, axis=1)
    halves = [np.concatenate([edge, back], axis=1) for edge in (left_edge, right_edge)]
    start = TORSO_LEVELS[-1]
    maps = _texture_maps(pelvis + span * start, -unit, length * (start - TORSO_LEVELS[0]), reach.max(-1))
    return np.stack(halves, axis=1), np.stack([maps, maps], axis=1)


def _heads(head: _HeadFrames) -> tuple[Complex[np.ndarray, "p n"], Float[np.ndarray, "p 2 3"]]:
    half_width = _HEAD_WIDTH * head.half_length
    down = -head.up
    circle = _HEAD_CIRCLE.real * head.half_length[:, None]
    circle = circle + 1j * _HEAD_CIRCLE.imag * half_width[:, None]
    maps = _texture_maps(head.center - down * head.half_length, down, 2 * head.half_length, half_width)
    return head.center[:, None] + down[:, None] * circle, maps
