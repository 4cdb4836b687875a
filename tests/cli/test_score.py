"""`oasjax score` from end to end: published figures to the last digit, and what is wrong with files."""

import dataclasses
import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
import scipy.io

from oasjax.cli.main import main
from oasjax.datasets.mpii.ground_truth import JOINT_NAMES, read_tompson_ground_truth
from oasjax.datasets.skeletons import COCO, LSP, MPII
from oasjax.evaluation.pck import pckh
from oasjax.evaluation.prediction_files import read_keypoints

PEOPLE = 4
PCK_PARTS = ["head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "mean", "mean_unweighted"]


@pytest.fixture
def keypoints():
    return np.random.default_rng(0).integers(50, 400, (PEOPLE, 16, 2)).astype(float)


@pytest.fixture
def mpii(tmp_path, keypoints):
    """A folder of MPII's form: heads of 60 pixels; person 0's knees are hidden, 1's ankles not labelled."""
    folder = tmp_path / "annot"
    folder.mkdir()
    missing, visible = np.zeros((PEOPLE, 16), np.uint8), np.ones((PEOPLE, 16))
    missing[1, [0, 5]], visible[1, [0, 5]] = 1, 0
    visible[0, [1, 4]] = 0
    heads = np.zeros((2, 2, PEOPLE))
    heads[1] = [[60.0], [80.0]]
    scipy.io.savemat(
        folder / "gt_valid.mat",
        {
            "dataset_joints": np.array(JOINT_NAMES, object)[None],
            "jnt_missing": missing.T,
            "pos_gt_src": keypoints.transpose(1, 2, 0),
            "headboxes_src": heads,
        },
    )
    np.savez(
        folder / "valid.npz",
        imgname=np.array([b"%d.jpg" % n for n in range(PEOPLE)]),
        part=keypoints,
        visible=visible,
        center=np.ones((PEOPLE, 2)),
        scale=np.ones(PEOPLE),
        index=np.arange(PEOPLE, dtype=float),
        person=np.zeros(PEOPLE),
        normalize=np.full(PEOPLE, 60.0),
        torsoangle=np.zeros(PEOPLE),
    )
    return folder


@pytest.fixture
def lsp(tmp_path):
    """A joints.mat of six people with torsos of 50 pixels; the last three are for testing."""
    joints = np.zeros((3, 14, 6))
    joints[:2] = np.random.default_rng(0).uniform(50, 400, (2, 14, 6))
    joints[:2, 2], joints[:2, 9] = 0, np.array([[30.0], [40.0]])
    joints[2, 0, 4] = 1  # the right ankle of the second person for testing is hidden
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    return tmp_path / "joints.mat"


@pytest.fixture
def coco(tmp_path):
    """An annotation file of two people in an image, and exact predictions of them, the hidden nose apart."""
    points = np.full((2, 17, 3), 2.0)
    points[..., :2] = (
        np.random.default_rng(0).integers(0, 100, (2, 17, 2)) + np.array([0, 300])[:, None, None]
    )
    points[0, 0, 2] = 1
    truth = {
        "images": [{"id": 5, "file_name": "5.jpg", "width": 500, "height": 500}, image_without_people()],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.joints), "skeleton": []}],
        "annotations": [
            {
                "id": n + 10,
                "image_id": 5,
                "category_id": 1,
                "iscrowd": 0,
                "area": 9000.0,
                "bbox": [300.0 * n, 300.0 * n, 100.0, 100.0],
                "num_keypoints": 17,
                "keypoints": points[n].ravel().tolist(),
            }
            for n in range(2)
        ],
    }
    points[0, 0, :2] += 1000
    results = [
        {"image_id": 5, "category_id": 1, "keypoints": each.ravel().tolist(), "score": 0.5} for each in points
    ]
    return truth, results


def image_without_people():
    return {"id": 6, "file_name": "6.jpg", "width": 500, "height": 500}


def saved(path, content):
    path.write_text(json.dumps(content))
    return path


