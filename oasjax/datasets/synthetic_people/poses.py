"""Poses: ranges of joint angles per activity, and how a person is drawn from them.

All ranges lie inside those of a healthy adult (flexion of hip -20..125, knee 0..140, elbow 0..145,
shoulder -40..170 degrees). Positive flexion swings a limb forward, positive abduction away from the
body, positive spine pitch bends forward.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

TRUNK_ANGLES = (
    "spine_pitch", "spine_roll", "spine_twist", "head_pitch", "head_yaw", "head_roll", "stride",
)  # fmt: skip
LIMB_ANGLES = (
    "hip_flexion", "hip_abduction", "knee_flexion",
    "shoulder_flexion", "shoulder_abduction", "elbow_flexion", "elbow_inward",
)  # fmt: skip

# Degrees, (lowest, highest); an angle that a pose does not name takes the value of "standing".
_STANDING = {
    "spine_pitch": (-4, 8), "spine_roll": (-6, 6), "spine_twist": (-15, 15),
    "head_pitch": (-12, 18), "head_yaw": (-40, 40), "head_roll": (-12, 12), "stride": (0, 4),
    "hip_flexion": (-4, 8), "hip_abduction": (1, 10), "knee_flexion": (0, 10),
    "shoulder_flexion": (-20, 25), "shoulder_abduction": (4, 30),
    "elbow_flexion": (4, 45), "elbow_inward": (0, 60),
}  # fmt: skip
_POSES: dict[str, tuple[float, dict[str, tuple[float, float]]]] = {
    "standing": (0.16, {}),
    "hands_on_hips": (0.07, {
        "shoulder_flexion": (-35, -10), "shoulder_abduction": (35, 55),
        "elbow_flexion": (80, 110), "elbow_inward": (50, 80),
    }),
    "arms_folded": (0.07, {
        "shoulder_flexion": (25, 45), "shoulder_abduction": (0, 14),
        "elbow_flexion": (80, 110), "elbow_inward": (55, 85),
    }),
    "walking": (0.19, {
        "stride": (14, 30), "hip_flexion": (0, 8), "hip_abduction": (0, 6),
        "knee_flexion": (4, 30), "shoulder_abduction": (3, 16), "elbow_flexion": (10, 50),
    }),
    "running": (0.13, {
        "stride": (28, 50), "hip_flexion": (5, 18), "hip_abduction": (0, 6),
        "knee_flexion": (25, 85), "shoulder_flexion": (-10, 5), "shoulder_abduction": (5, 22),
        "elbow_flexion": (65, 110), "elbow_inward": (0, 40), "spine_pitch": (6, 20),
    }),
    "sitting": (0.11, {
        "hip_flexion": (70, 98), "hip_abduction": (2, 20), "knee_flexion": (65, 100),
        "shoulder_flexion": (0, 50), "elbow_flexion": (10, 75), "spine_pitch": (-8, 14),
    }),
    "crouching": (0.09, {
        "hip_flexion": (80, 122), "hip_abduction": (4, 24), "knee_flexion": (95, 138),
        "shoulder_flexion": (20, 80), "elbow_flexion": (10, 80), "spine_pitch": (12, 38),
    }),
    "arms_raised": (0.10, {
        "shoulder_flexion": (-8, 20), "shoulder_abduction": (75, 168), "elbow_flexion": (0, 75),
        "elbow_inward": (-60, 60), "hip_abduction": (2, 22),
    }),
    "reaching": (0.04, {
        "shoulder_flexion": (40, 125), "shoulder_abduction": (0, 30), "elbow_flexion": (0, 60),
        "stride": (0, 14),
    }),
    "leaning": (0.04, {
        "spine_pitch": (25, 58), "head_pitch": (-28, -5), "hip_flexion": (8, 30),
        "knee_flexion": (5, 40), "shoulder_flexion": (10, 70), "stride": (0, 18),
    }),
}  # fmt: skip

POSE_NAMES = tuple(_POSES)
_CUMULATIVE = np.cumsum([weight for weight, _ in _POSES.values()])


def _ranges(names: tuple[str, ...]) -> Float[np.ndarray, "pose angle 2"]:
    return np.array([[(_STANDING | own)[name] for name in names] for _, own in _POSES.values()], float)


_TRUNK_RANGES = _ranges(TRUNK_ANGLES)
_LIMB_RANGES = _ranges(LIMB_ANGLES)


@dataclass(frozen=True)
class Poses:
    """Joint angles of P people, in radians; sides are (left, right).

    Attributes:
        trunk: (P, len(TRUNK_ANGLES)).
        limbs: (P, len(LIMB_ANGLES), 2).
        yaw: (P,) turn of the body: 0 faces the viewer, pi / 2 faces the right edge of the picture.
        elevation: (P,) how far above the horizon the camera stands.
        roll: (P,) turn of the whole person in the plane of the picture, clockwise.
    """

    trunk: Float[np.ndarray, "p trunk"]
    limbs: Float[np.ndarray, "p limb 2"]
    yaw: Float[np.ndarray, "p"]
    elevation: Float[np.ndarray, "p"]
    roll: Float[np.ndarray, "p"]

    def trunk_angle(self, name: str) -> Float[np.ndarray, "p"]:
        return self.trunk[:, TRUNK_ANGLES.index(name)]

    def limb_angle(self, name: str) -> Float[np.ndarray, "p 2"]:
        return self.limbs[:, LIMB_ANGLES.index(name)]


def sample_poses(rng: np.random.Generator, num_people: int) -> Poses:
    """Draw independent poses and views for `num_people` people."""
    pose = np.searchsorted(_CUMULATIVE, rng.random(num_people) * _CUMULATIVE[-1])
    pose = np.minimum(pose, len(_POSES) - 1)
    trunk = _between(_TRUNK_RANGES[pose], rng.random((num_people, len(TRUNK_ANGLES))))
    limbs = _between(_LIMB_RANGES[pose][:, :, None], rng.random((num_people, len(LIMB_ANGLES), 2)))
    turn = rng.random((num_people, 5))
    # Either leg may be the one in front.
    trunk[:, TRUNK_ANGLES.index("stride")] *= np.where(turn[:, 4] < 0.5, -1, 1)
    # Half of the people face the viewer more or less; the other half look anywhere.
    yaw = np.where(turn[:, 0] < 0.45, (turn[:, 1] - 0.5) * 100, turn[:, 1] * 360)
    # The sum of uniforms is peaked at upright; one person in eight leans or lies further over.
    spread = np.where(turn[:, 2] < 0.125, 45, 12)
    roll = (turn[:, 3] + turn[:, 2] * 8 % 1 - 1) * spread
    elevation = 2 + 14 * rng.random(num_people)
    return Poses(*(np.deg2rad(angles) for angles in (trunk, limbs, yaw, elevation, roll)))


def _between(
    ranges: Float[np.ndarray, "*#n 2"], fraction: Float[np.ndarray, "*#n"]
) -> Float[np.ndarray, "*#n"]:
    return ranges[..., 0] + (ranges[..., 1] - ranges[..., 0]) * fraction
