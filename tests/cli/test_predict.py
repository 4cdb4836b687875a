import argparse
import json

import cv2
import numpy as np
import pytest

from oasjax.cli import predict
from oasjax.datasets.skeletons import MPII
from oasjax.errors import UserError
from oasjax.inference import predictor as predictor_module
from oasjax.input_pipeline.crop import CropConfig


def centre_of_crop(images):
    """Stands in for a network: all joints in the middle of the crop."""
    batch, height, width, _ = images.shape
    keypoints = np.full((batch, 16, 2), ((width - 1) / 2, (height - 1) / 2), np.float32)
    return {
        "keypoints": keypoints,
        "scores": np.full((batch, 16), 0.75, np.float32),
        "occlusion": np.zeros((batch, 16), np.float32),
        "occlusion_map": np.zeros((batch, 8, 8), np.float32),
    }


@pytest.fixture
def fake_model(monkeypatch):
    crop = CropConfig(input_size_wh=(32, 32))
    model = predictor_module.Predictor(centre_of_crop, MPII, crop, "fake")
    monkeypatch.setattr(predictor_module, "load", lambda path: model)


def arguments(*words):
    parser = argparse.ArgumentParser()
    predict.add_arguments(parser)
    return parser.parse_args(["--model", "m", *map(str, words)])


def photo(path):
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.full((60, 80, 3), 60, np.uint8))
    return path


def test_pictures_without_boxes_are_one_person_each(fake_model, tmp_path, capsys):
    first, second = photo(tmp_path / "x" / "a.jpg"), photo(tmp_path / "y" / "a.png")
    assert predict.run(arguments(first, second, "--out", tmp_path / "new" / "out")) == 0
    document = json.loads((tmp_path / "new" / "out" / "predictions.json").read_text())
    assert [image["file"] for image in document["images"]] == [str(first), str(second)]
    assert [image["overlay"] for image in document["images"]] == ["a_pose.png", "a_pose_2.png"]
    (person,) = document["images"][0]["people"]
    assert person["bbox_xywh"] == [0.0, 0.0, 80.0, 60.0]
    assert (tmp_path / "new" / "out" / "a_pose_2.png").is_file()
    printed = capsys.readouterr().out
    assert "1 person" in printed and "predictions.json" in printed


def test_boxes_decide_who_is_predicted(fake_model, tmp_path):
    image = photo(tmp_path / "a.jpg")
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"a.jpg": [[10, 10, 20, 30], [40, 20, 10, 10]]}))
    predict.run(arguments(image, "--boxes", boxes, "--out", tmp_path / "out"))
    people = json.loads((tmp_path / "out" / "predictions.json").read_text())["images"][0]["people"]
    assert [(p["keypoints"][0]["x"], p["keypoints"][0]["y"]) for p in people] == [
        (20, 25),
        (45, 25),
    ]


def test_bad_input_leaves_no_output(fake_model, tmp_path):
    image = photo(tmp_path / "a.jpg")
    out = tmp_path / "out"
    boxes = tmp_path / "boxes.json"
    boxes.write_text('{"a.jpg": [[1, 2, 3]]}')
    with pytest.raises(UserError, match="boxes.json"):
        predict.run(arguments(image, "--boxes", boxes, "--out", out))
    with pytest.raises(UserError, match="gone.jpg"):
        predict.run(arguments(image, tmp_path / "gone.jpg", "--out", out))
    truncated = tmp_path / "cut.jpg"
    truncated.write_bytes(image.read_bytes()[:-40])
    with pytest.raises(UserError, match="cut.jpg"):
        predict.run(arguments(truncated, "--out", out))
    assert not out.exists()


def test_a_model_that_is_not_there_is_named(tmp_path):
    image = photo(tmp_path / "a.jpg")
    args = arguments(image)
    args.model = str(tmp_path / "no_model")
    with pytest.raises(UserError, match="no_model"):
        predict.run(args)