def score(tmp_path, *words):
    """What `--json` wrote; checks the exit code."""
    out = tmp_path / "scores.json"
    assert main(["score", *map(str, words), "--json", str(out)]) == 0
    return json.loads(out.read_text())


def complaint(capsys, *words) -> str:
    """The one line on stderr; checks the exit code."""
    assert main(["score", *map(str, words)]) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("oasjax: "), captured.err
    assert captured.out == ""
    return lines[0]


def files(annotations, predictions):
    return ["--annotations", annotations, "--predictions", predictions]


# MPII


def test_mpii_scores_are_split_and_nest_as_documented(tmp_path, mpii, keypoints, capsys):
    predicted = keypoints.copy()
    predicted[0, 1, 0] += 30.0  # a hidden knee at .5 of the head size of 60
    predicted[0, 4, 0] += 30.1  # the other hidden knee, beyond it
    predicted[1, 0] += 500.0  # not labelled
    np.savez(tmp_path / "p.npz", preds=predicted)
    scores = score(tmp_path, "mpii", *files(mpii, tmp_path / "p.npz"))
    assert {split: list(metrics) for split, metrics in scores.items()} == {
        "all": ["pckh@0.5", "people_left_out", "pckh@0.1", "pckh_auc@0.5"],
        "visible": ["pckh@0.5", "pckh@0.1", "pckh_auc@0.5"],
        "occluded": ["pckh@0.5", "pckh@0.1", "pckh_auc@0.5"],
    }
    assert list(scores["all"]["pckh@0.5"]) == PCK_PARTS
    labelled = 14 * PEOPLE - 2
    assert scores["all"]["pckh@0.5"]["mean"] == pytest.approx(100 * (labelled - 1) / labelled)
    assert scores["occluded"]["pckh@0.5"]["knee"] == 50
    assert scores["occluded"]["pckh@0.1"]["knee"] == 0
    assert scores["occluded"]["pckh@0.5"]["head"] is None
    assert scores["visible"]["pckh@0.5"]["mean"] == 100
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["pckh@0.5", *PCK_PARTS[:-1], "plain", "mean"]
    assert shown[4].split() == ["occluded", "-", "-", "-", "-", "-", "50.00", "-", "50.00", "50.00"]


def test_strict_takes_the_threshold_for_too_far(tmp_path, mpii, keypoints):
    keypoints[0, 1, 0] += 30.0
    np.savez(tmp_path / "p.npz", preds=keypoints)
    words = files(mpii, tmp_path / "p.npz")
    assert score(tmp_path, "mpii", *words)["occluded"]["pckh@0.5"]["mean"] == 100
    assert score(tmp_path, "mpii", *words, "--strict")["occluded"]["pckh@0.5"]["mean"] == 50


def test_predictions_that_count_pixels_from_0_are_moved_by_one(tmp_path, mpii, keypoints):
    predicted = keypoints - 1
    predicted[0, 1, 0] += 30.0
    scipy.io.savemat(tmp_path / "p.mat", {"preds": predicted})
    words = files(mpii, tmp_path / "p.mat")
    assert score(tmp_path, "mpii", *words, "--origin", "0", "--strict")["occluded"]["pckh@0.5"]["knee"] == 50
    assert score(tmp_path, "mpii", *words, "--origin", "1", "--strict")["occluded"]["pckh@0.5"]["knee"] == 100


def test_joints_that_are_no_numbers_count_as_wrong_and_are_told(tmp_path, mpii, keypoints, capsys):
    keypoints[0, 1], keypoints[2, 9, 0], keypoints[1, 0] = np.nan, np.inf, np.nan  # the last is not labelled
    np.savez(tmp_path / "p.npz", preds=keypoints)
    scores = score(tmp_path, "mpii", *files(mpii, tmp_path / "p.npz"))
    assert scores["occluded"]["pckh@0.5"]["knee"] == 50
    assert scores["all"]["pckh@0.5"]["head"] == 75
    assert "p.npz: 2 of 62 joints" in capsys.readouterr().err


