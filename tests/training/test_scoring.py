"""Scores of a test set against the official tools, and what the data cannot give."""

import json

import jax.numpy as jnp
import numpy as np
import pycocotools.coco
import pytest
from pycocotools.cocoeval import COCOeval

from oasjax.datasets.skeletons import COCO, LSP, MPII
from oasjax.errors import UserError
from oasjax.input_pipeline import open_eval_batches, open_ground_truth, open_source
from oasjax.input_pipeline.crop import CropConfig
from oasjax.training.evaluation import predict_all
from oasjax.training.mesh import data_mesh
from oasjax.training.scoring import Scorer, first_pictures, people_in, with_pasted


def config_of(tiny_config, *overrides: str):
    return tiny_config("--config.data.train_size=0", "--config.data.eval_size=0", *overrides)


@pytest.fixture(scope="module")
def coco(tiny_config, data_dir):
    """(config, scorer, rows with the true joints as predictions, annotation file) of COCO's validation."""
    folder = data_dir / "coco_mini"
    overrides = ("name=coco_person", f"data_dir={folder}")
    config = config_of(tiny_config, *(f"--config.data.{each}" for each in overrides))
    source, ground_truth = open_source(config.data, "eval"), open_ground_truth(config.data, "eval")
    batches = open_eval_batches(source, CropConfig((64, 64), config.data.padding), "arrays", batch_size=8)

    def truth(_variables, batch):
        shape = batch["visibility"].shape
        scores = jnp.full(shape, 0.75)
        return {"keypoints": batch["keypoints"], "scores": scores, "pasted": jnp.zeros(shape, bool)}

    rows = predict_all(truth, None, batches, data_mesh())
    path = folder / "annotations" / "person_keypoints_val2017.json"
    return config, Scorer(config, source.skeleton, source.skeleton, ground_truth), rows, path


@pytest.mark.realdata
def test_predicting_the_truth_is_perfect(coco):
    _, scorer, rows, _ = coco
    scores = scorer.score(rows, rows, ["keypoint_ap"])
    assert scores["all"]["keypoints"]["AP"] == pytest.approx(1.0)
    assert scores["visible"]["keypoints"]["AP"] == pytest.approx(1.0)
    # People without occluded joints may stand where another's few occluded ones are, so AP need not be 1.
    assert scores["occluded"]["keypoints"]["AR"] == pytest.approx(1.0)


@pytest.mark.realdata
def test_keypoint_ap_is_that_of_the_official_evaluator_on_the_official_file(coco, tmp_path):
    _, scorer, rows, path = coco
    random = np.random.default_rng(0)
    noise = random.normal(size=rows["keypoints"].shape) * random.uniform(0, 4, (len(rows["scores"]), 1, 1))
    predicted = {
        "keypoints": (rows["keypoints"] + noise).astype(np.float32),
        "scores": random.uniform(0, 1.1, rows["scores"].shape).astype(np.float32),
    }
    found = scorer.score(predicted, rows, ["keypoint_ap"])["all"]["keypoints"]
    (tmp_path / "results.json").write_text(json.dumps(scorer.results(predicted, rows)))
    truth = pycocotools.coco.COCO(str(path))
    official = COCOeval(truth, truth.loadRes(str(tmp_path / "results.json")), "keypoints")
    official.evaluate()
    official.accumulate()
    official.summarize()
    assert 0.1 < found["AP"] < 0.95
    np.testing.assert_allclose(list(found.values()), official.stats, rtol=0, atol=1e-12)


@pytest.mark.realdata
def test_a_test_on_some_people_is_against_their_pictures_alone(coco):
    config, scorer, rows, _ = coco
    some = {name: column[:6] for name, column in rows.items()}
    numbers = set(rows["image_number"][:6].tolist())
    assert scorer.score(some, some, ["keypoint_ap"])["all"]["keypoints"]["AR"] < 0.9
    document = first_pictures(scorer.ground_truth, numbers)
    whole = {name: column[np.isin(rows["image_number"], list(numbers))] for name, column in rows.items()}
    part = Scorer(config, scorer.skeleton, scorer.skeleton, document)
    assert part.score(whole, whole, ["keypoint_ap"])["all"]["keypoints"]["AR"] == pytest.approx(1.0)
    assert {image["id"] for image in document["images"]} == numbers


