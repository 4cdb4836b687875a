import json
import shutil
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import scipy.io

import oasjax.datasets.mpii
from oasjax.datasets.mpii.annotated_people import boxes_xywh
from oasjax.datasets.mpii.annotations import find_folder, read_annotations, read_people, splits_of
from oasjax.datasets.mpii.ground_truth import JOINT_NAMES, read_tompson_ground_truth
from oasjax.datasets.mpii.hourglass_arrays import read_hourglass_arrays
from oasjax.datasets.mpii.hrnet_json import read_hrnet_json
from oasjax.datasets.mpii.release_mat import read_release
from oasjax.errors import UserError
from oasjax.input_pipeline.person_box import crop_box

# The published annotations hold this many people; a test pins published counts on those alone.
TOMPSON = 2958
DUMMY_DATA = Path(oasjax.datasets.mpii.__file__).parent / "dummy_data"
EMPTY = np.zeros((0, 0))


def struct(*entries):
    """A MATLAB struct array of one row; what an entry lacks is an empty matrix there."""
    names = list(dict.fromkeys(name for entry in entries for name in entry))
    array = np.empty((1, len(entries)), [(name, object) for name in names])
    for column, entry in enumerate(entries):
        for name in names:
            array[name][0, column] = entry.get(name, EMPTY)
    return array


def cell(values):
    array = np.empty((len(values), 1), object)
    array[:, 0] = values
    return array


def point(joint, x, y, **visible):
    return {"x": float(x), "y": float(y), "id": np.uint8(joint), **visible}


def person(points=None, scale=2.0, place=(50.0, 60.0), head=(10.0, 20.0, 40.0, 60.0)):
    """An entry of annorect; what is None is not there."""
    rect = dict(zip(("x1", "y1", "x2", "y2"), head, strict=True)) if head else {}
    if points is not None:
        rect["annopoints"] = struct({"point": struct(*points)})
    if scale is not None:
        rect["scale"] = scale
    if place is not None:
        rect["objpos"] = struct({"x": place[0], "y": place[1]})
    return rect


# Name, annorect, training picture, single people (from 1): the oddities that the official file has.
PICTURES = [
    # Somebody whose is_visible is number, character, absent in one entry (an empty matrix then).
    (
        "000.jpg",
        struct(
            person(
                [
                    point(0, 1, 2, is_visible=np.uint8(1)),
                    point(1, 3.5, -4.25, is_visible=np.uint8(0)),
                    point(2, 5, 6, is_visible="1"),
                    point(3, 7, 8, is_visible="0"),
                    point(8, 9, 10, is_visible=EMPTY),
                    point(9, 11, 12),
                ]
            )
        ),
        1,
        [1],
    ),
    # No entry of is_visible at all; a second person with nothing but a head box; a third with an empty
    # annopoints, a fourth with annopoints that have no `point`.
    (
        "001.jpg",
        struct(
            person([point(4, 20, 21), point(5, 22, 23)], scale=1.5),
            person(None, None, None),
            {**person(), "annopoints": EMPTY},
            {**person(), "annopoints": struct({"other": 1.0})},
        ),
        1,
        [],
    ),
    ("002.jpg", EMPTY, 1, []),  # nobody
    ("003.jpg", struct(person(None, head=None), person(None, 3.0, head=None)), 0, [2]),  # test people
    ("004.jpg", struct(person(None, None, None, head=None), {"scale": 1.0}), 0, [1, 2]),  # ... without place
    # One joint, and a person of the validation set beside one who is not.
    (
        "005.jpg",
        struct(
            person([point(0, 30, 31, is_visible=np.uint8(1))], 2.5, (100.0, 110.0)),
            person([point(7, 32, 33, is_visible=np.uint8(0))], 1.0, (200.0, 210.0)),
        ),
        1,
        [1],
    ),
]


def save_release(path, pictures=PICTURES, compress=True, **changes):
    names, rects, train, single = zip(*pictures, strict=True)
    release = {
        "annolist": struct(
            *(
                {"image": struct({"name": name}), "annorect": rect, "frame_sec": EMPTY, "vididx": EMPTY}
                for name, rect in zip(names, rects, strict=True)
            )
        ),
        "img_train": np.array([train], np.uint8),
        "version": "12",
        "single_person": cell([np.array(numbers, np.uint8)[:, None] for numbers in single]),
        "act": struct(*({"act_name": EMPTY, "cat_name": EMPTY, "act_id": -1.0} for _ in names)),
        "video_list": cell(["abc"]).T,
    }
    scipy.io.savemat(path, {"RELEASE": struct({**release, **changes})}, do_compression=compress)
    return path