def test_without_visibility_there_are_no_splits_and_a_line_says_so(tmp_path, mpii, keypoints, capsys):
    (mpii / "valid.npz").unlink()
    np.savez(tmp_path / "p.npz", preds=keypoints)
    scores = score(tmp_path, "mpii", *files(mpii, tmp_path / "p.npz"))
    assert scores["all"]["pckh@0.5"]["mean"] == 100
    assert set(scores["visible"]["pckh@0.5"].values()) == {None}
    assert "valid.h5" in capsys.readouterr().err


def test_a_folder_whose_files_disagree_is_an_error(tmp_path, mpii, keypoints, capsys):
    with np.load(mpii / "valid.npz") as arrays:
        np.savez(mpii / "valid.npz", **{name: value[1:] for name, value in arrays.items()})
    np.savez(tmp_path / "p.npz", preds=keypoints)
    line = complaint(capsys, "mpii", *files(mpii, tmp_path / "p.npz"))
    assert "valid.npz" in line and "gt_valid.mat" in line and "3 people" in line


def test_predictions_of_other_people_or_joints_are_refused_with_their_number(
    tmp_path, mpii, keypoints, capsys
):
    for predicted in (keypoints[1:], keypoints[:, 2:], keypoints[:0]):
        np.savez(tmp_path / "p.npz", preds=predicted)
        line = complaint(capsys, "mpii", *files(mpii, tmp_path / "p.npz"))
        assert "p.npz" in line and str(predicted.shape) in line and "4 people, 16 joints" in line


@pytest.mark.parametrize("benchmark", ["mpii", "lsp", "coco"])
def test_missing_files_are_named(tmp_path, capsys, benchmark):
    assert "nothing.npz" in complaint(capsys, benchmark, *files(tmp_path, tmp_path / "nothing.npz"))
    (tmp_path / "p.npz").touch()
    assert "nowhere" in complaint(capsys, benchmark, *files(tmp_path / "nowhere", tmp_path / "p.npz"))


def test_scores_that_cannot_be_written_are_a_users_mistake(tmp_path, mpii, keypoints, capsys):
    np.savez(tmp_path / "p.npz", preds=keypoints)
    out = tmp_path / "nowhere" / "scores.json"
    assert str(out) in complaint(capsys, "mpii", *files(mpii, tmp_path / "p.npz"), "--json", out)


@pytest.mark.realdata
@pytest.mark.parametrize("sign", ["le", "lt"])
def test_every_published_figure_of_mpii_is_met(data_dir, tmp_path, sign):
    folder = data_dir / "mpii"
    expected = json.loads((folder / "expected_pckh.json").read_text())["models"]
    truth = read_tompson_ground_truth(folder / "annot")
    known = np.ones(truth.visibility.shape, bool)
    seen = set()
    for path in sorted((folder / "preds").iterdir()):
        model = expected[path.stem]["recomputed"]
        seen.add(path.stem)
        strict = ["--strict"] if sign == "lt" else []
        scores = score(tmp_path, "mpii", *files(folder / "annot", path), *strict)
        for metric in ("pckh@0.5", "pckh@0.1"):
            ours, theirs = scores["all"][metric], model[f"{metric}_{sign}"]
            assert ours.pop("mean") == pytest.approx(theirs["Mean_count_weighted_14"], abs=1e-6)
            assert ours.pop("mean_unweighted") == pytest.approx(theirs["Mean_unweighted_14"], abs=1e-6)
            assert ours == pytest.approx({part: theirs[part.capitalize()] for part in ours}, abs=1e-6)
        if sign == "le":
            area = scores["all"]["pckh_auc@0.5"]["mean"]
            assert area == pytest.approx(model["auc_0_0.5_count_weighted_14"], abs=1e-6)

        one_by_one = dataclasses.replace(MPII, parts={name: (j,) for j, name in enumerate(JOINT_NAMES)})
        predicted = read_keypoints(path, [len(known)], 16)
        by_joint = pckh(
            predicted, truth.keypoints, truth.visibility, known, truth.head_size, one_by_one,
            inclusive=sign == "le",
        )  # fmt: skip
        joints = model[f"pckh@0.5_{sign}"]["per_joint"]
        assert {name: by_joint["all"]["pckh@0.5"][name] for name in joints} == pytest.approx(joints, abs=1e-6)
        for split in ("visible", "occluded"):
            mean = scores[split]["pckh@0.5"]["mean"]
            assert mean == pytest.approx(model[split]["Mean_count_weighted_14"], abs=1e-6)
            for name, (percent, count) in model[split]["per_joint"].items():
                found = by_joint[split]["pckh@0.5"][name]
                assert found == (pytest.approx(percent, abs=1e-6) if count else None)
    assert seen == set(expected)


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["valid.h5", "valid.npz"])
def test_mpii_needs_only_one_of_the_files_of_visibility(data_dir, tmp_path, name):
    folder = data_dir / "mpii"
    (tmp_path / "annot").mkdir()
    for file in ("gt_valid.mat", name):
        (tmp_path / "annot" / file).symlink_to(folder / "annot" / file)
    expected = json.loads((folder / "expected_pckh.json").read_text())["models"]["tompson"]["recomputed"]
    scores = score(tmp_path, "mpii", *files(tmp_path / "annot", folder / "preds" / "tompson.npz"))
    mean = scores["occluded"]["pckh@0.5"]["mean"]
    assert mean == pytest.approx(expected["occluded"]["Mean_count_weighted_14"], abs=1e-6)


