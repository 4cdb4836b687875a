"""Files of predictions in every layout that people publish, and what is wrong with others."""

import json
import pickle
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from oasjax.errors import UserError
from oasjax.evaluation.prediction_files import check_coco_results, read_keypoints

PEOPLE, JOINTS = 5, 16


@pytest.fixture
def keypoints():
    return np.random.default_rng(0).uniform(0, 500, (PEOPLE, JOINTS, 2))


def write(path, **arrays):
    """The arrays under their names, in the format of the path's suffix."""
    if path.suffix == ".mat":
        scipy.io.savemat(path, arrays)
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            file.update(arrays)
    return path


def refusal(path, people=(PEOPLE,), joints=JOINTS) -> str:
    with pytest.raises(UserError) as caught:
        read_keypoints(path, people, joints)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".mat", ".h5", ".hdf5", ".npz"])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)], ids=str)
def test_every_format_and_order_of_axes_is_read(tmp_path, keypoints, suffix, axes):
    path = write(tmp_path / f"p{suffix}", preds=keypoints.transpose(axes))
    np.testing.assert_array_equal(read_keypoints(path, [PEOPLE], JOINTS), keypoints)


def test_a_third_coordinate_is_a_score_and_left_out(tmp_path, keypoints):
    with_score = np.concatenate([keypoints, np.ones((PEOPLE, JOINTS, 1))], axis=2)
    path = write(tmp_path / "p.npz", pred=with_score.transpose(1, 2, 0))
    np.testing.assert_array_equal(read_keypoints(path, [PEOPLE], JOINTS), keypoints)


def test_one_person_is_read_although_matlab_drops_the_axis(tmp_path, keypoints):
    path = write(tmp_path / "p.mat", preds=keypoints[0])
    np.testing.assert_array_equal(read_keypoints(path, [1], JOINTS), keypoints[:1])


def test_the_only_array_may_have_any_name_and_others_stand_beside_preds(tmp_path, keypoints):
    path = write(tmp_path / "a.npz", joints=keypoints)
    np.testing.assert_array_equal(read_keypoints(path, [PEOPLE], JOINTS), keypoints)
    path = write(tmp_path / "b.mat", preds=keypoints, heads=np.ones((PEOPLE, JOINTS, 2)))
    np.testing.assert_array_equal(read_keypoints(path, [PEOPLE], JOINTS), keypoints)


def test_integers_and_single_precision_become_double(tmp_path):
    path = write(tmp_path / "p.npz", preds=np.full((PEOPLE, JOINTS, 2), 7, np.int16))
    assert read_keypoints(path, [PEOPLE], JOINTS).dtype == np.float64


def test_matlab_7_3_is_hdf5_under_the_name_mat(tmp_path, keypoints):
    path = write(tmp_path / "p.h5", preds=keypoints.T).rename(tmp_path / "p.mat")
    np.testing.assert_array_equal(read_keypoints(path, [PEOPLE], JOINTS), keypoints)


def test_nan_is_passed_on(tmp_path, keypoints):
    keypoints[1, 2] = np.nan
    path = write(tmp_path / "p.h5", preds=keypoints)
    np.testing.assert_array_equal(read_keypoints(path, [PEOPLE], JOINTS), keypoints)


def test_sizes_that_fit_in_several_ways_are_refused(tmp_path):
    path = write(tmp_path / "p.npz", preds=np.zeros((16, 16, 2)))
    assert "2 ways" in refusal(path, people=[16])


@pytest.mark.parametrize(
    "shape", [(5, 14, 2), (4, 16, 2), (5, 16, 4), (5, 16), (5, 16, 2, 1), (0, 16, 2), (160,)]
)
def test_other_sizes_are_refused_with_the_ones_expected(tmp_path, shape):
    path = write(tmp_path / "p.npz", preds=np.zeros(shape))
    sentence = refusal(path, people=[PEOPLE, 10])
    assert "5 or 10 people, 16 joints and 2 coordinates" in sentence
    assert str(shape[:2])[:-1] in sentence