def hourglass_arrays(people, **changes):
    """The arrays of the hourglass authors for (picture, person, name, center, scale) of the official
    file."""
    num = len(people)
    scale = np.array([entry[4] for entry in people], float)
    center = np.array([entry[3] for entry in people], float).reshape(num, 2)
    arrays = {
        "imgname": np.array([entry[2] for entry in people], "S16"),
        "index": np.array([entry[0] for entry in people], float),
        "person": np.array([entry[1] for entry in people], float),
        "center": center + np.stack([np.zeros(num), 15 * scale], 1),
        "scale": scale * 1.25,
        "part": np.tile(np.arange(32.0).reshape(16, 2), (num, 1, 1)),
        "visible": np.tile(np.arange(16.0) % 2, (num, 1)),
        "normalize": np.full(num, 30.0),
        "torsoangle": np.zeros(num),
    }
    return {**arrays, **changes}


def save_h5(path, arrays):
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            file[key] = value
    return path


VALIDATION = [(5, 0, "005.jpg", (100.0, 110.0), 2.5)]


@pytest.fixture
def release_folder(tmp_path):
    save_release(tmp_path / "mpii_human_pose_v1_u12_1.mat")
    (tmp_path / "annot").mkdir()
    save_h5(tmp_path / "annot" / "valid.h5", hourglass_arrays(VALIDATION))
    return tmp_path


def test_is_visible_may_be_a_number_a_character_empty_or_absent(tmp_path):
    people = read_release(save_release(tmp_path / "a.mat")).people
    expected = np.zeros(16)
    expected[[0, 1, 2, 3, 8, 9]] = 2, 1, 2, 1, 2, 2
    np.testing.assert_array_equal(people.visibility[0], expected)
    np.testing.assert_array_equal(people.occlusion_known[0], expected > 0)
    np.testing.assert_array_equal(
        people.keypoints[0, [0, 1, 9, 10]], [[1, 2], [3.5, -4.25], [11, 12], [0, 0]]
    )


def test_nothing_is_known_of_the_occlusion_of_people_without_any_is_visible(tmp_path):
    people = read_release(save_release(tmp_path / "a.mat")).people
    assert people.image_names[1] == "001.jpg"
    assert people.visibility[1].tolist() == [0] * 4 + [2, 2] + [0] * 10
    assert not people.occlusion_known[1].any()


def test_of_a_joint_that_stands_there_twice_the_first_counts(tmp_path):
    rect = person([point(0, 1, 2, is_visible=np.uint8(0)), point(0, 3, 4, is_visible=np.uint8(1))])
    people = read_release(save_release(tmp_path / "a.mat", [("000.jpg", struct(rect), 1, [])])).people
    assert people.keypoints[0, 0].tolist() == [1, 2] and people.visibility[0, 0] == 1


def test_everybody_is_read_with_the_numbers_of_the_official_file(tmp_path):
    release = read_release(save_release(tmp_path / "a.mat"))
    people = release.people
    ids = list(zip(people.image_number.tolist(), people.person_number.tolist(), strict=True))
    assert ids == [(0, 0), (1, 0), (1, 1), (1, 2), (1, 3), (3, 0), (3, 1), (4, 0), (4, 1), (5, 0), (5, 1)]
    assert release.in_train.tolist() == [number not in (3, 4) for number, _ in ids]
    assert [pair for pair, single in zip(ids, release.single, strict=True) if single] == [
        (0, 0), (3, 1), (4, 0), (4, 1), (5, 0),
    ]  # fmt: skip
    assert people.scale[:2].tolist() == [2.0, 1.5] and np.isnan(people.scale[2])
    assert np.isnan(people.center[2]).all() and people.center[0].tolist() == [50, 60]
    np.testing.assert_allclose(people.head_size[0], 0.6 * 50)
    assert np.isnan(people.head_size[5])


def test_a_file_with_plain_structs_and_numbers_as_integers_is_read_alike(tmp_path):
    """Octave and other writers store whole numbers as small integers; a lone struct stays an array."""
    lone = [("000.jpg", struct(person([point(0, 1, 2, is_visible=np.uint8(0))])), 1, [1])]
    people = read_release(save_release(tmp_path / "a.mat", lone)).people
    assert len(people) == 1 and people.visibility[0, 0] == 1
    integers = person([{"x": np.int16(300), "y": np.int16(-7), "id": np.int16(0), "is_visible": np.int8(1)}])
    people = read_release(save_release(tmp_path / "b.mat", [("000.jpg", struct(integers), 1, [])])).people
    assert people.keypoints[0, 0].tolist() == [300, -7] and people.visibility[0, 0] == 2