# LSP


def test_lsp_is_scored_on_its_test_people_in_every_layout(tmp_path, lsp):
    keypoints = scipy.io.loadmat(lsp)["joints"][:2].transpose(2, 1, 0)
    keypoints[:3] += 1000.0  # people for training: not scored
    keypoints[4, 0, 0] += 10.1  # the hidden ankle, beyond .2 of the torso
    keypoints[5, 0, 0] += 9.9
    np.savez(tmp_path / "all.npz", preds=keypoints)
    scipy.io.savemat(tmp_path / "test.mat", {"preds": keypoints[3:].transpose(1, 2, 0)})
    with h5py.File(tmp_path / "test.h5", "w") as file:
        file["preds"] = keypoints[3:].transpose(2, 1, 0)
    for name in ("all.npz", "test.mat", "test.h5"):
        scores = score(tmp_path, "lsp", *files(lsp, tmp_path / name))
        assert list(scores["all"]) == ["pck@0.2", "people_left_out", "pck_auc@0.2"]
        assert list(scores["all"]["pck@0.2"]) == PCK_PARTS
        assert scores["all"]["pck@0.2"]["mean"] == pytest.approx(100 * (3 * 14 - 1) / (3 * 14))
        assert scores["visible"]["pck@0.2"]["mean"] == 100
        assert scores["occluded"]["pck@0.2"] == dict.fromkeys(PCK_PARTS) | {
            "ankle": 0, "mean": 0, "mean_unweighted": 0,
        }  # fmt: skip


def test_lsp_predictions_of_another_number_and_other_annotations_are_refused(tmp_path, lsp, capsys):
    np.savez(tmp_path / "p.npz", preds=np.zeros((5, 14, 2)))
    assert "3 or 6 people, 14 joints" in complaint(capsys, "lsp", *files(lsp, tmp_path / "p.npz"))
    lsp.write_text("<html></html>")
    assert "joints.mat" in complaint(capsys, "lsp", *files(lsp, tmp_path / "p.npz"))


@pytest.mark.realdata
def test_the_truth_of_lsp_scores_100_and_a_shifted_one_what_its_torsos_say(data_dir, tmp_path):
    path = data_dir / "lsp" / "joints.mat"
    joints = scipy.io.loadmat(path)["joints"]
    people = joints.shape[2] // 2
    test = joints[:2, :, -people:].transpose(2, 1, 0)
    shift_px = 12.0
    np.savez(tmp_path / "p.npz", preds=np.concatenate([test[..., :1], test[..., 1:] + shift_px], axis=2))
    scores = score(tmp_path, "lsp", *files(path, tmp_path / "p.npz"))
    torso = np.linalg.norm(
        test[:, LSP.joints.index("left_shoulder")] - test[:, LSP.joints.index("right_hip")], axis=1
    )
    right = (shift_px <= 0.2 * torso)[:, None] & np.ones((1, 14), bool)
    hidden = joints[2, :, -people:].T == 1
    assert scores["all"]["pck@0.2"]["mean"] == pytest.approx(100 * right.mean(), abs=0.01)
    assert scores["occluded"]["pck@0.2"]["mean"] == pytest.approx(100 * right[hidden].mean(), abs=0.01)