@pytest.mark.realdata
def test_joints_under_a_pasted_occluder_are_occluded_ones_in_every_score(coco):
    _, scorer, rows, _ = coco
    first = np.arange(len(rows["visibility"])) == 0
    pasted = (rows["visibility"] > 0) & ~first[:, None]
    covered = rows | {"pasted": pasted, "occlusion": pasted.astype(np.float32)}
    document = with_pasted(scorer.ground_truth, covered["person_number"], covered["pasted"])
    flags = {person["id"]: np.array(person["keypoints"][2::3]) for person in document["annotations"]}
    np.testing.assert_array_equal(flags[rows["person_number"][0]], rows["visibility"][0])
    for number, hidden in list(zip(rows["person_number"].tolist(), pasted, strict=True))[1:]:
        np.testing.assert_array_equal(flags[number], hidden)
    # Only the first person has visible joints, and only that one is not found.
    lost = covered | {"keypoints": np.where(first[:, None, None], np.float32(1e4), rows["keypoints"])}
    scores = scorer.score(lost, lost, ["keypoint_ap", "pck", "occlusion"])
    assert scores["visible"]["keypoints"]["AR"] == 0.0
    assert scores["occluded"]["keypoints"]["AR"] > 0.9
    assert scores["occluded"]["pck@0.2"]["mean"] > 90 and not scores["visible"]["pck@0.2"]["mean"]
    hidden = (rows["visibility"] == 1) | pasted
    assert scores["all"]["occlusion"]["occluded_joints"] == hidden.sum()


class People(list):
    """A source of these records."""

    def __init__(self, *records, skeleton):
        super().__init__(records)
        self.skeleton = skeleton


def person(joints: int, visible=(), head_size: float = np.nan) -> dict:
    visibility = np.zeros(joints, np.int8)
    visibility[list(visible)] = 2
    return {"visibility": visibility, "head_size": np.float32(head_size)}


@pytest.mark.parametrize(
    ("metrics", "skeleton", "records", "message"),
    [
        ("('pckh',)", MPII, [person(16, [1])], "pckh.*head size.*can give: occlusion"),
        ("('pckh','pck')", MPII, [person(16, [1], 9.0)], "pck.*left shoulder.*can give: pckh, occlusion"),
        ("('pck',)", LSP, [person(14, [9]), person(14, [2])], "pck.*nobody has both"),
        ("('keypoint_ap',)", COCO, [person(17, [5, 12])], "keypoint_ap.*COCO's form.*can give: pck, occl"),
        ("('occlusion',)", LSP, [person(14)], "occlusion.*nobody has labelled joints.*give: none of them"),
    ],
)
def test_a_metric_that_could_give_nothing_is_refused_and_the_possible_ones_named(
    tiny_config, metrics, skeleton, records, message
):
    scorer = Scorer(tiny_config(f"--config.eval.metrics={metrics}"), skeleton, skeleton, None)
    with pytest.raises(UserError, match=message):
        scorer.require_metrics(People(*records, skeleton=skeleton))


def test_one_person_who_can_be_scored_is_enough(tiny_config):
    records = [person(16), person(16, [1]), person(16, [2, 13], 30.0)]
    Scorer(tiny_config(), MPII, MPII, None).require_metrics(People(*records, skeleton=MPII))


def test_calibration_may_be_named_for_a_model_without_occlusion_but_not_alone(tiny_config):
    source = People(person(16, [2, 13], 30.0), skeleton=MPII)
    none = "--config.model.occlusion_head=none"
    Scorer(tiny_config(none, "--config.eval.metrics=('pck','occlusion')"), MPII, MPII, None).require_metrics(
        source
    )
    with pytest.raises(UserError, match="occlusion_head is none.*can give: pckh, pck"):
        alone = tiny_config(none, "--config.eval.metrics=('occlusion',)")
        Scorer(alone, MPII, MPII, None).require_metrics(source)


def test_rows_are_looked_at_like_records(tiny_config):
    rows = {"visibility": np.zeros((2, 16), np.int8), "head_size": np.full(2, np.nan)}
    scorer = Scorer(tiny_config(), MPII, MPII, None)
    assert scorer.why_not("pck", people_in(rows, scorer.scored)) is not None
    rows["visibility"][1] = 2
    assert scorer.why_not("pck", people_in(rows, scorer.scored)) is None


def test_a_joint_without_a_mean_place_counts_as_wrong_not_as_nan(tiny_config):
    config = tiny_config()
    columns = {
        "crop_to_image": np.array([[[1, 0, 0], [0, 1, 0]]], np.float32),
        "bbox_xywh": np.array([[0, 0, 9, 9]], np.float32),
        "image_number": np.array([1]),
        "box_score": np.ones(1, np.float32),
    }
    predicted = {"keypoints": np.full((1, 17, 2), np.nan), "scores": np.ones((1, 17), np.float32)}
    (result,) = Scorer(config, COCO, COCO, None).results(predicted, columns)
    assert np.isfinite(result["keypoints"]).all() and max(result["keypoints"][0::3]) < -1e4
