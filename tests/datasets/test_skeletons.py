"""Skeletons: mirror pairs, limbs and parts agree with the names of the joints."""

import numpy as np
import pytest

from oasjax.datasets.skeletons import SKELETONS, flip_permutation


@pytest.fixture(params=sorted(SKELETONS))
def skeleton(request):
    return SKELETONS[request.param]


def mirrored(joint: str) -> str:
    side, _, rest = joint.partition("_")
    return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, joint)


def test_mirroring_swaps_the_sides_of_every_joint_that_has_one(skeleton):
    permutation = flip_permutation(skeleton)
    assert [skeleton.joints[index] for index in permutation] == [mirrored(name) for name in skeleton.joints]
    np.testing.assert_array_equal(permutation[permutation], np.arange(skeleton.num_joints))


def test_the_mirror_image_of_a_limb_is_a_limb_and_limbs_join_all_joints(skeleton):
    permutation = flip_permutation(skeleton)
    limbs = {frozenset(limb) for limb in skeleton.limbs}
    assert {frozenset(int(permutation[joint]) for joint in limb) for limb in limbs} == limbs
    reached = {0}
    for _ in skeleton.joints:
        reached |= {joint for limb in limbs if limb & reached for joint in limb}
    assert reached == set(range(skeleton.num_joints))


def test_parts_and_torso_are_the_joints_of_that_name(skeleton):
    for part, joints in skeleton.parts.items():
        names = {skeleton.joints[joint] for joint in joints}
        if part == "head":
            assert names <= {
                "nose",
                "neck",
                "head_top",
                *(f"{s}_{n}" for s in ("left", "right") for n in ("eye", "ear")),
            }
        else:
            assert names == {f"left_{part}", f"right_{part}"}
    assert [skeleton.joints[joint] for joint in skeleton.torso] == ["left_shoulder", "right_hip"]


def test_coco_has_the_order_of_its_annotations():
    sides = [f"{side}_{joint}" for joint in ("eye", "ear") for side in ("left", "right")]
    limbs = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    sides += [f"{side}_{joint}" for joint in limbs for side in ("left", "right")]
    assert SKELETONS["coco"].joints == ("nose", *sides)