@pytest.mark.parametrize(
    ("rect", "message"),
    [
        (person([point(16, 1, 1)]), r"person 0 of picture 0 \(000\.jpg, both from 0\).*the id 16"),
        (person([point(0, 1, 1, is_visible="yes")]), r"is_visible is 'yes', not a number"),
        ({**person(), "scale": "tall"}, r"scale is 'tall', not a number"),
    ],
)
def test_a_malformed_person_of_the_official_file_is_named(tmp_path, rect, message):
    with pytest.raises(UserError, match=message):
        read_release(save_release(tmp_path / "a.mat", [("000.jpg", struct(rect), 1, [])]))


def test_an_official_file_that_lacks_a_part_is_told(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"RELEASE": np.zeros(3)})
    with pytest.raises(UserError, match=r"a\.mat: RELEASE is no MATLAB struct"):
        read_release(path)
    scipy.io.savemat(path, {"RELEASE": struct({"annolist": EMPTY})})
    with pytest.raises(UserError, match="RELEASE has no img_train"):
        read_release(path)
    with pytest.raises(UserError, match="6 entries in annolist, 5 in img_train"):
        read_release(save_release(path, img_train=np.ones((1, 5), np.uint8)))
    with pytest.raises(UserError, match=r"picture 1 \(from 0\) has no image\.name"):
        read_release(save_release(path, [PICTURES[0], ("", *PICTURES[0][1:])]))


def test_train_leaves_out_the_pictures_of_the_validation_people(release_folder):
    train = read_annotations(release_folder, "train")
    assert sorted(set(train.image_names)) == ["000.jpg", "001.jpg"]
    validation = read_annotations(release_folder, "validation")
    assert validation.image_names == ["005.jpg"] and validation.person_number.tolist() == [0]
    # From the official file, where the joint is visible, not from the list.
    assert validation.visibility[0].tolist() == [2] + [0] * 15
    assert validation.head_size[0] == pytest.approx(30.0) and validation.scale.tolist() == [2.5]


def test_test_has_the_single_people_with_a_place(release_folder):
    test = read_annotations(release_folder, "test")
    numbers = zip(test.image_number.tolist(), test.person_number.tolist(), strict=True)
    assert list(numbers) == [(3, 1)]
    assert not test.visibility.any()


def test_the_list_of_the_validation_people_may_be_hrnets_json(release_folder):
    (release_folder / "annot" / "valid.h5").unlink()
    record = {"image": "005.jpg", "center": [100.0, 110.0], "scale": 2.5}
    record |= {"joints": [[1, 1]] * 16, "joints_vis": [1] * 16}
    path = release_folder / "annot" / "valid.json"
    path.write_text(json.dumps([record]))
    validation = read_annotations(release_folder, "validation")
    assert validation.person_number.tolist() == [0] and validation.keypoints[0, 0].tolist() == [30, 31]
    for change in ({"center": [103.0, 110.0]}, {"scale": 2.6}):
        path.write_text(json.dumps([record | change]))
        with pytest.raises(UserError, match=r"in 005\.jpg \(record 0 from 0\) whom .*u12_1\.mat does not"):
            read_annotations(release_folder, "validation")


def test_without_a_list_of_validation_people_the_file_to_add_is_named(release_folder):
    (release_folder / "annot" / "valid.h5").unlink()
    for split in ("train", "validation"):
        with pytest.raises(UserError, match=r"Add the list .*valid\.h5 or valid\.npz .*valid\.json"):
            read_annotations(release_folder, split)
    assert len(read_annotations(release_folder, "test")) == 1


def test_a_list_of_another_version_of_the_official_file_is_refused(release_folder):
    for entry in [(5, 2, "005.jpg", (0, 0), 1), (5, 0, "004.jpg", (0, 0), 1)]:
        save_h5(release_folder / "annot" / "valid.h5", hourglass_arrays([entry]))
        with pytest.raises(UserError, match=rf"person {entry[1]} of picture 5 \({entry[2]}\), whom"):
            read_annotations(release_folder, "validation")


def test_a_changed_official_file_is_read_anew(release_folder):
    path = release_folder / "mpii_human_pose_v1_u12_1.mat"
    sizes = []
    for label in (1, 0):  # without compression both files are of one size
        name, rects, _, single = PICTURES[0]
        save_release(path, [(name, rects, label, single), *PICTURES[1:]], compress=False)
        sizes.append(path.stat().st_size)
        assert len(read_annotations(release_folder, "train")) == 4 + label
    assert sizes[0] == sizes[1]


def test_labelled_joints_that_are_no_numbers_and_doubles_are_refused(release_folder):
    path = release_folder / "mpii_human_pose_v1_u12_1.mat"
    broken = struct(person([point(0, np.nan, 3, is_visible=np.uint8(1))]))
    save_release(path, [("000.jpg", broken, 1, []), *PICTURES[1:]])
    with pytest.raises(
        UserError, match=r"joint 0 \(counted from 0\) of person 0 of picture 0 \(000\.jpg\) is"
    ):
        read_annotations(release_folder, "train")
    save_release(path)
    save_h5(release_folder / "annot" / "valid.h5", hourglass_arrays(VALIDATION * 2))
    for form in ("mat", "h5"):
        with pytest.raises(UserError, match=r"person 0 of picture 5 .* is annotated more than once"):
            read_annotations(release_folder, "validation", form)


