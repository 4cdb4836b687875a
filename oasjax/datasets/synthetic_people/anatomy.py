"""Anatomy: from joint angles to the joints, limbs and outlines of people in space.

Two frames appear. The body frame has axes (left, up, forward) of the person. The view frame has x
right, y down and z towards the viewer, so that a larger z is nearer; its first two coordinates are
the picture (orthographic projection). Lengths are in statures until `place` moves a person into a
picture.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from oasjax.datasets.skeletons import MPII
from oasjax.datasets.synthetic_people.poses import Poses

SIDES = ("left", "right")

# Limbs are tapered capsules; each is drawn between two points.
LIMBS = (
    "neck",
    *(f"{side}_{bone}" for side in SIDES
      for bone in ("upper_arm", "forearm", "hand", "thigh", "shin", "foot")),
    "hair",
)  # fmt: skip
PARTS = (*LIMBS, "left_torso", "right_torso", "head")

# Radii at the two ends, in statures.
_RADII = {
    "neck": (0.034, 0.032), "upper_arm": (0.045, 0.035), "forearm": (0.035, 0.025),
    "hand": (0.026, 0.021), "thigh": (0.064, 0.046), "shin": (0.047, 0.028),
    "foot": (0.030, 0.022), "hair": (0.052, 0.040),
}  # fmt: skip
LIMB_RADII = np.array([_RADII[limb.split("_", 1)[-1]] for limb in LIMBS])

_UNCLOTHED = np.isin(LIMBS, ("hair", "neck"))[:, None]  # as thin on everybody

_TORSO, _NECK, _HEAD = 0.295, 0.055, 0.155
_HIP_HALF, _SHOULDER_HALF = 0.062, 0.112
_UPPER_ARM, _FOREARM, _HAND = 0.165, 0.145, 0.045
_THIGH, _SHIN, _FOOT = 0.240, 0.225, 0.085

# Half width and half depth of the trunk from the crotch to the shoulders, and where each level
# lies on the way from pelvis (0) to thorax (1).
TORSO_LEVELS = np.array([-0.16, 0.0, 0.42, 0.80, 1.0, 1.07])
_TORSO_WIDTHS = np.array([0.066, 0.100, 0.088, 0.116, 0.112, 0.060])
_TORSO_DEPTHS = np.array([0.052, 0.068, 0.058, 0.072, 0.060, 0.045])

# Points of a body: those on the midline, then pairs (left, right).
_MIDLINE_POINTS = ("pelvis", "thorax", "upper_neck", "head_top", "hair_root", "hair_tip")
_SIDED_POINTS = (
    "shoulder", "elbow", "wrist", "fingers", "hip", "knee", "ankle", "heel", "toes",
)  # fmt: skip
_POINTS = (*_MIDLINE_POINTS, *(f"{side}_{point}" for point in _SIDED_POINTS for side in SIDES))
_BONES = {
    "neck": ("thorax", "upper_neck"), "hair": ("hair_root", "hair_tip"),
    "upper_arm": ("shoulder", "elbow"), "forearm": ("elbow", "wrist"), "hand": ("wrist", "fingers"),
    "thigh": ("hip", "knee"), "shin": ("knee", "ankle"), "foot": ("heel", "toes"),
}  # fmt: skip


def _limb_points(limb: str) -> list[int]:
    if limb in _BONES:
        return [_POINTS.index(point) for point in _BONES[limb]]
    side, bone = limb.split("_", 1)
    return [_POINTS.index(f"{side}_{point}") for point in _BONES[bone]]


_LIMB_POINTS = np.array([_limb_points(limb) for limb in LIMBS])
_JOINT_POINTS = np.array([_POINTS.index(joint) for joint in MPII.joints])


@dataclass(frozen=True)
class Bodies:
    """P people in the view frame.

    Attributes:
        joints: MPII joints.
        limb_ends: both ends of each of LIMBS.
        limb_radii: radii at these ends.
        torso_axes: unit vectors (left, forward) of the trunk at each of TORSO_LEVELS.
        torso_girth: half width and half depth at each level.
        head_axes: unit vectors (left, up, forward) of the head.
    """

    joints: Float[np.ndarray, "p 16 3"]
    limb_ends: Float[np.ndarray, "p limb 2 3"]
    limb_radii: Float[np.ndarray, "p limb 2"]
    torso_axes: Float[np.ndarray, "p level 2 3"]
    torso_girth: Float[np.ndarray, "p level 2"]
    head_axes: Float[np.ndarray, "p 3 3"]


def build_bodies(rng: np.random.Generator, poses: Poses) -> Bodies:
    """Grow people of individual proportions in the given poses; the pelvis lies at the origin."""
    num_people = len(poses.yaw)
    length = 1 + 0.14 * (rng.random((num_people, 8, 1)) - 0.5)
    girth = 0.92 + 0.33 * rng.random((num_people, 1, 1))
    long_hair = rng.random(num_people) < 0.4

    pelvis_frame, chest_frame, head_frame = _frames(poses)
    left, up, forward = (chest_frame[:, :, axis] for axis in range(3))
    outward = np.array([1.0, -1.0])[:, None]  # of the left and of the right side, along `left`

    thorax = _TORSO * length[:, 0] * (0.35 * pelvis_frame[:, :, 1] + 0.65 * up)
    upper_neck = thorax + _NECK * length[:, 1] * (0.6 * up + 0.4 * head_frame[:, :, 1])
    head_top = upper_neck + _HEAD * length[:, 2] * head_frame[:, :, 1]

    hips = _HIP_HALF * length[:, 3, None] * outward * pelvis_frame[:, None, :, 0]
    shoulders = thorax[:, None] + _SHOULDER_HALF * length[:, 4, None] * outward * left[:, None]
    shoulders = shoulders - 0.012 * up[:, None]

    upper_arm, forearm, thigh, shin = _limb_directions(poses)
    upper_arm, forearm = (_turn(chest_frame, bone) for bone in (upper_arm, forearm))
    elbows = shoulders + _UPPER_ARM * length[:, 5, None] * upper_arm
    wrists = elbows + _FOREARM * length[:, 5, None] * forearm
    fingers = wrists + _HAND * forearm
    thigh, shin = (_turn(pelvis_frame, bone) for bone in (thigh, shin))
    knees = hips + _THIGH * length[:, 6, None] * thigh
    ankles = knees + _SHIN * length[:, 7, None] * shin
    # The foot stands square to the shin, pointing where the front of the pelvis points.
    front = pelvis_frame[:, None, :, 2] + 0.35 * outward * pelvis_frame[:, None, :, 0]
    foot = front - (front * shin).sum(-1, keepdims=True) * shin
    foot = foot / np.maximum(np.linalg.norm(foot, axis=-1, keepdims=True), 1e-6)
    heels = ankles + 0.022 * shin
    toes = heels + _FOOT * foot

    hair_root = 0.45 * upper_neck + 0.55 * head_top - 0.030 * head_frame[:, :, 2]
    hair_fall = np.where(long_hair, 0.155, 0.04)[:, None]
    hair_tip = hair_root - hair_fall * (0.5 * up + 0.5 * head_frame[:, :, 1]) - 0.02 * forward
    midline = (np.zeros_like(thorax), thorax, upper_neck, head_top, hair_root, hair_tip)
    sided = (shoulders, elbows, wrists, fingers, hips, knees, ankles, heels, toes)
    points = np.concatenate([*(point[:, None] for point in midline), *sided], axis=1)

    blend = np.clip(TORSO_LEVELS, 0, 1)[None, :, None, None]
    axes = (1 - blend) * pelvis_frame[:, None] + blend * chest_frame[:, None]
    axes = np.swapaxes(axes[..., [0, 2]], -1, -2)
    torso_girth = np.stack([_TORSO_WIDTHS, _TORSO_DEPTHS], axis=-1) * (0.5 + 0.5 * girth)
    limb_radii = np.where(_UNCLOTHED, LIMB_RADII, LIMB_RADII * girth)

    view = _view(poses)
    points = _turn(view, points)
    return Bodies(
        joints=points[:, _JOINT_POINTS],
        limb_ends=points[:, _LIMB_POINTS],
        limb_radii=limb_radii,
        torso_axes=_turn(view[:, None], axes),
        torso_girth=torso_girth,
        head_axes=_turn(view, np.swapaxes(head_frame, -1, -2)),
    )


def place(bodies: Bodies, scale: Float[np.ndarray, "p"], offset: Float[np.ndarray, "p 2"]) -> Bodies:
    """Move people into a picture: lengths times `scale`, then `offset` added to x and y."""
    shift = np.concatenate([offset, np.zeros((len(scale), 1))], axis=1)
    by_person = scale[:, None, None]
    return replace(
        bodies,
        joints=bodies.joints * by_person + shift[:, None],
        limb_ends=bodies.limb_ends * by_person[..., None] + shift[:, None, None],
        limb_radii=bodies.limb_radii * by_person,
        torso_girth=bodies.torso_girth * by_person,
    )


def part_depths(bodies: Bodies) -> Float[np.ndarray, "p part"]:
    """Depth key of each of PARTS, in the bodies' lengths: parts are painted from small to large.

    A part's key is the mean depth of its axis. The trunk counts as slightly nearer than its axis,
    since thighs and neck emerge from under the clothes; so do the arms, which hang outside of the
    trunk.
    """
    stature = bodies.limb_radii[:, 0, :1] / LIMB_RADII[0, 0]
    limbs = bodies.limb_ends[..., 2].mean(-1) + stature * _LIMB_BIAS
    trunk = bodies.joints[:, _TRUNK_JOINTS, 2].mean(-1) + stature * (0.03, 0.03, 0.035)
    # The nearer half of the trunk comes last: it owns the pixels of the seam.
    trunk[:, :2] += 0.002 * stature * bodies.torso_axes[:, _CHEST, 0, 2:] * (1.0, -1.0)
    return np.concatenate([limbs, trunk], axis=1)


# Both halves of the trunk, and the head, lie halfway between these joints.
_TRUNK_JOINTS = np.array([
    [MPII.joints.index(joint) for joint in pair]
    for pair in (("pelvis", "thorax"), ("pelvis", "thorax"), ("upper_neck", "head_top"))
])  # fmt: skip
_CHEST = 3  # of TORSO_LEVELS
_LIMB_BIAS = np.array([
    0.040 if limb.endswith(("upper_arm", "forearm")) else
    0.044 if limb.endswith("hand") else -0.004 if limb.endswith("foot") else 0.0
    for limb in LIMBS
])  # fmt: skip


def _limb_directions(poses: Poses) -> tuple[Float[np.ndarray, "p 2 3"], ...]:
    """Unit vectors of upper arm, forearm (chest frame), thigh and shin (pelvis frame)."""
    stride = poses.trunk_angle("stride")[:, None] * np.array([1.0, -1.0])
    hip = poses.limb_angle("hip_flexion") + stride
    # The leg behind bends its knee, the one in front lands on a nearly straight one.
    knee = poses.limb_angle("knee_flexion") * np.where(stride > 0.2, 0.45, 1.0)
    abduction = poses.limb_angle("hip_abduction")
    thigh = _direction(hip, abduction)
    shin = _direction(hip - knee, abduction * 0.6)

    shoulder = poses.limb_angle("shoulder_flexion") - 0.9 * stride
    upper_arm = _direction(shoulder, poses.limb_angle("shoulder_abduction"))
    elbow = poses.limb_angle("elbow_flexion")[..., None]
    inward = poses.limb_angle("elbow_inward")
    bend = np.stack(
        [-np.sin(inward) * np.array([1.0, -1.0]), np.full_like(inward, 0.3), np.cos(inward)],
        axis=-1,
    )
    bend = bend - (bend * upper_arm).sum(-1, keepdims=True) * upper_arm
    bend = bend / np.maximum(np.linalg.norm(bend, axis=-1, keepdims=True), 1e-6)
    forearm = np.cos(elbow) * upper_arm + np.sin(elbow) * bend
    return upper_arm, forearm, thigh, shin


def _direction(
    flexion: Float[np.ndarray, "p 2"], abduction: Float[np.ndarray, "p 2"]
) -> Float[np.ndarray, "p 2 3"]:
    """Direction of a limb that hangs down at zero angles, in (left, up, forward)."""
    sideways = np.sin(abduction) * np.array([1.0, -1.0])
    return np.stack(
        [sideways, -np.cos(abduction) * np.cos(flexion), np.cos(abduction) * np.sin(flexion)],
        axis=-1,
    )


def _frames(poses: Poses) -> tuple[Float[np.ndarray, "p 3 3"], ...]:
    """Frames of pelvis, chest and head; columns are (left, up, forward) in the body frame."""
    pitch, roll, twist = (poses.trunk_angle(f"spine_{name}") for name in ("pitch", "roll", "twist"))
    chest = _rotation(1, twist) @ _rotation(2, roll) @ _rotation(0, pitch)
    nod, tilt, look = (poses.trunk_angle(f"head_{name}") for name in ("pitch", "roll", "yaw"))
    head = chest @ _rotation(1, look) @ _rotation(2, tilt) @ _rotation(0, nod)
    pelvis = _rotation(0, 0.15 * pitch)
    return pelvis, chest, head


def _view(poses: Poses) -> Float[np.ndarray, "p 3 3"]:
    """Map from the body frame to the view frame."""
    upright = np.diag([1.0, -1.0, 1.0]) @ _rotation(1, poses.yaw)
    # A camera that looks down sees what is nearer lower in the picture.
    return _rotation(2, poses.roll) @ _rotation(0, -poses.elevation) @ upright


def _rotation(axis: int, angle: Float[np.ndarray, "p"]) -> Float[np.ndarray, "p 3 3"]:
    """Right-handed rotations about a coordinate axis."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((len(angle), 3, 3))
    cos, sin = np.cos(angle), np.sin(angle)
    matrix[:, axis, axis] = 1.0
    matrix[:, first, first] = matrix[:, second, second] = cos
    matrix[:, first, second], matrix[:, second, first] = -sin, sin
    return matrix


def _turn(
    matrix: Float[np.ndarray, "*#p 3 3"], vectors: Float[np.ndarray, "*#p n 3"]
) -> Float[np.ndarray, "*#p n 3"]:
    return vectors @ np.swapaxes(matrix, -1, -2)
