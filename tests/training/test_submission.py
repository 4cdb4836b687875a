"""Files for official evaluators, read back as those read them."""

import json
import zipfile

import numpy as np
import pytest
import scipy.io

from oasjax import config_sections
from oasjax.datasets.skeletons import COCO, LSP, MPII
from oasjax.evaluation.prediction_files import read_keypoints
from oasjax.training.scoring import Scorer
from oasjax.training.submission import mpii_submission, write_coco_results, write_predictions


def struct(**fields) -> np.ndarray:
    """A MATLAB struct."""
    filled = np.empty((1, 1), [(name, object) for name in fields])
    for name, value in fields.items():
        filled[name][0, 0] = value
    return filled


def people(*places: float | None) -> np.ndarray:
    """An `annorect` of test people; None is one without a place."""
    rects = np.empty((1, len(places)), [("scale", object), ("objpos", object)])
    for person, place in enumerate(places):
        nothing = place is None
        rects[0, person]["scale"] = np.empty((0, 0)) if nothing else 2.0
        rects[0, person]["objpos"] = np.empty((0, 0)) if nothing else struct(x=place, y=place)
    return rects


def numbers(*values: int) -> np.ndarray:
    return np.array(values, np.uint8)[:, None]


@pytest.fixture
def release_path(tmp_path):
    """Five pictures: one for training, two with people for the test, one empty, one of a group only."""
    annorects = [people(1.0), people(50.0, None, 70.0), np.empty((0, 0)), people(90.0), people(5.0, 6.0)]
    annolist = np.empty((1, 5), [("image", object), ("annorect", object)])
    single = np.empty((5, 1), object)
    for picture, (rects, apart) in enumerate(
        zip(
            annorects,
            [numbers(1), numbers(1, 2, 3), np.empty((0, 0)), numbers(1), np.empty((0, 0))],
            strict=True,
        )
    ):
        annolist[0, picture]["image"] = struct(name=f"{picture}.jpg")
        annolist[0, picture]["annorect"] = rects
        single[picture, 0] = apart
    release = struct(annolist=annolist, img_train=np.array([[1, 0, 0, 0, 0]]), single_person=single)
    path = tmp_path / "mpii_human_pose_v1_u12_1.mat"
    scipy.io.savemat(path, {"RELEASE": release})
    return path


def as_the_toolkit_reads(path, single_person) -> np.ndarray:
    """(people, 16, 2): flatten_annolist.m and annolist2matrix.m of MPII's toolkit, for single people."""
    pred = scipy.io.loadmat(path, struct_as_record=False)["pred"]
    found = []
    for picture, apart in zip(pred.ravel(), single_person, strict=True):
        for person, rect in enumerate(picture.annorect.ravel(), start=1):
            if not getattr(rect, "objpos", np.empty(0)).size or person not in apart:
                continue
            points = np.full((16, 2), np.nan)
            if getattr(rect, "annopoints", np.empty(0)).size:
                for point in rect.annopoints[0, 0].point.ravel():
                    points[int(point.id.item())] = point.x.item(), point.y.item()
            found.append(points)
    return np.array(found)


def rows(num: int, joints: int, **changes) -> dict[str, np.ndarray]:
    """Predictions whose crops are the pictures themselves, three pixels to the right."""
    crop_to_image = np.broadcast_to(np.array([[1, 0, 3], [0, 1, 0]], np.float32), (num, 2, 3))
    return {
        "keypoints": np.arange(2 * num * joints, dtype=np.float32).reshape(num, joints, 2),
        "scores": np.full((num, joints), 0.5, np.float32),
        "crop_to_image": crop_to_image,
        "example_id": np.arange(num),
        "image_number": np.full(num, -1),
        "person_number": np.full(num, -1),
        "bbox_xywh": np.ones((num, 4), np.float32),
        "box_score": np.ones(num, np.float32),
    } | changes


def scorer(name: str, skeleton, data_dir="") -> Scorer:
    data = {
        "name": name,
        "data_dir": str(data_dir),
        "arrays_path": "",
        "input_size_wh": (8, 8),
        "padding": 1.0,
    }
    config = config_sections.pose()
    config.data.update(data)
    return Scorer(config, skeleton, skeleton, None)