def test_the_enlargement_in_the_hourglass_arrays_is_undone(tmp_path):
    save_h5(tmp_path / "valid.h5", hourglass_arrays(VALIDATION))
    people = read_annotations(tmp_path, "validation")
    np.testing.assert_allclose(people.center, [[100, 110]])
    np.testing.assert_allclose(people.scale, [2.5])
    # Joint 0 has the x 0, so it is missing; hidden joints are those with the flag 0.
    assert people.visibility[0].tolist() == [0, 2] + [1, 2] * 7
    np.savez(tmp_path / "valid.npz", **hourglass_arrays(VALIDATION))
    (tmp_path / "valid.h5").unlink()
    again = read_annotations(tmp_path, "validation")
    assert again.path.name == "valid.npz" and again.image_names == ("005.jpg",)
    np.testing.assert_array_equal(again.keypoints, people.keypoints)


def test_a_box_is_the_published_crop_when_padded_by_a_quarter():
    """HRNet: center_y += 15 * scale, scale *= 1.25, then one pixel less for the 0-based frame."""
    [box] = boxes_xywh(np.array([[100.0, 110.0]]), np.array([2.0])).astype(np.float32)
    center, size = crop_box(box, (256, 256), 1.25)
    np.testing.assert_allclose(center, [99, 110 + 30 - 1])
    np.testing.assert_allclose(size, [2.0 * 1.25 * 200] * 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"visible": None}, "valid.npz is no annotation file of the hourglass authors: .*visible"),
        ({"part": np.zeros((1, 15, 2))}, r"part has shape \(1, 15, 2\), expected \(1, 16, 2\)"),
        ({"scale": np.array([np.nan])}, r"scale of person 0 \(from 0\) is not a finite number"),
        ({"index": np.array(["six"])}, "index holds no numbers"),
    ],
)
def test_malformed_hourglass_arrays_are_told(tmp_path, change, message):
    arrays = {k: v for k, v in hourglass_arrays(VALIDATION, **change).items() if v is not None}
    np.savez(tmp_path / "valid.npz", **arrays)
    with pytest.raises(UserError, match=message):
        read_annotations(tmp_path, "validation")


@pytest.mark.parametrize("name", ["valid.h5", "valid.npz", "valid.json", "mpii_human_pose_v1_u12_1.mat"])
@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>", "half"])
def test_files_that_are_not_what_their_name_says_are_told(release_folder, name, content):
    np.savez(release_folder / "annot" / "valid.npz", **hourglass_arrays(VALIDATION))
    (release_folder / "annot" / "valid.json").write_text('[{"image": "005.jpg"}]')
    place = release_folder if name.endswith(".mat") else release_folder / "annot"
    whole = (place / name).read_bytes()
    shutil.rmtree(release_folder / "annot")
    (release_folder / "mpii_human_pose_v1_u12_1.mat").unlink()
    (release_folder / name).write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(UserError, match=rf"{name}"):
        read_annotations(release_folder, "test" if name.endswith(".mat") else "validation")


RECORD = {
    "image": "a.jpg", "center": [10.0, 20.0], "scale": 1.5,
    "joints": [[n + 1.0, n + 2.0] for n in range(16)], "joints_vis": [0, 1] * 8,
}  # fmt: skip


def test_hrnets_json_knows_labels_but_not_occlusion(tmp_path):
    place_unknown = {**RECORD, "center": [-1.0, -1.0], "scale": -1.0}
    (tmp_path / "train.json").write_text(json.dumps([RECORD, place_unknown]))
    people = read_annotations(tmp_path, "train")
    assert people.visibility[0].tolist() == [0, 2] * 8 and not people.occlusion_known.any()
    assert people.keypoints[0, :2].tolist() == [[0, 0], [2, 3]]
    assert people.center[0].tolist() == [10, 20] and people.scale[0] == 1.5
    assert np.isnan(people.scale[1]) and np.isnan(people.center[1]).all()


