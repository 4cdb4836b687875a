"""PCKh and PCK against published evaluators, on reference numbers and on MPII's validation people."""

import json

import numpy as np
import pytest
import scipy.io

from oasjax.datasets.skeletons import LSP, MPII
from oasjax.evaluation.pck import auc, pck, pckh, pckh_curve


def head_size(boxes):
    """0.6 of the diagonal of the head boxes, given as (corner, xy, n)."""
    first, second = boxes.astype(np.float64)
    return 0.6 * np.linalg.norm(second - first, axis=0)


@pytest.mark.golden
def test_pckh_equals_hrnets(golden_dir):
    case = np.load(golden_dir / "prepost_hrnet" / "pckh.npz")
    keypoints = case["pos_gt_src"].transpose(2, 0, 1)
    visibility = np.where(case["jnt_missing"].T == 0, 2, 0).astype(np.int8)
    known = np.zeros(visibility.shape, bool)
    truth = (keypoints, visibility, known, head_size(case["headboxes_src"]), MPII)
    predicted = (
        case["preds_0based"] + 1.0
    )  # HRNet brings its predictions to MPII's frame, which counts from 1
    expected = dict(zip(case["names"].tolist(), case["values"].tolist(), strict=True))
    ours = pckh(predicted, *truth)["all"]["pckh@0.5"]
    for part in (*MPII.parts, "mean"):
        assert ours[part] == pytest.approx(expected[part.capitalize()], abs=1e-6), part
    # What HRNet prints as Mean@0.1 is its value at 0.11.
    assert pckh(predicted, *truth, 0.11)["all"]["pckh@0.11"]["mean"] == pytest.approx(
        expected["Mean@0.1"], abs=1e-6
    )


@pytest.mark.golden
def test_pck_equals_the_evaluators_of_lsp(golden_dir):
    case = np.load(golden_dir / "prepost_hourglass" / "lsp_pck_derived.npz")
    visibility = np.full(case["gt"].shape[:2], 2, np.int8)
    scores = pck(case["pred"], case["gt"], visibility, np.zeros(visibility.shape, bool), LSP)["all"][
        "pck@0.2"
    ]
    expected = dict(zip(case["names"].tolist(), case["values"].tolist(), strict=True))
    for part in (*LSP.parts, "mean"):
        assert scores[part] == pytest.approx(expected[part.capitalize()], abs=1e-6), part


def mpii_validation(folder):
    """Keypoints, visibility, occlusion_known and head size of the public annotations."""
    truth = scipy.io.loadmat(folder / "annot" / "gt_valid.mat")
    keypoints = truth["pos_gt_src"].transpose(2, 0, 1).astype(np.float64)
    labelled = truth["jnt_missing"].T == 0
    visible = np.load(folder / "annot" / "valid.npz")["visible"] > 0
    visibility = np.where(labelled, np.where(visible, 2, 1), 0).astype(np.int8)
    return keypoints, visibility, np.ones(visibility.shape, bool), head_size(truth["headboxes_src"])


def published_models(folder):
    """(name, predictions (n, 16, 2), the figures that its predictions must give)."""
    models = json.loads((folder / "expected_pckh.json").read_text())["models"]
    for name, model in models.items():
        arrays = folder / "preds" / f"{name}.npz"
        content = np.load(arrays) if arrays.is_file() else scipy.io.loadmat(arrays.with_suffix(".mat"))
        yield name, content["preds"].astype(np.float64), model["recomputed"]


@pytest.mark.realdata
@pytest.mark.parametrize("threshold", [0.5, 0.1])
@pytest.mark.parametrize(("inclusive", "sign"), [(True, "le"), (False, "lt")])
def test_pckh_reproduces_the_published_evaluators_on_mpii_validation(data_dir, threshold, inclusive, sign):
    folder = data_dir / "mpii"
    truth = mpii_validation(folder)
    for name, predicted, recomputed in published_models(folder):
        ours = pckh(predicted, *truth, MPII, threshold, inclusive=inclusive)["all"][f"pckh@{threshold:g}"]
        expected = recomputed[f"pckh@{threshold:g}_{sign}"]
        for part in MPII.parts:
            assert ours[part] == pytest.approx(expected[part.capitalize()], abs=1e-9), (name, part)
        assert ours["mean"] == pytest.approx(expected["Mean_count_weighted_14"], abs=1e-9), name
        assert ours["mean_unweighted"] == pytest.approx(expected["Mean_unweighted_14"], abs=1e-9), name


@pytest.mark.realdata
def test_visible_and_occluded_joints_score_as_published_predictions_must(data_dir):
    folder = data_dir / "mpii"
    truth = mpii_validation(folder)
    for name, predicted, recomputed in published_models(folder):
        scores = pckh(predicted, *truth, MPII)
        for split in ("visible", "occluded"):
            mean = recomputed[split]["Mean_count_weighted_14"]
            assert scores[split]["pckh@0.5"]["mean"] == pytest.approx(mean, abs=1e-9), (name, split)


@pytest.mark.realdata
def test_the_area_under_the_curve_to_half_a_head_is_the_published_one(data_dir):
    folder = data_dir / "mpii"
    truth = mpii_validation(folder)
    for name, predicted, recomputed in published_models(folder):
        area = auc(pckh_curve(predicted, *truth, MPII))["all"]["pckh_auc@0.5"]["mean"]
        assert area == pytest.approx(recomputed["auc_0_0.5_count_weighted_14"], abs=1e-6), name
