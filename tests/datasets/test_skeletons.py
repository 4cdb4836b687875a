"""Skeletons: mirror pairs, limbs and parts agree with the names of the joints; own skeletons; mappings."""

import dataclasses
import json

import numpy as np
import pytest

from oasjax.datasets.skeletons import (
    COCO,
    CROWDPOSE,
    LSP,
    MPII,
    PEDESTRIAN,
    SKELETONS,
    Skeleton,
    flip_permutation,
    from_json,
    joint_map,
    lower_body,
    map_joints,
    plain_name,
    skeleton_from_category,
    to_json,
)


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
    face = {"nose", *(f"{side}_{name}" for side in ("left", "right") for name in ("eye", "ear"))}
    for part, joints in skeleton.parts.items():
        names = {skeleton.joints[joint] for joint in joints}
        if part == "head":
            assert names <= {"head", "neck", "head_top", *face}
        else:
            assert names == {f"left_{part}", f"right_{part}"}
    assert [skeleton.joints[joint] for joint in skeleton.torso] == ["left_shoulder", "right_hip"]


def test_coco_has_the_order_of_its_annotations():
    sides = [f"{side}_{joint}" for joint in ("eye", "ear") for side in ("left", "right")]
    limbs = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    sides += [f"{side}_{joint}" for joint in limbs for side in ("left", "right")]
    assert SKELETONS["coco"].joints == ("nose", *sides)


def test_sigmas_of_one_joint_are_the_same_in_every_skeleton_and_on_both_sides():
    published = [0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62]
    published += [1.07, 1.07, 0.87, 0.87, 0.89, 0.89]
    np.testing.assert_allclose(np.array(COCO.sigmas) * 10, published, rtol=1e-12)
    of_coco = dict(zip(COCO.joints, COCO.sigmas, strict=True))
    for skeleton in (CROWDPOSE, PEDESTRIAN):
        for joint, sigma in zip(skeleton.joints, skeleton.sigmas, strict=True):
            if joint in of_coco:
                assert sigma == of_coco[joint], (skeleton.name, joint)
    assert CROWDPOSE.sigmas[-2:] == (0.079, 0.079)
    assert MPII.sigmas is None and LSP.sigmas is None


def test_a_skeleton_survives_json(skeleton):
    assert from_json(json.loads(json.dumps(to_json(skeleton)))) == skeleton
    bare = dataclasses.replace(skeleton, name="own", torso=None, sigmas=None)
    assert from_json(json.loads(json.dumps(to_json(bare)))) == bare


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("joints", ["nose"], "flip_pairs name joint 1, but its 1 joints"),
        ("joints", [], "has no joints"),
        ("joints", ["a"] * 17, "several joints called a"),
        ("limbs", [[0, 17]], "limbs name joint 17, but its 17 joints are 0 to 16"),
        ("limbs", [[0, 1, 2]], "too many values"),
        ("flip_pairs", [[1, 2], [2, 3]], "flip_pairs name a joint twice"),
        ("torso", [0, -1], "torso name joint -1"),
        ("parts", {"head": [99]}, "parts name joint 99"),
        ("parts", [1, 2], "wrong type"),
        ("sigmas", [0.1], "17 joints but 1 sigmas"),
        ("sigmas", [0.0] * 17, "must be positive"),
        ("sigmas", [float("nan")] * 17, "must be positive"),
        ("joints", 3, "wrong type"),
    ],
)
def test_a_malformed_skeleton_is_refused_with_the_entry(entry, value, message):
    with pytest.raises(ValueError, match=message):
        from_json({**to_json(COCO), entry: value})


def test_a_skeleton_without_an_entry_is_refused_with_its_name():
    data = to_json(COCO)
    del data["limbs"], data["torso"]
    with pytest.raises(ValueError, match="lacks the entry limbs, torso"):
        from_json(data)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("left_shoulder", "left_shoulder"),
        ("shoulder_l", "left_shoulder"),
        ("R_Ankle", "right_ankle"),
        ("LShoulder", "left_shoulder"),
        ("rightKnee", "right_knee"),
        ("Left Shoulder", "left_shoulder"),
        ("front-paw.R", "right_front_paw"),
        ("front_left_paw", "left_front_paw"),
        ("upper_neck", "neck"),
        ("nose", "nose"),
        ("tail_end", "tail_end"),
        ("LED", "led"),
        ("épaule gauche", "épaule_gauche"),
    ],
)
def test_names_in_many_spellings_have_one_meaning(written, plain):
    assert plain_name(written) == plain