def test_people_of_hrnets_test_file_have_no_joints(tmp_path):
    (tmp_path / "test.json").write_text(json.dumps([{k: RECORD[k] for k in ("image", "center", "scale")}]))
    assert not read_annotations(tmp_path, "test").visibility.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": [[1, 2]] * 15}, r"record 1 \(from 0\), a\.jpg: joints is not 16 x 2 numbers"),
        ({"joints_vis": None}, "joints_vis is not 16 numbers"),
        ({"center": [1.0]}, "center is not 2 numbers"),
        ({"scale": "tall"}, "scale is not a number"),
        ({"image": 5}, r"record 1 \(from 0\) has no image name"),
    ],
)
def test_a_malformed_record_of_hrnets_json_is_named(tmp_path, change, message):
    (tmp_path / "train.json").write_text(json.dumps([RECORD, {**RECORD, **change}]))
    with pytest.raises(UserError, match=message):
        read_annotations(tmp_path, "train")
    (tmp_path / "train.json").write_text('{"images": []}')
    with pytest.raises(UserError, match=r"train\.json holds no list of people"):
        read_annotations(tmp_path, "train")


def test_the_official_file_is_taken_first_then_arrays_then_json(release_folder):
    (release_folder / "annot" / "valid.json").write_text(json.dumps([RECORD]))
    names = {
        form: read_annotations(release_folder, "validation", form).path.name
        for form in (None, "mat", "h5", "json")
    }
    assert names == {
        None: "mpii_human_pose_v1_u12_1.mat",
        "mat": "mpii_human_pose_v1_u12_1.mat",
        "h5": "valid.h5",
        "json": "valid.json",
    }
    (release_folder / "mpii_human_pose_v1_u12_1.mat").unlink()
    assert read_annotations(release_folder, "validation").path.name == "valid.h5"
    with pytest.raises(
        UserError, match=r"no annotations of MPII's train split: expected one of .*train\.json"
    ):
        read_annotations(release_folder, "train")
    with pytest.raises(UserError, match="no form 'xml'; choose one of mat, h5, json"):
        read_annotations(release_folder, "validation", "xml")


def test_the_folder_is_found_itself_or_as_mpii(release_folder):
    assert find_folder(release_folder) == release_folder
    parent = release_folder / "all"
    (parent / "mpii" / "annot").mkdir(parents=True)
    shutil.copy(release_folder / "annot" / "valid.h5", parent / "mpii" / "annot")
    assert find_folder(parent) == parent / "mpii"
    with pytest.raises(UserError, match=r"MPII not found in .*nowhere: there is no such folder"):
        find_folder(release_folder / "nowhere")
    empty = parent / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=r"it lacks them.*mpii_human_pose_v1_u12_1\.mat with valid\.h5"):
        find_folder(empty)


def add_pictures(folder, *names):
    (folder / "images").mkdir()
    for name in names:
        cv2.imwrite(str(folder / "images" / name), np.zeros((8, 8, 3), np.uint8))


def test_records_are_in_zero_based_pixels_with_the_numbers_of_the_official_file(release_folder, caplog):
    add_pictures(release_folder, "001.jpg", "005.jpg", "003.jpg")
    [person] = read_people(release_folder, "validation")
    assert person["keypoints"][:2].tolist() == [[29, 30], [0, 0]]
    assert person["image_path"] == str(release_folder / "images" / "005.jpg")
    assert (person["image_number"], person["person_number"], person["example_id"]) == (5, 0, 0)
    # Side 500, middle (100, 110 + 37.5) less 1.
    np.testing.assert_allclose(person["bbox_xywh"], [99 - 250, 146.5 - 250, 500, 500])
    assert person["head_size"] == pytest.approx(30.0) and person["area"] == 250_000
    people = read_people(release_folder, "train")
    assert [record["person_number"] for record in people] == [0]
    assert people.missing == ["000.jpg"]
    assert people.left_out == {
        "without a box that has an area": ["001.jpg person 1"],
        "without a labelled joint": ["001.jpg person 2", "001.jpg person 3"],
    }
    [person] = read_people(release_folder, "test")
    assert (person["image_id"], person["person_number"]) == ("003.jpg", 1) and not person["visibility"].any()
    assert "MPII train: 1 people; 1 of 2 pictures have no file (000.jpg)" in caplog.text


def test_a_folder_without_pictures_is_told(release_folder):
    with pytest.raises(
        UserError, match=r"No picture of MPII train in .*images: none of the 2 files 000\.jpg"
    ):
        read_people(release_folder, "train")


def test_splits_are_those_with_a_file(release_folder):
    assert splits_of(release_folder) == ("train", "validation", "test")
    (release_folder / "mpii_human_pose_v1_u12_1.mat").unlink()
    assert splits_of(release_folder) == ("validation",)


def test_validation_people_get_the_published_ground_truth_beside_them(tmp_path):
    (tmp_path / "annot").mkdir()
    arrays, listed = save_ground_truth(tmp_path / "annot")
    add_pictures(tmp_path, "0.jpg", "1.jpg", "2.jpg")
    present = arrays["jnt_missing"].T == 0
    hidden = present & (listed["visible"] == 0)
    for person, labelled, is_hidden, positions in zip(
        read_people(tmp_path, "validation"),
        present,
        hidden,
        arrays["pos_gt_src"].transpose(2, 0, 1),
        strict=True,
    ):
        np.testing.assert_allclose(person["keypoints"][labelled], positions[labelled] - 1, rtol=1e-6)
        np.testing.assert_array_equal(person["visibility"], np.where(is_hidden, 1, 2 * labelled))
        np.testing.assert_array_equal(person["occlusion_known"], labelled)