def test_several_arrays_without_the_usual_name_are_refused_by_name(tmp_path, keypoints):
    assert "a (5, 16, 2), b (5, 16, 2)" in refusal(write(tmp_path / "p.npz", a=keypoints, b=keypoints))
    assert "no array" in refusal(write(tmp_path / "p.h5"))


def test_arrays_that_are_no_numbers_are_refused(tmp_path):
    words = np.full((PEOPLE, JOINTS, 2), "ankle")
    assert "no numbers" in refusal(write(tmp_path / "p.npz", preds=words))
    assert "no numbers" in refusal(write(tmp_path / "p.mat", preds={"x": 1}))


def test_pickled_npz_is_refused_unread(tmp_path):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("was run",)

    path = tmp_path / "p.npz"
    np.savez(path, preds=np.array([Bomb()], dtype=object))
    assert "pickled" in refusal(path)
    path.write_bytes(pickle.dumps({"preds": 1}))
    assert "no whole .npz" in refusal(path)


@pytest.mark.parametrize("suffix", [".mat", ".h5", ".npz"])
@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html><html>404</html>" * 20, b"\x00" * 300], ids=["empty", "html", "zeros"]
)
def test_something_else_saved_under_the_name_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"p{suffix}"
    path.write_bytes(content)
    assert "no whole" in refusal(path)


@pytest.mark.parametrize("suffix", [".mat", ".h5", ".npz"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_cut_file_is_refused(tmp_path, suffix, share, keypoints):
    path = write(tmp_path / f"p{suffix}", preds=np.tile(keypoints, (200, 1, 1)))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "no whole" in refusal(path, people=[200 * PEOPLE])


def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("1,2")
    assert ".mat, .h5, .hdf5, .npz" in refusal(path)


def record(**changes):
    return {"image_id": 3, "category_id": 1, "keypoints": [1.0, 2, 0.5, 4, 5, 0.5], "score": 0.5} | changes


def check(results):
    return check_coco_results(Path("results.json"), results, {3, 4}, 1, 2)


def test_good_results_pass_as_they_are_also_several_of_one_person_and_none():
    results = [record(), record(), record(image_id=4, bbox=[0, 0, 0, 0], score=-1)]
    assert check(results) is results
    assert check([]) == []


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ({"annotations": []}, "holds a JSON dict"),
        ([record(), 5], "record 1 (from 0) is int"),
        ([{"image_id": 3, "keypoints": []}], "lacks category_id, score"),
        ([record(image_id=9)], "image 9"),
        ([record(image_id="3")], "image '3'"),
        ([record(image_id=[3])], "image [3]"),
        ([record(category_id=18)], "category_id 18; the annotated people have 1"),
        ([record(keypoints=[1.0] * 9)], "not 6 finite numbers"),
        ([record(keypoints=[1.0] * 5 + [float("nan")])], "not 6 finite numbers"),
        ([record(keypoints=[1.0] * 5 + ["x"])], "not 6 finite numbers"),
        ([record(keypoints=[10**400] * 6)], "not 6 finite numbers"),
        ([record(keypoints=None)], "not 6 finite numbers"),
        ([record(score=float("inf"))], "score inf"),
        ([record(score=None)], "score None"),
        ([record(bbox=[0, 0, 1, 1]), record()], "record 1 (from 0) has no bbox"),
    ],
)  # fmt: skip
def test_faulty_results_are_refused_by_file_and_record(results, words):
    with pytest.raises(UserError, match="^results.json.*" + re.escape(words)):
        check(json.loads(json.dumps(results)))


@pytest.mark.realdata
def test_the_same_predictions_are_the_same_in_every_file(data_dir):
    files = sorted((data_dir / "mpii" / "preds").iterdir())
    people = len(np.load(data_dir / "mpii" / "annot" / "valid.npz")["index"])
    by_name = {path.name: read_keypoints(path, [people], 16) for path in files}
    assert by_name
    np.testing.assert_array_equal(by_name["tompson.h5"], by_name["tompson.npz"])