# COCO


def test_coco_scores_are_split_and_nest_as_documented(tmp_path, coco, capsys):
    truth, results = coco
    words = files(saved(tmp_path / "truth.json", truth), saved(tmp_path / "p.json", results))
    scores = score(tmp_path, "coco", *words)
    assert list(scores) == ["all", "visible", "occluded"]
    assert list(scores["all"]) == ["keypoints"]
    assert list(scores["all"]["keypoints"]) == [
        "AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL",
    ]  # fmt: skip
    assert scores["visible"]["keypoints"]["AP"] == pytest.approx(1)
    assert scores["visible"]["keypoints"]["APL"] is None
    assert scores["occluded"]["keypoints"]["AP"] == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[3].split()[:3] == ["visible", "1.000", "1.000"]


def test_a_crowd_index_brings_crowdposes_rules(tmp_path, coco):
    truth, results = coco
    for image, index in zip(truth["images"], (0.9, 0.0), strict=True):
        image["crowdIndex"] = index
    words = files(saved(tmp_path / "truth.json", truth), saved(tmp_path / "p.json", results))
    parts = score(tmp_path, "coco", *words)["visible"]["keypoints"]
    assert parts["AP_hard"] == pytest.approx(1)
    assert (parts["AP_easy"], parts["AP_medium"]) == (None, None)


def test_an_empty_list_of_results_scores_0_and_says_so(tmp_path, coco, capsys):
    words = files(saved(tmp_path / "truth.json", coco[0]), saved(tmp_path / "p.json", []))
    assert score(tmp_path, "coco", *words)["all"]["keypoints"]["AP"] == 0
    assert (
        capsys.readouterr().err == f"oasjax: {tmp_path / 'p.json'} holds no predictions: all scores are 0\n"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_id": 9}, "record 1 (from 0) is of image 9"),
        ({"category_id": 2}, "record 1 (from 0) has category_id 2"),
        ({"score": None}, "record 1 (from 0) has the score None"),
        ({"keypoints": [1.0] * 42}, "51 finite numbers"),
        ({"keypoints": [float("nan")] * 51}, "51 finite numbers"),
    ],
)
def test_faulty_results_are_named(tmp_path, coco, capsys, change, words):
    coco[1][1] |= change
    line = complaint(
        capsys, "coco", *files(saved(tmp_path / "truth.json", coco[0]), saved(tmp_path / "p.json", coco[1]))
    )
    assert "p.json" in line and words in line


@pytest.mark.parametrize("content", ["", "{", "<html>", "[1,", "\x00"])
@pytest.mark.parametrize("name", ["truth.json", "p.json"])
def test_what_is_no_json_is_named(tmp_path, coco, capsys, content, name):
    paths = saved(tmp_path / "truth.json", coco[0]), saved(tmp_path / "p.json", coco[1])
    (tmp_path / name).write_text(content)
    assert name in complaint(capsys, "coco", *files(*paths))