def test_the_official_file_says_who_is_hidden_where_the_ground_truth_does_not(tmp_path):
    present = np.zeros((1, 16), bool)
    present[0, [0, 1, 7]] = True
    positions = np.tile(np.arange(1.0, 17.0)[:, None, None] * 10, (1, 2, 1))
    truth = ground_truth_arrays(
        1, jnt_missing=~present.T * np.uint8(1), pos_gt_src=positions * present.T[..., None]
    )
    scipy.io.savemat(tmp_path / "gt_valid.mat", truth)
    rect = person(
        [
            point(0, 10, 10, is_visible=np.uint8(0)),
            point(1, 20, 20, is_visible=np.uint8(1)),
            point(2, 30, 30, is_visible=np.uint8(0)),
        ]
    )
    save_release(tmp_path / "mpii_human_pose_v1_u12_1.mat", [("0.jpg", struct(rect), 1, [])])
    record = {**RECORD, "image": "0.jpg", "center": [50, 60], "scale": 2.0}
    (tmp_path / "valid.json").write_text(json.dumps([record]))
    add_pictures(tmp_path, "0.jpg")
    [someone] = read_people(tmp_path, "validation")
    # Joint 2 is labelled in one file alone, joint 7 in the other: the ground truth says what is labelled.
    assert someone["visibility"].tolist() == [1, 2, 0, 0, 0, 0, 0, 2] + [0] * 8
    assert someone["occlusion_known"].tolist() == [True, True] + [False] * 14


def test_occlusion_stays_unknown_where_neither_json_nor_ground_truth_tells(tmp_path):
    arrays, listed = save_ground_truth(tmp_path, with_list=False)
    present = arrays["jnt_missing"].T == 0
    records = [
        {
            "image": f"{n}.jpg",
            "center": [50, 60],
            "scale": 1.0,
            "joints": part.tolist(),
            "joints_vis": vis.tolist(),
        }
        for n, (part, vis) in enumerate(zip(listed["part"], present.astype(int), strict=True))
    ]
    (tmp_path / "valid.json").write_text(json.dumps(records))
    add_pictures(tmp_path, "0.jpg", "1.jpg", "2.jpg")
    for person, labelled in zip(read_people(tmp_path, "validation"), present, strict=True):
        np.testing.assert_array_equal(person["visibility"], 2 * labelled)
        assert not person["occlusion_known"].any() and person["head_size"] == pytest.approx(30.0)
    # With the hourglass authors' list beside, the ground truth knows, and so do HRNet's people.
    np.savez(tmp_path / "valid.npz", **listed)
    for person, labelled, visible in zip(
        read_people(tmp_path, "validation", "json"), present, listed["visible"], strict=True
    ):
        np.testing.assert_array_equal(person["visibility"], np.where(labelled, 1 + visible, 0))
        np.testing.assert_array_equal(person["occlusion_known"], labelled)
    (tmp_path / "valid.json").write_text(json.dumps(records[1:] + records[:1]))
    with pytest.raises(UserError, match=r"valid\.json and .*gt_valid\.mat list different people"):
        read_people(tmp_path, "validation", "json")


def ground_truth_arrays(num, **changes):
    rng = np.random.default_rng(num)
    missing = rng.integers(0, 2, (16, num)).astype(np.uint8)
    arrays = {
        "dataset_joints": np.array([[np.array([name]) for name in JOINT_NAMES]], object).reshape(1, 16),
        "jnt_missing": missing,
        "pos_gt_src": rng.uniform(1, 500, (16, 2, num)) * (missing[:, None] == 0),
        "headboxes_src": np.stack([np.full((2, num), 10.0), np.full((2, num), 10.0) + [[30.0], [40.0]]]),
    }
    return {**arrays, **changes}


def save_ground_truth(folder, num=3, with_list=True, **changes):
    arrays = ground_truth_arrays(num, **changes)
    scipy.io.savemat(folder / "gt_valid.mat", arrays)
    people = [(n, 0, f"{n}.jpg", (50.0, 60.0), 1.0) for n in range(num)]
    part = np.trunc(arrays["pos_gt_src"].transpose(2, 0, 1))
    visible = np.random.default_rng(1).integers(0, 2, (num, 16)) * (arrays["jnt_missing"].T == 0)
    listed = hourglass_arrays(people, part=part, visible=visible.astype(float))
    if with_list:
        np.savez(folder / "valid.npz", **listed)
    return arrays, listed