def test_mpiis_toolkit_finds_the_predictions_of_its_single_people(release_path, tmp_path):
    release = scipy.io.loadmat(release_path)["RELEASE"]
    keypoints = np.random.default_rng(0).uniform(0, 99, (2, 16, 2))
    pred, missing = mpii_submission(release, keypoints, np.array([3, 1]), np.array([0, 2]))
    scipy.io.savemat(tmp_path / "pred.mat", {"pred": pred})
    read = as_the_toolkit_reads(tmp_path / "pred.mat", [[1, 2, 3], [], [1], []])
    assert len(read) == 3  # who has no place is nobody to the toolkit
    np.testing.assert_allclose(read[1:], keypoints[[1, 0]] + 1, rtol=0, atol=1e-12)
    assert np.isnan(read[0]).all() and missing == 1
    # The release itself is as it was.
    assert "annopoints" not in release[0, 0]["annolist"][0, 1]["annorect"].dtype.names


@pytest.mark.parametrize(("image", "person"), [(0, 0), (2, 0), (1, 3), (9, 0), (1, -1)])
def test_a_person_who_is_not_in_mpiis_test_set_is_refused(release_path, image, person):
    release = scipy.io.loadmat(release_path)["RELEASE"]
    with pytest.raises(ValueError, match=f"no person {person} in picture {image}"):
        mpii_submission(release, np.zeros((1, 16, 2)), np.array([image]), np.array([person]))


def test_mpiis_test_people_are_written_for_the_server_and_missing_ones_counted(release_path, tmp_path):
    said: list[str] = []
    predicted = rows(1, 16, image_number=np.array([3]), person_number=np.array([0]))
    write_predictions(tmp_path / "out", scorer("mpii", MPII, tmp_path), predicted, "test", "run", said.append)
    read = as_the_toolkit_reads(tmp_path / "out" / "pred_keypoints_mpii.mat", [[1, 2, 3], [], [1], []])
    np.testing.assert_array_equal(read[2], predicted["keypoints"][0] + [4, 1])
    assert said[0].startswith("2 people of MPII's test set are not predicted")
    assert said[1] == f"predictions: {tmp_path / 'out' / 'pred_keypoints_mpii.mat'}"


def test_mpiis_validation_people_are_written_as_hrnet_does_and_read_by_our_scorer(tmp_path):
    predicted = rows(5, 16)
    write_predictions(tmp_path, scorer("mpii", MPII), predicted, "eval", "run", print)
    read = read_keypoints(tmp_path / "preds.mat", [5], 16)
    np.testing.assert_array_equal(read, predicted["keypoints"] + [4, 1])


def test_other_data_get_arrays_that_our_scorer_reads(tmp_path):
    predicted = rows(3, 14, occlusion=np.full((3, 14), 0.25, np.float32))
    write_predictions(tmp_path / "new" / "folder", scorer("lsp", LSP), predicted, "eval", "run", print)
    path = tmp_path / "new" / "folder" / "predictions.npz"
    np.testing.assert_array_equal(read_keypoints(path, [3], 14), predicted["keypoints"] + [3, 0])
    with np.load(path) as file:
        assert set(file.files) == {
            "preds",
            "scores",
            "occlusion",
            "example_id",
            "image_number",
            "person_number",
        }


def test_cocos_server_gets_an_archive_of_the_name_that_it_asks_for(tmp_path):
    predicted = rows(2, 17, image_number=np.array([5, 9]), box_score=np.array([0.5, 1.0], np.float32))
    write_predictions(tmp_path, scorer("coco_person", COCO), predicted, "test", "my run", print)
    name = "person_keypoints_test-dev2017_my-run_results"
    with zipfile.ZipFile(tmp_path / f"{name}.zip") as archive:
        assert archive.namelist() == [f"{name}.json"]
        first, second = json.loads(archive.read(f"{name}.json"))
    assert set(first) == {"image_id", "category_id", "keypoints", "score"}
    assert (first["image_id"], first["category_id"], first["score"]) == (5, 1, 0.25)
    assert first["keypoints"][:6] == [3.0, 1.0, 0.5, 5.0, 3.0, 0.5] and len(second["keypoints"]) == 51
    write_predictions(tmp_path, scorer("coco_person", COCO), predicted, "eval", "my run", print)
    assert (tmp_path / "person_keypoints_val2017_my-run_results.json").is_file()


def test_a_result_that_is_no_number_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_coco_results(tmp_path / "a.json", [{"score": float("nan")}], zipped=False)