def category(keypoints, limbs=None, name="person"):
    return {"id": 1, "name": name, "keypoints": keypoints, "skeleton": limbs or []}


def test_joints_of_a_known_data_set_give_its_skeleton(skeleton):
    assert skeleton_from_category(category(list(skeleton.joints))) is skeleton


def test_the_file_of_crowdpose_gives_its_skeleton_although_its_limbs_do_not_fit():
    names = [*CROWDPOSE.joints[:12], "head", "neck"]
    assert skeleton_from_category(category(names, [[16, 14], [17, 15]])) is CROWDPOSE


def test_an_own_category_gives_pairs_limbs_parts_torso_and_sigmas():
    names = ["tail", "shoulder_L", "shoulder_R", "hip_R", "hip_L", "left_ear"]
    own = skeleton_from_category(category(names, [[1, 2], [2, 3], [4, 5]], name="dog"))
    assert own.name == "dog" and own.joints == tuple(names)
    assert own.flip_pairs == ((1, 2), (4, 3))
    assert own.limbs == ((0, 1), (1, 2), (3, 4))
    assert own.parts == {"tail": (0,), "shoulder": (1, 2), "hip": (3, 4), "ear": (5,)}
    assert own.torso == (1, 3)
    assert own.sigmas == (pytest.approx(np.mean(COCO.sigmas)), 0.079, 0.079, 0.107, 0.107, 0.035)
    assert skeleton_from_category(category(["tail", "left_shoulder"])).torso is None


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "person"}, "no list `keypoints`"),
        (category([]), "no list `keypoints`"),
        (category([1, 2]), "no list `keypoints`"),
        (category(["a", "b", "a"]), "name one joint several times: a, a"),
        (category(["left_hip", "hip_l", "nose"]), "name one joint several times: left_hip, hip_l"),
        (category(["a", "b"], [[0, 1]]), r"\[0, 1\]; each entry must be two joints, counted 1 to 2"),
        (category(["a", "b"], [[1, 3]]), "counted 1 to 2"),
        (category(["a", "b"], [[1]]), "counted 1 to 2"),
        (category(["a", "b"], ["ab"]), "counted 1 to 2"),
        (category(["a", "b"], 5), "must be a list"),
    ],
)
def test_a_malformed_category_is_refused(entry, message):
    with pytest.raises(ValueError, match=message):
        skeleton_from_category(entry)


def people(skeleton: Skeleton, count=1):
    """Joint j at (10 j, 20 j), all visible and known."""
    joints = np.arange(skeleton.num_joints, dtype=np.float32)
    keypoints = np.tile(np.stack([10 * joints, 20 * joints], -1), (count, 1, 1))
    visibility = np.full(keypoints.shape[:2], 2, np.int8)
    return keypoints, visibility, np.ones(keypoints.shape[:2], bool)


def at(skeleton: Skeleton, *names: str) -> list[int]:
    return [skeleton.joints.index(name) for name in names]


@pytest.mark.parametrize("target", sorted(SKELETONS))
def test_mapped_joints_keep_place_and_meaning(skeleton, target):
    target = SKELETONS[target]
    points, visibility, _ = map_joints(joint_map(skeleton, target), *people(skeleton))
    for joint, name in enumerate(target.joints):
        if name in skeleton.joints:
            source = skeleton.joints.index(name)
            np.testing.assert_array_equal(points[0, joint], [10 * source, 20 * source])
            assert visibility[0, joint] == 2


def test_a_skeleton_maps_to_itself_unchanged(skeleton):
    keypoints, visibility, known = people(skeleton, 3)
    visibility[0, 1], visibility[1, 2], known[1, 2] = 0, 1, False
    keypoints[0, 1] = 0
    points, flags, still_known = map_joints(joint_map(skeleton, skeleton), keypoints, visibility, known)
    np.testing.assert_array_equal(points, keypoints)
    np.testing.assert_array_equal(flags, visibility)
    np.testing.assert_array_equal(still_known, known & (visibility > 0))