@pytest.mark.parametrize("num", [1, 3])
def test_a_hidden_joint_is_one_that_is_present_and_not_visible(tmp_path, num):
    (tmp_path / "annot").mkdir()
    arrays, listed = save_ground_truth(tmp_path / "annot", num)
    for folder in (tmp_path, tmp_path / "annot"):
        truth = read_tompson_ground_truth(folder)
        present = arrays["jnt_missing"].T == 0
        expected = np.where(present, np.where(listed["visible"] == 1, 2, 1), 0)
        np.testing.assert_array_equal(truth.visibility, expected)
        np.testing.assert_array_equal(truth.keypoints, arrays["pos_gt_src"].transpose(2, 0, 1))
        np.testing.assert_allclose(truth.head_size, 30.0)
        assert truth.occlusion_known and truth.image_names == tuple(f"{n}.jpg" for n in range(num))


def test_without_the_list_of_visible_joints_occlusion_is_unknown(tmp_path):
    arrays, _ = save_ground_truth(tmp_path, with_list=False)
    truth = read_tompson_ground_truth(tmp_path)
    np.testing.assert_array_equal(truth.visibility, np.where(arrays["jnt_missing"].T == 0, 2, 0))
    assert not truth.occlusion_known and truth.image_names is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"jnt_missing": np.zeros((15, 3))}, r"jnt_missing has shape \(15, 3\), expected \(16, 3\)"),
        ({"pos_gt_src": np.zeros((16, 2, 4))}, r"pos_gt_src has shape \(16, 2, 4\), expected \(16, 2, 3\)"),
        (
            {"headboxes_src": np.zeros((2, 2, 3))},
            r"gt_valid\.mat: person 0 \(from 0\) has a head box without",
        ),
        (
            {"jnt_missing": np.zeros((16, 3)), "pos_gt_src": np.full((16, 2, 3), np.nan)},
            r"person 0 \(from 0\) has a labelled joint that is no number",
        ),
        (
            {"dataset_joints": np.array([[np.array([n]) for n in reversed(JOINT_NAMES)]], object)},
            "dataset_joints is lwri, lelb",
        ),
    ],
)
def test_a_malformed_ground_truth_is_told(tmp_path, change, message):
    scipy.io.savemat(tmp_path / "gt_valid.mat", ground_truth_arrays(3, **change))
    with pytest.raises(UserError, match=message):
        read_tompson_ground_truth(tmp_path)


def test_a_list_of_other_people_beside_the_ground_truth_is_refused(tmp_path):
    save_ground_truth(tmp_path, 3)
    scipy.io.savemat(tmp_path / "gt_valid.mat", ground_truth_arrays(4))
    with pytest.raises(UserError, match=r"valid\.npz lists 3 people, .*gt_valid\.mat 4"):
        read_tompson_ground_truth(tmp_path)
    arrays, _ = save_ground_truth(tmp_path, 3)
    turned = {key: arrays[key][..., ::-1] for key in ("jnt_missing", "pos_gt_src")}
    scipy.io.savemat(tmp_path / "gt_valid.mat", {**arrays, **turned})
    with pytest.raises(UserError, match="list different people, or the same in another order"):
        read_tompson_ground_truth(tmp_path)


def test_a_missing_ground_truth_is_told_with_the_files_to_get(tmp_path):
    with pytest.raises(UserError, match=r"gt_valid\.mat, and beside it valid\.h5 or valid\.npz"):
        read_tompson_ground_truth(tmp_path)


@pytest.mark.realdata
def test_the_real_ground_truth_has_the_published_counts_of_labelled_and_hidden_joints(data_dir):
    folder = data_dir / "mpii" / "annot"
    truth = read_tompson_ground_truth(folder)
    mat = scipy.io.loadmat(folder / "gt_valid.mat")
    with h5py.File(folder / "valid.h5") as file:
        visible = file["visible"][()]
        names = [name.decode() for name in file["imgname"][()]]
    present = mat["jnt_missing"].T == 0
    np.testing.assert_array_equal(truth.visibility > 0, present)
    np.testing.assert_array_equal(truth.visibility == 1, present & (visible == 0))
    assert list(truth.image_names) == names
    if len(names) != TOMPSON:
        return
    without_trunk = np.delete(truth.visibility, [6, 7], axis=1)
    assert ((truth.visibility > 0).sum(), (truth.visibility == 1).sum()) == (44_240, 10_243)
    assert ((without_trunk > 0).sum(), (without_trunk == 1).sum()) == (38_430, 7_744)
    assert (truth.visibility > 0).sum(0).tolist() == [
        2115, 2485, 2889, 2888, 2478, 2119, 2878, 2932, 2932, 2932, 2928, 2935, 2944, 2944, 2932, 2909,
    ]  # fmt: skip
    assert (truth.visibility == 1).sum(0).tolist() == [
        526, 573, 786, 785, 536, 531, 1258, 1241, 0, 0, 723, 633, 638, 650, 644, 719,
    ]  # fmt: skip