def faulty_annotations(truth, fault):
    first, second = truth["annotations"]
    match fault:
        case "twice":
            second["id"] = first["id"]
        case "unknown image":
            first["image_id"] = 99
        case "no area":
            first["area"] = 0.0
        case "no box":
            del first["area"]
            first["bbox"][2] = 0.0
        case "nan":
            first["keypoints"][0] = float("nan")
        case "joints":
            first["keypoints"].pop()
        case "sigmas":
            truth["categories"][0]["keypoints"] = list(MPII.joints)
            for person in truth["annotations"]:
                person["keypoints"] = person["keypoints"][:48]
        case "crowdIndex":
            truth["images"][0]["crowdIndex"] = 0.3
    return truth


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("twice", "2 annotations have the id 10"),
        ("unknown image", "image 99"),
        ("no area", "annotation 10 has labelled joints and an area of 0"),
        ("no box", "annotation 10 has labelled joints and an area of 0"),
        ("nan", "annotation 10"),
        ("joints", "annotation 10"),
        ("sigmas", "those of mpii"),
        ("crowdIndex", "image 6 has the crowdIndex None"),
    ],
)
def test_faulty_annotations_are_named(tmp_path, coco, capsys, fault, words):
    truth = saved(tmp_path / "truth.json", faulty_annotations(coco[0], fault))
    line = complaint(capsys, "coco", *files(truth, saved(tmp_path / "p.json", coco[1])))
    assert "truth.json" in line and words in line


def test_a_crowd_or_an_unlabelled_person_needs_no_area(tmp_path, coco):
    truth, results = coco
    truth["annotations"][0] |= {"iscrowd": 1, "area": 0}
    results[0]["keypoints"] = truth["annotations"][0]["keypoints"]
    words = files(saved(tmp_path / "truth.json", truth), saved(tmp_path / "p.json", results))
    assert score(tmp_path, "coco", *words)["all"]["keypoints"]["AP"] == pytest.approx(1)


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name", ["coco_mmpose4/test_coco.json", "crowdpose/test_crowdpose.json", "ochuman/test_ochuman.json"]
)
def test_the_truth_as_prediction_scores_1_and_a_split_of_nobody_is_null(data_dir, tmp_path, name):
    truth = json.loads((data_dir / name).read_text())
    results = [
        {key: person[key] for key in ("image_id", "category_id", "keypoints")} | {"score": 1.0}
        for person in truth["annotations"]
        if person["num_keypoints"]
    ]
    scores = score(tmp_path, "coco", *files(data_dir / name, saved(tmp_path / "p.json", results)))
    assert scores["all"]["keypoints"]["AP"] == pytest.approx(1)
    for split, flag in (("visible", 2), ("occluded", 1)):
        counts = any(flag in person["keypoints"][2::3] for person in truth["annotations"])
        assert (scores[split]["keypoints"]["AP"] is not None) == counts


# The command


def test_the_benchmark_must_be_one_of_the_known(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["score", "imagenet"])
    assert exit_info.value.code == 2
    assert "'mpii', 'lsp', 'coco'" in capsys.readouterr().err


@pytest.mark.parametrize("stray", [["--origin", "2"], ["--orig", "1"], ["--unknown"]])
def test_stray_options_exit_2(tmp_path, stray):
    with pytest.raises(SystemExit) as exit_info:
        main(["score", "mpii", "--annotations", str(tmp_path), "--predictions", "p", *stray])
    assert exit_info.value.code == 2


def test_pck_takes_neither_jax_nor_tensorflow(tmp_path, mpii, keypoints):
    np.savez(tmp_path / "p.npz", preds=keypoints)
    words = ["score", "mpii", *map(str, files(mpii, tmp_path / "p.npz"))]
    program = (
        "import sys\n"
        "from oasjax.cli.main import main\n"
        f"main({words})\n"
        "sys.exit(' '.join({'jax', 'tensorflow'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr == "\n"


def test_the_scores_are_written_even_if_nobody_reads_the_table(tmp_path, mpii, keypoints):
    np.savez(tmp_path / "p.npz", preds=keypoints)
    out = tmp_path / "scores.json"
    words = ["score", "mpii", *map(str, files(mpii, tmp_path / "p.npz")), "--json", str(out)]
    done = subprocess.Popen(
        [sys.executable, "-m", "oasjax", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": ""},
    )
    done.stdout.close()
    with done.stderr:
        assert done.stderr.read() == b""
    assert done.wait() == 141
    assert json.loads(out.read_text())["all"]["pckh@0.5"]["mean"] == 100
