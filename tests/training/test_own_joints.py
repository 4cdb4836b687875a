"""People's own joints, from their annotation file to predictions without it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oasjax.datasets.keypoints_json.annotations import ground_truth, skeleton_of
from oasjax.errors import UserError
from oasjax.evaluation.keypoint_ap import keypoint_ap
from oasjax.inference.predictor import load
from oasjax.inference.results import image_json
from oasjax.inference.run_summary import tables, write_run_summary
from oasjax.training import loop

JOINTS = ["beak", "left_wing", "right_wing", "tail", "left_foot"]
BIRD = {"id": 7, "name": "bird", "keypoints": JOINTS, "skeleton": [[1, 2], [1, 3], [2, 4], [4, 5]]}


# A smaller graph: five joints share no compiled step with other tests.
QUICK = (
    "--config.loss.mimic.kind=none",
    "--config.model.erase_reconstruct.erase=False",
    "--config.model.erase_reconstruct.reconstruct=False",
    "--config.eval.flip_test=False",
)


def write_split(folder: Path, split: str, num: int, *, labelled: bool = True) -> None:
    """`num` pictures of noise with a bird in each; the last one has a second, without labels."""
    random = np.random.default_rng(len(split))
    images, annotations = [], []
    for number in range(1, num + 1):
        name = f"{split}{number}.png"
        Image.fromarray(random.integers(0, 256, (48, 40, 3), np.uint8)).save(folder / "images" / name)
        images.append({"id": 100 + number, "file_name": name, "width": 40, "height": 48})
        points = np.concatenate([random.integers(4, 36, (5, 2)), random.integers(1, 3, (5, 1))], axis=1)
        kept = points if labelled else 0 * points
        annotations.append(
            {"id": number, "image_id": 100 + number, "category_id": 7, "keypoints": kept.ravel().tolist()}
            | {"bbox": [2, 2, 36, 44], "area": 1500.0, "iscrowd": 0}
        )
    nobody = {"id": 99, "image_id": 100 + num, "category_id": 7, "keypoints": [0] * 15}
    annotations.append({**nobody, "bbox": [0, 0, 9, 9], "area": 81.0, "iscrowd": 0})
    document = {"images": images, "annotations": annotations, "categories": [BIRD]}
    (folder / f"{split}.json").write_text(json.dumps(document))


@pytest.fixture(scope="module")
def birds(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("birds")
    (folder / "images").mkdir()
    for split, num in (("train", 9), ("validation", 5), ("test", 3)):
        write_split(folder, split, num)
    return folder


@pytest.fixture(scope="module")
def bird_config(tiny_config):
    """Function `(folder, *overrides) -> config` of a short run on the birds."""

    def make(folder: Path, *overrides: str):
        return tiny_config(
            "--config.data.name=keypoints_json",
            f"--config.data.data_dir={folder}",
            "--config.data.train_size=0",
            "--config.data.eval_size=0",
            "--config.skeleton=from_data",
            "--config.eval.metrics=('keypoint_ap','occlusion')",
            "--config.train.num_steps=3",
            *QUICK,
            *overrides,
        )

    return make


@pytest.fixture(scope="module")
def trained(birds, bird_config, tmp_path_factory):
    """(workdir, result) of a run with its summary."""
    workdir = tmp_path_factory.mktemp("runs") / "my run"
    result = loop.train_and_evaluate(bird_config(birds), workdir)
    write_run_summary(workdir, result, "oasjax train")
    return workdir, result


def test_scores_are_keypoint_ap_by_split_and_the_calibration_of_the_occlusion_output(trained):
    workdir, _ = trained
    metrics = json.loads((workdir / "metrics.json").read_text())
    for name in ("before", "after", "mean_pose"):
        for split in ("all", "visible", "occluded"):
            assert 0 <= metrics[name][split]["keypoints"]["AP"] <= 1
    assert 0 <= metrics["after"]["all"]["occlusion"]["auroc"] <= 1
    assert metrics["after"]["all"]["occlusion"]["joints"] == 25
    assert "occlusion" not in metrics["mean_pose"]["all"]
    page = (workdir / "report.html").read_text()
    assert "keypoints AP" in page and "auroc" in page and "keypoints" in tables(metrics)


@pytest.mark.parametrize("model", ["", "model"])
def test_prediction_knows_the_joints_without_the_data(trained, model):
    predictor = load(trained[0] / model, batch_size=1)
    picture = predictor.predict([np.zeros((48, 40, 3), np.uint8)])[0]
    (person,) = image_json(picture, predictor.skeleton)["people"]
    assert [keypoint["name"] for keypoint in person["keypoints"]] == JOINTS
    assert predictor.skeleton.flip_pairs == ((1, 2),)


def test_written_predictions_have_the_scores_that_evaluation_found(trained, birds, bird_config, tmp_path):
    workdir = shutil.copytree(trained[0], tmp_path / "my run")
    config = bird_config(birds)
    for split, own, name in (
        ("eval", "validation", "keypoints_json_eval"),
        ("test", "test", "keypoints_json_test"),
    ):
        metrics = loop.evaluate_latest(config, workdir, split=split, out=tmp_path / "out")
        path = tmp_path / "out" / f"{name}_my-run_results.json"
        results = json.loads(path.read_text())
        assert {person["category_id"] for person in results} == {7}
        assert path.with_suffix(".zip").exists() == (split == "test")
        scores = keypoint_ap(ground_truth(birds, own), results, skeleton_of(birds))
        found = metrics["test"]["after"] if split == "test" else metrics["after"]
        assert found["all"]["keypoints"] == scores["all"]["keypoints"]
        assert found["occluded"]["keypoints"] == scores["occluded"]["keypoints"]
    assert metrics["after"] == trained[1].metrics["after"]


def test_people_without_annotations_are_predicted_and_not_scored(trained, birds, bird_config, tmp_path):
    workdir = shutil.copytree(trained[0], tmp_path / "my run")
    folder = shutil.copytree(birds, tmp_path / "birds")
    write_split(folder, "test", 3, labelled=False)
    boxes = [
        {"image_id": 102, "category_id": 7, "bbox": [4, 4, 30, 40], "score": score} for score in (0.5, 0.25)
    ]
    (folder / "boxes.json").write_text(json.dumps(boxes))
    config = bird_config(folder, f"--config.data.boxes_path={folder / 'boxes.json'}")
    said: list[str] = []
    before = (workdir / "metrics.json").read_text()
    metrics = loop.evaluate_latest(config, workdir, split="test", out=tmp_path / "out", say=said.append)
    assert "test" not in metrics and (workdir / "metrics.json").read_text() == before
    assert "no keypoint_ap of the test split: nobody has labelled joints" in said
    (kept,) = json.loads((tmp_path / "out" / "keypoints_json_test_my-run_results.json").read_text())
    joint_scores = np.array(kept["keypoints"][2::3])
    # The same box twice: the better one stays, its score times the mean of the joints' above .2.
    expected = 0.5 * joint_scores[joint_scores > 0.2].mean() if (joint_scores > 0.2).any() else 0.0
    assert kept["image_id"] == 102 and kept["score"] == pytest.approx(expected)
    config = bird_config(
        folder, f"--config.data.boxes_path={folder / 'boxes.json'}", "--config.eval.oks_nms=0.0"
    )
    loop.evaluate_latest(config, workdir, split="test", out=tmp_path / "out")
    assert len(json.loads((tmp_path / "out" / "keypoints_json_test_my-run_results.json").read_text())) == 2


def test_other_joints_than_those_of_the_run_are_refused(trained, birds, bird_config, tmp_path):
    workdir = shutil.copytree(trained[0], tmp_path / "my run")
    folder = shutil.copytree(birds, tmp_path / "birds")
    for split in ("train", "validation", "test"):
        document = json.loads((folder / f"{split}.json").read_text())
        document["categories"][0]["keypoints"][0] = "head"
        (folder / f"{split}.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match="has the joints head, left_wing, .* but those of 'bird' are beak"):
        loop.evaluate_latest(bird_config(folder), workdir)
    with pytest.raises(
        UserError, match="config.skeleton is 'coco', but .*'bird'; set --config.skeleton=from_data"
    ):
        loop.train_and_evaluate(bird_config(folder, "--config.skeleton=coco"), tmp_path / "new")


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("pckh", "head size"),
        ("pck", "lacks left shoulder or right hip.*They can give: keypoint_ap, occlusion"),
    ],
)
def test_a_metric_that_the_data_cannot_give_is_refused_before_training(
    birds, bird_config, tmp_path, metric, reason
):
    with pytest.raises(UserError, match=f"config.eval.metrics names {metric}.*{reason}"):
        loop.train_and_evaluate(bird_config(birds, f"--config.eval.metrics=('{metric}',)"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