@pytest.mark.realdata
def test_the_real_annotations_are_counted_as_their_files_say(data_dir):
    folder = find_folder(data_dir)
    with h5py.File(folder / "annot" / "valid.h5") as file:
        arrays = {key: file[key][()] for key in file}
    people = read_annotations(folder, "validation", "h5")
    labelled = arrays["part"][..., 0] > 0
    np.testing.assert_array_equal(people.visibility > 0, labelled)
    np.testing.assert_array_equal(people.visibility == 1, labelled & (arrays["visible"] == 0))
    np.testing.assert_array_equal(people.image_number, arrays["index"])
    np.testing.assert_array_equal(people.head_size, arrays["normalize"])
    if len(people) == TOMPSON:
        assert ((people.visibility > 0).sum(), (people.visibility == 1).sum()) == (44_239, 10_243)


@pytest.mark.realdata
def test_hrnets_json_and_the_hourglass_arrays_tell_of_the_same_people(data_dir):
    """Undoing the enlargement gives the raw center and scale; joints differ by the cut to whole
    pixels."""
    folder = find_folder(data_dir)
    listed = read_hrnet_json(folder / "annot" / "test_mpii.json")
    people = read_annotations(folder, "validation", "h5")
    rows = [people.image_names.index(name) for name in listed.image_names]
    np.testing.assert_allclose(listed.center, people.center[rows], atol=1e-6)
    np.testing.assert_allclose(listed.scale, people.scale[rows], atol=1e-6)
    np.testing.assert_array_equal(listed.visibility > 0, people.visibility[rows] > 0)
    difference = listed.keypoints - people.keypoints[rows]
    assert (difference >= 0).all() and (difference < 1).all()


@pytest.mark.realdata
def test_h5_and_npz_hold_the_same(data_dir):
    folder = find_folder(data_dir) / "annot"
    a, b = (read_hourglass_arrays(folder / name) for name in ("valid.h5", "valid.npz"))
    assert a.image_names == b.image_names
    for key in ("image_index", "person_index", "center", "scale", "part", "visible", "head_size"):
        np.testing.assert_array_equal(getattr(a, key), getattr(b, key))


@pytest.mark.realdata
def test_the_real_validation_people_are_those_whose_pictures_exist(data_dir):
    folder = find_folder(data_dir)
    with h5py.File(folder / "annot" / "valid.h5") as file:
        names = [name.decode() for name in file["imgname"][()]]
        scale, center = file["scale"][()], file["center"][()]
    present = [row for row, name in enumerate(names) if (folder / "images" / name).is_file()]
    people = read_people(folder, "validation", "h5")
    assert [person["image_id"] for person in people] == [names[row] for row in present]
    assert people.num_pictures == len(set(names))
    truth = read_tompson_ground_truth(folder)
    for person, row in zip(people, present, strict=True):
        labelled = truth.visibility[row] > 0
        np.testing.assert_array_equal(person["visibility"], truth.visibility[row])
        np.testing.assert_allclose(
            person["keypoints"][labelled] + 1, truth.keypoints[row][labelled], rtol=1e-6
        )
        assert person["head_size"] == pytest.approx(truth.head_size[row], rel=1e-6)
        crop_center, crop_size = crop_box(person["bbox_xywh"], (256, 256), 1.25)
        np.testing.assert_allclose(crop_center, center[row] - 1, atol=1e-3)
        np.testing.assert_allclose(crop_size, [200 * scale[row]] * 2, rtol=1e-6)
    if len(names) == TOMPSON:
        assert len(people) == 5


@pytest.mark.realdata
def test_the_folder_works_through_the_json_form_as_well(data_dir, tmp_path):
    folder = find_folder(data_dir)
    shutil.copytree(folder / "images", tmp_path / "images")
    shutil.copy(folder / "annot" / "test_mpii.json", tmp_path / "valid.json")
    people = read_people(tmp_path, "validation")
    expected = read_people(folder, "validation", "h5")
    assert len(people) == len(json.loads((tmp_path / "valid.json").read_text()))
    by_name = {person["image_id"]: person for person in expected}
    for person in people:
        other = by_name[person["image_id"]]
        np.testing.assert_allclose(person["keypoints"], other["keypoints"], atol=1e-3)
        np.testing.assert_allclose(person["bbox_xywh"], other["bbox_xywh"], atol=1e-2)
        assert not person["occlusion_known"].any() and person["image_number"] == -1