def test_lsp_gives_mpii_a_pelvis_between_the_hips_and_a_thorax_between_the_shoulders():
    keypoints, visibility, known = people(LSP, 3)
    right_hip, left_hip, left_shoulder = at(LSP, "right_hip", "left_hip", "left_shoulder")
    visibility[1, left_hip] = 1  # hidden: so is the pelvis
    visibility[2, right_hip] = 0  # not labelled: nor is the pelvis
    keypoints[2, right_hip] = np.nan
    known[2, left_shoulder] = False
    points, flags, still_known = map_joints(joint_map(LSP, MPII), keypoints, visibility, known)
    pelvis, thorax, neck = at(MPII, "pelvis", "thorax", "upper_neck")
    np.testing.assert_array_equal(points[0, pelvis], keypoints[0, [right_hip, left_hip]].mean(0))
    np.testing.assert_array_equal(points[0, thorax], keypoints[0, [8, 9]].mean(0))
    np.testing.assert_array_equal(points[0, neck], keypoints[0, LSP.joints.index("neck")])
    assert flags[:, pelvis].tolist() == [2, 1, 0] and not points[2, pelvis].any()
    assert still_known[:, pelvis].tolist() == [True, True, False]
    assert still_known[:, thorax].tolist() == [True, True, False]


def test_the_pedestrian_head_is_the_mean_of_the_best_visible_of_nose_eyes_and_ears():
    keypoints, visibility, known = people(COCO, 3)
    visibility[0, :5] = (2, 2, 1, 0, 0)  # mean of nose and left eye, visible
    visibility[1, :5] = (0, 0, 1, 1, 0)  # mean of right eye and left ear, hidden
    visibility[2, :5] = 0
    keypoints[0, 3] = np.nan
    known[0, 2], known[1, 2] = False, False  # in the first person it is not in the mean
    points, flags, still_known = map_joints(joint_map(COCO, PEDESTRIAN), keypoints, visibility, known)
    np.testing.assert_array_equal(points[:, 0], [[5, 10], [25, 50], [0, 0]])
    assert flags[:, 0].tolist() == [2, 1, 0]
    assert still_known[:, 0].tolist() == [True, False, False]
    assert (flags[:, 1:] == 2).all()


def test_joints_without_counterpart_are_unlabelled():
    _, flags, known = map_joints(joint_map(COCO, CROWDPOSE), *people(COCO))
    assert not flags[0, 12:].any() and not known[0, 12:].any() and (flags[0, :12] == 2).all()
    _, flags, _ = map_joints(joint_map(PEDESTRIAN, MPII), *people(PEDESTRIAN))
    assert not flags[0, at(MPII, "upper_neck", "head_top")].any()


def test_the_pedestrian_head_of_mpii_lies_between_head_top_and_neck():
    points, flags, _ = map_joints(joint_map(MPII, PEDESTRIAN), *people(MPII))
    np.testing.assert_array_equal(points[0, 0], [85, 170])
    assert flags[0, 0] == 2


def test_an_own_skeleton_maps_by_meaning_too():
    own = skeleton_from_category(category(["tail", "L_hip", "R_hip"], name="own"))
    points, flags, _ = map_joints(joint_map(own, LSP), *people(own))
    assert flags[0].nonzero()[0].tolist() == [2, 3]
    np.testing.assert_array_equal(points[0, 3], [10, 20])


def test_the_lower_body_is_that_of_hrnet():
    assert lower_body(MPII) == (0, 1, 2, 3, 4, 5, 6)
    assert lower_body(COCO) == (11, 12, 13, 14, 15, 16)


def test_the_lower_body_is_found_in_every_skeleton_and_way_of_writing(skeleton):
    lower = {plain_name(skeleton.joints[joint]) for joint in lower_body(skeleton)}
    below = {f"{side}_{name}" for side in ("left", "right") for name in ("hip", "knee", "ankle")}
    assert below <= lower <= below | {"pelvis"}
    joints = ["Nose", "LHip", "hip_r", "Left big toe", "RHeel", "lWrist", "MidHip"]
    assert lower_body(skeleton_from_category({"keypoints": joints})) == (1, 2, 3, 4, 6)
